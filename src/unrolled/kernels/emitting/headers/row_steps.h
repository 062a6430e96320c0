/* One step of a cell with sums over units, on one row: what the loops over time call.
 *
 * A kernel does not hold this header: `emit` writes the functions of its cell in its place, from
 * emitting/row_functions.py. They stand in the place of those of steps.h, which need nothing of other
 * units. Before they are called, the columns of the row are whole: products and biases are in them.
 *
 * row: the gate row; temporary: [TEMPORARY, H], of one thread; others as in steps.h, for all units.
 * What is written never overlaps what is read, but for `row`, `d_states`, and states that `after`
 * has in the place of `before`.
 */
#ifndef UNROLLED_ROW_STEPS_H
#define UNROLLED_ROW_STEPS_H

#include "call.h"
#include "reduce.h"
#include "vector.h"

/* The first half of a step. vectors: [APPLIED_COLUMNS, H], what products are to be applied to. */
void row_apply(const Call *call, float *row, const float *const *before, float *vectors,
               float *temporary);

/* A step, or its second half. */
void row_forward(const Call *call, float *row, const float *const *before, float *const *after,
                 float *record, float *temporary);

/* The first half of the gradient of a step: of the applied products. */
void row_unapply(const Call *call, long present, float *row, const float *const *before,
                 const float *const *after, float *const *d_states, float *temporary);

/* The gradient of a step, or its second half. d_states[0]: with all that the output's gradient is
   made of. */
void row_backward(const Call *call, long present, float *row, const float *const *before,
                  const float *const *after, float *const *d_states, float *temporary);

#endif
