/* The loop over time, forward.
 *
 * Threads have rows of the batch and never wait for one another; only where there are fewer rows
 * than threads do several share the units of the same rows. Each output is computed by the same
 * operations in the same order either way.
 */
#ifndef UNROLLED_FORWARD_H
#define UNROLLED_FORWARD_H

#include "call.h"
#include "cell.h"
#include "pack.h"
#include "reduce.h"
#include "row_steps.h"
#include "steps.h"
#include "tile.h"

#define GATE_ROWS ROWS_OF(GATE_VECTORS)

/* The step whose states come before step t, or -1. */
INL long step_before(const Call *c, long t) {
  if (!c->reverse) return t - 1;
  return t + 1 < c->num_steps ? t + 1 : -1;
}

/* The step whose states come `steps` before those that come before step t, or -1. */
INL long steps_before(const Call *c, long steps, long t) {
  if (!c->reverse) return MAX(t - 1 - steps, -1);
  return t + 1 + steps < c->num_steps ? t + 1 + steps : -1;
}

/* What the output state of row b was `steps` before step t, and one: an initial state where the row
   had not begun. */
INL const float *former_state(const Call *c, long steps, long t, long b) {
  const long H = H_OF(c), then = steps_before(c, steps, t);
  if (then >= 0 && b < c->batch_sizes[then]) return c->states[0] + (c->starts[then] + b) * H;
  for (long here; (here = steps_before(c, 0, t)) >= 0 && b < c->batch_sizes[here]; t = here) steps--;
  return c->initial[FORMER[steps]] + b * H;
}

/* State s of row b of the batch before step t; the initial one where the row has just begun. */
INL const float *state_before(const Call *c, int s, long t, long b) {
  if (FORMER_STATES && STEPS_BACK[s]) return former_state(c, STEPS_BACK[s], t, b);
  const long before = step_before(c, t), H = H_OF(c);
  if (before < 0 || b >= c->batch_sizes[before]) return c->initial[s] + b * H;
  return c->states[s] + (c->starts[before] + b) * H;
}

#define GIVEN (STATES + STEP_INPUTS + RAW_INPUT) /* vectors that a step of a row begins with */
#define X_STRIDE(c) ((long)(STEP_INPUTS ? (c)->x_stride : (c)->input_size))

/* The inputs of row `packed` of all steps, behind its states. */
INL void give_inputs(const Call *c, long packed, const float **before) {
  (void)packed, (void)before;
  for (long i = 0; i < STEP_INPUTS; i++) {
    before[STATES + i] = c->inputs + packed * c->inputs_stride + i * H_OF(c);
  }
#if RAW_INPUT
  before[STATES + STEP_INPUTS] = c->x + packed * X_STRIDE(c);
#endif
}

/* The states of row b before and after step t, with the inputs of that, and where its named values
   go, if anywhere. */
typedef struct {
  const float *before[GIVEN];
  float *after[STATES];
  float *record;
} RowStates;

INL RowStates states_of(const Call *c, long t, long b) {
  RowStates row;
  const long H = H_OF(c), packed = c->starts[t] + b;
  const long next = c->reverse ? t - 1 : t + 1 < c->num_steps ? t + 1 : -1;
  const int ends = FORMER_STATES && (next < 0 || b >= c->batch_sizes[next]);
  for (int s = 0; s < STATES; s++) {
    const int running = s && !c->train;
    row.after[s] = c->states[s] + (running ? b : packed) * H;
    if (FORMER_STATES && STEPS_BACK[s]) {
      const int wanted = READ[s] || ends || c->records;
      row.before[s] = wanted ? former_state(c, STEPS_BACK[s], t, b) : NULL;
      if (!ends) row.after[s] = NULL;
      continue;
    }
    row.before[s] = running ? row.after[s] : state_before(c, s, t, b);
  }
  give_inputs(c, packed, row.before);
  row.record = c->records ? c->records + packed * RECORDS * H : NULL;
  return row;
}

