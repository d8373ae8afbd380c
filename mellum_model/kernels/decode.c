/* The next few tokens of each row against the cache, in float32 on CPU: one call a step instead of a thousand operations.
 *
 * What a step costs is reading its weights. So each matrix lies in panels of PANEL outputs, a panel is read once for all
 * rows that meet it, and every sum runs over its inputs in order: a row's result does not depend on which other rows are
 * computed with it. Work is divided by output, so no two threads write the same number.
 *
 * Shapes: N = rows · length tokens, D hidden, H heads, K key-value heads, C head dimension, S slots of the cache,
 * E experts, X experts a token, F expert width. A matrix [O, I] is stored [O / PANEL, I, PANEL], padded with zeros.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16, MOST = 6 };
#elif defined(__AVX__)
enum { LANES = 8, MOST = 2 };
#else
enum { LANES = 4, MOST = 4 };
#endif
enum { WIDE = 4, PANEL = LANES * WIDE, TILE = 64 };

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* anywhere in memory */

/* Mirrored, field by field, in compiled.py. */
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
    float *x, *h, *qkv, *attended, *act, *weights; /* [N, D], [N, D], [N, (H + 2K)·C], [N, H·C], [N·X, F], [N, X] */
    int64_t *chosen, *order, *begins;              /* [N, X], [N·X] choices by expert, [E + 1] */
} Scratch;

int64_t panel_width(void) { return PANEL; }

static inline int64_t panels(int64_t outputs) { return (outputs + PANEL - 1) / PANEL; }
static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

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

static inline float dot(const float *a, const float *b, int64_t size)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; i++)
        sum += a[i] * b[i];
    return sum;
}

/* e^x to an ulp or two, in a form that compilers make vectors of; 0 below the smallest normal number. */
static inline float exponential(float x)
{
    float clipped = x < -87.3f ? -87.3f : x > 88.3f ? 88.3f : x;
    float whole = rintf(clipped * 1.442695041f);
    float rest = clipped - whole * 0.693359375f + whole * 2.12194440e-4f; /* ln 2 in two parts */
    float series = 1 + rest + rest * rest * (0.5f + rest * (0.16666665459f + rest * (4.1665795894e-2f
        + rest * (8.3334519073e-3f + rest * (1.3981999507e-3f + rest * 1.9875691500e-4f)))));
    int32_t bits = ((int32_t)whole + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return x < -87.3f ? 0 : series * power;
}

static void rms_norm(const float *x, const float *weight, double eps, int64_t size, float *y)
{
    float scale = 1 / sqrtf(dot(x, x, size) / (float)size + (float)eps);
    for (int64_t i = 0; i < size; i++)
        y[i] = x[i] * scale * weight[i];
}

static void norms(const Shape *m, int64_t n, const float *x, const float *weight, float *y)
{
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n; i++)
        rms_norm(x + i * m->hidden, weight, m->eps, m->hidden, y + i * m->hidden);
}

/* A head's norm and rotation. */
static void turn(const float *x, const float *weight, double eps, const float *cos, const float *sin, int64_t size,
                 float scale, float *y)
{
    float u[size];
    rms_norm(x, weight, eps, size, u);
    int64_t half = size / 2;
    for (int64_t i = 0; i < half; i++) {
        y[i] = (u[i] * cos[i] + u[i + half] * sin[i]) * scale;
        y[i + half] = (u[i + half] * cos[i + half] + u[i] * sin[i + half]) * scale;
    }
}

/* sum [C] = sum · keep + Σ weights[i] · values[i] */
static void gather(int64_t count, const float *weights, const float *values, int64_t size, float keep, float *sum)
{
    int64_t c = 0;
    for (; c + PANEL <= size; c += PANEL) {
        vec part[WIDE];
        for (int b = 0; b < WIDE; b++)
            part[b] = keep * *(loose *)(sum + c + b * LANES);
        for (int64_t i = 0; i < count; i++)
            for (int b = 0; b < WIDE; b++)
                part[b] += weights[i] * *(const loose *)(values + i * size + c + b * LANES);
        for (int b = 0; b < WIDE; b++)
            *(loose *)(sum + c + b * LANES) = part[b];
    }
    for (; c < size; c++) {
        float part = keep * sum[c];
        for (int64_t i = 0; i < count; i++)
            part += weights[i] * values[i * size + c];
        sum[c] = part;
    }
}

