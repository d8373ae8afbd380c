/* Attention of whole sequences without a gradient; included by decode.c, whose products it uses.
 *
 * Keys are laid side by side and values as they are, in tiles of PANEL positions: both products of attention are then
 * products with a panel. Tiles that no query of a group sees are passed over, so a window costs what it holds.
 */
#pragma once

enum { STRIP = 48 }; /* tokens of a head that one thread takes at a time */

/* Floats of a tile: keys [C, PANEL], then values [ceil(C / PANEL), PANEL, PANEL]. */
static inline int64_t tile_size(int64_t size) { return size * PANEL + panels(size) * PANEL * PANEL; }

/* Lay out `count` keys and values that are `stride` apart; what fills the tile up is zero. */
static void lay(const float *keys, const float *values, int64_t stride, int64_t count, int64_t size, float *tile)
{
    memset(tile, 0, sizeof(float) * (size_t)tile_size(size));
    for (int64_t i = 0; i < count; i++) {
        for (int64_t c = 0; c < size; c++)
            tile[c * PANEL + i] = keys[i * stride + c];
        for (int64_t c = 0; c < size; c += PANEL)
            memcpy(tile + (size + c + i) * PANEL, values + i * stride + c, sizeof(float) * (size_t)least(PANEL, size - c));
    }
}

/* At most MOST consecutive queries of a head, at `place` and after: from q [.., wide] to out [.., H·C]. */
static void group(const Shape *m, int64_t window, int64_t rows, int64_t place, const float *q, const float *tiles, float *out)
{
    const int64_t size = m->head_dim, wide = (m->heads + 2 * m->kv_heads) * size, across = m->heads * size;
    const float *from[MOST], *weights[MOST];
    float score[MOST][PANEL], part[MOST][PANEL], best[MOST], total[MOST], keep[MOST], *scores[MOST], *parts[MOST];
    for (int64_t r = 0; r < rows; r++) {
        from[r] = q + r * wide;
        weights[r] = scores[r] = score[r];
        parts[r] = part[r];
        best[r] = -INFINITY;
        total[r] = 0;
        memset(out + r * across, 0, sizeof(float) * (size_t)size);
    }
    int64_t begin = window && place >= window ? place - window + 1 : 0;
    for (int64_t base = begin - begin % PANEL; base < place + rows; base += PANEL) {
        const float *tile = tiles + base / PANEL * tile_size(size);
        multiply(rows, tile, size, from, scores, 0);
        for (int64_t r = 0; r < rows; r++) {
            int64_t low = window && place + r >= window ? place + r - window + 1 - base : 0;
            keep[r] = weigh(PANEL, score[r], low > 0 ? low : 0, least(PANEL, place + r + 1 - base), best + r, total + r);
        }
        for (int64_t c = 0; c < size; c += PANEL) {
            multiply(rows, tile + (size + c) * PANEL, PANEL, weights, parts, 0);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t i = 0; i < least(PANEL, size - c); i++)
                    out[r * across + c + i] = out[r * across + c + i] * keep[r] + part[r][i];
        }
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < size; c++)
            out[r * across + c] /= total[r];
}

/* Causal attention of sequences that begin at position 0: out [B, T, H, C] of qkv [B, T, H + 2K, C], whose queries and
 * keys get their norms and rotation in place. Room for tiles: [B·K, ceil(T / PANEL), tile_size]. */
void attend_sequences(const Shape *m, int64_t window, int64_t batch, int64_t length, const float *q_norm,
                      const float *k_norm, const float *cos, const float *sin, float *qkv, float *tiles, float *out)
{
    const int64_t size = m->head_dim, turned = m->heads + m->kv_heads, wide = (turned + m->kv_heads) * size;
    const int64_t count = panels(length), each = count * tile_size(size), share = m->heads / m->kv_heads;
    const int64_t strips = (length + STRIP - 1) / STRIP;
#pragma omp parallel num_threads((int)m->threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < batch * length; i++)
            for (int64_t h = 0; h < turned; h++) {
                float *x = qkv + i * wide + h * size;
                const float *weight = h < m->heads ? q_norm : k_norm;
                float scale = h < m->heads ? 1 / sqrtf((float)size) : 1;
                turn(x, weight, m->eps, cos + i % length * size, sin + i % length * size, size, scale, x);
            }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < batch * m->kv_heads * count; i++) {
            int64_t unit = i / count, first = i % count * PANEL, b = unit / m->kv_heads;
            const float *keys = qkv + (b * length + first) * wide + (m->heads + unit % m->kv_heads) * size;
            lay(keys, keys + m->kv_heads * size, wide, least(PANEL, length - first), size,
                tiles + unit * each + i % count * tile_size(size));
        }
#pragma omp for schedule(dynamic, 4)
        for (int64_t i = 0; i < batch * m->heads * strips; i++) {
            int64_t b = i / strips / m->heads, head = i / strips % m->heads, first = i % strips * STRIP;
            for (int64_t t = first; t < least(length, first + STRIP); t += MOST)
                group(m, window, least(MOST, least(length, first + STRIP) - t), t,
                      qkv + (b * length + t) * wide + head * size,
                      tiles + (b * m->kv_heads + head / share) * each, out + ((b * length + t) * m->heads + head) * size);
        }
    }
}
