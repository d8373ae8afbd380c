/* The feed-forward part of a layer: the router, and the experts that it chose; included by decode.c. */
#pragma once

/* The best experts of a token and their weights. */
static void route(const Shape *m, const Layer *l, const float *h, int64_t *chosen, float *weights)
{
    const int64_t across = (l->experts + LANES - 1) / LANES * LANES;
    float logits[across];
    vec top = (vec){0} - INFINITY, all = {0};
    for (int64_t e = 0; e < across; e += LANES) {
        const float *weight = l->router + e * m->hidden;
        vec sum[4] = {{0}}, logit;
        int64_t d = 0;
        for (; d + 4 <= m->hidden; d += 4)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                sum[i] += h[d + i] * *(const loose *)(weight + (d + i) * LANES);
        for (; d < m->hidden; d++)
            sum[0] += h[d] * *(const loose *)(weight + d * LANES);
        logit = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        logit = pick(numbers() < (int32_t)(l->experts - e), logit, (vec){0} - INFINITY); /* the rest is never chosen */
        top = pick(logit > top, logit, top);
        *(loose *)(logits + e) = logit;
    }
    const float highest = largest(top);
    for (int64_t e = 0; e < across; e += LANES) {
        vec share = exponentials(*(const loose *)(logits + e) - highest);
        all += share;
        *(loose *)(logits + e) = pick(numbers() < (int32_t)(l->experts - e), share, (vec){0} - 1);
    }
    float picked = 0;
    for (int64_t k = 0; k < m->top_k; k++) {
        vec most = *(const loose *)logits;
        for (int64_t e = LANES; e < across; e += LANES)
            most = pick(*(const loose *)(logits + e) > most, *(const loose *)(logits + e), most);
        float share = largest(most);
        int64_t best = 0;
        while (logits[best] != share && best < l->experts - 1)
            best++;
        chosen[k] = best;
        weights[k] = share;
        picked += share;
        logits[best] = -1;
    }
    for (int64_t k = 0; k < m->top_k; k++)
        weights[k] /= m->normalise ? picked : added(all);
}

/* Choices in the order of their experts. */
static void sort(int64_t choices, int64_t experts, const int64_t *chosen, int64_t *order, int64_t *begins)
{
    int64_t next[experts];
    memset(begins, 0, sizeof(int64_t) * (size_t)(experts + 1));
    for (int64_t i = 0; i < choices; i++)
        begins[chosen[i] + 1]++;
    for (int64_t e = 0; e < experts; e++) {
        begins[e + 1] += begins[e];
        next[e] = begins[e];
    }
    for (int64_t i = 0; i < choices; i++)
        order[next[chosen[i]]++] = i;
}

/* A thread's part of the experts: sums [N, padded(D)] of what its panels of their widths give. */
static void feed(const Shape *m, const Layer *l, const Part *p, const Desk *k)
{
    const int64_t each = l->router ? m->top_k : 1, hidden = m->hidden, wide = padded(hidden);
    const int64_t half = panels(l->width), down = 2 * PANEL * hidden, unit = down + wide * PANEL;
    int64_t begins[l->experts + 1];
    memset(k->fed, 0, sizeof(float) * (size_t)(p->n * wide));
    sort(p->n * each, l->experts, k->chosen, k->order, begins);
    for (int64_t u = p->id; u < l->experts * half; u += p->team) {
        const float *panel = l->feed + u * unit;
        int64_t end = begins[u / half + 1];
        for (int64_t begin = begins[u / half]; begin < end; begin += GROUP) {
            int64_t rows = least(GROUP, end - begin);
            const float *from[GROUP], *acts[GROUP];
            float gate[GROUP][PANEL], up[GROUP][PANEL], *gates[GROUP], *ups[GROUP], *sums[GROUP];
            for (int64_t r = 0; r < rows; r++) {
                int64_t token = k->order[begin + r] / each;
                from[r] = k->h + token * hidden;
                acts[r] = gates[r] = gate[r];
                ups[r] = up[r];
                sums[r] = k->fed + token * wide;
            }
            multiply(rows, panel, hidden, from, gates, 0);
            multiply(rows, panel + PANEL * hidden, hidden, from, ups, 0);
            for (int64_t r = 0; r < rows; r++) {
                float weight = k->weights[k->order[begin + r]];
#pragma GCC unroll 4
                for (int o = 0; o < PANEL; o += LANES) {
                    vec x = *(loose *)(gate[r] + o);
                    *(loose *)(gate[r] + o) = x / (1 + exponentials(-x)) * *(loose *)(up[r] + o) * weight;
                }
            }
            for (int64_t a = 0; a < wide; a += PANEL) {
                multiply(rows, panel + down + a * PANEL, PANEL, acts, sums, 1);
                for (int64_t r = 0; r < rows; r++)
                    sums[r] += PANEL;
            }
        }
    }
}
