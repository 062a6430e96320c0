/* The gradient by a weight matrix: one large product over all rows of a batch, after the loop.
 *
 *     out[i][j] = sum over n of a[n][i] * b[n][j]
 *
 * Blocks of both are packed so that a tile reads memory in order. The sum runs over n in order
 * whatever the threads, each of which has rows of `out`.
 */
#ifndef UNROLLED_GRADIENT_H
#define UNROLLED_GRADIENT_H

#define BLOCK_DEPTH 1024                /* n at once: a panel of b stays in the second cache */
#define BLOCK_ROWS (16 * PLAIN_ROWS)    /* rows of out at once: their part of a does too */
#define PANEL (PLAIN_VECTORS * W)

typedef struct {
  int64_t depth, rows, columns, num_parts;
  int64_t a_stride, out_stride;
  const float *a;          /* [depth, a_stride], of which the first `rows` of each row count */
  const float *b;          /* [., columns] */
  const float *b_first;    /* [num_first, columns] */
  const int64_t *b_index;  /* [depth]: which row of b_first followed by b belongs to each n;
                              NULL: b in order */
  int64_t num_first;
  float *out;              /* [rows, out_stride] */
  float *scratch;          /* [num_parts, unrolled_gradient_scratch(columns)] */
} Gradient;

/* sums += a tile of packed a (depth, PLAIN_ROWS) times a panel of packed b. */
static __attribute__((noinline)) void gradient_tile(long depth, const float *restrict a,
                                                    const float *restrict b, float *const *out,
                                                    long rows, long columns, int fresh) {
  vf sum[PLAIN_ROWS][PLAIN_VECTORS];
#pragma GCC unroll 12
  for (int r = 0; r < PLAIN_ROWS; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < PLAIN_VECTORS; v++) sum[r][v] = (vf){0};
  }
  const vf *p = (const vf *)b;
  for (long k = 0; k < depth; k++, p += PLAIN_VECTORS, a += PLAIN_ROWS) {
#pragma GCC unroll 12
    for (int r = 0; r < PLAIN_ROWS; r++) {
#pragma GCC unroll 4
      for (int v = 0; v < PLAIN_VECTORS; v++) sum[r][v] += p[v] * a[r];
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < PLAIN_ROWS; r++) {
    if (r >= rows) break;
#pragma GCC unroll 4
    for (int v = 0; v < PLAIN_VECTORS; v++) {
      const long left = columns - v * W;
      if (left <= 0) break;
      if (!fresh) sum[r][v] += load(out[r] + v * W, left);
      store(out[r] + v * W, left, sum[r][v]);
    }
  }
}

static void gradient_pack_b(const Gradient *g, long begin, long depth, float *restrict packed) {
  for (long k = 0; k < depth; k++) {
    const long n = g->b_index ? g->b_index[begin + k] : begin + k;
    const int first = g->b_index && n < g->num_first;
    const float *row = first ? g->b_first + n * g->columns
                             : g->b + (n - (g->b_index ? g->num_first : 0)) * g->columns;
    for (long c = 0; c < g->columns; c += PANEL) {
      float *to = packed + c * depth + k * PANEL;
      const long here = MIN(PANEL, g->columns - c);
      memcpy(to, row + c, here * sizeof(float));
      for (long i = here; i < PANEL; i++) to[i] = 0.0f;
    }
  }
}

static void gradient_pack_a(const Gradient *g, long begin, long depth, long row, long rows,
                            float *restrict packed) {
  for (long k = 0; k < depth; k++) {
    const float *from = g->a + (begin + k) * g->a_stride + row;
    for (long r = 0; r < rows; r += PLAIN_ROWS) {
      float *to = packed + r * depth + k * PLAIN_ROWS;
      for (long i = 0; i < PLAIN_ROWS; i++) to[i] = r + i < rows ? from[r + i] : 0.0f;
    }
  }
}

INL long padded_columns(long columns) { return (columns + PANEL - 1) / PANEL * PANEL; }

static void gradient_body(int64_t part, int64_t end, void *context) {
  const Gradient *g = context;
  const unsigned long mode = flush_denormals();
  for (; part < end; part++) {
    const long first = g->rows * part / g->num_parts, last = g->rows * (part + 1) / g->num_parts;
    const long size = (padded_columns(g->columns) + BLOCK_ROWS) * BLOCK_DEPTH;
    float *b = g->scratch + part * size, *a = b + padded_columns(g->columns) * BLOCK_DEPTH;
    for (long begin = 0; begin < g->depth; begin += BLOCK_DEPTH) {
      const long depth = MIN(BLOCK_DEPTH, g->depth - begin);
      gradient_pack_b(g, begin, depth, b);
      for (long row = first; row < last; row += BLOCK_ROWS) {
        const long rows = MIN(BLOCK_ROWS, last - row);
        gradient_pack_a(g, begin, depth, row, rows, a);
        for (long c = 0; c < g->columns; c += PANEL) {
          for (long r = 0; r < rows; r += PLAIN_ROWS) {
            float *out[PLAIN_ROWS];
            for (long i = 0; i < PLAIN_ROWS; i++) {
              out[i] = g->out + (row + MIN(r + i, rows - 1)) * g->out_stride + c;
            }
            gradient_tile(depth, a + r * depth, b + c * depth, out, rows - r, g->columns - c,
                          begin == 0);
          }
        }
      }
    }
  }
  restore_denormals(mode);
}

/* Floats of scratch for each part. */
int64_t unrolled_gradient_scratch(int64_t columns) {
  return (padded_columns(columns) + BLOCK_ROWS) * BLOCK_DEPTH;
}

void unrolled_gradient(ParallelFor parallel_for, Gradient *gradient) {
  if (gradient->num_parts == 1) {
    gradient_body(0, 1, gradient);
  } else {
    parallel_for(0, gradient->num_parts, 1, gradient_body, gradient);
  }
}

#endif
