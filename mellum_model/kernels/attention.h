/* Attention of a few tokens of each row over the cache; included by decode.c, whose Shape and Layer it uses.
 *
 * Positions are dealt with in tiles that begin at multiples of TILE, and a tile's sums always run over all of it, with
 * what a query does not see weighted zero. So a token's result is the same to the bit whether it is computed alone or
 * with others of its row, and in whatever slots of a ring its keys happen to lie.
 */
#pragma once

enum { TILE = 64, TOGETHER = 8 }; /* positions of a tile; tokens of a row that share a pass over the keys */
#if defined(__AVX512F__)
enum { SHARED = 4 }; /* queries that a value is read for at once */
#else
enum { SHARED = 2 };
#endif

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

/* score[i] = q · key i for LANES keys. `size` is a constant where this is expanded for common heads. */
static inline __attribute__((always_inline)) void compare(
    const int64_t size, const float *q, const float *keys, const int64_t *slots, float *score)
{
    vec part[LANES];
#pragma GCC unroll 16
    for (int j = 0; j < LANES; j++) {
        const float *key = keys + slots[j] * size;
        part[j] = *(const loose *)q * *(const loose *)key;
#pragma GCC unroll 8
        for (int64_t c = LANES; c < size; c += LANES)
            part[j] += *(const loose *)(q + c) * *(const loose *)(key + c);
    }
    *(loose *)score = sums(part);
}

