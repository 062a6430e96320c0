/* A stack of residual blocks of causal convolutions, forwards, backwards, and step by step.
 *
 * One row of the batch, or one piece of a row that is cut, is one piece of work: it goes through all
 * blocks, so that what a block leaves is read by the next one from cache, and threads never wait for
 * one another. An output is
 * one chain of fused multiply-adds over the taps, the oldest first, and over the channels in each;
 * then comes the bias. So its bits depend on nothing but what it sees.
 *
 * network.py has the same structures, and how a block computes is in layers/tcn.py. k =
 * kernel_size, d = dilation, span = (k - 1) d, T = num_steps, B = batch_size, C = input_size of a
 * block, H = hidden_size. A window is what a convolution reads, time after time: rows of C floats,
 * zeros up to whole vectors, and before them the past, or some rows of zeros where that is zero.
 */

#define FRONT MOST_ROWS /* rows of zeros before a window, and around gradients: as many as a tile */
#define MOST_GROUPS 16  /* of rows of the batch, each with gradients of the weights of its own */
#define MOST_GROUP_FLOATS (16l << 20) /* of all of these */
#define BLOCK_DEPTH 512 /* steps at once for the gradients of the weights: they stay in cache */
#define SAMPLES 16      /* floats of a weight that tell whether it has changed */

typedef struct {
  int64_t input_size, dilation;
  double scale;                /* of what dropout keeps */
  const float *weight[3];      /* [H, C, k], [H, H, k]; of the shortcut [H, C], or NULL */
  const float *bias[3];        /* [H]; NULL: none */
  float *past[2];              /* [span, B, C], [span, B, H]; NULL: zeros; of a step: rings */
  float *state[2];             /* as past, of what comes next */
  const uint8_t *keep[2];      /* [B, T, H], what dropout keeps; NULL: all */
  /* Of the backward pass; a gradient that is NULL is not wanted, or absent. */
  const float *d_state[2];
  float *d_past[2];
  float *d_weight[3];
  float *d_bias[3];
} Block;

/* A part of a row that is read as if alone. */
typedef struct {
  int64_t row, first, length; /* of the batch; its first step there; its steps */
  int64_t begins;             /* whether it goes on from the past of its row */
  int64_t ends;               /* whether it is its row's last: what comes next goes on from it */
  int64_t tape;               /* floats before its tape; unrolled_network_tape_floats writes them */
} Piece;

typedef struct {
  int64_t num_blocks, num_steps, batch_size, hidden_size, kernel_size, num_threads;
  int64_t train;               /* whether to write the tape */
  int64_t x_step, x_row, y_step, y_row; /* floats between steps, and between rows of the batch */
  const int64_t *lengths;      /* [B]; NULL: all T; not of pieces, which have their own */
  int64_t num_pieces;
  Piece *pieces;               /* row after row, in order; NULL: each row of the batch is one */
  const float *x;              /* [T, B, C] by its strides */
  float *y;                    /* [T, B, H] by its strides; backward: its gradient, read only */
  float *d_x;                  /* [T, B, C], as x, or NULL */
  Block *blocks;
  float *packed, *workspace, *tape;
} Network;

typedef struct {
  const Network *net;
  ParallelFor parallel_for;
  long groups;
  float *partial; /* [groups, of a group] */
} Work;

INL long padded(long columns) { return (columns + W - 1) / W * W; }
INL long span_of(const Network *n, const Block *b) { return (n->kernel_size - 1) * b->dilation; }
INL long length_of(const Network *n, long row) { return n->lengths ? n->lengths[row] : n->num_steps; }
INL int has_shortcut(const Block *b) { return b->weight[2] != NULL; }

/* ---- Products -------------------------------------------------------------------------------- */

/* out[r * vectors + v] = sum over j and c of tap[j][r * stride + c] * panel[j][c][v]. */
INL void taps_tile(const int rows, const int vectors, long taps, long depth,
                   const float *const *tap, long stride, const float *restrict panel,
                   vf *restrict out) {
  vf sum[rows][vectors];
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sum[r][v] = (vf){0};
  }
  const vf *p = (const vf *)panel;
  for (long j = 0; j < taps; j++) {
    const float *row[rows];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) row[r] = tap[j] + r * stride;
    for (long c = 0; c < depth; c++, p += vectors) {
      if (WEIGHT_BY_WEIGHT(rows, vectors)) {
        float factor[MOST_ROWS];
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) factor[r] = row[r][c];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
#pragma GCC unroll 12
          for (int r = 0; r < rows; r++) sum[r][v] += p[v] * factor[r];
        }
        continue;
      }
#pragma GCC unroll 12
      for (int r = 0; r < rows; r++) {
        const float factor = row[r][c];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) sum[r][v] += p[v] * factor;
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) out[r * vectors + v] = sum[r][v];
  }
}

/* CALL(rows) for the number of rows of a tile, as a constant. */
#define ROWS_CASE(n, CALL)           \
  case n:                            \
    if (n <= ROWS_OF(vectors)) CALL(n); \
    break;
#define BY_ROWS(rows, CALL) \
  switch (rows) {           \
    ROWS_CASE(1, CALL)      \
    ROWS_CASE(2, CALL)      \
    ROWS_CASE(3, CALL)      \
    ROWS_CASE(4, CALL)      \
    ROWS_CASE(5, CALL)      \
    ROWS_CASE(6, CALL)      \
    ROWS_CASE(7, CALL)      \
    ROWS_CASE(8, CALL)      \
    ROWS_CASE(9, CALL)      \
    ROWS_CASE(10, CALL)     \
    ROWS_CASE(11, CALL)     \
    ROWS_CASE(12, CALL)     \
  }

#define TAPS_TILE(n) taps_tile(n, vectors, taps, depth, tap, stride, panel, out)
#define TAPS_OF(v)                                                                        \
  OUT_OF_LINE void taps_##v(long rows, long taps, long depth, const float *const *tap,    \
                            long stride, const float *restrict panel, vf *restrict out) { \
    enum { vectors = v };                                                                 \
    BY_ROWS(rows, TAPS_TILE)                                                              \
  }
