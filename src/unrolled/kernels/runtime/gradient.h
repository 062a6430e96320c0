/* The gradients by weights and biases: large products over all rows of a batch, after the loop.
 *
 *     d_weight[i][j] = sum over n of d_gates[n][i] * b[n][j],   d_bias[i] = sum of d_gates[n][i]
 *
 * Blocks of both are packed so that a tile reads memory in order. The sums run over n in order
 * whatever the threads, each of which has rows of the result.
 */
#ifndef UNROLLED_GRADIENT_H
#define UNROLLED_GRADIENT_H

#define BLOCK_DEPTH 1024             /* n at once: a panel of b stays in the second cache */
#define BLOCK_ROWS (16 * PLAIN_ROWS) /* rows of the result at once: their part of a does too */
#define PACKED_BLOCKS 8              /* blocks of b that are packed at once */

typedef struct {
  const Call *call;
  const float *a;        /* the gates' gradients: call->gates from a column on */
  const float *b;        /* [N, b_stride]; NULL: the output before each step */
  long b_stride, rows, columns;
  const int64_t *blocks; /* for each H of rows, which block of H of the result it is */
  float *out;            /* [., columns] */
  float *sums;           /* [.], or NULL */
  float *packed_b;       /* [PACKED_BLOCKS] blocks */
  float *packed_a;       /* [threads, packed_a_floats] */
  long begin, end;       /* the n that packed_b has */
} Gradient;

INL long packed_columns(long columns) { return PANELS(columns) * PANEL; }

/* Floats of a packed group of PLAIN_ROWS rows of the result, and of all in a block. */
INL long group_floats(long depth) { return depth * PLAIN_ROWS + W; }
INL long packed_a_floats(void) { return BLOCK_ROWS / PLAIN_ROWS * group_floats(BLOCK_DEPTH); }

/* Floats of packed_b. */
INL long packed_b_floats(const Call *c, long columns) {
  return MIN(PACKED_BLOCKS * BLOCK_DEPTH, c->num_rows) * packed_columns(columns);
}

INL long row_of(const Gradient *g, long i) {
  const long H = H_OF(g->call);
  return g->blocks[i / H] * H + i % H;
}

/* out += a tile of packed a (depth, PLAIN_ROWS) times `vectors`, constant, of a panel of packed b;
   = if `fresh`. */
