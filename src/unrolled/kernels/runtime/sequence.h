/* The loop over time, forward and backward, and the entry points of a kernel.
 *
 * Threads have rows of the batch and never wait for one another. Each runs all of its steps.
 */

#if RECURRENT_COLUMNS
#define UNITS (RECURRENT_COLUMNS < 4 ? 4 / RECURRENT_COLUMNS : 1) /* groups of W units in a panel */
#define GATE_VECTORS (UNITS * RECURRENT_COLUMNS)
#else
#define UNITS 4
#define GATE_VECTORS 4
#endif
#define GATE_ROWS ROWS_OF(GATE_VECTORS)
#define CHUNK_ROWS 96 /* rows whose input is projected at once: their gates stay in cache */

/* The step whose states come before step t, or -1. */
INL long step_before(const Call *c, long t) {
  if (!c->reverse) return t - 1;
  return t + 1 < c->num_steps ? t + 1 : -1;
}

/* State s of row b of the batch before step t; the initial one where the row has just begun. */
INL const float *state_before(const Call *c, int s, long t, long b) {
  const long before = step_before(c, t), H = c->hidden_size;
  if (before < 0 || b >= c->batch_sizes[before]) return c->initial[s] + b * H;
  return c->states[s] + (c->starts[before] + b) * H;
}

static __attribute__((noinline)) void gate_product(long rows, long depth, const float *const *a,
                                                   const float *panel, vf *out) {
  product(rows, GATE_VECTORS, depth, a, panel, out);
}

/* Step t of rows first..end of the batch; gates[b - first] is the gate row of row b. `train` is
   not a constant: two compilations of step_forward might round differently. */
static void forward_rows(const Call *c, long t, long first, long end, float *const *gates) {
  const int train = c->train != 0;
  const long H = c->hidden_size, panel = H * GATE_VECTORS * W;
  vf sums[GATE_ROWS * GATE_VECTORS];
  for (long unit0 = 0; unit0 < H; unit0 += UNITS * W) {
    const float *weight =
        RECURRENT_COLUMNS ? c->recurrent_weight + unit0 / (UNITS * W) * panel : NULL;
    for (long b = first; b < end; b += GATE_ROWS) {
      const long rows = MIN(GATE_ROWS, end - b);
      const float *h[GATE_ROWS];
      for (long r = 0; r < rows; r++) h[r] = state_before(c, 0, t, b + r);
      if (RECURRENT_COLUMNS) gate_product(rows, H, h, weight, sums);
      for (long r = 0; r < rows; r++) {
        const float *before[STATES];
        float *after[STATES];
        for (int s = 0; s < STATES; s++) {
          const int running = s && !train;
          float *end_of = c->states[s] + (running ? b + r : c->starts[t] + b + r) * H;
          before[s] = running ? end_of : s ? state_before(c, s, t, b + r) : h[r];
          after[s] = end_of;
        }
        for (int j = 0; j < UNITS; j++) {
          const long unit = unit0 + j * W;
          if (unit >= H) break;
          step_forward(c, gates[b + r - first] + unit,
                       sums + r * GATE_VECTORS + j * RECURRENT_COLUMNS, before, after, unit, H - unit,
                       train);
        }
      }
    }
  }
}

