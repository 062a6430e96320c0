/* Products of a few rows with a packed matrix; how one is packed is in pack.h.
 *
 * Every output is one chain of fused multiply-adds over the depth, in order, whatever the number
 * of rows beside it: a row's result does not depend on the batch it is in.
 *
 * A packed matrix is a sequence of panels; a panel holds, for each k of the depth, `vectors`
 * vectors of W columns, or words of several k each (words.h). It is aligned to a vector; columns
 * that are missing are zero.
 */
#ifndef UNROLLED_TILE_H
#define UNROLLED_TILE_H

#include "vector.h"
#include "words.h"

/* Accumulators that stay in registers, with room for a panel's vectors and a broadcast. */
#define ACCUMULATORS ((REGISTERS == 32 ? 24 : 12) / DIGITS)
#define MOST_ROWS 12
#if defined(__clang__) && REGISTERS == 16
#define ROOM(vectors) (ACCUMULATORS - ((vectors) == 3)) /* of 4 rows it keeps some in memory */
#else
#define ROOM(vectors) ACCUMULATORS
#endif
#define ROWS_OF(vectors) \
  (ROOM(vectors) / (vectors) > MOST_ROWS ? MOST_ROWS \
   : ROOM(vectors) / (vectors) > 0       ? ROOM(vectors) / (vectors) \
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

/* In which order compilers keep a tile in registers. gcc reads a weight from memory for each of up to four
   rows, more than what a processor can read, unless it is told to hold it, where there is room. clang reads
   all weights first, and with 16 registers has no room for accumulators then, unless each meets all rows. */
#if defined(__clang__)
#define HOLDS_WEIGHTS(rows, vectors) 0
#define WEIGHT_BY_WEIGHT(rows, vectors) (REGISTERS == 16 && (rows) < (vectors))
#else
#define HOLDS_WEIGHTS(rows, vectors) \
  ((rows) > 1 && (rows) < 5 && ((rows) + 1) * (vectors) < REGISTERS)
#define WEIGHT_BY_WEIGHT(rows, vectors) 0
#endif

/* out[row * stride + v] = sum over k of a[row][k] * panel[k][v], for constant rows and vectors, of a
   panel that has `stride` vectors. a: [rows], each [depth], as `encoded` gives it; panel:
   [PANEL_FLOATS(depth, stride)], from its first vector here on; out: [rows * stride], must not overlap
   the inputs. */
#if WEIGHT_BITS == 8
INL void tile(const int rows, const int vectors, const int stride, long depth, const float *const *a,
              const float *restrict panel, vf *restrict out) {
  const int32_t *digits[rows];
  const long apart = DIGIT_FLOATS(depth), words = WORDS(depth);
  vi sum[rows][DIGITS][vectors];
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
    digits[r] = (const int32_t *)(a[r] + ENCODED_HEAD);
#pragma GCC unroll 3
    for (int d = 0; d < DIGITS; d++) {
#pragma GCC unroll 24
      for (int v = 0; v < vectors; v++) sum[r][d][v] = (vi){0};
    }
  }
  const vf *scales = (const vf *)panel;
  const vi *totals = (const vi *)panel + stride, *p = totals + stride;
  for (long q = 0; q < words; q++, p += stride) {
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 3
      for (int d = 0; d < DIGITS; d++) {
        const vi factor = (vi){0} + digits[r][d * apart + q];
#pragma GCC unroll 24
        for (int v = 0; v < vectors; v++) sum[r][d][v] = dot(sum[r][d][v], factor, p[v]);
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 24
    for (int v = 0; v < vectors; v++) {
      const vi high = sum[r][2][v] - totals[v] * (MIDDLE >> 16);
      vf value = __builtin_convertvector(high, vf) * 65536.0f;
      value += __builtin_convertvector(sum[r][1][v], vf) * 256.0f;
      value += __builtin_convertvector(sum[r][0][v], vf);
      out[r * stride + v] = value * a[r][0] * scales[v];
    }
  }
}
#else
INL void tile(const int rows, const int vectors, const int stride, long depth, const float *const *a,
              const float *restrict panel, vf *restrict out) {
  const float *row[rows];
  vf sum[rows][vectors], word[vectors];
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
    row[r] = a[r];
#pragma GCC unroll 24
    for (int v = 0; v < vectors; v++) sum[r][v] = (vf){0};
  }
  const vf *p = (const vf *)panel;
#if WEIGHT_BITS == 16
  for (long k = 0; k < depth; k += 2, p += stride) {
#pragma GCC unroll 24
    for (int v = 0; v < vectors; v++) word[v] = (vf)((vu)p[v] << 16);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
      const float factor = row[r][k];
#pragma GCC unroll 24
      for (int v = 0; v < vectors; v++) sum[r][v] += word[v] * factor;
    }
    if (k + 1 == depth) break;
#pragma GCC unroll 24
    for (int v = 0; v < vectors; v++) word[v] = (vf)((vu)p[v] & 0xffff0000);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
      const float factor = row[r][k + 1];
#pragma GCC unroll 24
      for (int v = 0; v < vectors; v++) sum[r][v] += word[v] * factor;
    }
  }
