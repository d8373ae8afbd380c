/* The next few tokens of each row against the cache, in float32 on CPU: one call a step instead of a thousand operations.
 *
 * Threads share a layer out by what is inside it, as Megatron's tensor parallelism does: some key-value heads with their
 * projections, some columns of the experts. So each reads weights of its own, the same ones at every step, and what two
 * threads must tell one another is a sum a token, twice a layer. Few tokens: each thread keeps the residual stream for
 * itself, and adds up what all found. Many: each adds up some tokens for all.
 *
 * A token's result does not depend on which others are computed with it, only on how many threads there are.
 *
 * Shapes: N = rows · length tokens, D hidden, H heads, K key-value heads, G = H / K, C head dimension, S slots of the
 * cache, E experts, X experts a token, F expert width. A matrix [O, I] is stored [O / PANEL, I, PANEL], padded with zeros.
 */
#include "vectors.h"
#include "products.h"
#include "parts.h"
#include "attention.h"
#include "experts.h"
#include "sequences.h"

int64_t panel_width(void) { return PANEL; }

int64_t lanes(void) { return LANES; }

int64_t alike(void) { return ALIKE; }

/* Wait for what is shared: a thread that keeps all tokens has none to wait for. */
static inline void meet(const Part *p)
{
    if (!p->alike) {
#pragma omp barrier
    }
}

/* x += sums [parts, N, D] + bias; h = its norm; where a layer is given, the experts that it chooses. */
static void settle(const Shape *m, const Part *p, const Desk *k, const float *sums, int64_t parts, const float *bias,
                   const float *norm, const Layer *l)
{
    const int64_t hidden = m->hidden, each = m->top_k;
    for (int64_t i = p->first; i < p->end; i++) {
        float *x = k->x + i * hidden, *h = k->h + i * hidden;
        for (int64_t d = 0; bias && d < hidden; d++)
            x[d] += bias[d];
        for (int64_t part = 0; part < parts; part++) {
            const float *sum = sums + (part * p->n + i) * padded(hidden);
            for (int64_t d = 0; d < hidden; d++)
                x[d] += sum[d];
        }
        rms_norm(x, norm, m->eps, hidden, h);
        if (l && l->router) {
            route(m, l, h, k->chosen + i * each, k->weights + i * each);
        } else if (l) {
            k->chosen[i] = 0;
            k->weights[i] = 1;
        }
    }
    meet(p);
}

/* Floats of a token's queries, key and value of one key-value head. */
static inline int64_t wide(const Shape *m) { return (m->heads / m->kv_heads + 2) * m->head_dim; }

/* Queries, keys and values of a thread's own heads and tokens. */
static void project(const Shape *m, const Layer *l, const Part *p, const Desk *k, const Scratch *s)
{
    const int64_t across = padded(wide(m)), hidden = m->hidden;
    for (int64_t head = p->head; head < p->head + p->heads; head++) {
        float *own = s->qkv + (head * p->n + p->token) * across;
        product(p->upto - p->token, l->qkv + head * across * hidden, PANEL * hidden, hidden, wide(m),
                k->h + p->token * hidden, hidden, own, across);
        for (int64_t i = 0; l->qkv_bias && i < p->upto - p->token; i++)
            for (int64_t o = 0; o < wide(m); o++)
                own[i * across + o] += l->qkv_bias[head * wide(m) + o];
    }
}

/* Attention of own heads and tokens, `projected` of which share qkv, and their part of its output. */
static void look_back(const Shape *m, const Layer *l, const Part *p, int64_t projected, int64_t length,
                      const int64_t *positions, const Scratch *s)
{
    const int64_t each = m->heads / m->kv_heads * m->head_dim, across = p->heads * each, last = p->head + p->heads;
    float *attended = s->attended + p->head * each * p->n;
    for (int64_t head = p->head; head < last; head++)
        for (int64_t t = p->token; t < p->upto; t++)
            keep(m, l, t / length, head, positions[t / length] + t % length,
                 s->qkv + (head * projected + t) * padded(wide(m)));
    if (p->groups > 1) { /* earlier tokens of a row may be another thread's */
#pragma omp barrier
    }
    for (int64_t t = p->token, count; t < p->upto; t += count) {
        const int64_t row = t / length, then = t + (count = least(TOGETHER, least(p->upto, (row + 1) * length) - t));
        for (int64_t head = p->head; head < last; head++) {
            const int64_t from = store(m, l, row, head), more = then < p->upto;
            const int64_t next = head + 1 < last ? store(m, l, row, head + 1)
                                                 : store(m, l, more ? then / length : row, more ? p->head : head);
            const Past past = {l->keys + from, l->values + from, l->keys + next, l->values + next};
            view(m, l, positions[row] + t % length, count, s->qkv + (head * projected + t) * padded(wide(m)), &past,
                 attended + t * across + (head - p->head) * each, across);
        }
    }
    product(p->upto - p->token, l->out + p->head * each * PANEL, m->heads * m->head_dim * PANEL, across, m->hidden,
            attended + p->token * across, across, s->looked + (p->part * p->n + p->token) * padded(m->hidden),
            padded(m->hidden));
}

