/* Attention of a few tokens of each row over the cache; included by decode.c, whose Shape and Layer it uses.
 *
 * Positions are dealt with in tiles that begin at multiples of TILE, and a tile's sums always run over all of it, with
 * what a query does not see weighted zero. So a token's result is the same to the bit whether it is computed alone or
 * with others of its row, and in whatever slots of a ring its keys happen to lie.
 */
#pragma once

enum { TILE = 64, TOGETHER = 8 }; /* positions of a tile; tokens of a row that share a pass over the keys */

#if defined(__clang__)
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t picks __attribute__((vector_size(4 * LANES)));
#define MIX(a, b, ...) __builtin_shuffle(a, b, (picks){__VA_ARGS__})
#endif
#if defined(__AVX512F__)
#define FRONTS 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define BACKS 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif defined(__AVX__)
#define FRONTS 0, 8, 1, 9, 2, 10, 3, 11
#define BACKS 4, 12, 5, 13, 6, 14, 7, 15
#else
#define FRONTS 0, 4, 1, 5
#define BACKS 2, 6, 3, 7
#endif

/* Lane i of the result is the sum of all lanes of v[i]. */
static inline __attribute__((always_inline)) vec sums(vec *v)
{
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++)
            v[i] = MIX(v[i], v[i + half], FRONTS) + MIX(v[i], v[i + half], BACKS);
    return v[0];
}

/* score[i] = q · key i from place first to end - 1 of a tile, and for what fills their vectors up. `size` is a constant
 * where this is expanded for common heads. */
static inline __attribute__((always_inline)) void compare(
    const int64_t size, const float *q, const float *keys, const int64_t *slots, int64_t first, int64_t end, float *score)
{
    for (int64_t i = first - first % LANES; i < end; i += LANES) {
        vec part[LANES];
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++) {
            const float *key = keys + slots[i + j] * size;
            part[j] = *(const loose *)q * *(const loose *)key;
#pragma GCC unroll 8
            for (int64_t c = LANES; c < size; c += LANES)
                part[j] += *(const loose *)(q + c) * *(const loose *)(key + c);
        }
        *(loose *)(score + i) = sums(part);
    }
}

static void scores(int64_t size, const float *q, const float *keys, const int64_t *slots, int64_t first, int64_t end,
                   float *score)
{
    if (size == 64)
        compare(64, q, keys, slots, first, end, score);
    else if (size == 128)
        compare(128, q, keys, slots, first, end, score);
    else if (size % LANES == 0)
        compare(size, q, keys, slots, first, end, score);
    else
        for (int64_t i = first; i < end; i++)
            score[i] = dot(q, keys + slots[i] * size, size);
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

/* sum [C] = sum · keep + Σ weights[i] · values[slots[i]], i from first to end - 1 */
static void gather(int64_t first, int64_t end, const float *weights, const float *values, const int64_t *slots,
                   int64_t size, float keep, float *sum)
{
    int64_t c = 0;
    for (; c + PANEL <= size; c += PANEL) {
        vec part[WIDE];
        for (int b = 0; b < WIDE; b++)
            part[b] = keep * *(loose *)(sum + c + b * LANES);
        for (int64_t i = first; i < end; i++)
            for (int b = 0; b < WIDE; b++)
                part[b] += weights[i] * *(const loose *)(values + slots[i] * size + c + b * LANES);
        for (int b = 0; b < WIDE; b++)
            *(loose *)(sum + c + b * LANES) = part[b];
    }
    for (; c < size; c++) {
        float part = keep * sum[c];
        for (int64_t i = first; i < end; i++)
            part += weights[i] * values[slots[i] * size + c];
        sum[c] = part;
    }
}

/* One query against one tile, of which it sees the places from first to end - 1; best and total are softmax's so far. */
static void look(int64_t size, const float *q, const float *keys, const float *values, const int64_t *slots,
                 int64_t first, int64_t end, float *best, float *total, float *out)
{
    float score[TILE], tops[LANES], top = *best, sum = 0;
    scores(size, q, keys, slots, first, end, score);
    for (int64_t i = 0; i < first; i++)
        score[i] = -INFINITY;
    for (int64_t i = end; i < TILE; i++)
        score[i] = -INFINITY;
    memcpy(tops, score, sizeof tops);
    for (int64_t i = LANES; i < TILE; i += LANES)
        for (int j = 0; j < LANES; j++)
            tops[j] = score[i + j] > tops[j] ? score[i + j] : tops[j];
    for (int j = 0; j < LANES; j++)
        top = tops[j] > top ? tops[j] : top;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < TILE; i++) {
        score[i] = exponential(score[i] - top);
        sum += score[i];
    }
    float keep = exponential(*best - top);
    *total = *total * keep + sum;
    *best = top;
    gather(first, end, score, values, slots, size, keep, out);
}

