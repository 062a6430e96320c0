/* The gradients of weights and biases: large products over all rows of a batch, after the loop.
 *
 *     d_weight[i][j] = sum over n of d_gates[n][i] * b[n][j],   d_bias[i] = sum of d_gates[n][i]
 *
 * Blocks of both are packed so that a tile reads memory in order. The sums run over n in order
 * whatever the threads, each of which has rows of the result.
 */
#ifndef UNROLLED_GRADIENT_H
#define UNROLLED_GRADIENT_H

#include "call.h"
#include "cell.h"
#include "forward.h"
#include "pack.h"
#include "tile.h"

#define BLOCK_DEPTH 1024             /* n at once: a panel of b stays in the second cache */
#define BLOCK_ROWS (16 * PLAIN_ROWS) /* rows of the result at once: their part of a does too */
#define FEW_ROWS 4                   /* N up to which nothing is packed: each result is read once */
#define PACKED_FLOATS (4l << 20)     /* of b at once: read again and again, from the last cache */

#define MOST_FACTORS (2 + APPLIED_COLUMNS + PARAMETERS)

/* What some columns of the gates are multiplied with, and where the gradients go. */
typedef struct {
  long first, count;     /* columns of the gates, H each */
  const int64_t *blocks; /* [count], which block of H rows of the result each of them is */
  const float *b;        /* [N, b_stride]; NULL: the output before each step */
  long b_stride, columns, heads; /* row by row of the result: `columns` of b, of one head after another */
  float *out;            /* [all blocks * H, columns], or NULL */
  float *sums;           /* [all blocks * H], or NULL */
  float *packed;         /* [packed_depth, heads, packed columns], block after block */
} Factor;

/* Columns of the gates, in floats, that have the same factors: those are packed once for all. No piece
   has columns of two strips, which are the units of a head, or, without heads, all. */
typedef struct {
  long begin, end, strip, pieces;
  uint64_t factors; /* a bit for each */
} Range;

typedef struct {
  const Call *call;
  Factor factors[MOST_FACTORS];
  long num_factors;
  Range ranges[COLUMNS + PARAMETERS];
  long num_ranges, num_pieces;
  float *packed_a; /* [threads, packed_a_floats] */
  long begin, end; /* the n that are packed */
} Gradient;

INL long packed_columns(long columns) { return PANELS(columns) * PANEL; }

/* Floats of a packed group of PLAIN_ROWS rows of the result, and of all in a block. */
INL long group_floats(long depth) { return WORDS(depth) * PLAIN_ROWS + W; }
INL long packed_a_floats(void) { return BLOCK_ROWS / PLAIN_ROWS * group_floats(BLOCK_DEPTH); }

/* Floats of packed b for each n. */
INL long all_packed_columns(const Call *c) {
  const long hidden = APPLIED_COLUMNS + (RECURRENT_COLUMNS > 0);
  return (c->d_weight_ih ? packed_columns(c->input_size) : 0) +
         (c->d_weight_hh ? hidden * num_heads(c) * packed_columns(K_OF(c)) : 0);
}

/* How many n are packed at once. */
INL long packed_depth(const Call *c) {
  const long blocks = PACKED_FLOATS / (BLOCK_DEPTH * MAX(1, all_packed_columns(c)));
  return MIN(MAX(1, blocks) * BLOCK_DEPTH, c->num_rows);
}

/* Floats of all that is packed for the weights' gradients. */
INL long gradient_floats(const Call *c) {
  return packed_a_floats() * c->num_threads + packed_depth(c) * all_packed_columns(c);
}

/* The row of the result that belongs to column j of the gates. */
INL long row_of(const Gradient *g, const Factor *f, long j) {
  const long H = H_OF(g->call);
  return f->blocks[j / H - f->first] * H + j % H;
}

/* The head of column j of the gates, in what they are multiplied with. */
INL long head_of(const Gradient *g, const Factor *f, long j) {
  return f->heads == 1 ? 0 : j % H_OF(g->call) / f->columns;
}

