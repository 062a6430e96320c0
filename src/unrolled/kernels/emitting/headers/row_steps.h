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

/* The first phase of a step. vectors: [APPLIED_COLUMNS, H], what products are to be applied to, of
   which those of the next phase are written. */
void row_apply(const Call *call, float *row, const float *const *before, float *vectors,
               float *temporary);

/* A phase between the first and the last one. */
void row_between(const Call *call, long phase, float *row, const float *const *before,
                 float *vectors, float *temporary);

/* A step, or its last phase. */
void row_forward(const Call *call, float *row, const float *const *before, float *const *after,
                 float *record, float *temporary);

/* The gradient of the last phase of a step: of its applied products. d_states[0]: here and below,
   with all that the output's gradient is made of. */
void row_unapply(const Call *call, long present, float *row, const float *const *before,
                 const float *const *after, float *const *d_states, float *temporary);

/* The gradient of a phase between: of its applied products. */
void row_unbetween(const Call *call, long phase, long present, float *row,
                   const float *const *before, const float *const *after, float *const *d_states,
                   float *temporary);

/* The gradient of a step, or of its first phase. */
void row_backward(const Call *call, long present, float *row, const float *const *before,
                  const float *const *after, float *const *d_states, float *temporary);

#endif
