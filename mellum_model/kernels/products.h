/* Products of a few rows with a matrix in panels; included by decode.c.
 *
 * What a step costs is reading its weights, so a panel is read once for all rows that meet it. Every sum runs over its
 * inputs in order: a row's result does not depend on which other rows are computed with it.
 */
#pragma once

static inline int64_t panels(int64_t outputs) { return (outputs + PANEL - 1) / PANEL; }

/* Floats of a row of `outputs` that has room for whole panels. */
static inline int64_t padded(int64_t outputs) { return panels(outputs) * PANEL; }

/* y[r] [PANEL] = panel · x[r], added to what is there if `onto`, for few rows, whose number is a constant wherever this
 * is expanded: sums then stay in registers. `ahead` asks for as much of the matrix as this reads, BLOCK inputs further
 * on. */
static inline __attribute__((always_inline)) void tile(
    const int rows, const float *panel, int64_t first, int64_t depth, const float *const *x, float *const *y,
    const int64_t onto, const int ahead)
{
    vec sum[MOST][WIDE];
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < WIDE; b++)
            sum[r][b] = onto ? (vec) * (const loose *)(y[r] + b * LANES) : (vec){0};
    for (int64_t d = first; d < first + depth; d++, panel += PANEL) {
        vec weight[WIDE];
#pragma GCC unroll 4
        for (int b = 0; b < WIDE; b++)
            weight[b] = *(const loose *)(panel + b * LANES);
#if defined(__AVX512F__)
        for (int b = 0; b < WIDE; b++)
            __asm__("" : "+v"(weight[b])); /* lest it be read anew for every row */
#endif
        for (int b = 0; ahead && b < PANEL; b += LINE)
            __builtin_prefetch(panel + BLOCK * PANEL + b, 0, 2);
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

static inline __attribute__((always_inline)) void tiles(
    int64_t rows, const float *panel, int64_t first, int64_t depth, const float *const *x, float *const *y,
    const int64_t onto, const int ahead)
{
    switch (rows) {
    case 1: tile(1, panel, first, depth, x, y, onto, ahead); break;
    case 2: tile(2, panel, first, depth, x, y, onto, ahead); break;
#if !defined(__AVX__) || defined(__AVX512F__)
    case 3: tile(3, panel, first, depth, x, y, onto, ahead); break;
    case 4: tile(4, panel, first, depth, x, y, onto, ahead); break;
#endif
#if defined(__AVX512F__)
    case 5: tile(5, panel, first, depth, x, y, onto, ahead); break;
    case 6: tile(6, panel, first, depth, x, y, onto, ahead); break;
#endif
    }
}

/* y[r] = panel · x[r] for at most GROUP rows, added to what is there if `onto`.
 *
 * More than MOST take turns at a block of inputs, which the first of them reads from memory and the rest from the
 * nearest cache; meanwhile the next block is asked for, so that memory is not idle. */
static void multiply(int64_t rows, const float *panel, int64_t depth, const float *const *x, float *const *y, int64_t onto)
{
    if (rows <= MOST) {
        tiles(rows, panel, 0, depth, x, y, onto, 0);
        return;
    }
    int64_t turns = (rows + MOST - 1) / MOST, each = (rows + turns - 1) / turns;
    for (int64_t first = 0; first < depth; first += BLOCK, panel += BLOCK * PANEL, onto = 1) {
        int64_t block = least(BLOCK, depth - first);
        tiles(each, panel, first, block, x, y, onto, 0);
        tiles(least(each, rows - each), panel, first, block, x + each, y + each, onto, 1);
        for (int64_t r = 2 * each; r < rows; r += each)
            tiles(least(each, rows - r), panel, first, block, x + r, y + r, onto, 0);
    }
}

/* y [n, padded(outputs)] = x [n, depth] · some inputs of a matrix, whose panels lie `apart` floats from one another.
 * Rows of x and y lie across_x and across_y floats apart. */
static void product(int64_t n, const float *matrix, int64_t apart, int64_t depth, int64_t outputs, const float *x,
                    int64_t across_x, float *y, int64_t across_y)
{
    for (int64_t panel = 0; panel < panels(outputs); panel++)
        for (int64_t begin = 0; begin < n; begin += GROUP) {
            int64_t rows = least(GROUP, n - begin);
            const float *from[GROUP];
            float *to[GROUP];
            for (int64_t r = 0; r < rows; r++) {
                from[r] = x + (begin + r) * across_x;
                to[r] = y + (begin + r) * across_y + panel * PANEL;
            }
            multiply(rows, matrix + panel * apart, depth, from, to, 0);
        }
}