/* All steps of rows first..end of the batch. */
static void forward_part(const Call *c, long part) {
  const long first = c->parts[part], end = c->parts[part + 1];
  if (first == end) return;
  const long I = c->input_size, columns = INPUT_COLUMNS * c->hidden_size;
  const long chunk = MAX(1, CHUNK_ROWS / (end - first)), capacity = chunk * (end - first);
  const float *x[capacity];
  float *gates[capacity];
  float *scratch = c->gates + part * c->scratch;
  for (long begin = 0; begin < c->num_steps; begin += chunk) {
    const long stop = MIN(begin + chunk, c->num_steps);
    long rows = 0;
    for (long step = begin; step < stop; step++) {
      const long t = c->reverse ? c->num_steps - 1 - step : step;
      for (long b = first; b < MIN(end, c->batch_sizes[t]); b++, rows++) {
        x[rows] = c->x + (c->starts[t] + b) * I;
        gates[rows] = c->train ? c->gates + (c->starts[t] + b) * c->gate_stride
                            : scratch + rows * c->gate_stride;
      }
    }
    multiply_rows(rows, I, columns, x, c->input_weight, gates);
    float *const *of_step = gates;
    for (long step = begin; step < stop; step++) {
      const long t = c->reverse ? c->num_steps - 1 - step : step;
      const long here = MIN(end, c->batch_sizes[t]);
      if (here <= first) continue;
      forward_rows(c, t, first, here, of_step);
      of_step += here - first;
    }
  }
}

static void forward_body(int64_t begin, int64_t end, void *context) {
  const unsigned long mode = flush_denormals();
  for (; begin < end; begin++) forward_part(context, begin);
  restore_denormals(mode);
}

/* The gradient by the output of rows b.. at step t that comes through the gates of step `after`,
   W * PLAIN_VECTORS units from `unit` on; zero where no step comes after. */
INL void gradient_from(const Call *c, long after, long b, long rows, long unit, vf *sums) {
  if (after < 0 || !RECURRENT_COLUMNS) {
    for (long i = 0; i < rows * PLAIN_VECTORS; i++) sums[i] = (vf){0};
    return;
  }
  const long H = c->hidden_size, depth = RECURRENT_COLUMNS * H;
  const float *d_gates[PLAIN_ROWS];
  for (long r = 0; r < rows; r++) {
    d_gates[r] = c->gates + (c->starts[after] + b + r) * c->gate_stride + FIRST_RECURRENT * H;
  }
  plain_product(rows, depth, d_gates, c->recurrent_weight + unit * depth, sums);
}

/* Step t of rows first..end, all of which have `after` as their next step, or none. */
INL void backward_rows(const Call *c, long t, long after, long first, long end) {
  const long H = c->hidden_size;
  vf sums[PLAIN_ROWS * PLAIN_VECTORS];
  for (long unit0 = 0; unit0 < H; unit0 += PLAIN_VECTORS * W) {
    for (long b = first; b < end; b += PLAIN_ROWS) {
      const long rows = MIN(PLAIN_ROWS, end - b);
      gradient_from(c, after, b, rows, unit0, sums);
      for (long r = 0; r < rows; r++) {
        const long row = c->starts[t] + b + r;
        const float *before[STATES], *of_step[STATES];
        float *d_states[STATES];
        for (int s = 0; s < STATES; s++) {
          before[s] = state_before(c, s, t, b + r);
          of_step[s] = c->states[s] + row * H;
          d_states[s] = c->d_states[s] + (b + r) * H;
        }
        for (long unit = unit0, v = 0; v < PLAIN_VECTORS && unit < H; v++, unit += W) {
          vf d_h = sums[r * PLAIN_VECTORS + v] + load(c->d_output + row * H + unit, H - unit);
          if (DIRECT || after < 0) d_h += load(d_states[0] + unit, H - unit);
          step_backward(c, c->gates + row * c->gate_stride + unit, d_h, before, of_step, d_states,
                        unit, H - unit);
        }
      }
    }
  }
}

