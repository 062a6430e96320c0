/* Products of a few rows with a packed matrix; how one is packed is in pack.h.
 *
 * Every output is one chain of fused multiply-adds over the depth, in order, whatever the number
 * of rows beside it: a row's result does not depend on the batch it is in.
 *
 * A packed matrix is a sequence of panels; a panel holds, for each k of the depth, `vectors`
 * vectors of W columns. It is aligned to a vector; columns that are missing are zero.
 */
#ifndef UNROLLED_TILE_H
#define UNROLLED_TILE_H

#include "vector.h"

/* Accumulators that stay in registers, with room for a panel's vectors and a broadcast. */
#define ACCUMULATORS (REGISTERS == 32 ? 24 : 12)
#define MOST_ROWS 12
#define ROWS_OF(vectors) \
  (ACCUMULATORS / (vectors) > MOST_ROWS ? MOST_ROWS \
   : ACCUMULATORS / (vectors) > 0       ? ACCUMULATORS / (vectors) \
                                        : 1)
#define PLAIN_VECTORS 4 /* of a panel that is not interleaved by gates */
#define PLAIN_ROWS ROWS_OF(PLAIN_VECTORS)
#define PANEL (PLAIN_VECTORS * W) /* columns of a plain panel */
#define PANELS(columns) (((columns) + PANEL - 1) / PANEL)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Rows of the next tile when `left` are: tiles of about one size, for the panel that each of them
   reads takes its time however few the rows are. */
INL long next_rows(long left, long most) {
  const long tiles = (left + most - 1) / most;
  return (left + tiles - 1) / tiles;
}

/* out[row * vectors + v] = sum over k of a[row][k] * panel[k][v], for constant rows and vectors.
   a: [rows], each [depth]; panel: [depth, vectors * W]; out: [rows * vectors], must not overlap the
   inputs. */
INL void tile(const int rows, const int vectors, long depth, const float *const *a,
              const float *restrict panel, vf *restrict out) {
  const float *row[rows];
  vf sum[rows][vectors];
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
    row[r] = a[r];
#pragma GCC unroll 24
    for (int v = 0; v < vectors; v++) sum[r][v] = (vf){0};
  }
  const vf *p = (const vf *)panel;
  for (long k = 0; k < depth; k++, p += vectors) {
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
      const float factor = row[r][k];
#pragma GCC unroll 24
      for (int v = 0; v < vectors; v++) sum[r][v] += p[v] * factor;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 24
    for (int v = 0; v < vectors; v++) out[r * vectors + v] = sum[r][v];
  }
}

/* The same for any number of rows up to ROWS_OF(vectors). */
#define TILE_CASE(n)                                                      \
  case n:                                                                 \
    if (n <= ROWS_OF(vectors)) tile(n, vectors, depth, a, panel, out);    \
    break;

INL void product(long rows, const int vectors, long depth, const float *const *a,
                 const float *restrict panel, vf *restrict out) {
  switch (rows) {
    TILE_CASE(1)
    TILE_CASE(2)
    TILE_CASE(3)
    TILE_CASE(4)
    TILE_CASE(5)
    TILE_CASE(6)
    TILE_CASE(7)
    TILE_CASE(8)
    TILE_CASE(9)
    TILE_CASE(10)
    TILE_CASE(11)
    TILE_CASE(12)
  }
}

OUT_OF_LINE void plain_product(long rows, long depth, const float *const *a,
                               const float *restrict panel, vf *restrict out) {
  product(rows, PLAIN_VECTORS, depth, a, panel, out);
}

/* out[r][first..] = a[r][0..depth) times the panel of columns first.. of `columns`, for any number of
   rows. a, out: [rows], each [depth], [columns]. */
LOCAL void multiply_rows(long rows, long depth, long columns, long first, const float *const *a,
                         const float *panel, float *const *out) {
  vf sums[PLAIN_ROWS * PLAIN_VECTORS];
  for (long r = 0, here; r < rows; r += here) {
    here = next_rows(rows - r, PLAIN_ROWS);
    plain_product(here, depth, a + r, panel, sums);
    for (long i = 0; i < here; i++) {
      for (long v = 0; v < PLAIN_VECTORS && first + v * W < columns; v++) {
        store(out[r + i] + first + v * W, columns - first - v * W, sums[i * PLAIN_VECTORS + v]);
      }
    }
  }
}

#define AHEAD 64 /* floats: of so many rows at once, the processor itself does not read ahead */

/* The products of one row with W columns that are rows in memory: the same chains as in a panel,
   without one. columns: [W], each [depth]; a: [depth]. */
INL vf unpacked_product(long depth, const float *const *columns, const float *a) {
  vf sum = {0};
  long k = 0;
  for (; k + W <= depth; k += W) {
    vf block[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) {
      __builtin_prefetch(columns[i] + k + AHEAD);
      block[i] = *(const vfu *)(columns[i] + k);
    }
    transpose(block);
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) sum += block[i] * a[k + i];
  }
  if (k < depth) {
    vf block[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) block[i] = load(columns[i] + k, depth - k);
    transpose(block);
    for (int i = 0; i < depth - k; i++) sum += block[i] * a[k + i];
  }
  return sum;
}

#endif