TAPS_OF(1)
TAPS_OF(2)
TAPS_OF(3)
TAPS_OF(4)

LOCAL void taps_product(long rows, long vectors, long taps, long depth, const float *const *tap,
                        long stride, const float *panel, vf *out) {
  (vectors == 1   ? taps_1
   : vectors == 2 ? taps_2
   : vectors == 3 ? taps_3
                  : taps_4)(rows, taps, depth, tap, stride, panel, out);
}

/* Vectors of the panel that begins at a column; its place is that column times the depth. */
INL long vectors_at(long columns, long column) {
  return MIN(PLAIN_VECTORS, (columns - column + W - 1) / W);
}

/* out[r][c] += sum over n of a[n][r] * b[n][c], for `vectors` vectors of columns; whole vectors. */
INL void weight_tile(const int rows, const int vectors, long depth, const float *restrict a,
                     long a_stride, const float *restrict b, long b_stride, float *restrict out,
                     long out_stride) {
  vf sum[rows][vectors];
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sum[r][v] = ((const vf *)(out + r * out_stride))[v];
  }
  for (long n = 0; n < depth; n++, a += a_stride, b += b_stride) {
    const vf *p = (const vf *)b;
    if (WEIGHT_BY_WEIGHT(rows, vectors)) {
      float factor[MOST_ROWS];
#pragma GCC unroll 12
      for (int r = 0; r < rows; r++) factor[r] = a[r];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) {
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) sum[r][v] += p[v] * factor[r];
      }
      continue;
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
      const float factor = a[r];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sum[r][v] += p[v] * factor;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) ((vf *)(out + r * out_stride))[v] = sum[r][v];
  }
}

#define WEIGHT_TILE(n) weight_tile(n, vectors, depth, a, a_stride, b, b_stride, out, out_stride)
#define WEIGHTS_OF(v)                                                                        \
  OUT_OF_LINE void weights_##v(long rows, long depth, const float *restrict a, long a_stride, \
                               const float *restrict b, long b_stride, float *restrict out,  \
                               long out_stride) {                                            \
    enum { vectors = v };                                                                    \
    BY_ROWS(rows, WEIGHT_TILE)                                                               \
  }
WEIGHTS_OF(1)
WEIGHTS_OF(2)
WEIGHTS_OF(3)
WEIGHTS_OF(4)

/* out [rows, padded(columns)] += the transpose of a [depth, rows] times b [depth, columns]. */
LOCAL void add_products(long rows, long columns, long depth, const float *a, const float *b,
                        float *out) {
  const long a_stride = padded(rows), stride = padded(columns);
  for (long column = 0; column < columns; column += PANEL) {
    const long vectors = vectors_at(columns, column);
    for (long r = 0, here; r < rows; r += here) {
      here = next_rows(rows - r, ROWS_OF(vectors));
      (vectors == 1   ? weights_1
       : vectors == 2 ? weights_2
       : vectors == 3 ? weights_3
                      : weights_4)(here, depth, a + r, a_stride, b + column, stride,
                                   out + r * stride + column, stride);
    }
  }
}

/* ---- Packed weights -------------------------------------------------------------------------- */

/* Where a block's packed weights are, in floats: by convolution, the shortcut being the third, the
   panels, the bias, and the panels of the transpose. */
typedef struct {
  long panels[3], bias[3], back[3], end;
} Layout;

INL long taps_of(const Network *n, int which) { return which == 2 ? 1 : n->kernel_size; }
INL long channels_of(const Network *n, const Block *b, int which) {
  return which == 1 ? n->hidden_size : b->input_size;
}

/* From the layout of the block before to that of this one. */
INL void add_layout(const Network *n, const Block *b, Layout *at) {
  const long H = n->hidden_size;
  for (int which = 0; which < 2 + has_shortcut(b); which++) {
    const long taps = taps_of(n, which), C = channels_of(n, b, which);
    at->panels[which] = at->end;
    at->bias[which] = at->panels[which] + padded(H) * taps * C;
    at->back[which] = at->bias[which] + padded(H);
    at->end = at->back[which] + padded(C) * taps * H;
  }
}

INL Layout layout_of(const Network *n, long block) {
  Layout at = {{0}, {0}, {0}, 0};
  for (long l = 0; l <= block; l++) add_layout(n, n->blocks + l, &at);
  return at;
}

/* The first tap that sees a step at all where nothing is before them; else the first. */
INL long first_tap(const Network *n, const Block *b, int which, int without_past) {
  long first = 0;
  if (which == 2 || !without_past) return 0;
  while ((n->kernel_size - 1 - first) * b->dilation >= n->num_steps) first++;
  return first;
}

/* W columns first.. of the H that are rows [C * taps] of a weight, to [taps, C] vectors, `width`
   floats apart, from tap `begin` on; columns that are missing are zero. */
LOCAL void pack_vector(const float *weight, long H, long C, long taps, long begin, long first,
                       float *to, long width) {
  const long depth = C * taps, here = MIN(W, H - first);
  vi there;
  for (int i = 0; i < W; i++) there[i] = i < here ? -1 : 0;
  const float *column[W];
  for (long i = 0; i < W; i++) column[i] = weight + MIN(first + i, H - 1) * depth;
  long c = 0, j = 0;
  for (long q = 0; q < depth; q += W) {
    const long left = MIN(W, depth - q);
    vf block[W];
    for (int i = 0; i < W; i++) block[i] = load(column[i] + q, left);
    transpose(block);
    for (long i = 0; i < left; i++) {
      if (j >= begin) *(vf *)(to + (j * C + c) * width) = (vf)((vi)block[i] & there);
      if (++j == taps) c++, j = 0;
    }
  }
}

/* weight: [H, C, taps]; to: for each panel of the H columns [taps, C, vectors * W]. */
LOCAL void pack_weight(const float *weight, long H, long C, long taps, long begin, float *to) {
  for (long column = 0; column < H; column += PANEL) {
    const long width = vectors_at(H, column) * W;
    for (long v = 0; v < width; v += W) {
      pack_vector(weight, H, C, taps, begin, column + v, to + column * taps * C + v, width);
    }
  }
}

