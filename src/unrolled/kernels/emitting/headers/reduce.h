/* Sums over the units of a row, and the like; of cells that have them.
 *
 * The order of a sum depends on the number of units alone: W sums side by side, then these in pairs.
 */
#ifndef UNROLLED_REDUCE_H
#define UNROLLED_REDUCE_H

#include "call.h"
#include "cell.h"
#include "vector.h"

#define NUMBERS_AT(H) (ROW_SLOTS * (H)) /* where a gate row has what is one number for all units */

/* v, with `fill` in the place of all but the first n. */
INL vf first(vf v, long n, float fill) {
  if (n >= W) return v;
#pragma GCC unroll 16
  for (int i = 0; i < W; i++) v[i] = i < n ? v[i] : fill;
  return v;
}

#if W == 16
#define LANES(of) \
  of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7), of(8), of(9), of(10), of(11), of(12), \
      of(13), of(14), of(15)
#elif W == 8
#define LANES(of) of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7)
#else
#define LANES(of) of(0), of(1), of(2), of(3)
#endif
#define OTHER_8(i) ((i) ^ 8)
#define OTHER_4(i) ((i) ^ 4)
#define OTHER_2(i) ((i) ^ 2)
#define OTHER_1(i) ((i) ^ 1)

/* All lanes taken together, in each of them. */
#if W == 16
#define IN_PAIRS(with)                            \
  v = with(v, SHUFFLE(v, v, LANES(OTHER_8)));     \
  v = with(v, SHUFFLE(v, v, LANES(OTHER_4)));     \
  v = with(v, SHUFFLE(v, v, LANES(OTHER_2)));     \
  return with(v, SHUFFLE(v, v, LANES(OTHER_1)))
#elif W == 8
#define IN_PAIRS(with)                            \
  v = with(v, SHUFFLE(v, v, LANES(OTHER_4)));     \
  v = with(v, SHUFFLE(v, v, LANES(OTHER_2)));     \
  return with(v, SHUFFLE(v, v, LANES(OTHER_1)))
#else
#define IN_PAIRS(with)                            \
  v = with(v, SHUFFLE(v, v, LANES(OTHER_2)));     \
  return with(v, SHUFFLE(v, v, LANES(OTHER_1)))
#endif
INL vf plus(vf a, vf b) { return a + b; }
INL vf total(vf v) { IN_PAIRS(plus); }
INL vf greatest(vf v) { IN_PAIRS(vmax); }
INL vf least(vf v) { IN_PAIRS(vmin); }

/* Each of v, [H], becomes the sum up to it, or from it on; summed in double. */
OUT_OF_LINE void running_up(float *v, long H) {
  double sum = 0.0;
  for (long i = 0; i < H; i++) {
    sum += v[i];
    v[i] = (float)sum;
  }
}

OUT_OF_LINE void running_down(float *v, long H) {
  double sum = 0.0;
  for (long i = H - 1; i >= 0; i--) {
    sum += v[i];
    v[i] = (float)sum;
  }
}

/* Make the columns of a phase whole at units unit.., at most W: with their biases, and its products u.
   Columns without a product are of the first phase. x: a gate row at these units. */
INL void complete_columns(const Call *c, const float *bias, float *x, const vf *u, const long phase,
                          long unit, long n) {
  const long H = H_OF(c);
  const long begin = phase ? FIRST_APPLIED + PHASE_BEGINS[phase] : FIRST_RECURRENT;
  const long end = phase ? FIRST_APPLIED + PHASE_BEGINS[phase + 1] : begin + RECURRENT_COLUMNS;
  for (long g = 0; g < COLUMNS; g++) {
    const int is_applied = g >= FIRST_APPLIED && g < FIRST_APPLIED + APPLIED_COLUMNS;
    const int multiplied = g >= begin && g < end;
    if (phase ? !multiplied : is_applied) continue;
    vf value = load(bias + g * H + unit, n);
    if (g < INPUT_COLUMNS) value = load(x + g * H, n) + value;
    if (multiplied) value += u[g - begin];
    store(x + g * H, n, value);
  }
}

#endif
