/* The next few tokens of each row against the cache, in float32 on CPU: one call a step instead of a thousand operations.
 *
 * What a step costs is reading its weights. So each matrix lies in panels of PANEL outputs, a panel is read once for all
 * rows that meet it, and every sum runs over its inputs in order: a row's result does not depend on which other rows are
 * computed with it. Work is divided by output, so no two threads write the same number.
 *
 * Shapes: N = rows · length tokens, D hidden, H heads, K key-value heads, C head dimension, S slots of the cache,
 * E experts, X experts a token, F expert width. A matrix [O, I] is stored [O / PANEL, I, PANEL], padded with zeros.
 */
#include "vectors.h"

/* Mirrored, field by field, in structures.py. */
typedef struct {
    int64_t hidden, heads, kv_heads, head_dim, top_k, normalise, threads;
    double eps;
} Shape;

typedef struct {
    const float *input_norm, *qkv, *qkv_bias, *q_norm, *k_norm, *out, *out_bias, *post_norm;
    const float *router;         /* [E, D], not in panels; none in a dense layer, which is its only expert */
    const float *gate_up, *down; /* of each expert: gate panels, then up panels */
    int64_t experts, width;
    float *keys, *values;    /* [R, K, S, C] */
    const float *cos, *sin; /* [positions, C]; sin carries the sign of the half it is added to */
    int64_t slots, window;  /* window 0: all is seen */
} Layer;

typedef struct {
    const float *token_norm, *state_norm, *fc, *norm; /* of the MTP head, beside its layer */
} Head;

typedef struct {
    float *x, *h, *qkv, *attended, *act, *weights; /* [N, D], [N, D], [N, (H + 2K)·C], [N, H·C], [N·X, F], [N, X] */
    float *pairs;                                  /* [N, 2D] */
    int64_t *chosen, *order, *begins;              /* [N, X], [N·X] choices by expert, [E + 1] */
} Scratch;

#include "attention.h"

int64_t panel_width(void) { return PANEL; }

static inline int64_t panels(int64_t outputs) { return (outputs + PANEL - 1) / PANEL; }

/* One panel times a few rows, which is a constant wherever this is expanded: sums then stay in registers. */
static inline __attribute__((always_inline)) void tile(
    const int rows, const float *panel, int64_t depth, const float *const *x, float (*y)[PANEL])
{
    vec sum[MOST][WIDE];
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < WIDE; b++)
            sum[r][b] = (vec){0};
    for (int64_t d = 0; d < depth; d++, panel += PANEL) {
        vec weight[WIDE];
#pragma GCC unroll 4
        for (int b = 0; b < WIDE; b++)
            weight[b] = *(const loose *)(panel + b * LANES);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int b = 0; b < WIDE; b++)
                sum[r][b] += x[r][d] * weight[b];
    }
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < WIDE; b++)
            *(loose *)(y[r] + b * LANES) = sum[r][b];
}

/* y[r] = panel · x[r] for at most MOST rows. */
static void multiply(int64_t rows, const float *panel, int64_t depth, const float *const *x, float (*y)[PANEL])
{
    switch (rows) {
    case 1: tile(1, panel, depth, x, y); break;
    case 2: tile(2, panel, depth, x, y); break;
#if !defined(__AVX__) || defined(__AVX512F__)
    case 3: tile(3, panel, depth, x, y); break;
    case 4: tile(4, panel, depth, x, y); break;
#endif
#if defined(__AVX512F__)
    case 5: tile(5, panel, depth, x, y); break;
    case 6: tile(6, panel, depth, x, y); break;
#endif
    }
}

#include "sequences.h"

/* y [N, outputs] = x [N, depth] · matrix, + bias, + onto; panels are shared out among the threads. */
static void dense(int64_t n, const float *matrix, const float *bias, int64_t depth, int64_t outputs, const float *x,
                  const float *onto, float *y)
{
#pragma omp for schedule(dynamic, 1)
    for (int64_t p = 0; p < panels(outputs); p++) {
        int64_t first = p * PANEL, count = least(PANEL, outputs - first);
        for (int64_t begin = 0; begin < n; begin += MOST) {
            int64_t rows = least(MOST, n - begin);
            const float *from[MOST];
            float result[MOST][PANEL];
            for (int64_t r = 0; r < rows; r++)
                from[r] = x + (begin + r) * depth;
            multiply(rows, matrix + first * depth, depth, from, result);
            for (int64_t r = 0; r < rows; r++) {
                int64_t place = (begin + r) * outputs + first;
                for (int64_t o = 0; o < count; o++)
                    y[place + o] = result[r][o] + (bias ? bias[first + o] : 0) + (onto ? onto[place + o] : 0);
            }
        }
    }
}

