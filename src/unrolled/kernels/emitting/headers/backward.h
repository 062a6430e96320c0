/* The loop over time, backward: the gate rows that the forward pass left become the gradients of
 * the gates. The gradients of the weights are made of those afterwards, in gradient.h.
 */
#ifndef UNROLLED_BACKWARD_H
#define UNROLLED_BACKWARD_H

#include "call.h"
#include "cell.h"
#include "forward.h"
#include "pack.h"
#include "row_steps.h"
#include "steps.h"
#include "tile.h"

/* The part of the gradient of the output of rows b.. at a step that comes through the gates of step
   `after`, by a strip of a panel of the recurrent weights; zero where no step comes after. With heads the
   gates of one are apart in a row, and are multiplied one after the other.
   d_gates: those of the rows, as `gates_after` gives them; sums: [rows, PLAIN_VECTORS], of which the
   strip's are set */
INL void gradient_from(const Part *p, long after, const float *const *d_gates, long rows,
                       const Strip *strip, const float *panel, vf *sums) {
  if (after < 0 || !RECURRENT_COLUMNS) {
    for (long i = 0; i < rows * PLAIN_VECTORS; i++) sums[i] = (vf){0};
    return;
  }
  const Call *c = p->call;
  const long depth = straight_depth(c, RECURRENT_COLUMNS);
  const long apart = MIXED ? ENCODED_FLOATS(depth) : H_OF(c);
  plain_strip(strip, rows, depth, d_gates, panel, sums);
  for (long g = 1; g < straight_pieces(c, RECURRENT_COLUMNS); g++) {
    vf more[PLAIN_ROWS * PLAIN_VECTORS];
    const float *of_gate[PLAIN_ROWS];
    for (long r = 0; r < rows; r++) of_gate[r] = d_gates[r] + g * apart;
    plain_strip(strip, rows, depth, of_gate, panel + g * STRAIGHT(depth), more);
    for (long i = 0; i < rows * PLAIN_VECTORS; i++) {
      if (i % PLAIN_VECTORS < strip->count) sums[i] += more[i];
    }
  }
}

/* The gradients of the gates of step `after`, of rows first..end, as they are multiplied: pointers
   to `to`. With heads those of the one that begins with unit `head`: gate after gate, H apart, or next
   to one another where they are encoded. */
INL void gates_after(const Part *p, long after, long first, long end, long head, const float **to) {
  const Call *c = p->call;
  const long pieces = straight_pieces(c, RECURRENT_COLUMNS);
  const long depth = straight_depth(c, RECURRENT_COLUMNS);
  for (long b = first; b < end && after >= 0 && RECURRENT_COLUMNS > 0; b++) {
    const float *gates = c->gates + (c->starts[after] + b) * c->gate_stride;
    gates += FIRST_RECURRENT * H_OF(c) + head;
    to[b - first] = factors(p, (b - first) * pieces, depth, gates);
    for (long g = 1; g < pieces; g++) {
      factors(p, (b - first) * pieces + g, depth, gates + g * H_OF(c));
    }
  }
}

/* Floats of what a thread multiplies at once after the forward pass: at a step, then of a chunk. */
INL long back_encoded(const Call *c) {
  const long rows = largest_part(c), chunk = MIN(CHUNK_ROWS, c->num_rows);
  const long recurrent = straight_pieces(c, RECURRENT_COLUMNS) *
                         ENCODED_FLOATS(straight_depth(c, RECURRENT_COLUMNS));
  const long of_step = MAX(recurrent, MOST_APPLIED * ENCODED_FLOATS(K_OF(c)));
  return MAX(rows * of_step, c->d_x ? chunk * ENCODED_FLOATS(INPUT_COLUMNS * H_OF(c)) : 0);
}

typedef struct {
  const float *before[GIVEN], *after[STATES];
  float *d_states[STATES];
} RowGradients;

INL RowGradients gradients_of(const Call *c, long t, long b) {
  RowGradients row;
  const long H = H_OF(c);
  for (int s = 0; s < STATES; s++) {
    row.before[s] = !FORMER_STATES || READ[s] ? state_before(c, s, t, b) : NULL;
    row.after[s] = c->states[s] + (c->starts[t] + b) * H;
    row.d_states[s] = c->d_states[s] + b * H;
  }
  give_inputs(c, c->starts[t] + b, row.before);
  return row;
}

/* Step t of rows first..end, all of which have `after` as their next step, or none; down to the
   applied products where there are some. */