/* The query heads of one key-value head at one position: softmax in one pass over the keys, a tile at a time. */
static void look(const Layer *l, int64_t group, int64_t size, const float *q, const float *keys, const float *values,
                 int64_t position, float *out)
{
    float best[group], total[group], score[TILE];
    for (int64_t g = 0; g < group; g++) {
        best[g] = -INFINITY;
        total[g] = 0;
    }
    memset(out, 0, sizeof(float) * (size_t)(group * size));
    int64_t place = l->window && position >= l->window ? position - l->window + 1 : 0;
    for (int64_t count; place <= position; place += count) {
        int64_t slot = place % l->slots;
        count = least(least(TILE, position + 1 - place), l->slots - slot);
        for (int64_t g = 0; g < group; g++) {
            float top = best[g], sum = 0;
            for (int64_t i = 0; i < count; i++) {
                score[i] = dot(q + g * size, keys + (slot + i) * size, size);
                top = score[i] > top ? score[i] : top;
            }
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < count; i++) {
                score[i] = exponential(score[i] - top);
                sum += score[i];
            }
            float keep = exponential(best[g] - top);
            total[g] = total[g] * keep + sum;
            best[g] = top;
            gather(count, score, values + slot * size, size, keep, out + g * size);
        }
    }
    for (int64_t g = 0; g < group; g++)
        for (int64_t c = 0; c < size; c++)
            out[g * size + c] /= total[g];
}

/* Attention of all rows: the tokens' own keys and values are stored first. */
static void attend(const Shape *m, const Layer *l, int64_t rows, int64_t length, const int64_t *positions,
                   const float *qkv, float *out)
{
    const int64_t size = m->head_dim, group = m->heads / m->kv_heads, wide = (m->heads + 2 * m->kv_heads) * size;
#pragma omp for schedule(dynamic, 1)
    for (int64_t unit = 0; unit < rows * m->kv_heads; unit++) {
        int64_t row = unit / m->kv_heads, head = unit % m->kv_heads;
        float *keys = l->keys + unit * l->slots * size, *values = l->values + unit * l->slots * size;
        for (int64_t t = 0; t < length; t++) {
            const float *own = qkv + (row * length + t) * wide + (m->heads + head) * size;
            int64_t place = positions[row] + t, slot = place % l->slots;
            turn(own, l->k_norm, m->eps, l->cos + place * size, l->sin + place * size, size, 1, keys + slot * size);
            memcpy(values + slot * size, own + m->kv_heads * size, sizeof(float) * (size_t)size);
        }
        for (int64_t t = 0; t < length; t++) {
            int64_t token = row * length + t, place = positions[row] + t;
            float q[group * size];
            for (int64_t g = 0; g < group; g++)
                turn(qkv + token * wide + (head * group + g) * size, l->q_norm, m->eps, l->cos + place * size,
                     l->sin + place * size, size, 1 / sqrtf((float)size), q + g * size);
            look(l, group, size, q, keys, values, place, out + (token * m->heads + head * group) * size);
        }
    }
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

/* All layers, and the norm after them, on scratch->x; the result is in `out` [N, D]. */
void run_layers(const Shape *m, const Layer *layers, int64_t count, const float *final_norm, int64_t rows,
                int64_t length, const int64_t *positions, const Scratch *s, float *out)
{
    const int64_t n = rows * length, inner = m->heads * m->head_dim, wide = inner + 2 * m->kv_heads * m->head_dim;
#pragma omp parallel num_threads((int)m->threads)
    {
        for (const Layer *l = layers; l < layers + count; l++) {
            norms(m, n, s->x, l->input_norm, s->h);
            dense(n, l->qkv, l->qkv_bias, m->hidden, wide, s->h, 0, s->qkv);
            attend(m, l, rows, length, positions, s->qkv, s->attended);
            dense(n, l->out, l->out_bias, inner, m->hidden, s->attended, s->x, s->x);
            feed(m, l, n, s);
        }
        norms(m, n, s->x, final_norm, out);
    }
}
