/* Weights, laid out as products read them: panel after panel, each in the order of its depth. */
#ifndef UNROLLED_PACK_H
#define UNROLLED_PACK_H

#include "call.h"
#include "cell.h"
#include "tile.h"

#if RECURRENT_COLUMNS
#define UNITS (RECURRENT_COLUMNS < 4 ? 4 / RECURRENT_COLUMNS : 1) /* groups of W units in a panel */
#define GATE_VECTORS (UNITS * RECURRENT_COLUMNS)
#else
#define UNITS 4
#define GATE_VECTORS 4
#endif
_Static_assert(UNITS == 1 || GATE_VECTORS == PLAIN_VECTORS, "a part of a panel is that of a plain one");
#define SAMPLE 64 /* floats of the weights that tell whether they have changed */

#define STRAIGHT(depth) PANEL_FLOATS(depth, PLAIN_VECTORS) /* floats of a panel of pack_straight */
#define CHUNK_ROWS 96 /* rows whose input is projected at once: their gates stay in cache */

#define GATE_UNITS (UNITS * W) /* of a panel of gates; PANEL of one of an applied product */

/* The units of a panel of recurrent weights: its first one, the first one of its head and the one
   behind that. Units of two heads are in no panel, as each head is multiplied with its own outputs. */
typedef struct {
  long first, begin, end;
} Units;

INL long num_heads(const Call *c) { return K_OF(c) == H_OF(c) ? 1 : H_OF(c) / K_OF(c); }
INL long panels_of_units(const Call *c, long width) {
  return num_heads(c) * ((K_OF(c) + width - 1) / width);
}

INL Units units_of(const Call *c, long panel, long width) {
  const long K = K_OF(c), of_head = (K + width - 1) / width;
  const long head = K == H_OF(c) ? 0 : panel / of_head, begin = head * K;
  return (Units){begin + (panel - head * of_head) * width, begin, begin + K};
}

/* Groups of W units: what threads that share a row divide. Those of a head begin with a panel. */
INL long groups_of_head(const Call *c) { return (K_OF(c) + W - 1) / W; }
INL long num_groups(const Call *c) { return num_heads(c) * groups_of_head(c); }

/* `count` groups of a panel, from its group `from` on, and their units; whether they are all that the
   panel has. */
typedef struct {
  long panel, from, count;
  int whole;
  Units units;
} Strip;

/* Those from `group` on, up to `end`, that are in its panel, of `most` groups. */
INL Strip strip_of(const Call *c, long group, long end, const long most) {
  const long K = K_OF(c), of_head = groups_of_head(c), head = K == H_OF(c) ? 0 : group / of_head;
  const long here = group - head * of_head, from = here % most, all = MIN(most, of_head - here + from);
  const long count = MIN(all - from, end - group), panels = (of_head + most - 1) / most;
  return (Strip){head * panels + here / most, from, count, count == all,
                 {head * K + here * W, head * K, (head + 1) * K}};
}

#define GATE_PANELS(c) panels_of_units(c, GATE_UNITS)
#define HIDDEN_PANELS(c) panels_of_units(c, PANEL)

/* The rows of some blocks of recurrent weights are one depth; of the blocks of a head, a depth each,
   as its gates are apart: how many, of how many rows, and the floats of a panel of all. */
INL long straight_pieces(const Call *c, long num_blocks) {
  return K_OF(c) == H_OF(c) ? 1 : num_blocks;
}
INL long straight_depth(const Call *c, long num_blocks) {
  return K_OF(c) == H_OF(c) ? num_blocks * H_OF(c) : K_OF(c);
}
INL long straight_floats(const Call *c, long num_blocks) {
  return straight_pieces(c, num_blocks) * STRAIGHT(straight_depth(c, num_blocks));
}

/* Where each part of the packed memory begins, in floats.
 *
 * A matrix is packed before, all of its panels; or, where each of them is read only once, just there,
 * in memory for one; or, where a single row reads it, not at all. */
