/* Attention of a few tokens of each row over the cache; included by decode.c.
 *
 * Positions are dealt with in tiles that begin at multiples of TILE, and a tile's sums run over the same places whoever
 * sees them, with what a query does not see weighted zero. So a token's result is the same to the bit whether it is
 * computed alone or with others of its row, and in whatever slots of a ring its keys happen to lie.
 */
#pragma once

enum { TILE = 256, TOGETHER = 8 }; /* positions of a tile; tokens of a row that share a pass over the keys */
#if defined(__AVX512F__)
enum { SHARED = 4 }; /* queries that a key or a value is read for at once */
#else
enum { SHARED = 2 };
#endif

#if defined(__clang__)
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIX(a, b, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
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
static inline __attribute__((always_inline)) vec sums(const vec *v)
{
    vec half[LANES / 2];
#pragma GCC unroll 8
    for (int i = 0; i < LANES / 2; i++)
        half[i] = MIX(v[i], v[i + LANES / 2], FRONTS) + MIX(v[i], v[i + LANES / 2], BACKS);
#pragma GCC unroll 4
    for (int left = LANES / 4; left > 0; left /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < left; i++)
            half[i] = MIX(half[i], half[i + left], FRONTS) + MIX(half[i], half[i + left], BACKS);
    return half[0];
}

/* A head's keys and values of a row, and those to ask for meanwhile: what comes from memory while others are computed
 * with costs nothing, and a processor guesses only at what follows next. */
typedef struct {
    const float *keys, *values, *next_keys, *next_values;
} Past;

static inline __attribute__((always_inline)) void ask(const float *from, int64_t size)
{
    for (int64_t c = 0; c < size; c += LINE)
        __builtin_prefetch(from + c, 0, 2);
}

/* score[n][i] = q n · key i for LANES keys. Numbers are constants where this is expanded for what is common. */
static inline __attribute__((always_inline)) void compare(
    const int queries, const int64_t size, const float *q, const float *keys, const int64_t *slots, float (*score)[TILE])
{
    vec part[SHARED][LANES];
#pragma GCC unroll 16
    for (int j = 0; j < LANES; j++) {
        const float *key = keys + slots[j] * size;
        vec sum[SHARED];
#pragma GCC unroll 4
        for (int n = 0; n < queries; n++)
            sum[n] = *(const loose *)(q + n * size) * *(const loose *)key;
#pragma GCC unroll 8
        for (int64_t c = LANES; c < size; c += LANES)
#pragma GCC unroll 4
            for (int n = 0; n < queries; n++)
                sum[n] += *(const loose *)(q + n * size + c) * *(const loose *)(key + c);
#pragma GCC unroll 4
        for (int n = 0; n < queries; n++)
            part[n][j] = sum[n];
    }
#pragma GCC unroll 4
    for (int n = 0; n < queries; n++)
        *(loose *)score[n] = sums(part[n]);
}

/* The same for the places first … end - 1 of a tile and what fills their vectors up. */
static inline __attribute__((always_inline)) void scores(
    const int queries, int64_t size, const float *q, const float *keys, const float *next, const int64_t *slots,
    int64_t first, int64_t end, float (*score)[TILE])
{
    for (int64_t i = first - first % LANES; i < end; i += LANES) {
        float(*own)[TILE] = (float(*)[TILE])(score[0] + i);
        for (int64_t j = 0; j < LANES; j++)
            ask(next + slots[i + j] * size, size);
        if (size == 64)
            compare(queries, 64, q, keys, slots + i, own);
        else if (size == 128)
            compare(queries, 128, q, keys, slots + i, own);
        else if (size % LANES == 0)
            compare(queries, size, q, keys, slots + i, own);
        else
            for (int n = 0; n < queries; n++)
                for (int64_t j = 0; j < LANES; j++)
                    own[n][j] = dot(q + n * size, keys + slots[i + j] * size, size);
    }
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

/* As many numbers as there are and a vector holds. */
static inline vec some(const float *from, int64_t count)
{
    vec v = {0};
    if (count >= LANES)
        return *(const loose *)from;
    memcpy(&v, from, sizeof(float) * (size_t)count);
    return v;
}

/* sum[n] [C] = sum[n] · keep[n] + Σ weights[n][i] · values[slots[i]], i from first to end - 1. */
static inline __attribute__((always_inline)) void mixed(
    const int queries, int64_t first, int64_t end, float (*weights)[TILE], const float *values, const float *next,
    const int64_t *slots, int64_t size, const float *keep, float *const *sum)
{
    int64_t c = 0;
    for (; c + PANEL <= size; c += PANEL) {
        vec part[SHARED][WIDE];
        for (int n = 0; n < queries; n++)
            for (int b = 0; b < WIDE; b++)
                part[n][b] = keep[n] * *(loose *)(sum[n] + c + b * LANES);
        for (int64_t i = first; i < end; i++) {
            vec value[WIDE];
#pragma GCC unroll 4
            for (int b = 0; b < WIDE; b++)
                value[b] = *(const loose *)(values + slots[i] * size + c + b * LANES);
            ask(next + slots[i] * size + c, PANEL);
#pragma GCC unroll 4
            for (int n = 0; n < queries; n++)
#pragma GCC unroll 4
                for (int b = 0; b < WIDE; b++)
                    part[n][b] += weights[n][i] * value[b];
        }
        for (int n = 0; n < queries; n++)
            for (int b = 0; b < WIDE; b++)
                *(loose *)(sum[n] + c + b * LANES) = part[n][b];
    }
    for (; c < size; c += LANES) /* in vectors too: of single numbers a compiler may make sums that round otherwise */
        for (int n = 0; n < queries; n++) {
            vec part = keep[n] * some(sum[n] + c, size - c);
            for (int64_t i = first; i < end; i++)
                part += weights[n][i] * some(values + slots[i] * size + c, size - c);
            memcpy(sum[n] + c, &part, sizeof(float) * (size_t)least(LANES, size - c));
        }
}

/* What a few queries see of a tile, each of them from[n] … to[n] - 1, all together first … end - 1. */
static inline __attribute__((always_inline)) void look(
    const int queries, int64_t size, const float *q, const Past *past, const int64_t *slots, int64_t first, int64_t end,
    const int64_t *from, const int64_t *to, float *best, float *total, float *const *sum)
{
    float score[SHARED][TILE], keep[SHARED];
    scores(queries, size, q, past->keys, past->next_keys, slots, first, end, score);
    for (int n = 0; n < queries; n++)
        keep[n] = weigh(TILE, score[n], from[n], to[n], best + n, total + n);
    mixed(queries, first, end, score, past->values, past->next_values, slots, size, keep, sum);
}

/* The query heads of one key-value head for `count` tokens of a row from `position` on: out [count, G·C] of their
 * queries, keys and values [count, (G + 2)·C, padded]. Rows of out lie `across` floats apart. */
static void view(const Shape *m, const Layer *l, int64_t position, int64_t count, const float *qkv, const Past *past,
                 float *out, int64_t across)
{
    const int64_t size = m->head_dim, group = m->heads / m->kv_heads, wide = padded((group + 2) * size);
    const int64_t queries = count * group, last = position + count - 1;
    const int64_t begin = l->window && position >= l->window ? position - l->window + 1 : 0;
    float q[queries * size], best[queries], total[queries], *sum[queries];
    int64_t from[queries], to[queries];
    for (int64_t i = 0; i < queries; i++) {
        int64_t t = i / group, place = position + t;
        turn(qkv + t * wide + i % group * size, l->q_norm, m->eps, l->cos + place * size, l->sin + place * size, size,
             1 / sqrtf((float)size), q + i * size);
        best[i] = -INFINITY;
        total[i] = 0;
        sum[i] = out + t * across + i % group * size;
        memset(sum[i], 0, sizeof(float) * (size_t)size);
    }
    for (int64_t base = begin - begin % TILE; base <= last; base += TILE) {
        int64_t slots[TILE], low = begin > base ? begin - base : 0, high = least(TILE, last + 1 - base);
        const int64_t slot = (base + low) % l->slots, all = l->slots;
        for (int64_t i = 0; i < TILE; i++) { /* what nobody sees is read as the first or last place that somebody does */
            int64_t place = slot + (i < low ? 0 : i < high ? i - low : high - 1 - low);
            slots[i] = place < all ? place : place - all;
        }
        for (int64_t i = 0; i < queries; i++) {
            int64_t place = position + i / group, oldest = l->window && place >= l->window ? place - l->window + 1 : 0;
            from[i] = oldest > base ? oldest - base : 0;
            to[i] = least(TILE, place + 1 - base);
        }
#define LOOK(N) \
    look(N, size, q + i * size, past, slots, low, high, from + i, to + i, best + i, total + i, sum + i)
        for (int64_t i = 0, few; i < queries; i += few) {
            few = queries - i >= SHARED ? SHARED : queries - i >= 2 ? 2 : 1;
            if (few == 1)
                LOOK(1);
            else if (few == 2)
                LOOK(2);
            else
                LOOK(SHARED);
        }
#undef LOOK
    }
    for (int64_t i = 0; i < queries; i++) {
        const float share = 1 / total[i];
        for (int64_t c = 0; c < size; c++)
            sum[i][c] *= share;
    }
}

/* Where a head's keys and values of a row begin in the cache. */
static inline int64_t store(const Shape *m, const Layer *l, int64_t row, int64_t head)
{
    return ((m->first + row) * m->kv_heads + head) * l->slots * m->head_dim;
}

/* Store a token's key and value of one head, whose queries, key and value are given. */
static void keep(const Shape *m, const Layer *l, int64_t row, int64_t head, int64_t place, const float *qkv)
{
    const int64_t size = m->head_dim, to = store(m, l, row, head) + place % l->slots * size;
    const float *key = qkv + m->heads / m->kv_heads * size;
    turn(key, l->k_norm, m->eps, l->cos + place * size, l->sin + place * size, size, 1, l->keys + to);
    memcpy(l->values + to, key + size, sizeof(float) * (size_t)size);
}