/* The same for the transpose: for each panel of the C columns [taps, H, vectors * W]. */
LOCAL void pack_back(const float *weight, long H, long C, long taps, long begin, float *to) {
  for (long column = 0; column < C; column += PANEL) {
    const long width = vectors_at(C, column) * W, here = MIN(width, C - column);
    float *panel = to + column * taps * H;
    for (long o = 0; o < H; o++) {
      const float *from = weight + (o * C + column) * taps;
      for (long j = begin; j < taps; j++) {
        float *row = panel + (j * H + o) * width;
        for (long c = 0; c < here; c++) row[c] = from[c * taps + j];
        for (long c = here; c < width; c++) row[c] = 0.0f;
      }
    }
  }
}

LOCAL void pack_block(const Network *n, long block, int back) {
  const Block *b = n->blocks + block;
  const Layout at = layout_of(n, block);
  const long H = n->hidden_size;
  for (int which = 0; which < 2 + has_shortcut(b); which++) {
    const long taps = taps_of(n, which), C = channels_of(n, b, which);
    if (back) {
      const long begin = first_tap(n, b, which, !b->d_past[which % 2]);
      pack_back(b->weight[which], H, C, taps, begin, n->packed + at.back[which]);
      continue;
    }
    const long begin = first_tap(n, b, which, !b->past[which % 2]);
    pack_weight(b->weight[which], H, C, taps, begin, n->packed + at.panels[which]);
    float *bias = n->packed + at.bias[which];
    for (long i = 0; i < padded(H); i++) bias[i] = b->bias[which] && i < H ? b->bias[which][i] : 0.0f;
  }
}

LOCAL void pack_forward_piece(void *work, long block, long thread) {
  (void)thread;
  pack_block(((const Work *)work)->net, block, 0);
}

LOCAL void pack_backward_piece(void *work, long block, long thread) {
  (void)thread;
  pack_block(((const Work *)work)->net, block, 1);
}

INL long packed_floats(const Network *n) { return layout_of(n, n->num_blocks - 1).end; }

/* ---- Windows --------------------------------------------------------------------------------- */

/* Whether a piece has something before its window; else zeros. */
INL int has_past(const Block *b, int which, const Piece *p) { return b->past[which] && p->begins; }

/* Rows before a window: its past, or zeros. */
INL long front_of(const Network *n, const Block *b, int which, const Piece *p) {
  return has_past(b, which, p) ? span_of(n, b) : MIN(FRONT, span_of(n, b));
}

/* Floats of the window of a convolution of a piece, and of what is known of a block's output. */
INL long window_floats(const Network *n, const Block *b, int which, const Piece *p) {
  return (front_of(n, b, which, p) + p->length) * padded(channels_of(n, b, which));
}
INL long marks_floats(const Network *n, const Piece *p) {
  return padded((p->length * padded(n->hidden_size) + 3) / 4);
}

INL long piece_floats(const Network *n, const Piece *p) {
  long floats = 0;
  for (long l = 0; l < n->num_blocks; l++) {
    const Block *b = n->blocks + l;
    floats += window_floats(n, b, 0, p) + window_floats(n, b, 1, p) + marks_floats(n, p);
  }
  return floats;
}

/* The largest that there can be. */
INL Piece whole_row(const Network *n) { return (Piece){0, 0, n->num_steps, 1, 1, 0}; }

INL long row_floats(const Network *n) {
  const Piece whole = whole_row(n);
  return piece_floats(n, &whole);
}

INL long count_pieces(const Network *n) { return n->pieces ? n->num_pieces : n->batch_size; }

INL Piece piece_of(const Network *n, long number) {
  if (n->pieces) return n->pieces[number];
  return (Piece){number, 0, length_of(n, number), 1, 1, number * row_floats(n)};
}

/* Without a tape: two windows of inputs in turn, and one between two convolutions. */
INL long largest_window(const Network *n, int which) {
  const Piece whole = whole_row(n);
  long floats = 0;
  for (long l = 0; l < n->num_blocks; l++) {
    floats = MAX(floats, window_floats(n, n->blocks + l, which, &whole));
  }
  return floats;
}

/* `count` rows of C floats, `from_stride` apart, to a window. */
LOCAL void copy_rows(const float *from, long from_stride, long count, long C, float *to) {
  const long stride = padded(C);
  for (long t = 0; t < count; t++, from += from_stride, to += stride) {
    memcpy(to, from, C * sizeof(float));
    for (long c = C; c < stride; c++) to[c] = 0.0f;
  }
}

/* Write the rows before a window of a piece; return where its own begin. */
LOCAL float *begin_window(const Network *n, const Block *b, int which, const Piece *p,
                          float *memory) {
  const long C = channels_of(n, b, which), front = front_of(n, b, which, p);
  if (has_past(b, which, p)) {
    copy_rows(b->past[which] + p->row * C, n->batch_size * C, front, C, memory);
  } else {
    memset(memory, 0, front * padded(C) * sizeof(float));
  }
  return memory + front * padded(C);
}

/* The last inputs of a row, of its last piece, which come before what comes next. */
LOCAL void end_window(const Network *n, const Block *b, int which, const Piece *p,
                      const float *window) {
  if (!p->ends) return;
  const long C = channels_of(n, b, which), span = span_of(n, b);
  for (long s = 0; s < span; s++) {
    const long t = p->length - span + s;
    float *to = b->state[which] + (s * n->batch_size + p->row) * C;
    if (t < 0 && !has_past(b, which, p)) {
      memset(to, 0, C * sizeof(float));
    } else {
      memcpy(to, window + t * padded(C), C * sizeof(float));
    }
  }
}

/* ---- Forward --------------------------------------------------------------------------------- */

typedef struct {
  const float *bias[3];
  vf *shortcut;       /* [rows, vectors], products; NULL: the input itself */
  const uint8_t *keep;
  float scale;
  const float *input; /* of a block, and its stride */
  long input_stride;
  float *to;          /* where the results go, whole vectors if `whole` */
  long to_stride;
  int whole;
  uint8_t *marks;     /* [, padded(H)] of what is positive: 1, before the shortcut; 2, after it */
} Epilogue;