/* Floats of packed b for each n. */
INL long packed_floats(const Factor *f) { return f->heads * packed_columns(f->columns); }

/* out += a tile of packed a, [WORDS(depth), PLAIN_ROWS], times `vectors`, constant, of a panel of packed
   b, [WORDS(depth), PANEL]; = if `fresh`. out: [rows], each [columns]. */
INL void tile_of(const int vectors, long depth, const float *restrict a, const float *restrict b,
                 float *const *out, long rows, long columns, int fresh) {
  vf sum[PLAIN_ROWS][PLAIN_VECTORS];
#pragma GCC unroll 12
  for (int r = 0; r < PLAIN_ROWS; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sum[r][v] = (vf){0};
  }
  const vf *p = (const vf *)b;
  for (long k = 0; k < WORDS(depth); k++, p += PLAIN_VECTORS, a += PLAIN_ROWS) {
    if (WEIGHT_BY_WEIGHT(PLAIN_ROWS, vectors)) {
      float factor[PLAIN_ROWS];
#pragma GCC unroll 12
      for (int r = 0; r < PLAIN_ROWS; r++) factor[r] = a[r];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) {
#pragma GCC unroll 12
        for (int r = 0; r < PLAIN_ROWS; r++) sum[r][v] = add_product(sum[r][v], p[v], factor[r]);
      }
      continue;
    }
#pragma GCC unroll 12
    for (int r = 0; r < PLAIN_ROWS; r++) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sum[r][v] = add_product(sum[r][v], p[v], a[r]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < PLAIN_ROWS; r++) {
    if (r >= rows) break;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      const long left = columns - v * W;
      if (left <= 0) break;
      if (!fresh) sum[r][v] += load(out[r] + v * W, left);
      store(out[r] + v * W, left, sum[r][v]);
    }
  }
}

OUT_OF_LINE void gradient_tile(long depth, const float *restrict a, const float *restrict b,
                               float *const *out, long rows, long columns, int fresh) {
  tile_of(PLAIN_VECTORS, depth, a, b, out, rows, columns, fresh);
}

/* The same for a panel of which only the first vector holds columns (65 characters are 64 and 1), or the
   first two. */
OUT_OF_LINE void narrow_tile(long depth, const float *restrict a, const float *restrict b,
                             float *const *out, long rows, long columns, int fresh) {
  tile_of(1, depth, a, b, out, rows, columns, fresh);
}

OUT_OF_LINE void half_tile(long depth, const float *restrict a, const float *restrict b,
                           float *const *out, long rows, long columns, int fresh) {
  tile_of(PLAIN_VECTORS / 2, depth, a, b, out, rows, columns, fresh);
}

LOCAL void gradient_pack_b(const Gradient *g, const Factor *f, long begin, long depth,
                           float *restrict packed) {
  const Call *c = g->call;
  long t = 0;
  for (long k = 0; k < depth; k += PER_WORD) {
    const float *row[PER_WORD] = {NULL};
    for (long n = begin + k; n < begin + MIN(k + PER_WORD, depth); n++) {
      while (c->starts[t] + c->batch_sizes[t] <= n) t++;
      row[n - begin - k] = f->b ? f->b + n * f->b_stride : state_before(c, 0, t, n - c->starts[t]);
    }
    for (long head = 0; head < f->heads; head++) {
      float *of_head = packed + head * packed_columns(f->columns) * WORDS(depth) + k / PER_WORD * PANEL;
      for (long column = 0; column < f->columns; column += PANEL) {
        const float *from = row[0] + head * f->columns + column;
        float *to = of_head + column * WORDS(depth);
        const long here = MIN(PANEL, f->columns - column);
#if MIXED
        const int both = k + PER_WORD <= depth;
        const float *next = both ? row[PER_WORD - 1] + head * f->columns + column : from;
        for (long i = 0; i < PANEL; i += W) {
          const long left = MAX(0, here - i);
          *(vf *)(to + i) = word_of(load(from + i, left), load(next + i, both ? left : 0));
        }
#else
        memcpy(to, from, here * sizeof(float));
        for (long i = here; i < PANEL; i++) to[i] = 0.0f;
#endif
      }
    }
  }
}

