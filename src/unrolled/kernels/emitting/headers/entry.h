/* The entry points of a kernel. */
#ifndef UNROLLED_ENTRY_H
#define UNROLLED_ENTRY_H

#include "backward.h"
#include "call.h"
#include "cell.h"
#include "forward.h"
#include "gradient.h"
#include "pack.h"

#define STEP_WORK 32 /* multiply-adds that take as long as the equations of one gate */
#define MEETINGS ((1 + LAST_PHASE) * (1 + REDUCES)) /* of a step */
#define SHARE (1l << 13) /* weights of a step that are worth a thread for one row: its first cache */
#define BEGINNING (1l << 15) /* ns: what a team costs a call, since members read what one packed */

typedef struct {
  const Call *call;
  void (*run)(const Part *, Team *);
  float *scratch;
  long scratch_floats; /* of each thread, or team */
  long encoded;        /* where in it what is multiplied is encoded */
  float *temporary;    /* [num_threads, temporary_floats] */
  long members;        /* threads that share a part */
  Meeting *meetings;   /* [num_parts] */
  int64_t waited, done; /* the caller's thread: for others, and when it was through */
} Parts;

/* Floats of scratch of each thread, forward: its gate rows unless they are kept, the vectors that
   products are applied to, and what is multiplied. Of a team the first two are those of its first. */
INL long part_scratch(const Call *c) {
  const long rows = largest_part(c);
  const long gates = c->train ? 0 : MAX(CHUNK_ROWS, rows) * c->gate_stride;
  return gates + rows * APPLIED_COLUMNS * H_OF(c) + encoded_floats(c);
}

/* Floats that each thread needs for the sums over units of a row, in both passes; whole vectors, as
   all that panels lie beside. */
INL long temporary_floats(const Call *c) {
  return REDUCES ? (TEMPORARY * H_OF(c) + W - 1) / W * W : 0;
}

LOCAL void run_part(const Parts *parts, long n, long slot, Team *team) {
  const Call *c = parts->call;
  const long gates = parts->encoded - largest_part(c) * APPLIED_COLUMNS * H_OF(c);
  float *scratch = parts->scratch + slot * parts->scratch_floats;
  const Layout at = layout_of(c);
  float *temporary = parts->temporary + (slot + team->first) * temporary_floats(c);
  Part part = {c,    at,   c->packed + at.bias, scratch,
               NULL, NULL, temporary,           c->parts[n], c->parts[n + 1]};
  if (gates >= 0) part.applied = scratch + gates; /* not backward */
  part.encoded = scratch + team->first * parts->scratch_floats + parts->encoded;
  if (part.first >= part.end || (team->members > 1 && !try_meetings(team))) return;
  parts->run(&part, team);
}

LOCAL void parts_piece(void *context, long n, long thread) {
  Team alone = {0, 1, 1, NULL, 0, 0};
  run_part(context, n, thread, &alone);
}

/* Pieces begin..end of parts times members, all at once: those of one part run as one. */
LOCAL void teams_body(int64_t begin, int64_t end, void *context) {
  Parts *parts = context;
  const int of_caller = begin == 0;
  int64_t waited = 0;
  const unsigned long mode = flush_denormals();
  while (begin < end) {
    const long n = begin / parts->members, first = begin - n * parts->members;
    const long last = MIN(end - n * parts->members, parts->members);
    Team team = {first, last, parts->members, parts->meetings + n, 0, 0};
    run_part(parts, n, n * parts->members, &team);
    waited += team.waited;
    begin = n * parts->members + last;
  }
  restore_denormals(mode);
  if (!of_caller) return;
  parts->waited = waited;
  parts->done = nanoseconds();
}