static void norms(const Shape *m, int64_t n, const float *x, const float *weight, float *y)
{
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n; i++)
        rms_norm(x + i * m->hidden, weight, m->eps, m->hidden, y + i * m->hidden);
}

/* The best experts of a token and their weights. */
static void route(const Shape *m, const Layer *l, const float *h, int64_t *chosen, float *weights)
{
    float logits[l->experts], sum = 0;
    for (int64_t e = 0; e < l->experts; e++)
        logits[e] = dot(h, l->router + e * m->hidden, m->hidden);
    float top = logits[0];
    for (int64_t e = 1; e < l->experts; e++)
        top = logits[e] > top ? logits[e] : top;
    for (int64_t e = 0; e < l->experts; e++) {
        logits[e] = exponential(logits[e] - top);
        sum += logits[e];
    }
    float picked = 0;
    for (int64_t k = 0; k < m->top_k; k++) {
        int64_t best = 0;
        for (int64_t e = 1; e < l->experts; e++)
            best = logits[e] > logits[best] ? e : best;
        chosen[k] = best;
        weights[k] = logits[best];
        picked += logits[best];
        logits[best] = -1;
    }
    for (int64_t k = 0; k < m->top_k; k++)
        weights[k] /= m->normalise ? picked : sum;
}

/* Choices in the order of their experts. */
static void sort(int64_t choices, int64_t experts, const int64_t *chosen, int64_t *order, int64_t *begins)
{
    int64_t place = 0;
    for (int64_t e = 0; e < experts; e++) {
        begins[e] = place;
        for (int64_t i = 0; i < choices; i++)
            if (chosen[i] == e)
                order[place++] = i;
    }
    begins[experts] = place;
}

/* The feed-forward part, added to x. */
static void feed(const Shape *m, const Layer *l, int64_t n, const Scratch *s)
{
    const int64_t each = l->router ? m->top_k : 1, width = l->width, hidden = m->hidden;
    const int64_t half = panels(width), gate_up = 2 * half * PANEL * hidden, down = panels(hidden) * PANEL * width;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        rms_norm(s->x + i * hidden, l->post_norm, m->eps, hidden, s->h + i * hidden);
        if (l->router) {
            route(m, l, s->h + i * hidden, s->chosen + i * each, s->weights + i * each);
        } else {
            s->chosen[i] = 0;
            s->weights[i] = 1;
        }
    }
#pragma omp single
    sort(n * each, l->experts, s->chosen, s->order, s->begins);
#pragma omp for schedule(dynamic, 1)
    for (int64_t unit = 0; unit < l->experts * half; unit++) {
        int64_t expert = unit / half, p = unit % half, end = s->begins[expert + 1];
        for (int64_t begin = s->begins[expert]; begin < end; begin += MOST) {
            int64_t rows = least(MOST, end - begin), count = least(PANEL, width - p * PANEL);
            const float *from[MOST];
            float gate[MOST][PANEL], up[MOST][PANEL];
            for (int64_t r = 0; r < rows; r++)
                from[r] = s->h + s->order[begin + r] / each * hidden;
            const float *panel = l->gate_up + expert * gate_up + p * PANEL * hidden;
            multiply(rows, panel, hidden, from, gate);
            multiply(rows, panel + half * PANEL * hidden, hidden, from, up);
            for (int64_t r = 0; r < rows; r++) {
                float weight = s->weights[s->order[begin + r]], *act = s->act + (begin + r) * width + p * PANEL;
#pragma omp simd
                for (int64_t o = 0; o < count; o++)
                    act[o] = gate[r][o] / (1 + exponential(-gate[r][o])) * up[r][o] * weight;
            }
        }
    }