/* One part of the batch on its way through time. */
typedef struct {
  const Call *call;
  Layout at;
  const float *bias;
  float *scratch;  /* gate rows of a chunk, unless they are kept */
  float *applied;  /* [rows, APPLIED_COLUMNS, H]: the vectors that products are applied to */
  float *encoded;  /* [encoded_floats or back_encoded]: what is multiplied, encoded; of one thread */
  float *temporary; /* [TEMPORARY, H]; of one thread */
  long first, end; /* rows of the batch */
} Part;

/* The rows of the largest part of the batch. */
INL long largest_part(const Call *c) {
  long most = 0;
  for (long p = 0; p < c->num_parts; p++) most = MAX(most, c->parts[p + 1] - c->parts[p]);
  return most;
}

/* What is multiplied at once, as `encoded` leaves it: of a chunk the inputs, of a step and a head the
   states, then the vectors that products are applied to. */
INL long encoded_floats(const Call *c) {
  const long rows = largest_part(c), chunk = MIN(MAX(CHUNK_ROWS, rows), c->num_rows);
  return MAX(chunk * ENCODED_FLOATS(c->input_size),
             rows * MAX(1, MOST_APPLIED) * ENCODED_FLOATS(K_OF(c)));
}

/* Factor number n of such a group, each [depth]. */
INL const float *factors(const Part *p, long n, long depth, const float *a) {
  return encoded(a, depth, p->encoded + n * ENCODED_FLOATS(depth));
}

OUT_OF_LINE void gate_product(long rows, long depth, const float *const *a, const float *panel,
                              vf *out) {
  product(rows, GATE_VECTORS, depth, a, panel, out);
}

/* Of the gates of the units of a strip: where a panel has several groups of units, as many vectors as a
   plain one, a part of it may be wanted. */
INL void strip_of_gates(const Strip *s, long rows, long depth, const float *const *a,
                        const float *panel, vf *out) {
  if (GATE_VECTORS != PLAIN_VECTORS) {
    gate_product(rows, depth, a, panel, out);
  } else if (s->whole) {
    whole_product(rows, s->count * RECURRENT_COLUMNS, depth, a, panel, out);
  } else {
    partial_product(rows, s->from * RECURRENT_COLUMNS, s->count * RECURRENT_COLUMNS, depth, a, panel,
                    out);
  }
}

/* Of the units of a strip of a plain panel. */
INL void plain_strip(const Strip *s, long rows, long depth, const float *const *a,
                     const float *panel, vf *out) {
  if (s->whole) {
    whole_product(rows, s->count, depth, a, panel, out);
  } else {
    partial_product(rows, s->from, s->count, depth, a, panel, out);
  }
}

/* What these give for one row, of weights that are not packed: for the gates of some units, and for
   columns first.. of the others. h: [K], of their head. */
OUT_OF_LINE void unpacked_gates(const Call *c, long groups, Units units, const float *h, vf *out) {
  for (long j = 0; j < groups; j++) {
    for (long g = 0; g < RECURRENT_COLUMNS; g++) {
      const float *column[W];
      gate_columns_of(c, g, units.first + j * W, units.end, column);
      out[j * RECURRENT_COLUMNS + g] = unpacked_product(K_OF(c), column, h);
    }
  }
}

OUT_OF_LINE vf unpacked_columns(const float *weight, long depth, long H, const int64_t *blocks,
                                long columns, long first, const float *a) {
  const float *column[W];
  columns_of(weight, depth, H, blocks, columns, first, column);
  return unpacked_product(depth, column, a);
}

/* Step t of rows first..end of the batch, up to the applied products where there are some;
   gates[b - first] is the gate row of row b. */