LOCAL void backward_rows(const Part *p, long t, long after, long first, long end, long present,
                         const Team *team) {
  const Call *c = p->call;
  const long H = H_OF(c), last = share_end(team, num_groups(c));
  vf sums[PLAIN_ROWS * PLAIN_VECTORS];
  if (first >= end) return;
  const float *d_gates[end - first];
  long head = -1; /* that of `d_gates`: the first of its units */
  Strip strip;
  for (long group = share_begin(team, num_groups(c)); group < last; group += strip.count) {
    strip = strip_of(c, group, last, PLAIN_VECTORS);
    const Units units = strip.units;
    if (head != units.begin) gates_after(p, after, first, end, units.begin, d_gates);
    head = units.begin;
    const int product = RECURRENT_COLUMNS && after >= 0;
    const float *weights = product ? back_recurrent_panel(c, &p->at, strip.panel) : NULL;
    for (long b = first, rows; b < end; b += rows) {
      rows = next_rows(end - b, PLAIN_ROWS);
      gradient_from(p, after, d_gates + (b - first), rows, &strip, weights, sums);
      for (long r = 0; r < rows; r++) {
        const long packed = c->starts[t] + b + r;
        const RowGradients row = gradients_of(c, t, b + r);
        float *x = c->gates + packed * c->gate_stride;
        for (long v = 0, unit = units.first; v < strip.count; v++, unit += W) {
          const long here = units.end - unit;
          vf d_h = sums[r * PLAIN_VECTORS + v] + load(c->d_output + packed * H + unit, here);
          if (DIRECT || after < 0) d_h += load(row.d_states[0] + unit, here);
#if REDUCES
          (void)present;
          (void)x;
          store(row.d_states[0] + unit, here, d_h);
#elif APPLIED_COLUMNS
          step_unapply(c, present, x + unit, d_h, row.before, row.after, row.d_states, unit, here);
#else
          step_backward(c, present, x + unit, d_h, NULL, row.before, row.after, row.d_states, unit,
                        here);
#endif
        }
      }
    }
  }
}

#if APPLIED_COLUMNS
/* The phase of step t before `phase`, with the gradients of the vectors that it made for that. */
LOCAL void unfinish_rows(const Part *p, long t, long end, const long phase, long present,
                         const Team *team) {
  const Call *c = p->call;
  const long H = H_OF(c), K = K_OF(c), last = share_end(team, num_groups(c));
  const long begin = PHASE_BEGINS[phase], products = PHASE_BEGINS[phase + 1] - begin;
  vf sums[MOST_APPLIED][PLAIN_ROWS * PLAIN_VECTORS];
  const long count = end - p->first;
  const float *d_gate[count * MOST_APPLIED];
  long head = -1;
  Strip strip;
  for (long group = share_begin(team, num_groups(c)); group < last; group += strip.count) {
    strip = strip_of(c, group, last, PLAIN_VECTORS);
    const Units units = strip.units;
    for (long n = 0; n < count * products && head != units.begin; n++) {
      const float *x = c->gates + (c->starts[t] + p->first + n % count) * c->gate_stride;
      d_gate[n] = factors(p, n, K, x + (FIRST_APPLIED + begin + n / count) * H + units.begin);
    }
    head = units.begin;
    const float *weights[MOST_APPLIED] = {0};
    for (long g = 0; g < products; g++) {
      weights[g] = back_applied_panel(c, &p->at, begin + g, strip.panel);
    }
    for (long b = p->first, rows; b < end; b += rows) {
      rows = next_rows(end - b, PLAIN_ROWS);
      for (long g = 0; g < products; g++) {
        plain_strip(&strip, rows, K, d_gate + g * count + (b - p->first), weights[g], sums[g]);
      }
      for (long r = 0; r < rows; r++) {
        const RowGradients row = gradients_of(c, t, b + r);
        float *x = c->gates + (c->starts[t] + b + r) * c->gate_stride;
        for (long j = 0, unit = units.first; j < strip.count; j++, unit += W) {
          const long here = units.end - unit;
          vf d_v[MOST_APPLIED] = {{0}};
          for (long g = 0; g < products; g++) d_v[g] = sums[g][r * PLAIN_VECTORS + j];
#if REDUCES
          (void)present;
          (void)row;
          for (long g = 0; g < products; g++) {
            store(x + (ROW_SLOTS - APPLIED_COLUMNS + begin + g) * H + unit, here, d_v[g]);
          }
#else
#if LAST_PHASE > 1
          if (phase > 1) {
            step_unbetween(c, phase - 1, present, x + unit, d_v, row.before, row.after,
                           row.d_states, unit, here);
            continue;
          }
#endif
          const vf d_h = load(row.d_states[0] + unit, here);
          step_backward(c, present, x + unit, d_h, d_v, row.before, row.after, row.d_states, unit,
                        here);
#endif
        }
      }
    }
  }
}
#endif

#if REDUCES
/* A phase of step t, backward: down to its applied products, with the gradients of its vectors. */
LOCAL void reduce_gradients(const Part *p, long t, long end, const long phase, long present,
                            const Team *team) {
  const Call *c = p->call;
  const long count = end - p->first;
  for (long r = share_begin(team, count); r < share_end(team, count); r++) {
    const long b = p->first + r;
    const RowGradients row = gradients_of(c, t, b);
    float *x = c->gates + (c->starts[t] + b) * c->gate_stride;
#if APPLIED_COLUMNS
    if (phase == LAST_PHASE) {
      row_unapply(c, present, x, row.before, row.after, row.d_states, p->temporary);
      continue;
    }
#if LAST_PHASE > 1
    if (phase > 0) {
      row_unbetween(c, phase, present, x, row.before, row.after, row.d_states, p->temporary);
      continue;
    }
#endif
#endif
    (void)phase;
    row_backward(c, present, x, row.before, row.after, row.d_states, p->temporary);
  }
}
#endif