/* The same for several queries, for the places first … end - 1 of a tile and what fills their vectors up. */
static void scores(int64_t size, int64_t queries, const float *q, const float *keys, const int64_t *slots,
                   int64_t first, int64_t end, float (*score)[TILE])
{
    for (int64_t i = first - first % LANES; i < end; i += LANES)
        for (int64_t n = 0; n < queries; n++) {
            const float *own = q + n * size;
            if (size == 64)
                compare(64, own, keys, slots + i, score[n] + i);
            else if (size == 128)
                compare(128, own, keys, slots + i, score[n] + i);
            else if (size % LANES == 0)
                compare(size, own, keys, slots + i, score[n] + i);
            else
                for (int64_t j = i; j < i + LANES; j++)
                    score[n][j] = dot(own, keys + slots[j] * size, size);
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

/* sum[n] [C] = sum[n] · keep[n] + Σ weights[n][i] · values[slots[i]], i from first to end - 1, for a few queries, whose
 * number is a constant where this is expanded: a value is read once for all of them. */
static inline __attribute__((always_inline)) void mixed(
    const int queries, int64_t first, int64_t end, float (*weights)[TILE], const float *values, const int64_t *slots,
    int64_t size, const float *keep, float *const *sum)
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

static void mix(int64_t queries, int64_t first, int64_t end, float (*weights)[TILE], const float *values,
                const int64_t *slots, int64_t size, const float *keep, float *const *sum)
{
    switch (queries) {
    case 1: mixed(1, first, end, weights, values, slots, size, keep, sum); break;
    case 2: mixed(2, first, end, weights, values, slots, size, keep, sum); break;
#if defined(__AVX512F__)
    case 3: mixed(3, first, end, weights, values, slots, size, keep, sum); break;
    case 4: mixed(4, first, end, weights, values, slots, size, keep, sum); break;
#endif
    }
}

/* Ask for `count` slots of a row's keys or values: they come from memory while others are
 * computed with. Processors guess at such reads themselves, but not before a few of them have been made. */
static void fetch(const float *store, int64_t size, int64_t slot, int64_t slots, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        for (int64_t c = 0; c < size; c += LINE)
            __builtin_prefetch(store + slot * size + c, 0, 2);
        slot = slot + 1 == slots ? 0 : slot + 1;
    }
}

/* The query heads of one key-value head for `count` tokens from `position` on: out [count, H, C] at this head. */
static void view(const Shape *m, const Layer *l, int64_t head, int64_t position, int64_t count, const float *qkv,
                 const float *keys, const float *values, float *out)
{
    const int64_t size = m->head_dim, group = m->heads / m->kv_heads, wide = (m->heads + 2 * m->kv_heads) * size;
    const int64_t queries = count * group, last = position + count - 1;
    const int64_t begin = l->window && position >= l->window ? position - l->window + 1 : 0;
    float q[queries * size], score[queries][TILE], best[queries], total[queries], keep[queries], *sum[queries];
    fetch(keys, size, begin % l->slots, l->slots, least(last + 1, begin - begin % TILE + TILE) - begin);
    for (int64_t i = 0; i < queries; i++) {
        int64_t t = i / group, place = position + t, own = head * group + i % group;
        turn(qkv + t * wide + own * size, l->q_norm, m->eps, l->cos + place * size, l->sin + place * size, size,
             1 / sqrtf((float)size), q + i * size);
        best[i] = -INFINITY;
        total[i] = 0;
        sum[i] = out + (t * m->heads + own) * size;
        memset(sum[i], 0, sizeof(float) * (size_t)size);
    }
    for (int64_t base = begin - begin % TILE; base <= last; base += TILE) {
        int64_t slots[TILE], low = begin > base ? begin - base : 0, high = least(TILE, last + 1 - base);
        int64_t slot = (base + low) % l->slots;
        fetch(values, size, slot, l->slots, high - low);
        if (base + TILE <= last)
            fetch(keys, size, (base + TILE) % l->slots, l->slots, least(TILE, last + 1 - base - TILE));
        for (int64_t i = 0; i < TILE; i++) { /* what nobody sees is read as the first or last place that somebody does */
            slots[i] = slot;
            if (i >= low && i < high - 1)
                slot = slot + 1 == l->slots ? 0 : slot + 1;
        }
        scores(size, queries, q, keys, slots, low, high, score);
        for (int64_t i = 0; i < queries; i++) {
            int64_t place = position + i / group, from = l->window && place >= l->window ? place - l->window + 1 : 0;
            int64_t first = from > base ? from - base : 0, end = least(TILE, place + 1 - base);
            keep[i] = weigh(TILE, score[i], first, end, best + i, total + i);
        }
        for (int64_t i = 0; i < queries; i += SHARED)
            mix(least(SHARED, queries - i), low, high, score + i, values, slots, size, keep + i, sum + i);
    }
    for (int64_t i = 0; i < queries; i++)
        for (int64_t c = 0; c < size; c++)
            sum[i][c] /= total[i];
}

/* Store a token's key and value of one head, whose qkv is given, in its row's cache. */
static void keep(const Shape *m, const Layer *l, int64_t row, int64_t head, int64_t place, const float *qkv)
{
    const int64_t size = m->head_dim, slot = ((m->first + row) * m->kv_heads + head) * l->slots + place % l->slots;
    const float *own = qkv + (m->heads + head) * size;
    turn(own, l->k_norm, m->eps, l->cos + place * size, l->sin + place * size, size, 1, l->keys + slot * size);
    memcpy(l->values + slot * size, own + m->kv_heads * size, sizeof(float) * (size_t)size);
}

/* Attention of all rows: the tokens' own keys and values are stored first. */
static void attend(const Shape *m, const Layer *l, int64_t rows, int64_t length, const int64_t *positions,
                   const float *qkv, float *out)
{
    const int64_t size = m->head_dim, wide = (m->heads + 2 * m->kv_heads) * size;
#pragma omp for schedule(static, 1)
    for (int64_t unit = 0; unit < rows * m->kv_heads; unit++) {
        int64_t row = unit / m->kv_heads, head = unit % m->kv_heads;
        int64_t store = (m->first * m->kv_heads + unit) * l->slots * size;
        for (int64_t t = 0; t < length; t++)
            keep(m, l, row, head, positions[row] + t, qkv + (row * length + t) * wide);
        for (int64_t t = 0; t < length; t += TOGETHER)
            view(m, l, head, positions[row] + t, least(TOGETHER, length - t), qkv + (row * length + t) * wide,
                 l->keys + store, l->values + store, out + (row * length + t) * m->heads * size);
    }
}