INL vf relu(vf x) { return greater((vf){0}, x); }

/* What dropout keeps of n numbers. */
INL vf kept_of(const Epilogue *e, vf x, const uint8_t *keep, long n) {
  vf factor = {0};
  for (long i = 0; i < MIN(n, W); i++) factor[i] = keep[i] ? e->scale : 0.0f;
  return x * factor;
}

/* relu(sum + bias) for `rows` rows of the sums of the panel at `column`. */
LOCAL void finish_first(const Epilogue *e, long rows, long vectors, long column, long H,
                        const vf *sums) {
  for (long r = 0; r < rows; r++) {
    for (long v = 0, at = column; v < vectors; v++, at += W) {
      vf a = relu(sums[r * vectors + v] + *(const vf *)(e->bias[0] + at));
      if (e->keep) a = kept_of(e, a, e->keep + r * H + at, H - at);
      store(e->to + r * e->to_stride + at, e->whole ? W : H - at, a);
    }
  }
}

typedef int8_t marks_of __attribute__((vector_size(W)));

/* relu(relu(sum + bias) + shortcut), and its marks. */
LOCAL void finish_second(const Epilogue *e, long rows, long vectors, long column, long H,
                         const vf *sums) {
  for (long r = 0; r < rows; r++) {
    for (long v = 0, at = column; v < vectors; v++, at += W) {
      vf b = relu(sums[r * vectors + v] + *(const vf *)(e->bias[1] + at));
      if (e->keep) b = kept_of(e, b, e->keep + r * H + at, H - at);
      vf direct;
      if (e->shortcut) {
        direct = e->shortcut[r * vectors + v] + *(const vf *)(e->bias[2] + at);
      } else {
        direct = load(e->input + r * e->input_stride + at, H - at);
      }
      const vf y = relu(b + direct);
      store(e->to + r * e->to_stride + at, e->whole ? W : H - at, y);
      if (e->marks) { /* as torch: what is not at most zero has a gradient */
        const vi marks = (~(vi)(b <= 0) & 1) | (~(vi)(y <= 0) & 2);
        const marks_of bytes = __builtin_convertvector(marks, marks_of);
        memcpy(e->marks + r * padded(H) + at, &bytes, W);
      }
    }
  }
}

/* The part of an epilogue from row t on. */
INL Epilogue epilogue_at(const Epilogue *e, long t, long H) {
  Epilogue at = *e;
  if (at.keep) at.keep += t * H;
  at.input += t * at.input_stride;
  at.to += t * at.to_stride;
  if (at.marks) at.marks += t * padded(H);
  return at;
}

/* One convolution of a block over the window of a piece. */
LOCAL void convolve(const Network *n, const Block *b, const Layout *at, int which, const Piece *p,
                    const float *window, const Epilogue *e) {
  const long H = n->hidden_size, k = n->kernel_size, d = b->dilation, length = p->length;
  const long C = channels_of(n, b, which), stride = padded(C);
  const float *tap[k];
  vf sums[ACCUMULATORS], direct[ACCUMULATORS];
  for (long column = 0; column < H; column += PANEL) {
    const long vectors = vectors_at(H, column);
    const float *panel = n->packed + at->panels[which] + column * k * C;
    for (long t = 0, rows; t < length; t += rows) {
      rows = next_rows(length - t, ROWS_OF(vectors));
      long first = 0; /* before it, all rows are zeros */
      if (!has_past(b, which, p)) {
        while (t + rows - 1 < (k - 1 - first) * d) first++;
      }
      for (long j = first; j < k; j++) tap[j] = window + (t - (k - 1 - j) * d) * stride;
      taps_product(rows, vectors, k - first, C, tap + first, stride,
                   panel + first * C * vectors * W, sums);
      Epilogue here = epilogue_at(e, t, H);
      if (which == 0) {
        finish_first(&here, rows, vectors, column, H, sums);
        continue;
      }
      if (has_shortcut(b)) {
        const long I = b->input_size;
        taps_product(rows, vectors, 1, I, &here.input, here.input_stride,
                     n->packed + at->panels[2] + column * I, direct);
        here.shortcut = direct;
      }
      finish_second(&here, rows, vectors, column, H, sums);
    }
  }
}

INL Epilogue epilogue_of(const Network *n, const Block *b, const Layout *at, int which,
                         const Piece *p, const float *input) {
  Epilogue e = {{0}, NULL, NULL, (float)b->scale, input, padded(b->input_size), NULL,
                padded(n->hidden_size), 1, NULL};
  for (int w = 0; w < 3; w++) e.bias[w] = n->packed + at->bias[w];
  if (b->keep[which]) e.keep = b->keep[which] + (p->row * n->num_steps + p->first) * n->hidden_size;
  return e;
}

LOCAL void forward_piece(void *work, long number, long thread) {
  const Network *n = ((const Work *)work)->net;
  const Piece piece = piece_of(n, number), *p = &piece;
  const long H = n->hidden_size;
  const long inputs = largest_window(n, 0), between = largest_window(n, 1);
  float *tape = n->tape + (n->train ? p->tape : 0);
  float *scratch = n->workspace + thread * (2 * inputs + between);
  float *input = n->train ? tape : scratch;
  float *y = n->y + p->row * n->y_row + p->first * n->y_step;
  float *window = begin_window(n, n->blocks, 0, p, input);
  copy_rows(n->x + p->row * n->x_row + p->first * n->x_step, n->x_step, p->length,
            n->blocks->input_size, window);
  for (long l = 0; l < n->num_blocks; l++) {
    const Block *b = n->blocks + l;
    const Layout at = layout_of(n, l);
    float *middle = scratch + 2 * inputs, *next = scratch + (l + 1) % 2 * inputs;
    uint8_t *marks = NULL;
    if (n->train) {
      middle = input + window_floats(n, b, 0, p);
      marks = (uint8_t *)(middle + window_floats(n, b, 1, p));
      next = middle + window_floats(n, b, 1, p) + marks_floats(n, p);
    }
    float *between_window = begin_window(n, b, 1, p, middle);
    Epilogue e = epilogue_of(n, b, &at, 0, p, window);
    e.to = between_window;
    convolve(n, b, &at, 0, p, window, &e);
    end_window(n, b, 0, p, window);

    e = epilogue_of(n, b, &at, 1, p, window);
    e.marks = marks;
    if (l + 1 < n->num_blocks) {
      e.to = begin_window(n, b + 1, 0, p, next);
      window = e.to;
    } else {
      e.to = y;
      e.to_stride = n->y_step;
      e.whole = 0;
      e.input = window;
    }
    convolve(n, b, &at, 1, p, between_window, &e);
    end_window(n, b, 1, p, between_window);
    input = next;
  }
  for (long t = p->length; p->ends && p->first + t < n->num_steps; t++) {
    memset(y + t * n->y_step, 0, H * sizeof(float));
  }
}