/* Whole vectors are copied: what is too much of one is overwritten by the next, or lies in the W
   floats behind a group; where it is read, behind a gate row, there is padding. */
LOCAL void gradient_pack_a(const Gradient *g, long begin, long depth, long row, long rows,
                           float *restrict packed) {
  const long stride = g->call->gate_stride;
  for (long k = 0; k < depth; k += PER_WORD) {
    const float *from = g->call->gates + (begin + k) * stride + row;
    const float *next = k + PER_WORD <= depth ? from + (PER_WORD - 1) * stride : NULL;
    float *to = packed + k / PER_WORD * PLAIN_ROWS;
    for (long r = 0; r < rows; r += PLAIN_ROWS, to += group_floats(depth)) {
      for (long i = 0; i < PLAIN_ROWS; i += W) {
        vf after = {0};
        if (next) after = *(const vfu *)(next + r + i);
        *(vfu *)(to + i) = word_of(*(const vfu *)(from + r + i), after);
      }
    }
  }
}

/* The sums of `rows` columns of the gates from `row` on, each one chain over n. */
LOCAL void add_up(const Gradient *g, uint64_t factors, long begin, long depth, long row,
                  long rows) {
  vf sum[BLOCK_ROWS / W + 1] = {{0}};
  for (long k = 0; k < depth; k++) {
    const float *from = g->call->gates + (begin + k) * g->call->gate_stride + row;
    for (long i = 0; i < rows; i += W) sum[i / W] += load(from + i, rows - i);
  }
  for (const Factor *f = g->factors; factors; f++, factors >>= 1) {
    for (long i = 0; i < (factors & 1 && f->sums ? rows : 0); i++) {
      float *to = f->sums + row_of(g, f, row + i);
      *to = begin ? *to + sum[i / W][i % W] : sum[i / W][i % W];
    }
  }
}

/* A block of packed a times one of packed b. */
LOCAL void multiply_block(const Gradient *g, const Factor *f, long begin, long depth, long row,
                          long rows, const float *a, const float *b) {
  b += head_of(g, f, row) * packed_columns(f->columns) * WORDS(depth);
  for (long column = 0; column < f->columns; column += PANEL) {
    const long left = f->columns - column;
    for (long r = 0; r < rows; r += PLAIN_ROWS) {
      float *out[PLAIN_ROWS];
      for (long i = 0; i < PLAIN_ROWS; i++) {
        out[i] = f->out + row_of(g, f, row + MIN(r + i, rows - 1)) * f->columns + column;
      }
      (left > PANEL / 2 ? gradient_tile : left > W ? half_tile : narrow_tile)(
          depth, a + r / PLAIN_ROWS * group_floats(depth), b + column * WORDS(depth), out, rows - r,
          left, begin == 0);
    }
  }
}

/* The same for few n, of which all are there, from where they are: row after row of the result. */
LOCAL void multiply_few(const Gradient *g, const Factor *f, long row, long rows) {
  const Call *c = g->call;
  const float *b[FEW_ROWS];
  for (long t = 0, n = 0; t < c->num_steps; t++) {
    for (long r = 0; r < c->batch_sizes[t]; r++, n++) {
      b[n] = f->b ? f->b + n * f->b_stride : state_before(c, 0, t, r);
      b[n] += head_of(g, f, row) * f->columns;
    }
  }
  for (long i = row; i < row + rows; i++) {
    float *out = f->out + row_of(g, f, i) * f->columns;
    const float *a = c->gates + i;
    for (long column = 0; column < f->columns; column += W) {
      const long left = f->columns - column;
      vf sum = {0};
      for (long n = 0; n < c->num_rows; n++) {
        sum += narrow(load(b[n] + column, left)) * narrow(repeated(a[n * c->gate_stride]));
      }
      store(out + column, left, sum);
    }
  }
}