typedef struct {
  int input_unpacked, hidden_unpacked;
  int input_once, hidden_once, recurrent_once, applied_once, d_x_once;
  long input, gates, applied, bias, end; /* forward */
  long back_recurrent, back_applied, back_input, back_end;
} Layout;

/* The floats of `panels` panels, or of the one that is each of them in turn. */
INL long floats_of(long panels, long of_one, int once) { return (once ? 1 : panels) * of_one; }

INL Layout layout_of(const Call *c) {
  const long H = H_OF(c), K = K_OF(c), I = c->input_size, T = c->num_steps;
  const long B = c->parts[c->num_parts];
  const int alone = c->num_parts == 1 && c->num_threads < 2; /* others would read it, too */
  Layout at;
  const int one_row = WEIGHT_BITS == 32 && !c->kept && c->num_parts == 1 && B == 1;
  at.input_unpacked = one_row && T == 1;
  at.hidden_unpacked = one_row && T <= 2; /* to pack takes as long as to read unpacked twice */
  at.input_once = at.input_unpacked || (!c->kept && alone && T * B <= CHUNK_ROWS);
  at.hidden_once = at.hidden_unpacked || (!c->kept && alone && T == 1);
  const long of_input = at.input_unpacked ? 0 : PANEL_FLOATS(I, PLAIN_VECTORS);
  const long of_gates = at.hidden_unpacked ? 0 : PANEL_FLOATS(K, GATE_VECTORS);
  const long of_applied = at.hidden_unpacked ? 0 : PANEL_FLOATS(K, PLAIN_VECTORS);
  at.input = SAMPLE;
  at.gates = at.input + floats_of(PANELS(INPUT_COLUMNS * H), of_input, at.input_once);
  at.applied = at.gates;
  if (RECURRENT_COLUMNS) {
    at.applied += floats_of(GATE_PANELS(c), of_gates, at.hidden_once);
  }
  at.bias = at.applied;
  if (APPLIED_COLUMNS) {
    at.bias += floats_of(HIDDEN_PANELS(c), APPLIED_COLUMNS * of_applied, at.hidden_once);
  }
  at.end = at.bias + PANELS(COLUMNS * H) * PANEL;
  const long again = T - 1 + (c->starts_wanted != 0); /* steps that read the recurrent weights */
  at.recurrent_once = !again || (alone && again == 1);
  at.applied_once = alone && T == 1;
  at.d_x_once = c->num_rows <= CHUNK_ROWS;
  at.back_recurrent = 0;
  at.back_applied = 0;
  if (RECURRENT_COLUMNS && again) {
    at.back_applied += floats_of(HIDDEN_PANELS(c), straight_floats(c, RECURRENT_COLUMNS),
                                 at.recurrent_once);
  }
  at.back_input = at.back_applied;
  if (APPLIED_COLUMNS) {
    at.back_input += floats_of(HIDDEN_PANELS(c), APPLIED_COLUMNS * straight_floats(c, 1),
                               at.applied_once);
  }
  at.back_end = at.back_input;
  if (c->d_x) at.back_end += floats_of(PANELS(I), STRAIGHT(INPUT_COLUMNS * H), at.d_x_once);
  return at;
}

/* W columns of the transpose of a weight [all blocks * H, depth], rows of it: those of some blocks,
   from `first` on. Where there are fewer, the last is there again. */
INL void columns_of(const float *weight, long depth, long H, const int64_t *blocks, long columns,
                    long first, const float **column) {
  for (long i = 0; i < W; i++) {
    const long c = MIN(first + i, columns - 1);
    column[i] = weight + (blocks[c / H] * H + c % H) * depth;
  }
}

/* The same for the gates: W units of one of them, from `first` up to `end`. */
INL void gate_columns_of(const Call *c, long gate, long first, long end, const float **column) {
  for (long i = 0; i < W; i++) {
    const long row = RECURRENT_BLOCKS[gate] * H_OF(c) + MIN(first + i, end - 1);
    column[i] = c->weight_hh + row * K_OF(c);
  }
}

