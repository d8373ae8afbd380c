/* The next few tokens of each row against the cache, in float32 on CPU: one call a step instead of a thousand operations.
 *
 * What a step costs is reading its weights. So each matrix lies in panels of PANEL outputs, a panel is read once for all
 * rows that meet it, and every sum runs over its inputs in order: a row's result does not depend on which other rows are
 * computed with it. Work is divided by output, so no two threads write the same number, and always in the same way, so
 * that a thread finds in its core's cache what is still there of the step before.
 *
 * Shapes: N = rows · length tokens, D hidden, H heads, K key-value heads, C head dimension, S slots of the cache,
 * E experts, X experts a token, F expert width. A matrix [O, I] is stored [O / PANEL, I, PANEL], padded with zeros.
 */
#include "vectors.h"

/* Mirrored, field by field, in structures.py. */
typedef struct {
    int64_t hidden, heads, kv_heads, head_dim, top_k, normalise, threads;
    int64_t first; /* row of the cache that is row 0 here */
    double eps;
} Shape;

typedef struct {
    const float *input_norm, *qkv, *qkv_bias, *q_norm, *k_norm, *out, *out_bias, *post_norm;
    const float *router;         /* [E, D], not in panels; none in a dense layer, which is its only expert */
    const float *gate_up, *down; /* of each expert a panel of gate, one of up, and so on; of each panel all experts */
    int64_t experts, width;
    float *keys, *values;    /* [R, K, S, C] */
    const float *cos, *sin; /* [positions, C]; sin carries the sign of the half it is added to */
    int64_t slots, window;  /* window 0: all is seen */
} Layer;

typedef struct {
    const float *token_norm, *state_norm, *fc, *norm; /* of the MTP head, beside its layer */
} Head;

typedef struct {
    const Layer *layers; /* `count` of the trunk, then the MTP head's if there is one */
    int64_t count;
    const float *norm, *embedding, *out; /* out [vocabulary, D], in panels */
    int64_t vocabulary;
    Head head;
} Model;

typedef struct {
    int64_t rows, drafts;
    const int64_t *positions; /* [R] of the next token, which is not in the cache yet */
    int64_t *tokens;          /* [R, 1 + drafts]: given the next one, the drafts are added */
    int64_t *wanted;          /* [R, 1 + drafts] the best token after each of these */
    float *states, *logits;   /* [R, 1 + drafts, D] and [.., vocabulary] of them */
    float *drafted;           /* [R, D] the MTP head's own */
} Round;

typedef struct {
    int64_t width, reach;         /* most pairs of a row; states of a row in `states` */
    const int64_t *counts;        /* [R] pairs of each row, at least one; the last is at positions[row] - 1 */
    const int64_t *tokens;        /* [R, width] */
    const float *states;          /* [R, reach, D], the state before each of these tokens */
} Pairs;

typedef struct {
    float *x, *h, *qkv, *attended, *act, *weights; /* [N, D], [N, D], [N, (H + 2K)·C], [N, H·C], [N·X, F], [N, X] */
    float *pairs;                                  /* [N, 2D] */
    int64_t *chosen, *order, *begins;              /* [N, X], [N·X] choices by expert, [E + 1] */
} Scratch;

#include "attention.h"

int64_t panel_width(void) { return PANEL; }

static inline int64_t panels(int64_t outputs) { return (outputs + PANEL - 1) / PANEL; }

/* y[r] += panel · x[r] from input `first` on, for few rows, whose number is a constant wherever this is expanded: sums
 * then stay in registers. `ahead` asks for as much of the matrix as this reads, BLOCK inputs further on. */
static inline __attribute__((always_inline)) void tile(
    const int rows, const float *panel, int64_t first, int64_t depth, const float *const *x, float (*y)[PANEL],
    const int ahead)
{
    vec sum[MOST][WIDE];
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < WIDE; b++)
            sum[r][b] = *(const loose *)(y[r] + b * LANES);
    panel += first * PANEL;
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
    int64_t rows, const float *panel, int64_t first, int64_t depth, const float *const *x, float (*y)[PANEL],
    const int ahead)
{
    switch (rows) {
    case 1: tile(1, panel, first, depth, x, y, ahead); break;
    case 2: tile(2, panel, first, depth, x, y, ahead); break;
#if !defined(__AVX__) || defined(__AVX512F__)
    case 3: tile(3, panel, first, depth, x, y, ahead); break;
    case 4: tile(4, panel, first, depth, x, y, ahead); break;
#endif
#if defined(__AVX512F__)
    case 5: tile(5, panel, first, depth, x, y, ahead); break;
    case 6: tile(6, panel, first, depth, x, y, ahead); break;
#endif
    }
}

/* y[r] = panel · x[r] for at most GROUP rows.
 *
 * More than MOST take turns at a block of inputs, which the first of them reads from memory and the rest from the
 * nearest cache; meanwhile the next block is asked for, so that memory is not idle. */