/* The query heads of one key-value head for `count` tokens from `position` on: out [count, H, C] at this head. */
static void view(const Shape *m, const Layer *l, int64_t head, int64_t position, int64_t count, const float *qkv,
                 const float *keys, const float *values, float *out)
{
    const int64_t size = m->head_dim, group = m->heads / m->kv_heads, wide = (m->heads + 2 * m->kv_heads) * size;
    float q[count * group * size], best[count * group], total[count * group];
    for (int64_t t = 0; t < count; t++)
        for (int64_t g = 0; g < group; g++) {
            int64_t place = position + t, i = t * group + g;
            turn(qkv + t * wide + (head * group + g) * size, l->q_norm, m->eps, l->cos + place * size,
                 l->sin + place * size, size, 1 / sqrtf((float)size), q + i * size);
            best[i] = -INFINITY;
            total[i] = 0;
            memset(out + (t * m->heads + head * group + g) * size, 0, sizeof(float) * (size_t)size);
        }
    int64_t last = position + count - 1, begin = l->window && position >= l->window ? position - l->window + 1 : 0;
    for (int64_t base = begin - begin % TILE; base <= last; base += TILE) {
        int64_t slots[TILE], low = begin > base ? begin - base : 0, high = least(TILE, last + 1 - base);
        int64_t slot = (base + low) % l->slots;
        for (int64_t i = 0; i < TILE; i++) { /* what nobody sees is read as the first or last place that somebody does */
            slots[i] = slot;
            if (i >= low && i < high - 1)
                slot = slot + 1 == l->slots ? 0 : slot + 1;
        }
        for (int64_t t = 0; t < count; t++) {
            int64_t place = position + t, from = l->window && place >= l->window ? place - l->window + 1 : 0;
            int64_t first = from > base ? from - base : 0, end = least(TILE, place + 1 - base);
            if (first >= end)
                continue;
            for (int64_t g = 0; g < group; g++) {
                int64_t i = t * group + g;
                look(size, q + i * size, keys, values, slots, first, end, best + i, total + i,
                     out + (t * m->heads + head * group + g) * size);
            }
        }
    }
    for (int64_t t = 0; t < count; t++)
        for (int64_t g = 0; g < group; g++)
            for (int64_t c = 0; c < size; c++)
                out[(t * m->heads + head * group + g) * size + c] /= total[t * group + g];
}

/* Attention of all rows: the tokens' own keys and values are stored first. */
static void attend(const Shape *m, const Layer *l, int64_t rows, int64_t length, const int64_t *positions,
                   const float *qkv, float *out)
{
    const int64_t size = m->head_dim, wide = (m->heads + 2 * m->kv_heads) * size;
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
        for (int64_t t = 0; t < length; t += TOGETHER)
            view(m, l, head, positions[row] + t, least(TOGETHER, length - t), qkv + (row * length + t) * wide, keys,
                 values, out + (row * length + t) * m->heads * size);
    }
}