/* W columns [W], each [depth], of which the first `count` are there, to every `stride` floats. */
#if WEIGHT_BITS == 32 && !MIXED
INL void pack_columns(const float *const *column, long count, long depth, float *restrict to,
                      long stride) {
  if (count < W) {
    for (long k = 0; k < depth; k++) {
      vf v = {0};
      for (long i = 0; i < count; i++) v[i] = column[i][k];
      *(vf *)(to + k * stride) = v;
    }
    return;
  }
  long k = 0;
  for (; k + W <= depth; k += W) {
    vf block[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) block[i] = *(const vfu *)(column[i] + k);
    transpose(block);
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) *(vf *)(to + (k + i) * stride) = block[i];
  }
  for (; k < depth; k++) {
    vf v;
    for (long i = 0; i < W; i++) v[i] = column[i][k];
    *(vf *)(to + k * stride) = v;
  }
}
#else
INL void take_columns(const float *const *column, long count, long k, long depth, vf *block) {
  for (long i = 0; i < W; i++) block[i] = i < count ? load(column[i] + k, depth - k) : (vf){0};
  transpose(block);
}

LOCAL void pack_columns(const float *const *column, long count, long depth, float *restrict to,
                        long stride) {
  vf block[W];
#if WEIGHT_BITS == 8
  vi bits = {0}, totals = {0};
  for (long k = 0; k < depth; k += W) {
    take_columns(column, count, k, depth, block);
    for (int i = 0; i < W; i++) bits = greater_bits(bits, block[i]);
  }
  const vf most = (vf)bits;
  const vi some = most > 0x1p-100f; /* less is nothing: its inverse would be infinite */
  const vf inverse = (vf)(some & (vi)(127.0f / most));
  /* NaN for a row that is not finite */
  *(vf *)to = (vf)(some & (vi)(most * (1.0f / 127.0f))) + (most - most);
#endif
  for (long k = 0; k < depth; k += W) {
    take_columns(column, count, k, depth, block);
    for (long j = 0; j < W && k + j < depth; j += PER_WORD) {
      vu word = {0};
#pragma GCC unroll 4
      for (int i = 0; i < PER_WORD; i++) {
#if WEIGHT_BITS == 8
        const vi number = (vi)(block[j + i] * inverse + 0x1.8p23f) - 0x4b400000;
        totals += number;
        word |= ((vu)number & 255) << (8 * i);
#else
        word |= rounded(block[j + i]) << (MIXED ? 16 - 16 * i : 16 * i);
#endif
      }
      *(vu *)(to + (HEAD_WORDS + (k + j) / PER_WORD) * stride) = word;
    }
  }
#if WEIGHT_BITS == 8
  *(vi *)(to + stride) = totals;
#endif
}
#endif

/* A panel of the transpose of some blocks of weight [all blocks * H, depth]: columns first.. of
   those blocks' rows. panel: [PANEL_FLOATS(depth, PLAIN_VECTORS)]. */
LOCAL void pack_plain(const float *weight, long depth, long H, const int64_t *blocks, long columns,
                      long first, float *restrict panel) {
  for (long v = 0; v < PLAIN_VECTORS; v++) {
    const float *column[W];
    const long here = first + v * W;
    columns_of(weight, depth, H, blocks, columns, here, column);
    pack_columns(column, MAX(0, MIN(W, columns - here)), depth, panel + v * W, PANEL);
  }
}

/* A panel of the same transpose in which the gates of W units lie side by side:
   [PANEL_FLOATS(K, GATE_VECTORS)]. */
LOCAL void pack_gates(const Call *c, Units units, float *restrict panel) {
  for (long j = 0; j < UNITS; j++) {
    for (long g = 0; g < RECURRENT_COLUMNS; g++) {
      const float *column[W];
      const long unit = units.first + j * W;
      gate_columns_of(c, g, unit, units.end, column);
      pack_columns(column, MAX(0, MIN(W, units.end - unit)), K_OF(c),
                   panel + (j * RECURRENT_COLUMNS + g) * W, GATE_VECTORS * W);
    }
  }
}