LOCAL void forward_rows(const Part *p, long t, long end, float *const *gates, const Team *team) {
  const Call *c = p->call;
  const long H = H_OF(c), K = K_OF(c), last = share_end(team, num_groups(c));
  vf sums[GATE_ROWS * GATE_VECTORS];
  const float *factor[MAX(1, end - p->first)];
  long head = -1; /* that of `factor`: the first of its units */
  (void)H;
  Strip strip;
  for (long group = share_begin(team, num_groups(c)); group < last; group += strip.count) {
    strip = strip_of(c, group, last, UNITS);
    const Units units = strip.units;
    for (long b = p->first; b < end && RECURRENT_COLUMNS > 0 && head != units.begin; b++) {
      factor[b - p->first] = factors(p, b - p->first, K, state_before(c, 0, t, b) + units.begin);
    }
    head = units.begin;
    const int packed = RECURRENT_COLUMNS && !p->at.hidden_unpacked;
    const float *weights = packed ? gate_panel(c, &p->at, strip.panel) : NULL;
    for (long b = p->first, rows; b < end; b += rows) {
      rows = next_rows(end - b, GATE_ROWS);
      if (packed) {
        strip_of_gates(&strip, rows, K, factor + (b - p->first), weights, sums);
      } else if (RECURRENT_COLUMNS) {
        unpacked_gates(c, strip.count, units, state_before(c, 0, t, b) + units.begin, sums);
      }
      for (long r = 0; r < rows; r++) {
#if !REDUCES
        const RowStates row = states_of(c, t, b + r);
#endif
        float *x = gates[b + r - p->first];
        for (long j = 0, unit = units.first; j < strip.count; j++, unit += W) {
          const vf *u = sums + r * GATE_VECTORS + j * RECURRENT_COLUMNS;
          const long here = units.end - unit;
#if REDUCES
          complete_columns(c, p->bias, x + unit, u, 0, unit, here);
#elif APPLIED_COLUMNS
          float *v = p->applied + (b + r - p->first) * APPLIED_COLUMNS * H;
          step_apply(c, p->bias, x + unit, u, row.before, v + unit, unit, here);
#else
          step_forward(c, p->bias, x + unit, u, row.before, row.after, row.record, unit, here);
#endif
        }
      }
    }
  }
}

#if APPLIED_COLUMNS
/* A phase of step t that begins with applied products. */
LOCAL void finish_rows(const Part *p, long t, long end, float *const *gates, const long phase,
                       const Team *team) {
  const Call *c = p->call;
  const long H = H_OF(c), K = K_OF(c), last = share_end(team, num_groups(c));
  const long begin = PHASE_BEGINS[phase], products = PHASE_BEGINS[phase + 1] - begin;
  vf sums[MOST_APPLIED][PLAIN_ROWS * PLAIN_VECTORS];
  const long count = end - p->first;
  const float *factor[count * MOST_APPLIED];
  long head = -1;
  Strip strip;
  for (long group = share_begin(team, num_groups(c)); group < last; group += strip.count) {
    strip = strip_of(c, group, last, PLAIN_VECTORS);
    const Units units = strip.units;
    for (long g = 0; g < products && head != units.begin; g++) {
      const float *v = p->applied + (begin + g) * H + units.begin;
      for (long n = g * count; n < (g + 1) * count; n++) {
        factor[n] = factors(p, n, K, v + (n - g * count) * APPLIED_COLUMNS * H);
      }
    }
    head = units.begin;
    const float *weights[MOST_APPLIED] = {0};
    for (long g = 0; g < products && !p->at.hidden_unpacked; g++) {
      weights[g] = applied_panel(c, &p->at, begin + g, strip.panel);
    }
    for (long b = p->first, rows; b < end; b += rows) {
      rows = next_rows(end - b, PLAIN_ROWS);
      for (long g = 0; g < products; g++) {
        const float *const *v = factor + g * count + (b - p->first);
        if (!p->at.hidden_unpacked) {
          plain_strip(&strip, rows, K, v, weights[g], sums[g]);
          continue;
        }
        for (long j = 0, unit = units.first; j < strip.count; j++, unit += W) {
          sums[g][j] = unpacked_columns(c->weight_hh, K, H, APPLIED_BLOCKS + begin + g, units.end,
                                        unit, p->applied + (begin + g) * H + units.begin);
        }
      }
      for (long r = 0; r < rows; r++) {
#if !REDUCES
        const RowStates row = states_of(c, t, b + r);
#endif
        float *x = gates[b + r - p->first];
        for (long j = 0, unit = units.first; j < strip.count; j++, unit += W) {
          const long here = units.end - unit;
          vf u[MOST_APPLIED] = {{0}}; /* for compilers: there is a product */
          for (long g = 0; g < products; g++) u[g] = sums[g][r * PLAIN_VECTORS + j];
#if REDUCES
          (void)t;
          complete_columns(c, p->bias, x + unit, u, phase, unit, here);
#else
#if LAST_PHASE > 1
          if (phase < LAST_PHASE) {
            float *v = p->applied + (b + r - p->first) * APPLIED_COLUMNS * H;
            step_between(c, phase, p->bias, x + unit, u, row.before, v + unit, unit, here);
            continue;
          }
#endif
          step_forward(c, p->bias, x + unit, u, row.before, row.after, row.record, unit, here);
#endif
        }
      }
    }
  }
}
#endif

