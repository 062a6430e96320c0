/* One step of the cell on a vector of units of one row: what the loops over time call.
 *
 * A kernel does not hold this header: `emit` writes the functions of its cell in its place, from
 * emitting/step_functions.py. With an applied product a step has two phases, as the vector must be
 * whole before the product can begin; with a product that is applied to what such a product gave,
 * LAST_PHASE and one more. Applied products, vectors and gradients of a phase are those of
 * PHASE_BEGINS.
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

/* The first phase of a step. bias: [COLUMNS, H]; x: its first columns hold the input's part; u:
   [RECURRENT_COLUMNS], the products; v: [APPLIED_COLUMNS, H], the vectors that products are to be
   applied to, of which those of the next phase are written. */
void step_apply(const Call *call, const float *bias, float *x, const vf *u,
                const float *const *before, float *v, long unit, long n);

/* A phase between the first and the last one. u: the products of this phase. */
void step_between(const Call *call, long phase, const float *bias, float *x, const vf *u,
                  const float *const *before, float *v, long unit, long n);

/* A step, or its last phase. u: [RECURRENT_COLUMNS], or in a last phase its products, the
   products; after: [STATES], where the new states go, NULL for what is a former output
   state but where a row ends; record: [RECORDS, H], where the named values
   go, or NULL. */
void step_forward(const Call *call, const float *bias, float *x, const vf *u,
                  const float *const *before, float *const *after, float *record, long unit,
                  long n);

/* The gradient of the last phase of a step: of its applied products. present: as below; d_h: the
   gradient of the output, left in d_states[0]. */
void step_unapply(const Call *call, long present, float *x, vf d_h, const float *const *before,
                  const float *const *after, float *const *d_states, long unit, long n);

/* The gradient of a phase between: of its applied products. d_v: the gradients of the vectors that it
   made. */
void step_unbetween(const Call *call, long phase, long present, float *x, const vf *d_v,
                    const float *const *before, const float *const *after,
                    float *const *d_states, long unit, long n);

/* The gradient of a step, or of its first phase. present: bit s says whether the gradient of state s
   after the step is there, or absent, which times an infinite derivative is nothing; x: what the step left, overwritten by the gradients
   of the columns, the weight vectors and the step's inputs; d_v: the gradients of what products were
   applied to, of those that this phase made; d_states: [STATES], the gradients of the states after the step, overwritten by
   those of the states before it, but for what goes through the gates. */
void step_backward(const Call *call, long present, float *x, vf d_h, const vf *d_v,
                   const float *const *before, const float *const *after,
                   float *const *d_states, long unit, long n);

#endif