/* A panel of an applied product: [PANEL_FLOATS(K, PLAIN_VECTORS)]. */
LOCAL void pack_applied(const Call *c, long gate, Units units, float *restrict panel) {
  pack_plain(c->weight_hh, K_OF(c), H_OF(c), APPLIED_BLOCKS + gate, units.end, units.first, panel);
}

/* A panel of the blocks themselves, of weight [all blocks * H, columns]: their rows are the depth, of
   each block `units` rows from row `begin` on. panel: [STRAIGHT(num_blocks * units)]. */
LOCAL void pack_straight(const float *weight, long columns, long H, const int64_t *blocks,
                         long num_blocks, long begin, long units, long first,
                         float *restrict panel) {
  const long here = MIN(PANEL, columns - first);
#if PAIRS
  const long depth = num_blocks * units;
  for (long k = 0; k < depth; k += 2, panel += PANEL) {
    const long after = MIN(k + 1, depth - 1);
    const float *row = weight + first + (blocks[k / units] * H + begin + k % units) * columns;
    const float *next = weight + first + (blocks[after / units] * H + begin + after % units) * columns;
    for (long c = 0; c < PANEL; c += W) {
      const long left = MAX(0, here - c);
      *(vf *)(panel + c) = word_of(load(row + c, left), load(next + c, k + 1 < depth ? left : 0));
    }
  }
  return;
#endif
  for (long g = 0; g < num_blocks; g++) {
    const float *row = weight + (blocks[g] * H + begin) * columns + first;
    for (long unit = 0; unit < units; unit++, row += columns, panel += PANEL) {
      for (long c = 0; c < PANEL; c += W) {
        *(vf *)(panel + c) = narrow(load(row + c, MAX(0, here - c)));
      }
    }
  }
}

/* The same of recurrent weights, for some units: [straight_floats(num_blocks)]. */
LOCAL void pack_hidden_straight(const Call *c, const int64_t *blocks, long num_blocks, Units units,
                                float *restrict panel) {
  const long K = K_OF(c), pieces = straight_pieces(c, num_blocks), each = pieces > 1 ? 1 : num_blocks;
  for (long g = 0; g < pieces; g++, panel += STRAIGHT(each * K)) {
    pack_straight(c->weight_hh, K, H_OF(c), blocks + g * each, each, units.begin, K,
                  units.first - units.begin, panel);
  }
}

/* One row times whole blocks, unpacked: the same chains as from a panel. a: [num_blocks * H]; out:
   [columns]. */
LOCAL void unpacked_row(const float *weight, long columns, long H, const int64_t *blocks,
                        long num_blocks, const float *a, float *restrict out) {
  for (long c = 0; c < columns; c++) out[c] = 0.0f;
  for (long g = 0; g < num_blocks; g++, a += H) {
    const float *row = weight + blocks[g] * H * columns;
    long unit = 0;
    for (; unit + 4 <= H; unit += 4, row += 4 * columns) {
      for (long c = 0; c < columns; c += W) {
        const long left = columns - c;
        vf sum = load(out + c, left);
        sum += narrow(load(row + c, left)) * narrow(repeated(a[unit]));
        sum += narrow(load(row + columns + c, left)) * narrow(repeated(a[unit + 1]));
        sum += narrow(load(row + 2 * columns + c, left)) * narrow(repeated(a[unit + 2]));
        sum += narrow(load(row + 3 * columns + c, left)) * narrow(repeated(a[unit + 3]));
        store(out + c, left, sum);
      }
    }
    for (; unit < H; unit++, row += columns) {
      for (long c = 0; c < columns; c += W) {
        const vf sum = load(out + c, columns - c), weights = narrow(load(row + c, columns - c));
        store(out + c, columns - c, sum + weights * narrow(repeated(a[unit])));
      }
    }
  }
}

