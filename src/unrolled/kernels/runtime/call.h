/* What a caller hands to a kernel: sizes, strides and memory that the caller owns.
 *
 * Rows are packed: all rows of step 0, then those of step 1, and so on; N of them in all. The rows
 * of the batch are sorted by length, longest first. kernels/fused.py has the same structure.
 */
#ifndef UNROLLED_CALL_H
#define UNROLLED_CALL_H

#define MOST_STATES 8

typedef struct {
  int64_t num_steps, batch_size, input_size, hidden_size;
  int64_t reverse;             /* read each row from its end to its beginning */
  int64_t train;               /* keep what the backward pass needs */
  int64_t gate_stride;         /* floats between the rows of gates */
  const int64_t *batch_sizes;  /* [num_steps], never growing */
  const int64_t *starts;       /* [num_steps], the first packed row of each step */
  const int64_t *parts;        /* [num_parts + 1], which rows of the batch each thread has */
  const float *x;              /* [N, input_size] */
  const float *input_weight;   /* packed by pack_plain */
  const float *recurrent_weight; /* packed by pack_gates; backward: by pack_straight */
  const float *bias;           /* [COLUMNS, hidden_size] */
  const float *parameters;     /* [PARAMETERS, hidden_size] */
  float *gates;                /* train: [N, gate_stride]; else scratch of every thread */
  int64_t scratch;             /* floats of each thread's scratch */
  const float *initial[MOST_STATES]; /* [batch_size, hidden_size] */
  float *states[MOST_STATES];  /* after each step, [N, hidden_size]; without train all but the
                                  first are [batch_size, hidden_size], initialised, updated */
  const float *d_output;       /* [N, hidden_size], backward */
  float *d_states[MOST_STATES]; /* [batch_size, hidden_size]: of the end, then of the start */
} Call;

/* torch's own thread pool: run(begin, end, context) on pieces of begin..end. */
typedef void (*ParallelBody)(int64_t begin, int64_t end, void *context);
typedef void (*ParallelFor)(int64_t begin, int64_t end, int64_t grain, ParallelBody body,
                            void *context);

#endif
