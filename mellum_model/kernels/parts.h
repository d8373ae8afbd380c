/* What the kernels are told, and each thread's part of it; included by decode.c. */
#pragma once

#include <omp.h>

/* Mirrored, field by field, in structures.py. */
typedef struct {
    int64_t hidden, heads, kv_heads, head_dim, top_k, normalise, threads;
    int64_t first; /* row of the cache that is row 0 here */
    double eps;
} Shape;

typedef struct {
    const float *input_norm, *q_norm, *k_norm, *out, *out_bias, *post_norm;
    const float *qkv, *qkv_bias; /* of each key-value head: its queries', key's and value's outputs, panels of its own */
    const float *router;         /* [E / LANES, D, LANES]; none in a dense layer, which is its only expert */
    const float *feed;           /* [E, F / PANEL] times a panel of gate, one of up, and their inputs of down's panels */
    int64_t experts, width;
    float *keys, *values;   /* [R, K, S, C] */
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
    float *states;            /* [R, 1 + drafts, D] */
    float *drafted;           /* [R, D] the MTP head's own */
} Round;

typedef struct {
    int64_t width, reach;  /* most pairs of a row; states of a row in `states` */
    const int64_t *counts; /* [R] pairs of each row, at least one; the last is at positions[row] - 1 */
    const int64_t *tokens; /* [R, width] */
    const float *states;   /* [R, reach, D], the state before each of these tokens */
} Pairs;

enum { ALIKE = 32 }; /* tokens times threads up to which every thread keeps all tokens */

/* For T threads. M: N, or ALIKE if that is more. */
typedef struct {
    float *x, *h, *pairs;           /* [M, D], [M, D], [M, 2D]; N of them each thread's own, where all are alike */
    int64_t *chosen;                /* [M, X] */
    float *weights;                 /* [M, X] */
    int64_t *order;                 /* [T, N·X] choices by expert */
    float *qkv, *attended;          /* [K, N, (G + 2)·C] padded, [N, H·C], by head first */
    float *looked, *fed;            /* [T, N, D] padded, each: a thread's part of a layer's two sums */
    float *tops;                    /* [T, N] */
    int64_t *where;                 /* [T, N] */
} Scratch;

/* What a thread has to do with n tokens. */
typedef struct {
    int64_t id, team, n;
    int64_t alike, first, end;   /* whether all keep all tokens; the tokens that this one adds up */
    int64_t parts, part;         /* of the key-value heads */
    int64_t head, heads;         /* its own: the first, how many */
    int64_t groups, token, upto; /* more threads than heads share the tokens out as well: its own ones */
} Part;

static Part part_of(const Shape *m, int64_t n)
{
    const int64_t id = omp_get_thread_num(), team = omp_get_num_threads(), heads = m->kv_heads;
    const int64_t parts = least(team, heads), groups = team / parts, part = id % parts, group = id / parts;
    const int64_t alike = n * team <= ALIKE, head = heads * part / parts;
    return (Part){
        .id = id, .team = team, .n = n,
        .alike = alike, .first = alike ? 0 : n * id / team, .end = alike ? n : n * (id + 1) / team,
        .parts = parts, .part = part, .head = head, .heads = heads * (part + 1) / parts - head,
        .groups = groups, .token = least(n, n * group / groups), .upto = least(n, n * (group + 1) / groups),
    };
}

/* Where it does it. */
typedef struct {
    float *x, *h, *pairs, *weights, *fed;
    int64_t *chosen, *order;
} Desk;

static Desk desk_of(const Shape *m, const Part *p, const Scratch *s)
{
    const int64_t own = p->alike ? p->id * p->n : 0, hidden = m->hidden, each = m->top_k;
    return (Desk){
        .x = s->x + own * hidden, .h = s->h + own * hidden, .pairs = s->pairs + 2 * own * hidden,
        .weights = s->weights + own * each, .chosen = s->chosen + own * each,
        .order = s->order + p->id * p->n * each, .fed = s->fed + p->id * p->n * padded(hidden),
    };
}