static void multiply(int64_t rows, const float *panel, int64_t depth, const float *const *x, float (*y)[PANEL])
{
    memset(y, 0, sizeof(*y) * (size_t)rows);
    if (rows <= MOST) {
        tiles(rows, panel, 0, depth, x, y, 0);
        return;
    }
    int64_t turns = (rows + MOST - 1) / MOST, each = (rows + turns - 1) / turns;
    for (int64_t first = 0; first < depth; first += BLOCK) {
        int64_t block = least(BLOCK, depth - first);
        tiles(each, panel, first, block, x, y, 0);
        tiles(least(each, rows - each), panel, first, block, x + each, y + each, 1);
        for (int64_t r = 2 * each; r < rows; r += each)
            tiles(least(each, rows - r), panel, first, block, x + r, y + r, 0);
    }
}

#include "sequences.h"

/* y [N, outputs] = x [N, depth] · matrix, + bias, + onto; panels are shared out among the threads. */
static void dense(int64_t n, const float *matrix, const float *bias, int64_t depth, int64_t outputs, const float *x,
                  const float *onto, float *y)
{
#pragma omp for schedule(static)
    for (int64_t p = 0; p < panels(outputs); p++) {
        int64_t first = p * PANEL, count = least(PANEL, outputs - first);
        for (int64_t begin = 0; begin < n; begin += GROUP) {
            int64_t rows = least(GROUP, n - begin);
            const float *from[GROUP];
            float result[GROUP][PANEL];
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
    const int64_t half = panels(width), gate_up = 2 * half * PANEL * hidden;
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
#pragma omp for schedule(static, 1)
    for (int64_t unit = 0; unit < l->experts * half; unit++) {
        int64_t expert = unit / half, p = unit % half, end = s->begins[expert + 1];
        for (int64_t begin = s->begins[expert]; begin < end; begin += GROUP) {
            int64_t rows = least(GROUP, end - begin), count = least(PANEL, width - p * PANEL);
            const float *from[GROUP];
            float gate[GROUP][PANEL], up[GROUP][PANEL];
            for (int64_t r = 0; r < rows; r++)
                from[r] = s->h + s->order[begin + r] / each * hidden;
            const float *panel = l->gate_up + expert * gate_up + 2 * p * PANEL * hidden;
            multiply(rows, panel, hidden, from, gate);
            multiply(rows, panel + PANEL * hidden, hidden, from, up);
            for (int64_t r = 0; r < rows; r++) {
                float weight = s->weights[s->order[begin + r]], *act = s->act + (begin + r) * width + p * PANEL;
#pragma omp simd
                for (int64_t o = 0; o < count; o++)
                    act[o] = gate[r][o] / (1 + exponential(-gate[r][o])) * up[r][o] * weight;
            }
        }
    }
#pragma omp for schedule(static)
    for (int64_t p = 0; p < panels(hidden); p++) {
        int64_t first = p * PANEL, count = least(PANEL, hidden - first);
        for (int64_t expert = 0; expert < l->experts; expert++) {
            int64_t end = s->begins[expert + 1];
            for (int64_t begin = s->begins[expert]; begin < end; begin += GROUP) {
                int64_t rows = least(GROUP, end - begin);
                const float *from[GROUP];
                float result[GROUP][PANEL];
                for (int64_t r = 0; r < rows; r++)
                    from[r] = s->act + (begin + r) * width;
                multiply(rows, l->down + (p * l->experts + expert) * width * PANEL, width, from, result);
                for (int64_t r = 0; r < rows; r++) {
                    float *x = s->x + s->order[begin + r] / each * hidden + first;
                    for (int64_t o = 0; o < count; o++)
                        x[o] += result[r][o];
                }
            }
        }
    }
}

/* best[i] = where row i of logits [N, V] = x [N, D] · out is largest, the first of equals. */
static void best(const Model *model, const Shape *m, int64_t n, const float *x, float *logits, int64_t *best)
{
    const int64_t vocabulary = model->vocabulary;
    dense(n, model->out, 0, m->hidden, vocabulary, x, 0, logits);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        const float *row = logits + i * vocabulary;
        float top = row[0];
#pragma omp simd reduction(max : top)
        for (int64_t o = 0; o < vocabulary; o++)
            top = row[o] > top ? row[o] : top;
        best[i] = 0;
        while (row[best[i]] != top && best[i] < vocabulary - 1)
            best[i]++;
    }
}

/* Queries, keys and values of s->x [N, D]. */
static void project(const Shape *m, const Layer *l, int64_t n, const Scratch *s)
{
    norms(m, n, s->x, l->input_norm, s->h);
    dense(n, l->qkv, l->qkv_bias, m->hidden, (m->heads + 2 * m->kv_heads) * m->head_dim, s->h, 0, s->qkv);
}

/* What comes after them: attention over the cache, and the feed-forward part. */
static void go_on(const Shape *m, const Layer *l, int64_t rows, int64_t length, const int64_t *positions,
                  const Scratch *s)
{
    attend(m, l, rows, length, positions, s->qkv, s->attended);
    dense(rows * length, l->out, l->out_bias, m->heads * m->head_dim, m->hidden, s->attended, s->x, s->x);
    feed(m, l, rows * length, s);
}

/* The trunk on the next tokens [R, length] of each row: states [R, length, D]. */
static void trunk(const Model *model, const Shape *m, const int64_t *tokens, int64_t rows, int64_t length,
                  const int64_t *positions, const Scratch *s, float *states)
{
    const int64_t n = rows * length, hidden = m->hidden;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n; i++)
        memcpy(s->x + i * hidden, model->embedding + tokens[i] * hidden, sizeof(float) * (size_t)hidden);
    for (const Layer *l = model->layers; l < model->layers + model->count; l++) {
        project(m, l, n, s);
        go_on(m, l, rows, length, positions, s);
    }
    norms(m, n, s->x, model->norm, states);
}

