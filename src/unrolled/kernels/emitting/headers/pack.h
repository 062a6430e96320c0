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
#define GATE_PANELS(H) (((H) + UNITS * W - 1) / (UNITS * W))
#define SAMPLE 64 /* floats of the weights that tell whether they have changed */

/* Where each part of the packed memory begins, in floats. */
typedef struct {
  long input, gates, applied, bias, end; /* forward */
  long back_recurrent, back_applied, back_input, back_end;
} Layout;

INL Layout layout_of(const Call *c) {
  const long H = H_OF(c), I = c->input_size;
  Layout at;
  at.input = SAMPLE;
  at.gates = at.input + PANELS(INPUT_COLUMNS * H) * PANEL * I;
  at.applied = at.gates + (RECURRENT_COLUMNS ? GATE_PANELS(H) * GATE_VECTORS * W * H : 0);
  at.bias = at.applied + APPLIED_COLUMNS * PANELS(H) * PANEL * H;
  at.end = at.bias + PANELS(COLUMNS * H) * PANEL;
  at.back_recurrent = 0;
  at.back_applied = PANELS(H) * PANEL * RECURRENT_COLUMNS * H;
  at.back_input = at.back_applied + APPLIED_COLUMNS * PANELS(H) * PANEL * H;
  at.back_end = at.back_input + (c->d_x ? PANELS(I) * PANEL * INPUT_COLUMNS * H : 0);
  return at;
}

/* A panel of the transpose of some blocks of weight [all blocks * H, depth]: columns first.. of
   those blocks' rows. panel: [depth, PANEL]. */
LOCAL void pack_plain(const float *weight, long depth, long H, const int64_t *blocks, long columns,
                      long first, float *restrict panel) {
  for (long c = 0; c < PANEL; c++) {
    const long column = first + c;
    if (column < columns) {
      const float *row = weight + (blocks[column / H] * H + column % H) * depth;
      for (long k = 0; k < depth; k++) panel[k * PANEL + c] = row[k];
    } else {
      for (long k = 0; k < depth; k++) panel[k * PANEL + c] = 0.0f;
    }
  }
}

/* A panel of the same transpose in which the gates of W units lie side by side: [H, GATE_VECTORS *
   W], for units first.. */
LOCAL void pack_gates(const float *weight, long H, long first, float *restrict panel) {
  for (long j = 0; j < UNITS; j++) {
    for (long g = 0; g < RECURRENT_COLUMNS; g++) {
      for (long lane = 0; lane < W; lane++) {
        const long unit = first + j * W + lane;
        float *to = panel + (j * RECURRENT_COLUMNS + g) * W + lane;
        const float *row = weight + (RECURRENT_BLOCKS[g] * H + unit) * H;
        for (long k = 0; k < H; k++) to[k * GATE_VECTORS * W] = unit < H ? row[k] : 0.0f;
      }
    }
  }
}

/* A panel of the blocks themselves, of weight [all blocks * H, columns]: their rows are the depth.
   panel: [num_blocks * H, PANEL]. */
LOCAL void pack_straight(const float *weight, long columns, long H, const int64_t *blocks,
                         long num_blocks, long first, float *restrict panel) {
  const long here = MIN(PANEL, columns - first);
  for (long g = 0; g < num_blocks; g++) {
    for (long unit = 0; unit < H; unit++, panel += PANEL) {
      memcpy(panel, weight + (blocks[g] * H + unit) * columns + first, here * sizeof(float));
      for (long c = here; c < PANEL; c++) panel[c] = 0.0f;
    }
  }
}

/* One panel of all that the forward pass multiplies with. */
LOCAL void pack_forward_panel(void *context, long p, long thread) {
  (void)thread;
  const Call *c = context;
  const Layout at = layout_of(c);
  const long H = H_OF(c), I = c->input_size, input = PANELS(INPUT_COLUMNS * H);
  const long gates = RECURRENT_COLUMNS ? GATE_PANELS(H) : 0, of_one = PANELS(H);
  if (p < input) {
    pack_plain(c->weight_ih, I, H, INPUT_BLOCKS, INPUT_COLUMNS * H, p * PANEL,
               c->packed + at.input + p * PANEL * I);
  } else if (p < input + gates) {
    const long first = (p - input) * UNITS * W;
    pack_gates(c->weight_hh, H, first, c->packed + at.gates + first * RECURRENT_COLUMNS * H);
  } else {
    const long q = p - input - gates;
    pack_plain(c->weight_hh, H, H, APPLIED_BLOCKS + q / of_one, H, q % of_one * PANEL,
               c->packed + at.applied + q * PANEL * H);
  }
}

/* One panel of all that the backward pass multiplies with, into the workspace. */
LOCAL void pack_backward_panel(const Call *c, long p) {
  const Layout at = layout_of(c);
  const long H = H_OF(c), I = c->input_size, of_one = PANELS(H);
  const long recurrent = RECURRENT_COLUMNS ? of_one : 0, applied = APPLIED_COLUMNS * of_one;
  if (p < recurrent) {
    pack_straight(c->weight_hh, H, H, RECURRENT_BLOCKS, RECURRENT_COLUMNS, p * PANEL,
                  c->workspace + at.back_recurrent + p * PANEL * RECURRENT_COLUMNS * H);
  } else if (p < recurrent + applied) {
    const long q = p - recurrent;
    pack_straight(c->weight_hh, H, H, APPLIED_BLOCKS + q / of_one, 1, q % of_one * PANEL,
                  c->workspace + at.back_applied + q * PANEL * H);
  } else {
    const long q = p - recurrent - applied;
    pack_straight(c->weight_ih, I, H, INPUT_BLOCKS, INPUT_COLUMNS, q * PANEL,
                  c->workspace + at.back_input + q * PANEL * INPUT_COLUMNS * H);
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
  const long sizes[] = {INPUT_COLUMNS * H * c->input_size, hidden * H, INPUT_COLUMNS * H, hidden};
  for (long i = 0; i < SAMPLE; i++) {
    const long w = i % 4, part = i / 4;
    const long place = (part << 16) + (part * 40503 & 0xffff); /* the golden ratio, of 65536 */
    sample[i] = weights[w] && sizes[w] ? weights[w][sizes[w] * place / (SAMPLE / 4 << 16)] : 0.0f;
  }
}

#endif