/* ---- Panels; packed now if there is memory for one, which is each of them in turn -------------- */

INL const float *input_panel(const Call *c, const Layout *at, long p) {
  float *panels = c->packed + at->input;
  if (!at->input_once) return panels + p * PANEL_FLOATS(c->input_size, PLAIN_VECTORS);
  pack_plain(c->weight_ih, c->input_size, H_OF(c), INPUT_BLOCKS, INPUT_COLUMNS * H_OF(c), p * PANEL,
             panels);
  return panels;
}

INL const float *gate_panel(const Call *c, const Layout *at, long p) {
  float *panels = c->packed + at->gates;
  if (!at->hidden_once) return panels + p * PANEL_FLOATS(K_OF(c), GATE_VECTORS);
  pack_gates(c, units_of(c, p, GATE_UNITS), panels);
  return panels;
}

INL const float *applied_panel(const Call *c, const Layout *at, long gate, long p) {
  float *panels = c->packed + at->applied;
  const long of_one = PANEL_FLOATS(K_OF(c), PLAIN_VECTORS);
  if (!at->hidden_once) return panels + (gate * HIDDEN_PANELS(c) + p) * of_one;
  panels += gate * of_one;
  pack_applied(c, gate, units_of(c, p, PANEL), panels);
  return panels;
}

INL const float *back_recurrent_panel(const Call *c, const Layout *at, long p) {
  float *panels = c->workspace + at->back_recurrent;
  if (!at->recurrent_once) return panels + p * straight_floats(c, RECURRENT_COLUMNS);
  pack_hidden_straight(c, RECURRENT_BLOCKS, RECURRENT_COLUMNS, units_of(c, p, PANEL), panels);
  return panels;
}

INL const float *back_applied_panel(const Call *c, const Layout *at, long gate, long p) {
  const long of_one = straight_floats(c, 1);
  float *panels = c->workspace + at->back_applied;
  if (!at->applied_once) return panels + (gate * HIDDEN_PANELS(c) + p) * of_one;
  panels += gate * of_one;
  pack_hidden_straight(c, APPLIED_BLOCKS + gate, 1, units_of(c, p, PANEL), panels);
  return panels;
}

INL const float *back_input_panel(const Call *c, const Layout *at, long p) {
  const long H = H_OF(c), I = c->input_size;
  float *panels = c->workspace + at->back_input;
  if (!at->d_x_once) return panels + p * STRAIGHT(INPUT_COLUMNS * H);
  pack_straight(c->weight_ih, I, H, INPUT_BLOCKS, INPUT_COLUMNS, 0, H, p * PANEL, panels);
  return panels;
}

/* How many panels are packed before the forward pass. */
INL long forward_panels(const Call *c, const Layout *at) {
  const long hidden = APPLIED_COLUMNS * HIDDEN_PANELS(c);
  return (at->input_once ? 0 : PANELS(INPUT_COLUMNS * H_OF(c))) +
         (at->hidden_once ? 0 : hidden + (RECURRENT_COLUMNS ? GATE_PANELS(c) : 0));
}

LOCAL void pack_forward_panel(void *context, long p, long thread) {
  (void)thread;
  const Call *c = context;
  const Layout at = layout_of(c);
  const long H = H_OF(c), K = K_OF(c), I = c->input_size;
  const long input = at.input_once ? 0 : PANELS(INPUT_COLUMNS * H);
  const long gates = RECURRENT_COLUMNS ? GATE_PANELS(c) : 0, of_one = HIDDEN_PANELS(c);
  if (p < input) {
    pack_plain(c->weight_ih, I, H, INPUT_BLOCKS, INPUT_COLUMNS * H, p * PANEL,
               c->packed + at.input + p * PANEL_FLOATS(I, PLAIN_VECTORS));
  } else if (p < input + gates) {
    const long q = p - input;
    pack_gates(c, units_of(c, q, GATE_UNITS),
               c->packed + at.gates + q * PANEL_FLOATS(K, GATE_VECTORS));
  } else {
    const long q = p - input - gates;
    pack_applied(c, q / of_one, units_of(c, q % of_one, PANEL),
                 c->packed + at.applied + q * PANEL_FLOATS(K, PLAIN_VECTORS));
  }
}

