/* Vectors as wide as the processor's, and what is computed with them everywhere. */
#pragma once

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
enum { WIDE = 4, PANEL = LANES * WIDE, LINE = 16 }; /* LINE: floats of a cache line */
enum { GROUP = 24, BLOCK = 64 }; /* rows that share a pass over a panel, and inputs of it that stay in the nearest cache */

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* anywhere in memory */
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

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

/* a where all bits of a lane are set, b where none is. */
static inline vec pick(ints where, vec a, vec b) { return (vec)(((ints)a & where) | ((ints)b & ~where)); }

/* e^x of each lane, as `exponential` has it: that one a compiler may leave a number at a time. */
static inline vec exponentials(vec x)
{
    const ints above = x > -87.3f; /* all bits where true */
    x = pick(above, pick(x < 88.3f, x, (vec){0} + 88.3f), (vec){0});
    vec whole = (x * 1.442695041f + 12582912.0f) - 12582912.0f; /* 1.5 · 2^23: what is added is rounded to whole */
    vec rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    vec series = 1 + rest + rest * rest * (0.5f + rest * (0.16666665459f + rest * (4.1665795894e-2f
        + rest * (8.3334519073e-3f + rest * (1.3981999507e-3f + rest * 1.9875691500e-4f)))));
    ints power = (__builtin_convertvector(whole, ints) + 127) << 23;
    return pick(above, series * (vec)power, (vec){0});
}

/* The number of each lane. */
static inline ints numbers(void)
{
    ints v;
    for (int j = 0; j < LANES; j++)
        v[j] = j;
    return v;
}

static inline float largest(vec v)
{
    float lanes[LANES], top = -INFINITY;
    memcpy(lanes, &v, sizeof lanes);
#pragma omp simd reduction(max : top)
    for (int j = 0; j < LANES; j++)
        top = lanes[j] > top ? lanes[j] : top;
    return top;
}

static inline float added(vec v)
{
    float lanes[LANES], sum = 0;
    memcpy(lanes, &v, sizeof lanes);
#pragma omp simd reduction(+ : sum)
    for (int j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

/* Softmax as it runs on over tiles of `size` scores, of which a query sees first … end - 1: scores become weights, best
 * and sum are brought up to date, and what was summed up before is to be multiplied by the result. */
static inline __attribute__((always_inline)) float weigh(
    const int64_t size, float *score, int64_t first, int64_t end, float *best, float *sum)
{
    if (first >= end) {
        memset(score, 0, sizeof(float) * (size_t)size);
        return 1;
    }
    const int64_t low = first - first % LANES;
    vec top = (vec){0} + *best, part = {0};
    for (int64_t i = low; i < end; i += LANES) {
        vec own = *(const loose *)(score + i);
        if (i < first || i + LANES > end) {
            ints here = numbers() + (int32_t)i;
            own = pick((here >= (int32_t)first) & (here < (int32_t)end), own, (vec){0} - INFINITY);
            *(loose *)(score + i) = own;
        }
        top = pick(own > top, own, top);
    }
    const float above = largest(top), keep = exponential(*best - above);
    for (int64_t i = 0; i < size; i += LANES) {
        vec weight = {0};
        if (i >= low && i < end) /* outside all are zero: adding them would change nothing */
            weight = exponentials(*(const loose *)(score + i) - above);
        *(loose *)(score + i) = weight;
        part += weight;
    }
    *sum = *sum * keep + added(part);
    *best = above;
    return keep;
}