/* A block of a factor's b. */
LOCAL void gradient_pack_piece(const Gradient *g, long piece) {
  const long blocks = (g->end - g->begin + BLOCK_DEPTH - 1) / BLOCK_DEPTH;
  const Factor *f = g->factors;
  for (; !f->out || piece >= blocks; f++) piece -= f->out ? blocks : 0;
  const long begin = g->begin + piece * BLOCK_DEPTH, depth = MIN(BLOCK_DEPTH, g->end - begin);
  gradient_pack_b(g, f, begin, depth, f->packed + (begin - g->begin) * packed_floats(f));
}

/* At most BLOCK_ROWS columns of a strip of a range. */
LOCAL void gradient_piece(const Gradient *g, long piece, long thread) {
  const Range *range = g->ranges;
  while (piece >= range->pieces) piece -= range++->pieces;
  const long tiles = (range->strip + PLAIN_ROWS - 1) / PLAIN_ROWS;
  const long strips = (range->end - range->begin) / range->strip, each = range->pieces / strips;
  const long begin_strip = range->begin + piece / each * range->strip;
  piece %= each;
  const long row = begin_strip + tiles * piece / each * PLAIN_ROWS;
  const long end = begin_strip + tiles * (piece + 1) / each * PLAIN_ROWS;
  const long rows = MIN(end, begin_strip + range->strip) - row;
  float *a = g->packed_a + thread * packed_a_floats();
  for (long begin = g->begin; begin < g->end; begin += BLOCK_DEPTH) {
    const long depth = MIN(BLOCK_DEPTH, g->end - begin);
    add_up(g, range->factors, begin, depth, row, rows);
    const int few = g->call->num_rows <= FEW_ROWS;
    if (!few) gradient_pack_a(g, begin, depth, row, rows, a);
    for (long i = 0; i < g->num_factors; i++) {
      const Factor *f = g->factors + i;
      if (!(range->factors >> i & 1) || !f->out) continue;
      if (few) {
        multiply_few(g, f, row, rows);
        continue;
      }
      multiply_block(g, f, begin, depth, row, rows, a,
                     f->packed + (begin - g->begin) * packed_floats(f));
    }
  }
}

LOCAL void add_factor(Gradient *g, Factor factor, float **memory) {
  if (!factor.count || (!factor.out && !factor.sums)) return;
  factor.packed = *memory;
  if (factor.out) *memory += packed_depth(g->call) * packed_floats(&factor);
  g->factors[g->num_factors++] = factor;
}

INL uint64_t factors_of(const Gradient *g, long column) {
  uint64_t factors = 0;
  for (long i = 0; i < g->num_factors; i++) {
    const Factor *f = g->factors + i;
    if (column >= f->first && column < f->first + f->count) factors |= (uint64_t)1 << i;
  }
  return factors;
}