#else
  for (long k = 0; k < WORDS(depth); k++, p += stride) {
    if (WEIGHT_BY_WEIGHT(rows, vectors)) {
      float factor[MOST_ROWS];
#pragma GCC unroll 12
      for (int r = 0; r < rows; r++) factor[r] = row[r][k];
#pragma GCC unroll 24
      for (int v = 0; v < vectors; v++) {
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) sum[r][v] = add_product(sum[r][v], p[v], factor[r]);
      }
      continue;
    }
    if (HOLDS_WEIGHTS(rows, vectors)) {
#pragma GCC unroll 24
      for (int v = 0; v < vectors; v++) word[v] = in_register(p[v]);
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
      const float factor = row[r][k];
#pragma GCC unroll 24
      for (int v = 0; v < vectors; v++) {
        sum[r][v] = add_product(sum[r][v], HOLDS_WEIGHTS(rows, vectors) ? word[v] : p[v], factor);
      }
    }
  }
#endif
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 24
    for (int v = 0; v < vectors; v++) out[r * stride + v] = sum[r][v];
  }
}
#endif

/* The same for any number of rows up to ROWS_OF(vectors). */
#define TILE_CASE(n)                                                      \
  case n:                                                                 \
    if (n <= ROWS_OF(vectors)) tile(n, vectors, vectors, depth, a, panel, out); \
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

/* The same for a panel of which only the first two vectors hold columns: layers of 32 units, or of as many
   inputs. The others of `out` are not set. */
#define HALF_CASE(n)                                                                    \
  case n:                                                                               \
    if (n <= PLAIN_ROWS) tile(n, PLAIN_VECTORS / 2, PLAIN_VECTORS, depth, a, panel, out); \
    break;

OUT_OF_LINE void half_product(long rows, long depth, const float *const *a, const float *panel, vf *out) {
  switch (rows) {
    HALF_CASE(1)
    HALF_CASE(2)
    HALF_CASE(3)
    HALF_CASE(4)
    HALF_CASE(5)
    HALF_CASE(6)
  }
}

/* Whichever of the two `vectors` of a panel want. */
INL void whole_product(long rows, long vectors, long depth, const float *const *a, const float *panel,
                       vf *out) {
  (vectors > PLAIN_VECTORS / 2 ? plain_product : half_product)(rows, depth, a, panel, out);
}

_Static_assert(PLAIN_ROWS <= 6, "the cases of half_product");
_Static_assert(PLAIN_VECTORS == 4, "the cases of partial_product");

/* The same for vectors first.. of a panel, fewer than it has: a thread's share of its units. Threads share
   a row or two. */
OUT_OF_LINE void partial_product(long rows, long first, long vectors, long depth,
                                 const float *const *a, const float *panel, vf *out) {
  panel += first * W;
  for (long r = 0; r < rows; r++, a++, out += PLAIN_VECTORS) {
    switch (vectors) {
      case 1: tile(1, 1, PLAIN_VECTORS, depth, a, panel, out); break;
      case 2: tile(1, 2, PLAIN_VECTORS, depth, a, panel, out); break;
      case 3: tile(1, 3, PLAIN_VECTORS, depth, a, panel, out); break;
    }
  }
}

/* out[r][first..] = a[r][0..depth) times the panel of columns first.. of `columns`, for any number of
   rows. a: as `tile` has it; out: [rows], each [columns]. */
LOCAL void multiply_rows(long rows, long depth, long columns, long first, const float *const *a,
                         const float *panel, float *const *out) {
  vf sums[PLAIN_ROWS * PLAIN_VECTORS];
  for (long r = 0, here; r < rows; r += here) {
    here = next_rows(rows - r, PLAIN_ROWS);
    whole_product(here, (columns - first + W - 1) / W, depth, a + r, panel, sums);
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
    for (int i = 0; i < W; i++) sum += narrow(block[i]) * narrow(repeated(a[k + i]));
  }
  if (k < depth) {
    vf block[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) block[i] = load(columns[i] + k, depth - k);
    transpose(block);
    for (int i = 0; i < depth - k; i++) sum += narrow(block[i]) * narrow(repeated(a[k + i]));
  }
  return sum;
}

#endif
