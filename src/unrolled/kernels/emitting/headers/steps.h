/* One step of the cell on a vector of units of one row: what the loops over time call.
 *
 * A kernel does not hold this header: `emit` writes the functions of its cell in its place, from
 * emitting/step_functions.py. With an applied product a step has two halves, as the vector must be
 * whole before the product can begin.
 *
 * `before` holds GIVEN vectors: the states before the step, then its inputs.
 *
 * All pointers are to the row, `x` to its gate row at these units; n: how many units there are, at
 * most W from `unit` on. What is written never overlaps what is read, but for `x` and `d_states`.
 */
#ifndef UNROLLED_STEPS_H
#define UNROLLED_STEPS_H

#include "call.h"
#include "vector.h"

/* The first half of a step. bias: [COLUMNS, H]; x: its first columns hold the input's part; u:
   [RECURRENT_COLUMNS], the products; v: [APPLIED_COLUMNS, H], the vectors that products are to be applied to. */
void step_apply(const Call *call, const float *bias, float *x, const vf *u,
                const float *const *before, float *v, long unit, long n);

/* A step, or its second half. u: [RECURRENT_COLUMNS], or in a second half [APPLIED_COLUMNS], the
   products; after: [STATES], where the new states go; record: [RECORDS, H], where the named values
   go, or NULL. */
void step_forward(const Call *call, const float *bias, float *x, const vf *u,
                  const float *const *before, float *const *after, float *record, long unit,
                  long n);

/* The first half of the gradient of a step: of the applied products. present: as below; d_h: the
   gradient of the output, left in d_states[0]. */
void step_unapply(const Call *call, long present, float *x, vf d_h, const float *const *before,
                  const float *const *after, float *const *d_states, long unit, long n);

/* The gradient of a step, or its second half. present: bit s says whether the gradient of state s
   after the step is there, or absent, which times an infinite derivative is nothing; x: what the step left, overwritten by the gradients
   of the columns, the weight vectors and the step's inputs; d_v: [APPLIED_COLUMNS], the gradients of what products
   were applied to; d_states: [STATES], the gradients of the states after the step, overwritten by
   those of the states before it, but for what goes through the gates. */
void step_backward(const Call *call, long present, float *x, vf d_h, const vf *d_v,
                   const float *const *before, const float *const *after,
                   float *const *d_states, long unit, long n);

#endif
