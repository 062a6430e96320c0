/* What differs from cell to cell: sizes, and which weights belong to which columns.
 *
 * A kernel does not hold this header: `emit` writes the numbers of its cell in its place. Those
 * here are of a GRU whose reset gate acts before the product, given a second state, a weight vector
 * and inputs of a step, so that an editor and a compiler see every line of the other headers.
 *
 * A gate row is a sequence of columns, H floats each: gates, or parts of gates, in the order that
 * capturing/capture.py gives. A weight of torch is a sequence of blocks, H rows each.
 */
#ifndef UNROLLED_CELL_H
#define UNROLLED_CELL_H

#include <stdint.h>

#ifndef COLUMNS
#define COLUMNS 3
#endif
#ifndef INPUT_COLUMNS /* the first ones: those that the input weights feed */
#define INPUT_COLUMNS 3
#endif
#ifndef FIRST_RECURRENT /* a slice: those that the recurrent weights feed, times h */
#define FIRST_RECURRENT 1
#endif
#ifndef RECURRENT_COLUMNS
#define RECURRENT_COLUMNS 2
#endif
#ifndef FIRST_APPLIED /* a slice: those that they feed times a vector of the equations' own */
#define FIRST_APPLIED 0
#endif
#ifndef APPLIED_COLUMNS
#define APPLIED_COLUMNS 1
#endif
#ifndef LAST_PHASE /* of a step: a product comes a phase after the product it is applied to */
#define LAST_PHASE 1
#endif
#ifndef MOST_APPLIED /* applied products of one phase */
#define MOST_APPLIED 1
#endif
#ifndef PARAMETERS /* weight vectors of the cell */
#define PARAMETERS 1
#endif
#ifndef STEP_INPUTS /* given for every step beside x */
#define STEP_INPUTS 1
#endif
#ifndef RAW_INPUT /* whether x itself is read as one more of them, the last; then I = H */
#define RAW_INPUT 1
#endif
#ifndef FIRST_VECTOR /* where a gate row keeps the vectors that products were applied to */
#define FIRST_VECTOR (COLUMNS + PARAMETERS + STEP_INPUTS + RAW_INPUT)
#endif
#ifndef STATES
#define STATES 2
#endif
#ifndef FORMER_STATES /* states that are the output state, some steps before */
#define FORMER_STATES 1
#endif
#ifndef RECORDS /* values that the cell names */
#define RECORDS 5
#endif
#ifndef REDUCES /* whether a step has sums over units: row_steps.h in the place of steps.h */
#define REDUCES 0
#endif
#ifndef TEMPORARY /* vectors of H that such a step needs beside the row */
#define TEMPORARY 1
#endif
#ifndef ROW_SLOTS /* vectors of H in a gate row, where the numbers of the row begin */
#define ROW_SLOTS 6
#endif
#ifndef DIRECT /* whether the gradient of the output before a step has a part past the gates */
#define DIRECT 1
#endif
#ifndef WEIGHT_BITS /* of a packed weight: see words.h */
#define WEIGHT_BITS 32
#endif
#ifndef MIXED /* whether both factors of every product are bfloat16: see words.h */
#define MIXED 0
#endif
#ifndef MOST_STATES /* of any cell */
#define MOST_STATES 32
#endif
#ifndef MOST_PARAMETERS
#define MOST_PARAMETERS 24
#endif

/* For each column of a slice in turn, which block of torch's weight it is. */
static const int64_t INPUT_BLOCKS[] __attribute__((unused)) = {2, 0, 1};
static const int64_t RECURRENT_BLOCKS[] __attribute__((unused)) = {0, 1};
static const int64_t APPLIED_BLOCKS[] __attribute__((unused)) = {2};

/* For each phase of a step, the first of its applied columns; then their number. */
static const int64_t PHASE_BEGINS[] __attribute__((unused)) = {0, 0, 1};

/* The output state, then the state that is it a step before, two, ...; for each state, the steps
   that it is behind the output state, or 0; whether every step reads it, other than to hand it on. */
static const int64_t FORMER[] __attribute__((unused)) = {0, 1};
static const int64_t STEPS_BACK[] __attribute__((unused)) = {0, 1};
static const int64_t READ[] __attribute__((unused)) = {1, 1};

/* For each state, which states after a step, bit by bit, have gradients that reach it before. */
static const int64_t GRADIENT_OF[] __attribute__((unused)) = {3, 2};

#endif