/* What follows a layer's projections: x is what the sums come to, once they are added to it. */
static void go_on(const Shape *m, const Layer *l, const Part *p, const Desk *k, int64_t projected, int64_t length,
                  const int64_t *positions, const Scratch *s)
{
    look_back(m, l, p, projected, length, positions, s);
#pragma omp barrier
    settle(m, p, k, s->looked, p->parts, l->out_bias, l->post_norm, l);
    feed(m, l, p, k);
#pragma omp barrier
}

/* The norm of what a last layer found: returned, [N, D], and written to `states` for whoever asks later. */
static const float *finish(const Shape *m, const Part *p, const Desk *k, const float *norm, const Scratch *s, float *states)
{
    settle(m, p, k, s->fed, p->team, 0, norm, 0);
    if (!p->alike || p->id == 0)
        memcpy(states + p->first * m->hidden, k->h + p->first * m->hidden,
               sizeof(float) * (size_t)((p->end - p->first) * m->hidden));
    return k->h;
}

/* The trunk on the next tokens [R, length] of each row: states [R, length, D]. */
static const float *trunk(const Model *model, const Shape *m, const Part *p, const int64_t *tokens, int64_t length,
                  const int64_t *positions, const Scratch *s, float *states)
{
    const int64_t hidden = m->hidden;
    const Desk desk = desk_of(m, p, s);
    for (int64_t i = p->first; i < p->end; i++)
        memcpy(desk.x + i * hidden, model->embedding + tokens[i] * hidden, sizeof(float) * (size_t)hidden);
    for (int64_t i = 0; i < model->count; i++) {
        const Layer *l = model->layers + i;
        settle(m, p, &desk, s->fed, i ? p->team : 0, 0, l->input_norm, 0);
        project(m, l, p, &desk, s);
        go_on(m, l, p, &desk, p->n, length, positions, s);
    }
    return finish(m, p, &desk, model->norm, s, states);
}

/* The MTP head on each row's pairs, the last of which is at positions[row] - back: that one's state, [R, D].
 *
 * Of the pairs before it only keys and values are wanted. They come after all last ones: pair j of a row in place
 * rows + row · (width - 1) + j. */
static const float *head(const Model *model, const Shape *m, const Part *p, const Pairs *pairs, int64_t rows,
                 const int64_t *positions, int64_t back, const Scratch *s, float *out)
{
    const int64_t hidden = m->hidden, before = pairs->width - 1;
    const Layer *l = model->layers + model->count;
    const Part all = part_of(m, rows * pairs->width);
    Desk desk = desk_of(m, &all, s);
    int64_t last[rows];
    for (int64_t row = 0; row < rows; row++)
        last[row] = positions[row] - back;
    for (int64_t i = all.first; i < all.end; i++) {
        int64_t row = i < rows ? i : (i - rows) / before, of = pairs->counts[row];
        int64_t j = i < rows ? of - 1 : (i - rows) % before;
        float *pair = desk.pairs + 2 * i * hidden;
        memset(desk.x + i * hidden, 0, sizeof(float) * (size_t)hidden);
        if (i >= rows && j >= of - 1) { /* no such pair */
            memset(pair, 0, sizeof(float) * 2 * (size_t)hidden);
            continue;
        }
        const int64_t token = pairs->tokens[row * pairs->width + j];
        rms_norm(model->embedding + token * hidden, model->head.token_norm, m->eps, hidden, pair);
        rms_norm(pairs->states + (row * pairs->reach + j) * hidden, model->head.state_norm, m->eps, hidden, pair + hidden);
    }
    meet(&all);
    const int64_t inputs = 2 * hidden, begin = inputs * all.id / all.team, end = inputs * (all.id + 1) / all.team;
    product(all.n, model->head.fc + begin * PANEL, inputs * PANEL, end - begin, hidden, desk.pairs + begin, inputs,
            desk.fed, padded(hidden));
#pragma omp barrier
    settle(m, &all, &desk, s->fed, all.team, 0, l->input_norm, 0);
    project(m, l, &all, &desk, s);
    for (int64_t i = all.token > rows ? all.token : rows; i < all.upto; i++) {
        int64_t row = (i - rows) / before, j = (i - rows) % before;
        for (int64_t h = all.head; h < all.head + all.heads && j < pairs->counts[row] - 1; h++)
            keep(m, l, row, h, last[row] - pairs->counts[row] + 1 + j, s->qkv + (h * all.n + i) * padded(wide(m)));
    }
    if (all.groups > 1) { /* whose tokens are whose differs from here on */
#pragma omp barrier
    }
    Part own = *p; /* the rows' last pairs, which lie first: where they are kept stays the same */
    own.alike = all.alike;
    own.first = all.alike ? 0 : rows * p->id / p->team;
    own.end = all.alike ? rows : rows * (p->id + 1) / p->team;
    desk.fed = s->fed + own.id * rows * padded(hidden);
    go_on(m, l, &own, &desk, all.n, 1, last, s);
    return finish(m, &own, &desk, model->head.norm, s, out);
}