int64_t unrolled_network_packed_floats(const Network *n) { return packed_floats(n); }
int64_t unrolled_network_tape_floats(const Network *n) {
  if (!n->pieces) return row_floats(n) * n->batch_size;
  int64_t floats = 0;
  for (long i = 0; i < n->num_pieces; i++) {
    n->pieces[i].tape = floats;
    floats += piece_floats(n, n->pieces + i);
  }
  return floats;
}

LOCAL long row_work(const Network *n) {
  return layout_of(n, n->num_blocks - 1).end / 2 * n->num_steps;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* Floats of the gradients of a block's weights and biases, of one group; then of all blocks. */
INL long gradient_floats(const Network *n, const Block *b, int which) {
  const long columns = padded(channels_of(n, b, which));
  return taps_of(n, which) * n->hidden_size * columns + padded(n->hidden_size);
}
INL long floats_before(const Network *n, long block, int which) {
  long floats = 0;
  for (long l = 0; l <= block; l++) {
    const Block *b = n->blocks + l;
    const int end = l < block ? 2 + has_shortcut(b) : which;
    for (int w = 0; w < end; w++) floats += gradient_floats(n, b, w);
  }
  return floats;
}
INL long group_floats(const Network *n) { return floats_before(n, n->num_blocks, 0); }

/* How many groups there are depends on nothing but sizes, for the sums' order does. */
INL long groups_of(const Network *n) {
  const long most = MAX(1, MOST_GROUP_FLOATS / group_floats(n));
  return MAX(1, MIN(MIN(MOST_GROUPS, most), count_pieces(n)));
}

/* Of a thread: gradients of a block's output and input, and between; those of sums, with rows of
   zeros around them. */
INL long widest(const Network *n) {
  long columns = padded(n->hidden_size);
  for (long l = 0; l < n->num_blocks; l++) columns = MAX(columns, padded(n->blocks[l].input_size));
  return columns;
}
INL long backward_scratch(const Network *n) {
  const long T = n->num_steps, H = padded(n->hidden_size);
  return 2 * T * widest(n) + T * H + (T + 2 * FRONT) * H;
}

int64_t unrolled_network_workspace_floats(const Network *n, int64_t backward) {
  if (backward) return n->num_threads * backward_scratch(n) + groups_of(n) * group_floats(n);
  return n->train ? 0 : n->num_threads * (2 * largest_window(n, 0) + largest_window(n, 1));
}

/* The gradient of a window: of its `length` steps to d_window, added to what is there if `add`, and
   of its past. d_sums: of the sums, with rows of zeros around. */
LOCAL void convolve_back(const Network *n, const Block *b, const Layout *at, int which,
                         const Piece *p, const float *d_sums, float *d_window, int add) {
  const long H = n->hidden_size, k = n->kernel_size, d = b->dilation, span = span_of(n, b);
  const long C = channels_of(n, b, which), stride = padded(C), B = n->batch_size;
  const long row = p->row, length = p->length;
  float *d_past = p->begins ? b->d_past[which] : NULL;
  const float *tap[k];
  vf sums[ACCUMULATORS];
  for (long column = 0; column < C; column += PANEL) {
    const long vectors = vectors_at(C, column);
    const float *panel = n->packed + at->back[which] + column * k * H;
    for (long t = d_past ? -span : 0, rows; t < length; t += rows) {
      rows = next_rows((t < 0 ? 0 : length) - t, ROWS_OF(vectors));
      long first = 0, end = k; /* others are of no step at all */
      while (first < end && t + (k - 1 - first) * d >= length) first++;
      while (first < end && t + rows - 1 + (k - end) * d < 0) end--;
      for (long j = first; j < end; j++) tap[j] = d_sums + (t + (k - 1 - j) * d) * padded(H);
      taps_product(rows, vectors, end - first, H, tap + first, padded(H),
                   panel + first * H * vectors * W, sums);
      for (long r = 0; r < rows; r++) {
        for (long v = 0, c = column; v < vectors; v++, c += W) {
          const vf sum = sums[r * vectors + v];
          if (t < 0) {
            store(d_past + ((span + t + r) * B + row) * C + c, C - c, sum);
          } else {
            vf *to = (vf *)(d_window + (t + r) * stride + c);
            *to = add ? *to + sum : sum;
          }
        }
      }
    }
  }
  if (!b->d_state[which] || !p->ends) return;
  for (long s = 0; s < span; s++) {
    const long t = length - span + s;
    const float *from = b->d_state[which] + (s * B + row) * C;
    float *to = t >= 0 ? d_window + t * stride : d_past ? d_past + ((span + t) * B + row) * C : NULL;
    for (long c = 0; to && c < C; c++) to[c] += from[c];
  }
}

/* The gradient of a block's input through the shortcut. */
LOCAL void shortcut_back(const Network *n, const Block *b, const Layout *at, long length,
                         const float *d_sums, float *d_input) {
  const long H = n->hidden_size, C = b->input_size;
  vf sums[ACCUMULATORS];
  for (long column = 0; column < C; column += PANEL) {
    const long vectors = vectors_at(C, column);
    for (long t = 0, rows; t < length; t += rows) {
      rows = next_rows(length - t, ROWS_OF(vectors));
      const float *tap = d_sums + t * padded(H);
      taps_product(rows, vectors, 1, H, &tap, padded(H), n->packed + at->back[2] + column * H, sums);
      for (long r = 0; r < rows; r++) {
        memcpy(d_input + (t + r) * padded(C) + column, sums + r * vectors, vectors * sizeof(vf));
      }
    }
  }
}

/* The gradients of the weights of a convolution, added up. */
LOCAL void add_gradients(const Network *n, const Block *b, int which, const Piece *p,
                         const float *d_sums, const float *window, float *to) {
  const long length = p->length, H = n->hidden_size, taps = taps_of(n, which), C = channels_of(n, b, which);
  const long d = b->dilation, columns = padded(C);
  if (b->d_weight[which]) {
    for (long begin = 0; begin < length; begin += BLOCK_DEPTH) {
      const long end = MIN(begin + BLOCK_DEPTH, length);
      for (long j = 0; j < taps; j++) {
        const long back = (taps - 1 - j) * d;
        const long first = which == 2 || has_past(b, which, p) ? begin : MAX(begin, back);
        if (first >= end) continue;
        add_products(H, C, end - first, d_sums + first * padded(H), window + (first - back) * columns,
                     to + j * H * columns);
      }
    }
  }
  if (b->d_bias[which]) {
    float *bias = to + taps * H * columns;
    for (long i = 0; i < padded(H); i += W) {
      vf sum = *(vf *)(bias + i);
      for (long t = 0; t < length; t++) sum += *(const vf *)(d_sums + t * padded(H) + i);
      *(vf *)(bias + i) = sum;
    }
  }
}

/* d := what of it goes through the relu whose marks these are. */
LOCAL void unmark(float *d, const uint8_t *marks, int mark, long floats) {
  for (long i = 0; i < floats; i += W) {
    marks_of bytes;
    memcpy(&bytes, marks + i, W);
    const vi there = (__builtin_convertvector(bytes, vi) & mark) != 0;
    *(vf *)(d + i) = select(there, *(vf *)(d + i), (vf){0});
  }
}

/* d := what of it dropout kept, [length, padded(H)]. */
LOCAL void undrop(const Network *n, const Block *b, int which, const Piece *p, float *d) {
  const long H = n->hidden_size;
  if (!b->keep[which]) return;
  const uint8_t *keep = b->keep[which] + (p->row * n->num_steps + p->first) * H;
  for (long t = 0; t < p->length; t++, keep += H, d += padded(H)) {
    for (long i = 0; i < H; i++) d[i] *= keep[i] ? (float)b->scale : 0.0f;
  }
}

LOCAL void backward_piece(const Work *work, long number, float *scratch, float *gradients) {
  const Network *n = work->net;
  const Piece piece = piece_of(n, number), *p = &piece;
  const long length = p->length, T = n->num_steps, H = padded(n->hidden_size);
  float *d_output = scratch, *d_input = d_output + T * widest(n);
  float *d_middle = d_input + T * widest(n), *d_sums = d_middle + T * H + FRONT * H;
  memset(d_sums - FRONT * H, 0, FRONT * H * sizeof(float));
  memset(d_sums + length * H, 0, FRONT * H * sizeof(float));
  if (n->y) {
    copy_rows(n->y + p->row * n->y_row + p->first * n->y_step, n->y_step, length, n->hidden_size,
              d_output);
  } else {
    memset(d_output, 0, length * H * sizeof(float));
  }
  float *end = n->tape + p->tape + piece_floats(n, p);
  for (long l = n->num_blocks - 1; l >= 0; l--) {
    const Block *b = n->blocks + l;
    const Layout at = layout_of(n, l);
    const uint8_t *marks = (uint8_t *)(end - marks_floats(n, p));
    const float *middle = (float *)marks - window_floats(n, b, 1, p);
    const float *input = middle - window_floats(n, b, 0, p);
    end = (float *)input;
    middle += front_of(n, b, 1, p) * H;
    input += front_of(n, b, 0, p) * padded(b->input_size);
    float *to[3];
    for (int which = 0; which < 3; which++) to[which] = gradients + floats_before(n, l, which);

    unmark(d_output, marks, 2, length * H); /* now of the sum with the shortcut */
    memcpy(d_sums, d_output, length * H * sizeof(float));
    undrop(n, b, 1, p, d_sums);
    unmark(d_sums, marks, 1, length * H);
    add_gradients(n, b, 1, p, d_sums, middle, to[1]);
    convolve_back(n, b, &at, 1, p, d_sums, d_middle, 0);

    if (has_shortcut(b)) add_gradients(n, b, 2, p, d_output, input, to[2]);
    for (long i = 0; i < length * H; i += W) {
      const vi there = ~(*(const vf *)(middle + i) <= 0);
      *(vf *)(d_sums + i) = select(there, *(vf *)(d_middle + i), (vf){0});
    }
    undrop(n, b, 0, p, d_sums);
    add_gradients(n, b, 0, p, d_sums, input, to[0]);
    if (!l && !n->d_x && !b->d_past[0]) break;
    if (has_shortcut(b)) {
      shortcut_back(n, b, &at, length, d_output, d_input);
      float *other = d_output;
      d_output = d_input;
      d_input = other;
    }
    convolve_back(n, b, &at, 0, p, d_sums, d_output, 1);
  }
  if (!n->d_x) return;
  const long C = n->blocks->input_size;
  float *d_x = n->d_x + p->row * n->x_row + p->first * n->x_step;
  for (long t = 0; t < (p->ends ? T - p->first : length); t++, d_x += n->x_step) {
    if (t < length) {
      memcpy(d_x, d_output + t * padded(C), C * sizeof(float));
    } else {
      memset(d_x, 0, C * sizeof(float));
    }
  }
}

/* Of the gradients of a convolution's weights those of the taps that see nothing. */
INL long unused_floats(const Network *n, const Block *b, int which) {
  const long first = first_tap(n, b, which, !b->past[which % 2]);
  return first * n->hidden_size * padded(channels_of(n, b, which));
}

LOCAL void group_piece(void *context, long group, long thread) {
  const Work *work = context;
  const Network *n = work->net;
  float *gradients = work->partial + group * group_floats(n);
  for (long l = 0; l < n->num_blocks; l++) {
    const Block *b = n->blocks + l;
    for (int which = 0; which < 2 + has_shortcut(b); which++) {
      const long unused = unused_floats(n, b, which);
      memset(gradients + floats_before(n, l, which) + unused, 0,
             (gradient_floats(n, b, which) - unused) * sizeof(float));
    }
  }
  const long begin = group * count_pieces(n) / work->groups;
  const long end = (group + 1) * count_pieces(n) / work->groups;
  float *scratch = n->workspace + thread * backward_scratch(n);
  for (long i = begin; i < end; i++) backward_piece(work, i, scratch, gradients);
}

/* Of one convolution, the sum over the groups, in order, as torch has it: [H, C, taps], [H]. */
LOCAL void sum_piece(void *context, long piece, long thread) {
  (void)thread;
  const Work *work = context;
  const Network *n = work->net;
  const long block = piece / 3, size = group_floats(n), H = n->hidden_size;
  const int which = piece % 3;
  const Block *b = n->blocks + block;
  if (which == 2 && !has_shortcut(b)) return;
  const long C = channels_of(n, b, which), columns = padded(C), taps = taps_of(n, which);
  const float *from = work->partial + floats_before(n, block, which);
  const long first = first_tap(n, b, which, !b->past[which % 2]);
  for (long o = 0; o < H && b->d_weight[which]; o++) {
    float *to = b->d_weight[which] + o * C * taps;
    for (long j = 0; j < taps; j++) {
      for (long c = 0; c < C; c += W) {
        vf sum = {0};
        for (long g = 0; g < work->groups && j >= first; g++) {
          sum += *(const vf *)(from + g * size + (j * H + o) * columns + c);
        }
        for (long i = 0; i < MIN(W, C - c); i++) to[(c + i) * taps + j] = sum[i];
      }
    }
  }
  from = work->partial + floats_before(n, block, which) + taps * H * columns;
  for (long o = 0; o < H && b->d_bias[which]; o++) {
    float sum = 0.0f;
    for (long g = 0; g < work->groups; g++) sum += from[g * size + o];
    b->d_bias[which][o] = sum;
  }
}

/* ---- Entry points ---------------------------------------------------------------------------- */

/* `packed` afterwards holds what unrolled_network_step reads. */
void unrolled_network_pack(ParallelFor parallel_for, const Network *n) {
  Work work = {n, parallel_for, 0, NULL};
  run(parallel_for, n->num_threads, n->num_blocks, packed_floats(n), pack_forward_piece, &work);
}

void unrolled_network_forward(ParallelFor parallel_for, const Network *n) {
  Work work = {n, parallel_for, 0, NULL};
  unrolled_network_pack(parallel_for, n);
  run(parallel_for, n->num_threads, count_pieces(n), row_work(n) * n->batch_size, forward_piece,
      &work);
}

/* Of a network as unrolled_network_forward was given it, its tape, and y the gradient of y. */
void unrolled_network_backward(ParallelFor parallel_for, const Network *n) {
  Work work = {n, parallel_for, groups_of(n), n->workspace + n->num_threads * backward_scratch(n)};
  run(parallel_for, n->num_threads, n->num_blocks, packed_floats(n), pack_backward_piece, &work);
  run(parallel_for, n->num_threads, work.groups, 2 * row_work(n) * n->batch_size, group_piece, &work);
  run(parallel_for, n->num_threads, 3 * n->num_blocks, group_floats(n) * work.groups, sum_piece,
      &work);
}

/* ---- One step of a stream -------------------------------------------------------------------- */

/* The numbers by which it is seen that weights have changed though nobody said so. */
typedef struct {
  int64_t num_weights;
  const float *const *weights;
  const int64_t *sizes;
  float *known; /* [num_weights, SAMPLES] */
} Samples;

/* Whether a sample of the weights is as it was; it is known from now on. The places follow no
   rhythm: part after part, by the golden ratio, of 65536. */
int64_t unrolled_network_is_known(const Samples *s) {
  uint32_t differs = 0;
  for (long w = 0; w < s->num_weights; w++) {
    for (long i = 0; i < SAMPLES; i++) {
      const long place = (i << 16) + (i * 40503 & 0xffff);
      const float *from = s->weights[w] + s->sizes[w] * place / (SAMPLES << 16);
      float *known = s->known + w * SAMPLES + i;
      uint32_t now, before;
      memcpy(&now, from, sizeof now);
      memcpy(&before, known, sizeof before);
      differs |= now ^ before;
      memcpy(known, from, sizeof now);
    }
  }
  return !differs;
}

typedef struct {
  const Network *net;
  long count; /* of steps before */
} Step;

/* Floats of scratch of a thread: two inputs in turn, and one between two convolutions. */
INL long step_scratch(const Network *n) { return 3 * MOST_ROWS * widest(n); }
int64_t unrolled_network_step_floats(const Network *n) { return n->num_threads * step_scratch(n); }

/* One convolution of a block for rows first..first + rows of the batch. Ring slot `count` modulo
   the span holds the oldest input, where the newest goes. */
LOCAL void convolve_step(const Step *step, const Block *b, const Layout *at, int which, long first,
                         long rows, const float *input, const Epilogue *e) {
  const Network *n = step->net;
  const long H = n->hidden_size, k = n->kernel_size, d = b->dilation, span = span_of(n, b);
  const long C = channels_of(n, b, which), slot = n->batch_size * C, begin = span ? step->count % span : 0;
  const float *tap[k], *of_row[k];
  vf sums[ACCUMULATORS], direct[ACCUMULATORS];
  for (long j = 0, place = begin; j < k - 1; j++) {
    tap[j] = b->past[which] + place * slot + first * C;
    place += d;
    if (place >= span) place -= span;
  }
  tap[k - 1] = input;
  for (long column = 0; column < H; column += PANEL) {
    const long vectors = vectors_at(H, column);
    const float *panel = n->packed + at->panels[which] + column * k * C;
    for (long r = 0, here; r < rows; r += here) {
      here = next_rows(rows - r, ROWS_OF(vectors));
      for (long j = 0; j < k; j++) of_row[j] = tap[j] + r * C;
      taps_product(here, vectors, k, C, of_row, C, panel, sums);
      Epilogue tile = epilogue_at(e, r, H);
      if (which == 0) {
        finish_first(&tile, here, vectors, column, H, sums);
        continue;
      }
      if (has_shortcut(b)) {
        const long I = b->input_size;
        taps_product(here, vectors, 1, I, &tile.input, I, n->packed + at->panels[2] + column * I,
                     direct);
        tile.shortcut = direct;
      }
      finish_second(&tile, here, vectors, column, H, sums);
    }
  }
  if (span) memcpy(b->past[which] + begin * slot + first * C, input, rows * C * sizeof(float));
}

LOCAL void step_piece(void *context, long piece, long thread) {
  const Step *step = context;
  const Network *n = step->net;
  const long H = n->hidden_size, first = piece * MOST_ROWS, size = MOST_ROWS * widest(n);
  const long rows = MIN(MOST_ROWS, n->batch_size - first);
  float *scratch = n->workspace + thread * step_scratch(n), *middle = scratch + 2 * size;
  const float *input = n->x + first * n->blocks->input_size;
  const Piece start = {0, 0, 1, 1, 1, 0};
  Layout at = {{0}, {0}, {0}, 0};
  for (long l = 0; l < n->num_blocks; l++) {
    const Block *b = n->blocks + l;
    add_layout(n, b, &at);
    Epilogue e = epilogue_of(n, b, &at, 0, &start, input);
    e.input_stride = b->input_size;
    e.to = middle;
    e.to_stride = H;
    e.whole = 0;
    convolve_step(step, b, &at, 0, first, rows, input, &e);
    e.to = l + 1 < n->num_blocks ? scratch + l % 2 * size : n->y + first * H;
    convolve_step(step, b, &at, 1, first, rows, middle, &e);
    input = e.to;
  }
}

/* One step of all rows, after `count` others. x: [B, C], y: [B, H]; the rings are `past`, and the
   weights are packed. */
void unrolled_network_step(ParallelFor parallel_for, Network *n, int64_t count, const float *x,
                           float *y) {
  Step step = {n, count};
  n->x = x;
  n->y = y;
  run(parallel_for, n->num_threads, (n->batch_size + MOST_ROWS - 1) / MOST_ROWS,
      packed_floats(n) / 2 * n->batch_size, step_piece, &step);
}

/* ---- What a stream computes with, as Python has it ------------------------------------------- */

/* Functions of Python's stable interface, and of DLPack's exchange, by their addresses. */
typedef struct {
  void *(*item)(void *dict, void *key); /* PyDict_GetItemWithError: borrowed */
  int64_t (*size)(void *dict);          /* PyDict_Size */
  void *(*attribute)(void *object, void *name); /* PyObject_GetAttr */
  int64_t (*as_integer)(void *number);          /* PyLong_AsLongLong */
  void (*decrease)(void *object);               /* Py_DecRef */
  void (*clear_error)(void);                    /* PyErr_Clear */
  int (*look)(void *tensor, void *result);      /* dltensor_from_py_object_no_sync */
  void *version;                                /* the name of a tensor's counter of changes */
} Python;

/* DLTensor of dlpack.h. */
typedef struct {
  void *data;
  int32_t device_type, device_id, ndim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} DLTensor;

typedef struct {
  int64_t num_dicts, num_entries, num_weights;
  void **dicts;          /* [num_dicts] */
  const int64_t *sizes;  /* [num_dicts], how many entries each has */
  void **owners, **keys, **values; /* [num_entries]: owner[key] is value */
  void **weights;        /* [num_weights] */
  const int64_t *addresses;
  int64_t *versions;     /* of each weight, updated */
} Watch;

enum { ANOTHER, CHANGED, SAME };

/* Whether the dicts hold what they held, and the weights are where they were; whether torch counts
   them as changed. With the interpreter's lock. */
int64_t unrolled_network_watch(const Python *py, Watch *w) {
  for (long i = 0; i < w->num_dicts; i++) {
    if (py->size(w->dicts[i]) != w->sizes[i]) return ANOTHER;
  }
  for (long i = 0; i < w->num_entries; i++) {
    if (py->item(w->owners[i], w->keys[i]) != w->values[i]) {
      py->clear_error();
      return ANOTHER;
    }
  }
  int64_t found = SAME;
  for (long i = 0; i < w->num_weights; i++) {
    DLTensor t;
    if (py->look(w->weights[i], &t)) {
      py->clear_error();
      return ANOTHER;
    }
    void *number = py->attribute(w->weights[i], py->version);
    if (!number) {
      py->clear_error();
      return ANOTHER;
    }
    const int64_t version = py->as_integer(number);
    py->decrease(number);
    if ((int64_t)(intptr_t)t.data != w->addresses[i] || t.bits != 32) return ANOTHER;
    if (version != w->versions[i]) found = CHANGED;
    w->versions[i] = version;
  }
  return found;
}

/* What a stream's step is given each time. */
typedef struct {
  const Python *py;
  Watch *watch;
  const Samples *samples;
  ParallelFor parallel_for;
  Network *net;
} Stream;

/* unrolled_network_step if nothing has changed; what unrolled_network_watch says, and CHANGED where
   a sample of the weights differs. With the interpreter's lock. */
int64_t unrolled_network_short_step(const Stream *s, int64_t count, const float *x, float *y) {
  const int64_t found = unrolled_network_watch(s->py, s->watch);
  if (found != SAME) return found;
  if (!unrolled_network_is_known(s->samples)) return CHANGED;
  unrolled_network_step(s->parallel_for, s->net, count, x, y);
  return SAME;
}