/* All steps of one thread's rows, then the gradient by the initial output state. */
static void backward_part(const Call *c, long part) {
  const long first = c->parts[part], H = c->hidden_size;
  vf sums[PLAIN_ROWS * PLAIN_VECTORS];
  for (long step = c->num_steps - 1; step >= 0; step--) {
    const long t = c->reverse ? c->num_steps - 1 - step : step;
    const long after = c->reverse ? t - 1 : t + 1 < c->num_steps ? t + 1 : -1;
    const long end = MIN(c->parts[part + 1], c->batch_sizes[t]);
    const long going_on = after < 0 ? first : MAX(first, MIN(end, c->batch_sizes[after]));
    if (first >= end) continue;
    backward_rows(c, t, after, first, going_on);
    backward_rows(c, t, -1, going_on, end);
  }
  for (long b = first; b < MIN(c->parts[part + 1], c->batch_sizes[0]); b++) {
    long begin = 0; /* the first step that this row takes */
    if (c->reverse) {
      for (begin = c->num_steps - 1; b >= c->batch_sizes[begin];) begin--;
    }
    for (long unit0 = 0; unit0 < H; unit0 += PLAIN_VECTORS * W) {
      gradient_from(c, begin, b, 1, unit0, sums);
      for (long unit = unit0, v = 0; v < PLAIN_VECTORS && unit < H; v++, unit += W) {
        float *d_h = c->d_states[0] + b * H + unit;
        vf sum = sums[v];
        if (DIRECT) sum += load(d_h, H - unit);
        store(d_h, H - unit, sum);
      }
    }
  }
}

static void backward_body(int64_t begin, int64_t end, void *context) {
  const unsigned long mode = flush_denormals();
  for (; begin < end; begin++) backward_part(context, begin);
  restore_denormals(mode);
}

/* --- entry points ------------------------------------------------------------------------- */

int64_t unrolled_vector_width(void) { return W; }

/* Floats of the packed recurrent weights, forward. */
int64_t unrolled_packed_gates(int64_t H) {
  return (H + UNITS * W - 1) / (UNITS * W) * UNITS * W * RECURRENT_COLUMNS * H;
}

void unrolled_pack_gates(const float *weight, int64_t H, const int64_t *block_rows, float *packed) {
  pack_gates(weight, H, H, block_rows, RECURRENT_COLUMNS, UNITS, packed);
}

void unrolled_pack_plain(const float *weight, int64_t depth, int64_t H, const int64_t *block_rows,
                         int64_t blocks, float *packed) {
  pack_plain(weight, depth, H, block_rows, blocks, packed);
}

void unrolled_pack_straight(const float *weight, int64_t columns, int64_t H,
                            const int64_t *block_rows, int64_t blocks, float *packed) {
  pack_straight(weight, columns, H, block_rows, blocks, packed);
}

void unrolled_forward(ParallelFor parallel_for, Call *call, int64_t num_parts) {
  if (num_parts == 1) {
    forward_body(0, 1, call);
  } else {
    parallel_for(0, num_parts, 1, forward_body, call);
  }
}

void unrolled_backward(ParallelFor parallel_for, Call *call, int64_t num_parts) {
  if (num_parts == 1) {
    backward_body(0, 1, call);
  } else {
    parallel_for(0, num_parts, 1, backward_body, call);
  }
}

/* out = a times a packed plain matrix; rows split over the threads. */
typedef struct {
  int64_t rows, depth, columns, stride, out_stride, num_parts;
  const float *a, *packed;
  float *out;
} Product;

static void product_body(int64_t begin, int64_t end, void *context) {
  const Product *p = context;
  const float *a[CHUNK_ROWS];
  float *out[CHUNK_ROWS];
  const unsigned long mode = flush_denormals();
  const long last = p->rows * end / p->num_parts;
  for (long first = p->rows * begin / p->num_parts; first < last; first += CHUNK_ROWS) {
    const long rows = MIN(CHUNK_ROWS, last - first);
    for (long r = 0; r < rows; r++) {
      a[r] = p->a + (first + r) * p->stride;
      out[r] = p->out + (first + r) * p->out_stride;
    }
    multiply_rows(rows, p->depth, p->columns, a, p->packed, out);
  }
  restore_denormals(mode);
}

void unrolled_multiply(ParallelFor parallel_for, Product *product_) {
  if (product_->num_parts == 1) {
    product_body(0, 1, product_);
  } else {
    parallel_for(0, product_->num_parts, 1, product_body, product_);
  }
}