/* How many panels are packed before the backward pass, of each matrix. */
typedef struct {
  long recurrent, applied, input;
} BackPanels;

INL BackPanels back_panels(const Call *c, const Layout *at) {
  const long of_one = HIDDEN_PANELS(c);
  return (BackPanels){at->recurrent_once || !RECURRENT_COLUMNS ? 0 : of_one,
                      at->applied_once ? 0 : APPLIED_COLUMNS * of_one,
                      at->d_x_once || !c->d_x ? 0 : PANELS(c->input_size)};
}

LOCAL void pack_backward_panel(const Call *c, long p) {
  const Layout at = layout_of(c);
  const BackPanels panels = back_panels(c, &at);
  const long H = H_OF(c), I = c->input_size, of_one = HIDDEN_PANELS(c);
  if (p < panels.recurrent) {
    pack_hidden_straight(c, RECURRENT_BLOCKS, RECURRENT_COLUMNS, units_of(c, p, PANEL),
                         c->workspace + at.back_recurrent + p * straight_floats(c, RECURRENT_COLUMNS));
  } else if (p < panels.recurrent + panels.applied) {
    const long q = p - panels.recurrent;
    pack_hidden_straight(c, APPLIED_BLOCKS + q / of_one, 1, units_of(c, q % of_one, PANEL),
                         c->workspace + at.back_applied + q * straight_floats(c, 1));
  } else {
    const long q = p - panels.recurrent - panels.applied;
    pack_straight(c->weight_ih, I, H, INPUT_BLOCKS, INPUT_COLUMNS, 0, H, q * PANEL,
                  c->workspace + at.back_input + q * STRAIGHT(INPUT_COLUMNS * H));
  }
}

LOCAL void pack_bias(const Call *c) {
  const long H = H_OF(c);
  float *bias = c->packed + layout_of(c).bias;
  for (long i = 0; i < COLUMNS * H; i++) bias[i] = 0.0f;
  if (!c->bias_ih) return;
  for (long g = 0; g < INPUT_COLUMNS; g++) {
    for (long i = 0; i < H; i++) bias[g * H + i] += c->bias_ih[INPUT_BLOCKS[g] * H + i];
  }
  for (long g = 0; g < RECURRENT_COLUMNS; g++) {
    float *to = bias + (FIRST_RECURRENT + g) * H;
    for (long i = 0; i < H; i++) to[i] += c->bias_hh[RECURRENT_BLOCKS[g] * H + i];
  }
  for (long g = 0; g < APPLIED_COLUMNS; g++) {
    float *to = bias + (FIRST_APPLIED + g) * H;
    for (long i = 0; i < H; i++) to[i] += c->bias_hh[APPLIED_BLOCKS[g] * H + i];
  }
}

/* Some of each weight, [SAMPLE], from one part after the other, in columns that follow no rhythm:
   what an optimiser changes shows here. */
LOCAL void sample_weights(const Call *c, float *sample) {
  const long H = H_OF(c), hidden = H * (RECURRENT_COLUMNS + APPLIED_COLUMNS);
  const float *weights[] = {c->weight_ih, c->weight_hh, c->bias_ih, c->bias_hh};
  const long sizes[] = {INPUT_COLUMNS * H * c->input_size, hidden * K_OF(c), INPUT_COLUMNS * H, hidden};
  for (long i = 0; i < SAMPLE; i++) {
    const long w = i % 4, part = i / 4;
    const long place = (part << 16) + (part * 40503 & 0xffff); /* the golden ratio, of 65536 */
    sample[i] = weights[w] && sizes[w] ? weights[w][sizes[w] * place / (SAMPLE / 4 << 16)] : 0.0f;
  }
}

#endif
