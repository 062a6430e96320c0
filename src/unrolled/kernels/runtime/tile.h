/* Products of a few rows with a packed matrix, and how a matrix is packed.
 *
 * Every output is one chain of fused multiply-adds over the depth, in order, whatever the number
 * of rows beside it: a row's result does not depend on the batch it is in.
 *
 * A packed matrix is a sequence of panels; a panel holds, for each k of the depth, `vectors`
 * vectors of W columns. It is aligned to a vector; columns that are missing are zero.
 */
#ifndef UNROLLED_TILE_H
#define UNROLLED_TILE_H

/* Accumulators that stay in registers, with room for a panel's vectors and a broadcast. */
#define ACCUMULATORS (REGISTERS == 32 ? 24 : 12)
#define MOST_ROWS 12
#define ROWS_OF(vectors) \
  (ACCUMULATORS / (vectors) > MOST_ROWS ? MOST_ROWS \
   : ACCUMULATORS / (vectors) > 0       ? ACCUMULATORS / (vectors) \
                                        : 1)
#define PLAIN_VECTORS 4 /* of a panel that is not interleaved by gates */
#define PLAIN_ROWS ROWS_OF(PLAIN_VECTORS)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* out[row * vectors + v] = sum over k of a[row][k] * panel[k][v], for constant rows and vectors.
   out must not overlap the inputs. */
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

static __attribute__((noinline, unused)) void plain_product(long rows, long depth,
                                                            const float *const *a,
                                                            const float *restrict panel,
                                                            vf *restrict out) {
  product(rows, PLAIN_VECTORS, depth, a, panel, out);
}

/* out[r][0..columns) = a[r][0..depth) times a plain packed matrix, for any number of rows. */
static __attribute__((unused)) void multiply_rows(long rows, long depth, long columns,
                                                  const float *const *a, const float *packed,
                                                  float *const *out) {
  const long width = PLAIN_VECTORS * W;
  vf sums[PLAIN_ROWS * PLAIN_VECTORS];
  for (long first = 0; first < columns; first += width, packed += depth * width) {
    for (long r = 0; r < rows; r += PLAIN_ROWS) {
      const long here = MIN(PLAIN_ROWS, rows - r);
      plain_product(here, depth, a + r, packed, sums);
      for (long i = 0; i < here; i++) {
        for (long v = 0; v < PLAIN_VECTORS && first + v * W < columns; v++) {
          store(out[r + i] + first + v * W, columns - first - v * W, sums[i * PLAIN_VECTORS + v]);
        }
      }
    }
  }
}

/* Pack the transpose of `blocks` blocks of H rows of weight (., depth): panels hold, for each k,
   `units` groups of W units, each group with its `blocks` vectors side by side. block_rows[g] is
   the first row of block g. */
static __attribute__((unused)) void pack_gates(const float *weight, long depth, long H,
                                               const int64_t *block_rows, long blocks, long units,
                                               float *restrict packed) {
  const long step = units * blocks * W, panels = (H + units * W - 1) / (units * W);
  for (long p = 0; p < panels; p++) {
    for (long j = 0; j < units; j++) {
      for (long g = 0; g < blocks; g++) {
        for (long lane = 0; lane < W; lane++) {
          const long unit = (p * units + j) * W + lane;
          const float *row = weight + (block_rows[g] + unit) * depth;
          float *to = packed + p * depth * step + (j * blocks + g) * W + lane;
          for (long k = 0; k < depth; k++) to[k * step] = unit < H ? row[k] : 0.0f;
        }
      }
    }
  }
}

/* Pack the transpose of the same blocks as one plain matrix of blocks * H columns. */
static __attribute__((unused)) void pack_plain(const float *weight, long depth, long H,
                                               const int64_t *block_rows, long blocks,
                                               float *restrict packed) {
  const long width = PLAIN_VECTORS * W, columns = blocks * H;
  for (long first = 0; first < columns; first += width, packed += depth * width) {
    for (long c = 0; c < width; c++) {
      const long column = first + c;
      if (column < columns) {
        const float *row = weight + (block_rows[column / H] + column % H) * depth;
        for (long k = 0; k < depth; k++) packed[k * width + c] = row[k];
      } else {
        for (long k = 0; k < depth; k++) packed[k * width + c] = 0.0f;
      }
    }
  }
}

/* Pack the blocks themselves: depth blocks * H, and `columns` columns. */
static __attribute__((unused)) void pack_straight(const float *weight, long columns, long H,
                                                  const int64_t *block_rows, long blocks,
                                                  float *restrict packed) {
  const long width = PLAIN_VECTORS * W;
  for (long first = 0; first < columns; first += width) {
    const long here = MIN(width, columns - first);
    for (long g = 0; g < blocks; g++) {
      for (long unit = 0; unit < H; unit++, packed += width) {
        memcpy(packed, weight + (block_rows[g] + unit) * columns + first, here * sizeof(float));
        for (long c = here; c < width; c++) packed[c] = 0.0f;
      }
    }
  }
}

#endif
