/* The entry points of a kernel. */
#ifndef UNROLLED_ENTRY_H
#define UNROLLED_ENTRY_H

#define STEP_WORK 32 /* multiply-adds that take as long as the equations of one gate */
#define LARGE_STEP (1l << 16) /* weights of a step that are worth several threads for one row */

typedef struct {
  const Call *call;
  void (*run)(const Part *, Team *);
  float *packed, *scratch;
  long scratch_floats; /* of each thread, or team */
  long members;        /* threads that share a part */
  long *arrived;       /* [num_parts] */
} Parts;

INL long largest_part(const Call *c) {
  long most = 0;
  for (long p = 0; p < c->num_parts; p++) most = MAX(most, c->parts[p + 1] - c->parts[p]);
  return most;
}

/* Floats of scratch of each thread or team, forward: its gate rows unless they are kept, then the vectors
   that products are applied to. */
INL long part_scratch(const Call *c) {
  const long rows = largest_part(c);
  const long gates = c->train ? 0 : MAX(CHUNK_ROWS, rows) * c->gate_stride;
  return gates + rows * APPLIED_COLUMNS * H_OF(c);
}

static void run_part(const Parts *parts, long n, long slot, Team *team) {
  const Call *c = parts->call;
  const long gates = parts->scratch_floats - largest_part(c) * APPLIED_COLUMNS * H_OF(c);
  float *scratch = parts->scratch ? parts->scratch + slot * parts->scratch_floats : NULL;
  const Part part = {c, parts->packed, parts->packed + layout_of(c).bias, scratch,
                     scratch ? scratch + gates : NULL, c->parts[n], c->parts[n + 1]};
  if (part.first < part.end) parts->run(&part, team);
}

static void parts_piece(void *context, long n, long thread) {
  Team alone = {0, 1, 1, NULL, 0};
  run_part(context, n, thread, &alone);
}

/* Pieces begin..end of parts times members, all at once: those of one part run as one. */
static void teams_body(int64_t begin, int64_t end, void *context) {
  const Parts *parts = context;
  const unsigned long mode = flush_denormals();
  while (begin < end) {
    const long n = begin / parts->members, first = begin - n * parts->members;
    const long last = MIN(end - n * parts->members, parts->members);
    Team team = {first, last, parts->members, parts->arrived + n, 0};
    run_part(parts, n, n, &team);
    begin = n * parts->members + last;
  }
  restore_denormals(mode);
}

static void run_parts(ParallelFor parallel_for, Parts *parts) {
  const Call *c = parts->call;
  const long weights = (RECURRENT_COLUMNS + APPLIED_COLUMNS) * H_OF(c) * H_OF(c);
  const long step = weights + INPUT_COLUMNS * H_OF(c) * (c->input_size + STEP_WORK);
  const long work = step * c->num_rows;
  parts->members = c->num_threads / c->num_parts;
  if (parts->members < 2 || weights * largest_part(c) < LARGE_STEP || work < WORTH_A_THREAD) {
    run(parallel_for, c->num_threads, c->num_parts, work, parts_piece, parts);
    return;
  }
  long arrived[c->num_parts];
  for (long p = 0; p < c->num_parts; p++) arrived[p] = 0;
  parts->arrived = arrived;
  parallel_for(0, c->num_parts * parts->members, 1, teams_body, parts);
}

/* For the caller, whose own structure is to be the same. */
const int64_t unrolled_call_bytes = sizeof(Call);

int64_t unrolled_packed_floats(const Call *c) { return layout_of(c).end; }

int64_t unrolled_workspace_floats(const Call *c, int64_t backward) {
  if (!backward) return part_scratch(c) * MAX(c->num_threads, 1);
  const long columns = MAX(c->input_size, c->hidden_size);
  return layout_of(c).back_end + packed_b_floats(c, columns) +
         packed_a_floats() * c->num_threads;
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
  run(parallel_for, c->num_threads, panels, layout_of(c).end, pack_forward_panel, c);
}

void unrolled_forward(ParallelFor parallel_for, Call *c) {
  Parts parts = {c, forward_part, c->packed, c->workspace, part_scratch(c), 1, NULL};
  run_parts(parallel_for, &parts);
}

/* One step of a stack of layers for streaming: each has its call of one step, without training.
   calls[l].states[0], where its output goes, is copied to calls[l].initial[0], where the next step
   reads it; x: the input of the first, y: a copy of the last one's output. */
void unrolled_step(ParallelFor parallel_for, Call *calls, int64_t count, const float *x, float *y,
                   int64_t known) {
  for (long l = 0; l < count; l++) {
    Call *c = calls + l;
    const size_t bytes = c->num_rows * c->hidden_size * sizeof(float);
    c->x = l ? c[-1].states[0] : x;
    unrolled_pack(parallel_for, c, known);
    unrolled_forward(parallel_for, c);
    memcpy((float *)c->initial[0], c->states[0], bytes);
    if (l + 1 == count) memcpy(y, c->states[0], bytes);
  }
}

void unrolled_backward(ParallelFor parallel_for, Call *c) {
  const long H = H_OF(c), I = c->input_size;
  const long panels = PANELS(H) * ((RECURRENT_COLUMNS > 0) + APPLIED_COLUMNS) +
                      (c->d_x ? PANELS(I) : 0);
  if (panels) {
    run(parallel_for, c->num_threads, panels, layout_of(c).back_end, pack_backward_panel, c);
  }
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
    const long pieces = (c->num_rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
    const long work = c->num_rows * INPUT_COLUMNS * H * I;
    run(parallel_for, c->num_threads, pieces, work, input_gradient_piece, c);
  }
}

#endif