#if REDUCES
/* What follows the products of a phase of step t: threads that share the units of rows share the rows
   here. */
LOCAL void reduce_rows(const Part *p, long t, long end, float *const *gates, const long phase,
                       const Team *team) {
  const Call *c = p->call;
  const long count = end - p->first;
  for (long r = share_begin(team, count); r < share_end(team, count); r++) {
    const RowStates row = states_of(c, t, p->first + r);
#if APPLIED_COLUMNS
    float *v = p->applied + r * APPLIED_COLUMNS * H_OF(c);
    if (phase == 0) {
      row_apply(c, gates[r], row.before, v, p->temporary);
      continue;
    }
#if LAST_PHASE > 1
    if (phase < LAST_PHASE) {
      row_between(c, phase, gates[r], row.before, v, p->temporary);
      continue;
    }
#endif
#endif
    (void)phase;
    row_forward(c, gates[r], row.before, row.after, row.record, p->temporary);
  }
}
#endif

/* All steps of a part. */
LOCAL void forward_part(const Part *p, Team *team) {
  const Call *c = p->call;
  const long I = c->input_size, columns = INPUT_COLUMNS * H_OF(c), panels = PANELS(columns);
  const long chunk = MAX(1, CHUNK_ROWS / (p->end - p->first));
  const float *x[chunk * (p->end - p->first)];
  float *gates[chunk * (p->end - p->first)];
  for (long begin = 0; begin < c->num_steps; begin += chunk) {
    const long stop = MIN(begin + chunk, c->num_steps);
    long rows = 0;
    for (long step = begin; step < stop; step++) {
      const long t = c->reverse ? c->num_steps - 1 - step : step;
      for (long b = p->first; b < MIN(p->end, c->batch_sizes[t]); b++, rows++) {
        x[rows] = factors(p, rows, I, c->x + (c->starts[t] + b) * X_STRIDE(c));
        gates[rows] = c->train ? c->gates + (c->starts[t] + b) * c->gate_stride
                               : p->scratch + rows * c->gate_stride;
      }
    }
    for (long panel = share_begin(team, panels); panel < share_end(team, panels); panel++) {
      const long first = panel * PANEL;
      if (!p->at.input_unpacked) {
        multiply_rows(rows, I, columns, first, x, input_panel(c, &p->at, panel), gates);
        continue;
      }
      for (long j = first; j < MIN(columns, first + PANEL); j += W) {
        store(gates[0] + j, columns - j, unpacked_columns(c->weight_ih, I, H_OF(c), INPUT_BLOCKS,
                                                          columns, j, c->x));
      }
    }
    if (!meet(team)) return;
    float *const *of_step = gates;
    for (long step = begin; step < stop; step++) {
      const long t = c->reverse ? c->num_steps - 1 - step : step;
      const long end = MIN(p->end, c->batch_sizes[t]);
      if (end <= p->first) continue;
      forward_rows(p, t, end, of_step, team);
      if (!meet(team)) return;
#if REDUCES
      reduce_rows(p, t, end, of_step, 0, team);
      if (!meet(team)) return;
#endif
#if APPLIED_COLUMNS
      for (long phase = 1; phase <= LAST_PHASE; phase++) {
        finish_rows(p, t, end, of_step, phase, team);
        if (!meet(team)) return;
#if REDUCES
        reduce_rows(p, t, end, of_step, phase, team);
        if (!meet(team)) return;
#endif
      }
#endif
      of_step += end - p->first;
    }
  }
}

#endif