/* Which gradients of the states after step t are there: what was given, for all rows of the batch as
   for one, and what comes from step `after`, where those of `present` were. */
INL long present_at(const Call *c, long t, long after, long present) {
  const long ends = c->batch_sizes[t] > (after < 0 ? 0 : c->batch_sizes[after]);
  long now = c->given >> MOST_STATES & 1;
  if (ends) now |= c->given & ((INT64_C(1) << MOST_STATES) - 1);
  for (long s = 0; s < STATES; s++) now |= (long)((present & GRADIENT_OF[s]) != 0) << s;
  return now;
}

/* The first step that row b takes. */
INL long first_step(const Call *c, long b) {
  long step = 0;
  if (c->reverse) {
    for (step = c->num_steps - 1; b >= c->batch_sizes[step];) step--;
  }
  return step;
}

/* What comes through the gates of the first step of rows b.. to the initial output state. */
LOCAL void backward_start(const Part *p, long begin, long b, long end, const Team *team) {
  const Call *c = p->call;
  const long H = H_OF(c), last = share_end(team, num_groups(c));
  vf sums[PLAIN_ROWS * PLAIN_VECTORS];
  if (RECURRENT_COLUMNS && c->num_rows == 1 && p->at.recurrent_once && num_heads(c) == 1) {
    float *sum = c->workspace + p->at.back_recurrent, *d_h = c->d_states[0] + b * H;
    unpacked_row(c->weight_hh, H, H, RECURRENT_BLOCKS, RECURRENT_COLUMNS,
                 c->gates + FIRST_RECURRENT * H, sum);
    for (long unit = 0; unit < H; unit++) d_h[unit] = DIRECT ? sum[unit] + d_h[unit] : sum[unit];
    return;
  }
  const float *d_gates[end - b];
  long head = -1;
  Strip strip;
  for (long group = share_begin(team, num_groups(c)); group < last; group += strip.count) {
    strip = strip_of(c, group, last, PLAIN_VECTORS);
    const Units units = strip.units;
    if (head != units.begin) gates_after(p, begin, b, end, units.begin, d_gates);
    head = units.begin;
    const float *weights = RECURRENT_COLUMNS ? back_recurrent_panel(c, &p->at, strip.panel) : NULL;
    for (long first = b, rows; first < end; first += rows) {
      rows = next_rows(end - first, PLAIN_ROWS);
      gradient_from(p, begin, d_gates + (first - b), rows, &strip, weights, sums);
      for (long r = 0; r < rows; r++) {
        for (long unit = units.first, v = 0; v < strip.count; v++, unit += W) {
          float *d_h = c->d_states[0] + (first + r) * H + unit;
          vf sum = sums[r * PLAIN_VECTORS + v];
          if (DIRECT) sum += load(d_h, units.end - unit);
          store(d_h, units.end - unit, sum);
        }
      }
    }
  }
}

/* All steps of a part, then the gradient of the initial output state. */
LOCAL void backward_part(const Part *p, Team *team) {
  const Call *c = p->call;
  const long first = p->first;
  long present = 0;
  for (long step = c->num_steps - 1; step >= 0; step--) {
    const long t = c->reverse ? c->num_steps - 1 - step : step;
    const long after = c->reverse ? t - 1 : t + 1 < c->num_steps ? t + 1 : -1;
    const long end = MIN(p->end, c->batch_sizes[t]);
    const long going_on = after < 0 ? first : MAX(first, MIN(end, c->batch_sizes[after]));
    present = present_at(c, t, after, present);
    if (first >= end) continue;
    backward_rows(p, t, after, first, going_on, present, team);
    backward_rows(p, t, -1, going_on, end, present, team);
    if (!meet(team)) return;
#if REDUCES
    reduce_gradients(p, t, end, LAST_PHASE, present, team);
    if (!meet(team)) return;
#endif
#if APPLIED_COLUMNS
    for (long phase = LAST_PHASE; phase > 0; phase--) {
      unfinish_rows(p, t, end, phase, present, team);
      if (!meet(team)) return;
#if REDUCES
      reduce_gradients(p, t, end, phase - 1, present, team);
      if (!meet(team)) return;
#endif
    }
#endif
  }
  const long end = MIN(p->end, c->batch_sizes[0]);
  for (long b = first, next; b < end && c->starts_wanted; b = next) {
    const long begin = first_step(c, b);
    for (next = b + 1; next < end && first_step(c, next) == begin;) next++;
    backward_start(p, begin, b, next, team);
  }
}

#endif
