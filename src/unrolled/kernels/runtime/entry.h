/* The entry points of a kernel. */
#ifndef UNROLLED_ENTRY_H
#define UNROLLED_ENTRY_H

#define STEP_WORK 32 /* multiply-adds that take as long as the equations of one gate */
#define LARGE_STEP (1l << 16) /* weights of a step that are worth several threads for one row */

typedef struct {
  const Call *call;
  void (*run_part)(const Part *, Team *);
  float *packed, *scratch;
  long scratch_floats; /* of each part */
  long members;        /* threads that share a part */
  long *arrived;       /* [num_parts] */
} Parts;

INL long largest_part(const Call *c) {
  long most = 0;
  for (long p = 0; p < c->num_parts; p++) most = MAX(most, c->parts[p + 1] - c->parts[p]);
  return most;
}

/* Floats of scratch of each part, forward: its gate rows unless they are kept, then the vectors
   that products are applied to. */
INL long part_scratch(const Call *c) {
  const long rows = largest_part(c);
  const long gates = c->train ? 0 : MAX(CHUNK_ROWS, rows) * c->gate_stride;
  return gates + rows * APPLIED_COLUMNS * H_OF(c);
}

/* Pieces begin..end of parts times members: those of one part run as one. */
static void parts_body(int64_t begin, int64_t end, void *context) {
  const Parts *parts = context;
  const Call *c = parts->call;
  const unsigned long mode = flush_denormals();
  while (begin < end) {
    const long n = begin / parts->members, stop = MIN(end, (n + 1) * parts->members);
    const long gates = parts->scratch_floats - largest_part(c) * APPLIED_COLUMNS * H_OF(c);
    float *scratch = parts->scratch ? parts->scratch + n * parts->scratch_floats : NULL;
    Part part = {c, parts->packed, parts->packed + layout_of(c).bias, scratch,
                 scratch ? scratch + gates : NULL, c->parts[n], c->parts[n + 1]};
    Team team = {begin - n * parts->members, stop - n * parts->members, parts->members,
                 parts->arrived + n, 0};
    if (part.first < part.end) parts->run_part(&part, &team);
    begin = stop;
  }
  restore_denormals(mode);
}

static void run_parts(ParallelFor parallel_for, Parts *parts) {
  const Call *c = parts->call;
  const long weights = (RECURRENT_COLUMNS + APPLIED_COLUMNS) * H_OF(c) * H_OF(c);
  const long spare = c->num_threads / c->num_parts;
  const long step = weights + INPUT_COLUMNS * H_OF(c) * (c->input_size + STEP_WORK);
  parts->members = weights * largest_part(c) >= LARGE_STEP && spare > 1 ? spare : 1;
  long arrived[c->num_parts];
  for (long p = 0; p < c->num_parts; p++) arrived[p] = 0;
  parts->arrived = arrived;
  run(parallel_for, c->num_parts * parts->members, step * c->num_rows, parts_body, parts);
}

int64_t unrolled_packed_floats(const Call *c) { return layout_of(c).end; }

int64_t unrolled_workspace_floats(const Call *c, int64_t backward) {
  if (!backward) return part_scratch(c) * c->num_parts;
  const long columns = MAX(c->input_size, c->hidden_size);
  return layout_of(c).back_end + gradient_scratch(c, columns) * c->num_threads;
}

/* Pack the weights for unrolled_forward, unless `known` says that they were, and a sample of them
   is as it was. */
void unrolled_pack(ParallelFor parallel_for, Call *c, int64_t known) {
  float sample[SAMPLE];
  sample_weights(c, sample);
  if (known && !memcmp(sample, c->packed, sizeof sample)) return;
  memcpy(c->packed, sample, sizeof sample);
  const long H = H_OF(c);
  const long panels = PANELS(INPUT_COLUMNS * H) + APPLIED_COLUMNS * PANELS(H) +
                      (RECURRENT_COLUMNS ? GATE_PANELS(H) : 0);
  pack_bias(c);
  run(parallel_for, panels, layout_of(c).end, pack_forward_body, c);
}

void unrolled_forward(ParallelFor parallel_for, Call *c) {
  Parts parts = {c, forward_part, c->packed, c->workspace, part_scratch(c), 1, NULL};
  run_parts(parallel_for, &parts);
}

void unrolled_backward(ParallelFor parallel_for, Call *c) {
  const long H = H_OF(c), I = c->input_size;
  const long panels = PANELS(H) * ((RECURRENT_COLUMNS > 0) + APPLIED_COLUMNS) +
                      (c->d_x ? PANELS(I) : 0);
  if (panels) run(parallel_for, panels, layout_of(c).back_end, pack_backward_body, c);
  Parts parts = {c, backward_part, c->workspace, NULL, 0, 1, NULL};
  run_parts(parallel_for, &parts);
  weight_gradient(parallel_for, c, 0, INPUT_COLUMNS, INPUT_BLOCKS, c->x, I, I, c->d_weight_ih,
                  c->d_bias_ih);
  if (RECURRENT_COLUMNS) {
    weight_gradient(parallel_for, c, FIRST_RECURRENT, RECURRENT_COLUMNS, RECURRENT_BLOCKS, NULL, 0,
                    H, c->d_weight_hh, c->d_bias_hh);
  }
  for (long g = 0; g < APPLIED_COLUMNS; g++) {
    weight_gradient(parallel_for, c, FIRST_APPLIED + g, 1, APPLIED_BLOCKS + g,
                    c->gates + (FIRST_VECTOR + g) * H, c->gate_stride, H, c->d_weight_hh,
                    c->d_bias_hh);
  }
  static const int64_t own_block[] = {0};
  for (long p = 0; p < PARAMETERS; p++) {
    weight_gradient(parallel_for, c, COLUMNS + p, 1, own_block, NULL, 0, 0, NULL,
                    c->d_parameters[p]);
  }
  if (c->d_x) {
    InputGradient g = {c, MIN(c->num_threads, c->num_rows)};
    run(parallel_for, g.pieces, c->num_rows * INPUT_COLUMNS * H * I, input_gradient_body, &g);
  }
}

#endif