INL void tile_of(const int vectors, long depth, const float *restrict a, const float *restrict b,
                 float *const *out, long rows, long columns, int fresh) {
  vf sum[PLAIN_ROWS][PLAIN_VECTORS];
#pragma GCC unroll 12
  for (int r = 0; r < PLAIN_ROWS; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sum[r][v] = (vf){0};
  }
  const vf *p = (const vf *)b;
  for (long k = 0; k < depth; k++, p += PLAIN_VECTORS, a += PLAIN_ROWS) {
#pragma GCC unroll 12
    for (int r = 0; r < PLAIN_ROWS; r++) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sum[r][v] += p[v] * a[r];
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

static __attribute__((noinline)) void gradient_tile(long depth, const float *restrict a,
                                                    const float *restrict b, float *const *out,
                                                    long rows, long columns, int fresh) {
  tile_of(PLAIN_VECTORS, depth, a, b, out, rows, columns, fresh);
}

/* The same for a panel of which only the first vector holds columns: 65 characters are 64 and 1. */
static __attribute__((noinline)) void narrow_tile(long depth, const float *restrict a,
                                                  const float *restrict b, float *const *out,
                                                  long rows, long columns, int fresh) {
  tile_of(1, depth, a, b, out, rows, columns, fresh);
}

static void gradient_pack_b(const Gradient *g, long begin, long depth, float *restrict packed) {
  const Call *c = g->call;
  long t = 0;
  for (long k = 0; k < depth; k++) {
    const long n = begin + k;
    while (c->starts[t] + c->batch_sizes[t] <= n) t++;
    const float *row = g->b ? g->b + n * g->b_stride : state_before(c, 0, t, n - c->starts[t]);
    for (long column = 0; column < g->columns; column += PANEL) {
      float *to = packed + column * depth + k * PANEL;
      const long here = MIN(PANEL, g->columns - column);
      memcpy(to, row + column, here * sizeof(float));
      for (long i = here; i < PANEL; i++) to[i] = 0.0f;
    }
  }
}

/* Whole vectors are copied: what is too much of one is overwritten by the next, or lies in the W
   floats behind a group; where it is read, behind a gate row, there is padding. */
static void gradient_pack_a(const Gradient *g, long begin, long depth, long row, long rows,
                            float *restrict packed) {
  for (long k = 0; k < depth; k++) {
    const float *from = g->a + (begin + k) * g->call->gate_stride + row;
    float *to = packed + k * PLAIN_ROWS;
    for (long r = 0; r < rows; r += PLAIN_ROWS, to += group_floats(depth)) {
      for (long i = 0; i < PLAIN_ROWS; i += W) *(vfu *)(to + i) = *(const vfu *)(from + r + i);
    }
  }
}

/* The sums of `rows` columns of the gates from `row` on, each one chain over n. */
static void add_up(const Gradient *g, long begin, long depth, long row, long rows) {
  vf sum[BLOCK_ROWS / W + 1] = {{0}};
  for (long k = 0; k < depth; k++) {
    const float *from = g->a + (begin + k) * g->call->gate_stride + row;
    for (long i = 0; i < rows; i += W) sum[i / W] += load(from + i, rows - i);
  }
  for (long i = 0; i < rows; i++) {
    float *to = g->sums + row_of(g, row + i);
    *to = begin ? *to + sum[i / W][i % W] : sum[i / W][i % W];
  }
}

static void gradient_pack_piece(void *context, long piece, long thread) {
  (void)thread;
  const Gradient *g = context;
  const long begin = g->begin + piece * BLOCK_DEPTH, depth = MIN(BLOCK_DEPTH, g->end - begin);
  gradient_pack_b(g, begin, depth, g->packed_b + (begin - g->begin) * packed_columns(g->columns));
}

/* BLOCK_ROWS rows of the result. */
static void gradient_piece(void *context, long piece, long thread) {
  const Gradient *g = context;
  const long row = piece * BLOCK_ROWS, rows = MIN(BLOCK_ROWS, g->rows - row);
  float *a = g->packed_a + thread * packed_a_floats();
  const float *b = g->packed_b;
  for (long begin = g->begin; begin < g->end; begin += BLOCK_DEPTH) {
    const long depth = MIN(BLOCK_DEPTH, g->end - begin);
    if (g->sums) add_up(g, begin, depth, row, rows);
    if (!g->out) continue;
    gradient_pack_a(g, begin, depth, row, rows, a);
    for (long column = 0; column < g->columns; column += PANEL) {
      const long left = g->columns - column;
      for (long r = 0; r < rows; r += PLAIN_ROWS) {
        float *out[PLAIN_ROWS];
        for (long i = 0; i < PLAIN_ROWS; i++) {
          out[i] = g->out + row_of(g, row + MIN(r + i, rows - 1)) * g->columns + column;
        }
        (left > W ? gradient_tile : narrow_tile)(
            depth, a + r / PLAIN_ROWS * group_floats(depth), b + column * depth, out, rows - r,
            left, begin == 0);
      }
    }
    b += depth * packed_columns(g->columns);
  }
}

/* The gradients of `blocks` columns of the gates from `column` on: by the weights that multiply b,
   and by the biases. Either may be NULL. */
static void weight_gradient(ParallelFor parallel_for, const Call *c, long column, long num_blocks,
                            const int64_t *blocks, const float *b, long b_stride, long columns,
                            float *out, float *sums) {
  if (!out && !sums) return;
  const long H = H_OF(c), rows = num_blocks * H;
  float *packed_b = c->workspace + layout_of(c).back_end;
  Gradient g = {c, c->gates + column * H, b, b_stride, rows, columns, blocks, out, sums,
                packed_b, packed_b + packed_b_floats(c, MAX(H, c->input_size)), 0, 0};
  for (; g.begin < c->num_rows; g.begin = g.end) {
    g.end = MIN(g.begin + PACKED_BLOCKS * BLOCK_DEPTH, c->num_rows);
    const long depth = g.end - g.begin;
    if (out) {
      run(parallel_for, c->num_threads, (depth + BLOCK_DEPTH - 1) / BLOCK_DEPTH, depth * columns,
          gradient_pack_piece, &g);
    }
    run(parallel_for, c->num_threads, (rows + BLOCK_ROWS - 1) / BLOCK_ROWS,
        rows * (out ? columns : 1) * depth, gradient_piece, &g);
  }
}

/* The gradient by the input: the gates' times the input weights. */
static void input_gradient_piece(void *context, long piece, long thread) {
  (void)thread;
  const Call *c = context;
  const float *a[CHUNK_ROWS];
  float *out[CHUNK_ROWS];
  const long I = c->input_size, first = piece * CHUNK_ROWS;
  const long rows = MIN(CHUNK_ROWS, c->num_rows - first);
  for (long r = 0; r < rows; r++) {
    a[r] = c->gates + (first + r) * c->gate_stride;
    out[r] = c->d_x + (first + r) * I;
  }
  multiply_rows(rows, INPUT_COLUMNS * H_OF(c), I, 0, PANELS(I), a,
                c->workspace + layout_of(c).back_input, out);
}

#endif