LOCAL void run_parts(ParallelFor parallel_for, Parts *parts) {
  const Call *c = parts->call;
  const long weights = (RECURRENT_COLUMNS + APPLIED_COLUMNS) * H_OF(c) * K_OF(c);
  const long step = weights + INPUT_COLUMNS * H_OF(c) * (c->input_size + STEP_WORK);
  const long work = step * c->num_rows;
  const long of_part = weights * largest_part(c);
  parts->members = MIN(MIN(c->num_threads / c->num_parts, num_groups(c)), of_part / SHARE);
  const long others = parts->members - 1; /* negative where a row has nothing to share */
  const long price = others < 1 ? 0 : of_part / parts->members * others / SLOW / MEETINGS;
  const long saved = price * MEETINGS * c->num_steps;
  if (others < 1 || work < WORTH_A_THREAD || saved < BEGINNING || is_alone() || is_apart(price)) {
    run(parallel_for, c->num_threads, c->num_parts, work, parts_piece, parts);
    return;
  }
  Meeting meetings[c->num_parts];
  Member members[c->num_parts * parts->members];
  const int64_t begin = nanoseconds();
  memset(members, 0, sizeof members);
  for (long p = 0; p < c->num_parts; p++) {
    meetings[p] = (Meeting){members + p * parts->members, 0, begin, work, price};
  }
  parts->meetings = meetings;
  parallel_for(0, c->num_parts * parts->members, 1, teams_body, parts);
  note_wait(begin, parts->waited + nanoseconds() - parts->done, work);
}

int64_t unrolled_packed_floats(const Call *c) { return layout_of(c).end; }

int64_t unrolled_workspace_floats(const Call *c, int64_t backward) {
#if WEIGHT_BITS == 32
  if (backward) {
    return layout_of(c).back_end + gradient_floats(c) +
           (temporary_floats(c) + back_encoded(c)) * c->num_threads;
  }
#endif
  (void)backward;
  return (part_scratch(c) + temporary_floats(c)) * MAX(c->num_threads, 1);
}

LOCAL void pack_forward(ParallelFor parallel_for, Call *c) {
  const Layout at = layout_of(c);
  pack_bias(c);
  run(parallel_for, c->num_threads, forward_panels(c, &at), at.end, pack_forward_panel, c);
}

#if WEIGHT_BITS == 8
INL int all_finite(const float *weights, long count) {
  vf zeros = {0};
  for (long k = 0; k < count; k += W) {
    const vf here = load(weights + k, count - k);
    zeros += here - here;
  }
  float total = 0;
  for (int i = 0; i < W; i++) total += zeros[i];
  return total == 0;
}

/* Whether all rows have a scale; one with a number that is infinite or NaN has none. */
LOCAL int have_scales(const Call *c) {
  const long hidden = RECURRENT_COLUMNS + APPLIED_COLUMNS;
  return all_finite(c->weight_ih, INPUT_COLUMNS * H_OF(c) * c->input_size) &&
         (!c->weight_hh || all_finite(c->weight_hh, hidden * H_OF(c) * K_OF(c)));
}
#endif

/* Pack the weights for unrolled_forward of calls that have them `kept`, unless they are `known` to be
   packed, and a sample of them is as it was. Returns 0 if they cannot be: then nothing is to be read, and
   the sample is one that weights do not have, so that they are looked at each time. It is written last, so
   that another thread does not take for packed what is not yet. */
int64_t unrolled_pack(ParallelFor parallel_for, Call *c, int64_t known) {
  float sample[SAMPLE];
  sample_weights(c, sample);
  if (known && !memcmp(sample, c->packed, sizeof sample)) return 1;
#if WEIGHT_BITS == 8
  if (!have_scales(c)) {
    memset(c->packed, 0xff, sizeof sample); /* NaN, with bits that arithmetic does not make */
    return 0;
  }
#endif
  pack_forward(parallel_for, c);
  memcpy(c->packed, sample, sizeof sample);
  return 1;
}

void unrolled_forward(ParallelFor parallel_for, Call *c) {
  if (!c->kept) pack_forward(parallel_for, c);
  float *temporary = c->workspace + part_scratch(c) * MAX(c->num_threads, 1);
  const long encoded = part_scratch(c) - encoded_floats(c);
  Parts parts = {c, forward_part, c->workspace, part_scratch(c), encoded, temporary, 1, NULL, 0, 0};
  run_parts(parallel_for, &parts);
}