/* All gradients of weights, biases and vectors that are wanted; memory: [gradient_floats]. */
LOCAL void plan_gradient(Gradient *g, const Call *c, float *memory) {
  static const int64_t own_block[] = {0};
  const long H = H_OF(c), K = K_OF(c), I = c->input_size, heads = num_heads(c);
  g->call = c;
  g->num_factors = g->num_ranges = g->num_pieces = 0;
  g->packed_a = memory;
  memory += packed_a_floats() * c->num_threads;
  add_factor(g, (Factor){0, INPUT_COLUMNS, INPUT_BLOCKS, c->x, X_STRIDE(c), I, 1, c->d_weight_ih,
                         c->d_bias_ih, NULL}, &memory);
  add_factor(g, (Factor){FIRST_RECURRENT, RECURRENT_COLUMNS, RECURRENT_BLOCKS, NULL, 0, K, heads,
                         c->d_weight_hh, c->d_bias_hh, NULL}, &memory);
  for (long i = 0; i < APPLIED_COLUMNS; i++) {
    add_factor(g, (Factor){FIRST_APPLIED + i, 1, APPLIED_BLOCKS + i,
                           c->gates + (FIRST_VECTOR + i) * H, c->gate_stride, K, heads,
                           c->d_weight_hh, c->d_bias_hh, NULL}, &memory);
  }
  for (long p = 0; p < PARAMETERS; p++) {
    add_factor(g, (Factor){COLUMNS + p, 1, own_block, NULL, 0, 0, 1, NULL, c->d_parameters[p], NULL},
               &memory);
  }
  for (long column = 0, end; column < COLUMNS + PARAMETERS; column = end) {
    const uint64_t factors = factors_of(g, column);
    for (end = column + 1; end < COLUMNS + PARAMETERS && factors_of(g, end) == factors;) end++;
    if (!factors) continue;
    const long rows = (end - column) * H, strip = heads == 1 ? rows : K;
    const long tiles = (strip + PLAIN_ROWS - 1) / PLAIN_ROWS, threads = heads == 1 ? c->num_threads : 1;
    long pieces = (strip + BLOCK_ROWS - 1) / BLOCK_ROWS;
    pieces = MIN(tiles, (pieces + threads - 1) / threads * threads) * (rows / strip);
    g->ranges[g->num_ranges++] = (Range){column * H, end * H, strip, pieces, factors};
    g->num_pieces += pieces;
  }
  g->begin = 0;
  g->end = packed_depth(c);
}

/* Pieces of gradient_pack_piece, and multiply-adds of those of gradient_piece, for begin..end. */
INL long pack_pieces(const Gradient *g) {
  long pieces = 0;
  for (long i = 0; i < g->num_factors && g->call->num_rows > FEW_ROWS; i++) {
    if (g->factors[i].out) pieces += (g->end - g->begin + BLOCK_DEPTH - 1) / BLOCK_DEPTH;
  }
  return pieces;
}

INL long gradient_work(const Gradient *g) {
  long work = 0;
  for (long i = 0; i < g->num_factors; i++) {
    const Factor *f = g->factors + i;
    work += f->count * H_OF(g->call) * (f->out ? f->columns : 1) * (g->end - g->begin);
  }
  return work;
}

/* Those of a step's inputs, which its gate row holds: behind d_x, and in it that of x itself. */
INL void add_step_inputs(const Call *c, const float *gates, float *d_x) {
  const long H = H_OF(c);
  const float *from = gates + (COLUMNS + PARAMETERS) * H;
  (void)from, (void)d_x;
#if STEP_INPUTS
  memcpy(d_x + c->input_size, from, STEP_INPUTS * H * sizeof(float));
#endif
#if RAW_INPUT
  for (long unit = 0; unit < H; unit++) d_x[unit] += from[STEP_INPUTS * H + unit];
#endif
}

/* The gradient of the input: that of the gates, times the input weights. memory: [back_encoded] */
LOCAL void input_gradient_piece(const Call *c, long piece, float *memory) {
  const float *a[CHUNK_ROWS];
  float *out[CHUNK_ROWS];
  const long I = c->input_size, first = piece * CHUNK_ROWS;
  const long rows = MIN(CHUNK_ROWS, c->num_rows - first), depth = INPUT_COLUMNS * H_OF(c);
  for (long r = 0; r < rows; r++) {
    const float *gates = c->gates + (first + r) * c->gate_stride;
    a[r] = c->num_rows == 1 ? gates : encoded(gates, depth, memory + r * ENCODED_FLOATS(depth));
    out[r] = c->d_x + (first + r) * X_STRIDE(c);
  }
  const Layout at = layout_of(c);
  if (c->num_rows == 1) {
    unpacked_row(c->weight_ih, I, H_OF(c), INPUT_BLOCKS, INPUT_COLUMNS, a[0], out[0]);
  } else {
    for (long panel = 0; panel < PANELS(I); panel++) {
      multiply_rows(rows, depth, I, panel * PANEL, a,
                    back_input_panel(c, &at, panel), out);
    }
  }
  for (long r = 0; r < rows; r++) {
    add_step_inputs(c, c->gates + (first + r) * c->gate_stride, out[r]);
  }
}

#endif