#pragma omp for schedule(dynamic, 1)
    for (int64_t p = 0; p < panels(hidden); p++) {
        int64_t first = p * PANEL, count = least(PANEL, hidden - first);
        for (int64_t expert = 0; expert < l->experts; expert++) {
            int64_t end = s->begins[expert + 1];
            for (int64_t begin = s->begins[expert]; begin < end; begin += MOST) {
                int64_t rows = least(MOST, end - begin);
                const float *from[MOST];
                float result[MOST][PANEL];
                for (int64_t r = 0; r < rows; r++)
                    from[r] = s->act + (begin + r) * width;
                multiply(rows, l->down + expert * down + first * width, width, from, result);
                for (int64_t r = 0; r < rows; r++) {
                    float *x = s->x + s->order[begin + r] / each * hidden + first;
                    for (int64_t o = 0; o < count; o++)
                        x[o] += result[r][o];
                }
            }
        }
    }
}

/* y [N, O] = x [N, I] · matrix. */
void product(const Shape *m, int64_t n, const float *matrix, int64_t depth, int64_t outputs, const float *x, float *y)
{
#pragma omp parallel num_threads((int)m->threads)
    dense(n, matrix, 0, depth, outputs, x, 0, y);
}

/* best[i] = where row i of x [N, I] · matrix is largest, the first of equals; y [N, O] holds the products. */
void best(const Shape *m, int64_t n, const float *matrix, int64_t depth, int64_t outputs, const float *x, float *y,
          int64_t *best)
{
#pragma omp parallel num_threads((int)m->threads)
    {
        dense(n, matrix, 0, depth, outputs, x, 0, y);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            const float *row = y + i * outputs;
            float top = row[0];
#pragma omp simd reduction(max : top)
            for (int64_t o = 0; o < outputs; o++)
                top = row[o] > top ? row[o] : top;
            best[i] = 0;
            while (row[best[i]] != top && best[i] < outputs - 1)
                best[i]++;
        }
    }
}

/* `count` layers, and the norm after them, on scratch->x; the result is in `out` [N, D]. */
static void layers_on(const Shape *m, const Layer *layers, int64_t count, const float *final_norm, int64_t rows,
                      int64_t length, const int64_t *positions, const Scratch *s, float *out)
{
    const int64_t n = rows * length, inner = m->heads * m->head_dim, wide = inner + 2 * m->kv_heads * m->head_dim;
    for (const Layer *l = layers; l < layers + count; l++) {
        norms(m, n, s->x, l->input_norm, s->h);
        dense(n, l->qkv, l->qkv_bias, m->hidden, wide, s->h, 0, s->qkv);
        attend(m, l, rows, length, positions, s->qkv, s->attended);
        dense(n, l->out, l->out_bias, inner, m->hidden, s->attended, s->x, s->x);
        feed(m, l, n, s);
    }
    norms(m, n, s->x, final_norm, out);
}

/* The trunk on the next tokens [N] of each row. */
void run_trunk(const Shape *m, const Layer *layers, int64_t count, const float *final_norm, const float *embedding,
               const int64_t *tokens, int64_t rows, int64_t length, const int64_t *positions, const Scratch *s,
               float *out)
{
#pragma omp parallel num_threads((int)m->threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < rows * length; i++)
            memcpy(s->x + i * m->hidden, embedding + tokens[i] * m->hidden, sizeof(float) * (size_t)m->hidden);
        layers_on(m, layers, count, final_norm, rows, length, positions, s, out);
    }
}

/* The MTP head on pairs of a token [N] and the state [N, D] before it. */
void run_head(const Shape *m, const Head *h, const Layer *layer, const float *embedding, const int64_t *tokens,
              const float *states, int64_t rows, int64_t length, const int64_t *positions, const Scratch *s, float *out)
{
    const int64_t hidden = m->hidden;
#pragma omp parallel num_threads((int)m->threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < rows * length; i++) {
            rms_norm(embedding + tokens[i] * hidden, h->token_norm, m->eps, hidden, s->pairs + 2 * i * hidden);
            rms_norm(states + i * hidden, h->state_norm, m->eps, hidden, s->pairs + (2 * i + 1) * hidden);
        }
        dense(rows * length, h->fc, 0, 2 * hidden, hidden, s->pairs, 0, s->x);
        layers_on(m, layer, 1, h->norm, rows, length, positions, s, out);
    }
}