/* One step of a stack of layers for streaming: each has its call of one step, without training.
   calls[l].states[0], where its output goes, is copied to calls[l].initial[0], where the next step
   reads it; x: the input of the first, and behind it in each row the inputs of the step, which all
   layers read; y: a copy of the last one's output. Returns 0 if weights cannot be packed; then it did
   nothing. */
int64_t unrolled_step(ParallelFor parallel_for, Call *calls, int64_t count, const float *x, float *y,
                      int64_t known) {
  for (long l = 0; l < count; l++) {
    if (!unrolled_pack(parallel_for, calls + l, known)) return 0;
  }
  for (long l = 0; l < count; l++) {
    Call *c = calls + l;
    const size_t bytes = c->num_rows * c->hidden_size * sizeof(float);
    c->x = l ? c[-1].states[0] : x;
    c->inputs = x + calls->input_size;
    c->inputs_stride = calls->x_stride;
    unrolled_forward(parallel_for, c);
    memcpy((float *)c->initial[0], c->states[0], bytes);
    if (l + 1 == count) memcpy(y, c->states[0], bytes);
  }
  return 1;
}

#if WEIGHT_BITS == 32

/* The backward pass: few runs of many pieces, for at the end of each all threads wait. */
typedef struct {
  Gradient gradient;
  long panels;    /* of weights to pack */
  float *encoded; /* [threads, back_encoded] */
} Backward;

/* What the loop multiplies with, then what the gradients of the weights are made of. */
LOCAL void prepare_piece(void *context, long piece, long thread) {
  (void)thread;
  const Backward *b = context;
  if (piece < b->panels) {
    pack_backward_panel(b->gradient.call, piece);
  } else {
    gradient_pack_piece(&b->gradient, piece - b->panels);
  }
}

/* The gradients of the weights, then, in smaller pieces, that of the input. */
LOCAL void finish_piece(void *context, long piece, long thread) {
  const Backward *b = context;
  if (piece < b->gradient.num_pieces) {
    gradient_piece(&b->gradient, piece, thread);
  } else {
    const Call *c = b->gradient.call;
    float *memory = b->encoded + thread * back_encoded(c);
    input_gradient_piece(c, piece - b->gradient.num_pieces, memory);
  }
}

void unrolled_backward(ParallelFor parallel_for, Call *c) {
  const long H = H_OF(c), I = c->input_size, N = c->num_rows;
  Backward b;
  Gradient *g = &b.gradient;
  plan_gradient(g, c, c->workspace + layout_of(c).back_end);
  const Layout at = layout_of(c);
  const BackPanels back = back_panels(c, &at);
  b.panels = back.recurrent + back.applied + back.input;
  /* the vectors that products were applied to are known only after the loop */
  const long early = APPLIED_COLUMNS ? 0 : pack_pieces(g);
  run(parallel_for, c->num_threads, b.panels + early,
      at.back_end + (early ? g->end * (I + H) : 0), prepare_piece, &b);
  float *temporary = c->workspace + at.back_end + gradient_floats(c);
  b.encoded = temporary + temporary_floats(c) * c->num_threads;
  Parts parts = {c, backward_part, b.encoded, back_encoded(c), 0, temporary, 1, NULL, 0, 0};
  run_parts(parallel_for, &parts);
  b.panels = 0;
  for (;;) {
    const long depth = g->end - g->begin, more = g->end < N;
    if (g->begin || !early) {
      run(parallel_for, c->num_threads, pack_pieces(g), depth * (I + H), prepare_piece, &b);
    }
    const long input = more || !c->d_x ? 0 : (N + CHUNK_ROWS - 1) / CHUNK_ROWS;
    run(parallel_for, c->num_threads, g->num_pieces + input,
        gradient_work(g) + (input ? N * INPUT_COLUMNS * H * I : 0), finish_piece, &b);
    if (!more) break;
    g->begin = g->end;
    g->end = MIN(g->begin + packed_depth(c), N);
  }
}

#endif

#endif