/* The MTP head on each row's pairs, the last of which is at positions[row] - back: that one's state, [R, D].
 *
 * Of the pairs before it only keys and values are wanted. They come after all last ones: pair j of a row in place
 * rows + row · (width - 1) + j. */
static void head(const Model *model, const Shape *m, const Pairs *p, int64_t rows, const int64_t *positions,
                 int64_t back, const Scratch *s, float *out)
{
    const int64_t hidden = m->hidden, before = p->width - 1, n = rows * p->width;
    const Layer *layer = model->layers + model->count;
    int64_t last[rows];
    for (int64_t row = 0; row < rows; row++)
        last[row] = positions[row] - back;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        int64_t row = i / p->width, j = i % p->width, place = rows + row * before + j;
        if (j >= p->counts[row]) { /* no such pair: the place before is none's, as the last one's is row */
            memset(s->pairs + 2 * (place - 1) * hidden, 0, sizeof(float) * 2 * (size_t)hidden);
            continue;
        }
        float *pair = s->pairs + 2 * (j == p->counts[row] - 1 ? row : place) * hidden;
        rms_norm(model->embedding + p->tokens[i] * hidden, model->head.token_norm, m->eps, hidden, pair);
        rms_norm(p->states + (row * p->reach + j) * hidden, model->head.state_norm, m->eps, hidden, pair + hidden);
    }
    dense(n, model->head.fc, 0, 2 * hidden, hidden, s->pairs, 0, s->x);
    project(m, layer, n, s);
    if (before) {
        const int64_t wide = (m->heads + 2 * m->kv_heads) * m->head_dim;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < rows * before; i++) {
            int64_t row = i / before, j = i % before;
            for (int64_t h = 0; h < m->kv_heads && j < p->counts[row] - 1; h++)
                keep(m, layer, row, h, last[row] - p->counts[row] + 1 + j, s->qkv + (rows + i) * wide);
        }
    }
    go_on(m, layer, rows, 1, last, s);
    norms(m, rows, s->x, model->head.norm, out);
}

/* logits [N, vocabulary] of states [N, D]. */
void run_out(const Model *model, const Shape *m, int64_t n, const float *states, float *logits)
{
#pragma omp parallel num_threads((int)m->threads)
    dense(n, model->out, 0, m->hidden, model->vocabulary, states, 0, logits);
}

void run_trunk(const Model *model, const Shape *m, const int64_t *tokens, int64_t rows, int64_t length,
               const int64_t *positions, const Scratch *s, float *states)
{
#pragma omp parallel num_threads((int)m->threads)
    trunk(model, m, tokens, rows, length, positions, s, states);
}

void run_head(const Model *model, const Shape *m, const Pairs *p, int64_t rows, const int64_t *positions,
              const Scratch *s, float *out)
{
#pragma omp parallel num_threads((int)m->threads)
    head(model, m, p, rows, positions, 1, s, out);
}

/* Greedy decoding: drafts by the MTP head, then the trunk on the next token of each row and its drafts. */
void run_round(const Model *model, const Shape *m, const Round *r, const Pairs *pairs, const Scratch *s)
{
    const int64_t rows = r->rows, length = 1 + r->drafts;
    int64_t found[rows], ones[rows];
    for (int64_t row = 0; row < rows; row++)
        ones[row] = 1;
    const Pairs own = {1, 1, ones, found, r->drafted};
#pragma omp parallel num_threads((int)m->threads)
    {
        for (int64_t ahead = 0; ahead < r->drafts; ahead++) {
            head(model, m, ahead ? &own : pairs, rows, r->positions, 1 - ahead, s, r->drafted);
            best(model, m, rows, r->drafted, r->logits, found);
#pragma omp single
            for (int64_t row = 0; row < rows; row++)
                r->tokens[row * length + 1 + ahead] = found[row];
        }
        trunk(model, m, r->tokens, rows, length, r->positions, s, r->states);
        best(model, m, rows * length, r->states, r->logits, r->wanted);
    }
}