/* best[i] = where row i of h [N, D] · out is largest, the first of equals: each thread finds it in panels of its own. */
static void choose(const Model *model, const Shape *m, const Part *p, const float *h, const Scratch *s, int64_t *best)
{
    const int64_t all = panels(model->vocabulary), first = all * p->id / p->team, end = all * (p->id + 1) / p->team;
    float *tops = s->tops + p->id * p->n;
    int64_t *where = s->where + p->id * p->n;
    for (int64_t i = 0; i < p->n; i++) {
        tops[i] = -INFINITY;
        where[i] = 0;
    }
    for (int64_t panel = first; panel < end; panel++)
        for (int64_t begin = 0; begin < p->n; begin += GROUP) {
            int64_t rows = least(GROUP, p->n - begin), count = least(PANEL, model->vocabulary - panel * PANEL);
            const float *from[GROUP];
            float logits[GROUP][PANEL], *to[GROUP];
            for (int64_t r = 0; r < rows; r++) {
                from[r] = h + (begin + r) * m->hidden;
                to[r] = logits[r];
            }
            multiply(rows, model->out + panel * PANEL * m->hidden, m->hidden, from, to, 0);
            for (int64_t r = 0; r < rows; r++) {
                for (int64_t o = count; o < PANEL; o++)
                    logits[r][o] = -INFINITY;
                vec most = *(loose *)logits[r];
                for (int o = LANES; o < PANEL; o += LANES)
                    most = pick(*(loose *)(logits[r] + o) > most, *(loose *)(logits[r] + o), most);
                float top = largest(most);
                if (top > tops[begin + r]) {
                    tops[begin + r] = top;
                    for (int64_t o = count - 1; o >= 0; o--)
                        where[begin + r] = logits[r][o] == top ? panel * PANEL + o : where[begin + r];
                }
            }
        }
#pragma omp barrier
    for (int64_t i = 0; i < p->n; i++) {
        float top = s->tops[i];
        best[i] = s->where[i];
        for (int64_t id = 1; id < p->team; id++)
            if (s->tops[id * p->n + i] > top) {
                top = s->tops[id * p->n + i];
                best[i] = s->where[id * p->n + i];
            }
    }
}

/* logits [N, padded(vocabulary)] of states [N, D]. */
void run_out(const Model *model, const Shape *m, int64_t n, const float *states, float *logits)
{
    const int64_t all = panels(model->vocabulary);
#pragma omp parallel num_threads((int)m->threads)
    {
        const int64_t id = omp_get_thread_num(), team = omp_get_num_threads(), first = all * id / team * PANEL;
        product(n, model->out + first * m->hidden, PANEL * m->hidden, m->hidden, all * (id + 1) / team * PANEL - first,
                states, m->hidden, logits + first, all * PANEL);
    }
}

void run_trunk(const Model *model, const Shape *m, const int64_t *tokens, int64_t rows, int64_t length,
               const int64_t *positions, const Scratch *s, float *states)
{
#pragma omp parallel num_threads((int)m->threads)
    {
        const Part p = part_of(m, rows * length);
        trunk(model, m, &p, tokens, length, positions, s, states);
    }
}

void run_head(const Model *model, const Shape *m, const Pairs *pairs, int64_t rows, const int64_t *positions,
              const Scratch *s, float *out)
{
#pragma omp parallel num_threads((int)m->threads)
    {
        const Part p = part_of(m, rows);
        head(model, m, &p, pairs, rows, positions, 1, s, out);
    }
}

/* Greedy decoding: drafts by the MTP head, then the trunk on the next token of each row and its drafts. */
void run_round(const Model *model, const Shape *m, const Round *r, const Pairs *pairs, const Scratch *s)
{
    const int64_t rows = r->rows, length = 1 + r->drafts;
#pragma omp parallel num_threads((int)m->threads)
    {
        /* Every thread knows all that was found: none waits for another to write it down. */
        int64_t found[rows], ones[rows], tokens[rows * length], wanted[rows * length];
        const Pairs own = {1, 1, ones, found, r->drafted};
        const Part few = part_of(m, rows), many = part_of(m, rows * length);
        for (int64_t row = 0; row < rows; row++) {
            ones[row] = 1;
            tokens[row * length] = r->tokens[row * length];
        }
        for (int64_t ahead = 0; ahead < r->drafts; ahead++) {
            const Pairs *given = ahead ? &own : pairs;
            choose(model, m, &few, head(model, m, &few, given, rows, r->positions, 1 - ahead, s, r->drafted), s, found);
            for (int64_t row = 0; row < rows; row++)
                tokens[row * length + 1 + ahead] = found[row];
        }
        choose(model, m, &many, trunk(model, m, &many, tokens, length, r->positions, s, r->states), s, wanted);
        if (few.id == 0) {
            memcpy(r->tokens, tokens, sizeof tokens);
            memcpy(r->wanted, wanted, sizeof wanted);
        }
    }
}
