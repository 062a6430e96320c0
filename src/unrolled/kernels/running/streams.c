/* Streams: chunks of any number of steps, for all rows of a stack or for some, in one crossing.
 *
 * Comes after crossing.c, whose manners it has. The states of all rows lie in memory of the stack;
 * rows that follow one another there are computed in their place, others are copied together before
 * a layer reads them, and back after it.
 */

/* Of a piece, so that what lies between layers stays in a cache. */
#define MOST_ROWS_TOGETHER 256
#define MOST_NUMBERS_TOGETHER (1l << 18)

/* What is given or wanted, [steps, rows, width], by its strides. */
typedef struct {
  float *data;
  long steps, rows, width, of_step, of_row, of_number;
} Chunk;

/* Whether an object is a step (rows, width) or, with 3 `dims`, a chunk of steps: (steps, rows, width),
   `turned`: (rows, steps, width). */
static int is_chunk(PyObject *object, Chunk *chunk, long dims, int turned, int written) {
  View v;
  if (!is_block(object, &v, written) || v.ndim != dims) return 0;
  if (dims == 2) {
    *chunk = (Chunk){v.data, 1, v.size[0], v.size[1], 0, v.stride[0], v.stride[1]};
  } else {
    *chunk = (Chunk){v.data,           v.size[turned],    v.size[!turned], v.size[2],
                     v.stride[turned], v.stride[!turned], v.stride[2]};
  }
  return 1;
}

/* Where rows first.. of steps begin.. lie one after the other, or NULL. */
static float *dense_at(const Chunk *k, long begin, long steps, long first, long rows) {
  const int dense = (k->of_number == 1 || k->width == 1) && (rows == 1 || k->of_row == k->width) &&
                    (steps == 1 || k->of_step == rows * k->width);
  return dense ? k->data + begin * k->of_step + first * k->of_row : NULL;
}

/* Copy such rows to dense memory, or from there. */
static void copy_chunk(const Chunk *k, long begin, long steps, long first, long rows, float *dense,
                       int out) {
  for (long t = begin; t < begin + steps; t++) {
    for (long r = first; r < first + rows; r++, dense += k->width) {
      float *at = k->data + t * k->of_step + r * k->of_row;
      if (k->of_number == 1) {
        memcpy(out ? at : dense, out ? dense : at, k->width * sizeof(float));
        continue;
      }
      for (long i = 0; i < k->width; i++) *(out ? at + i * k->of_number : dense + i) =
          *(out ? dense + i : at + i * k->of_number);
    }
  }
}

/* The addresses of the first and of the last number of a chunk. */
static void find_ends(const Chunk *k, const float **first, const float **last) {
  const long ends[] = {(k->steps - 1) * k->of_step, (k->rows - 1) * k->of_row,
                       (k->width - 1) * k->of_number};
  *first = *last = k->data;
  for (int i = 0; i < 3; i++) *(ends[i] < 0 ? first : last) += ends[i];
}

/* Whether two chunks may share memory: then what is written could be read again. */
static int are_entangled(const Chunk *x, const Chunk *y) {
  const float *x_first, *x_last, *y_first, *y_last;
  find_ends(x, &x_first, &x_last);
  find_ends(y, &y_first, &y_last);
  return x_first <= y_last && y_first <= x_last;
}

/* The numbers of streams as places of rows, in `slots`; whether each of them is there, and only once. */
static int find_rows(Steps *s, PyObject *rows, long count) {
  const int64_t *numbers = NULL;
  PyObject *type = py.type(rows);
  py.decrease(type);
  if (type == py.tensor) {
    DLTensor t;
    if (py.look(rows, &t) || t.device.type != 1 || t.dtype.code != 0 || t.dtype.bits != 64) return 0;
    if (t.ndim != 1 || t.shape[0] != count || (t.strides && t.strides[0] != 1 && count > 1)) return 0;
    if (4 * 2 * (asked(rows, py.storage_offset) + count) > end_of_storage(rows)) return 0;
    numbers = t.data;
  } else {
    Buffer b;
    if (py.buffer(rows, &b, 0x1c)) return 0; /* PyBUF_STRIDES | PyBUF_FORMAT */
    const int ok = b.ndim == 1 && b.item_bytes == 8 && b.format && b.shape[0] == count &&
                   (!strcmp(b.format, "l") || !strcmp(b.format, "q")) && b.strides[0] == 8;
    if (ok) numbers = b.data;
    py.release_buffer(&b); /* the caller holds the object */
  }
  if (!numbers) return 0;
  s->turn++;
  for (long i = 0; i < count; i++) {
    const int64_t number = numbers[i], slot = number < 0 ? 0 : number % s->capacity;
    if (s->numbers[slot] != number || s->turns[slot] == s->turn) return 0;
    s->turns[slot] = s->turn;
    s->slots[i] = slot;
  }
  return 1;
}

/* One layer's states, [count], and where they are while some rows are read. */
typedef struct {
  const int64_t *slots; /* of the rows in `whole` */
  float *whole[MOST_STATES], *together[MOST_STATES];
  long count, rows, width;
} Moves;

static void move_states(const Moves *m, int back) {
  const size_t bytes = m->width * sizeof(float);
  for (long s = 0; s < m->count; s++) {
    for (long r = 0; r < m->rows; r++) {
      float *in_whole = m->whole[s] + m->slots[r] * m->width;
      float *row = m->together[s] + r * m->width;
      memcpy(back ? in_whole : row, back ? row : in_whole, bytes);
    }
  }
}

/* All that is to be read: in pieces of some rows, each of which one thread takes through all layers and
   steps, so that none waits for others; or all rows at once, if they are fewer than threads. */
typedef struct {
  const Steps *stack;
  const Chunk *x, *y;
  const int64_t *slots; /* of all rows; NULL: they follow one another from `place` on */
  long place, rows, steps, num_threads; /* of a piece; the steps are taken one part after the other */
  float *scratch;
  long of_workspace, of_layer, of_input, of_states, floats; /* of the scratch of each thread */
} Reading;

/* Have a call read these rows. */
static void set_rows(const Reading *g, Rows *rows, Call *c, long steps, long count) {
  divide_among(rows, c, steps, count, g->num_threads);
  if (g->num_threads > 1) return;
  rows->parts[1] = count;
  c->num_parts = 1;
  c->num_threads = 1;
}

static void read_piece(void *context, long piece, long thread) {
  const Reading *g = context;
  const Steps *s = g->stack;
  const long H = s->hidden_size, first = piece * g->rows, rows = MIN(g->rows, g->x->rows - first);
  float *memory = g->scratch + thread * g->floats;
  float *workspace = next(&memory, g->of_workspace), *input = next(&memory, g->of_input);
  float *layers[2] = {next(&memory, g->of_layer), next(&memory, g->of_layer)};
  Moves m = {.count = s->num_states, .rows = rows, .width = H};
  m.slots = g->slots ? g->slots + first : NULL;
  for (long n = 0; n < m.count; n++) m.together[n] = next(&memory, g->of_states);
  Rows division;
  for (long begin = 0, steps; begin < g->x->steps; begin += steps) {
    steps = MIN(g->steps, g->x->steps - begin);
    float *from = dense_at(g->x, begin, steps, first, rows);
    float *to = dense_at(g->y, begin, steps, first, rows);
    if (!from) {
      from = input;
      copy_chunk(g->x, begin, steps, first, rows, from, 0);
    }
    for (long l = 0; l < s->num_layers; l++) {
      Call c = s->calls[l];
      set_rows(g, &division, &c, steps, rows);
      for (long n = 0; n < m.count; n++) {
        m.whole[n] = (float *)s->calls[l].initial[n] + (m.slots ? 0 : (g->place + first) * H);
        c.states[n] = m.slots ? m.together[n] : m.whole[n];
        c.initial[n] = c.states[n];
      }
      if (m.slots) move_states(&m, 0);
      c.x = l ? layers[(l + 1) % 2] : from;
      c.inputs = from + s->calls->input_size;
      c.inputs_stride = g->x->width;
      c.states[0] = to && l + 1 == s->num_layers ? to : layers[l % 2];
      c.workspace = workspace;
      s->forward(py.parallel_for, &c);
      const float *end = c.states[0] + (steps - 1) * rows * H;
      memcpy(m.slots ? m.together[0] : m.whole[0], end, rows * H * sizeof(float));
      if (m.slots) move_states(&m, 1);
      if (!to && l + 1 == s->num_layers) copy_chunk(g->y, begin, steps, first, rows, c.states[0], 1);
    }
  }
}

/* Read all of `x` into `y`; whether there was memory, and the weights could be packed. */
static int read_all(Steps *s, const Chunk *x, const Chunk *y, const int64_t *slots, long place) {
  const long H = s->hidden_size, width = MAX(x->width, H), B = x->rows;
  const long n = threads(), work = s->work / s->batch_size * x->steps * B;
  Reading g = {s, x, y, slots, place, .num_threads = B < n ? n : 1};
  const long even = B < n ? 1 : MAX(MIN(n, B), MIN(2 * n, B / 12));
  const long count = MAX(even, (B + MOST_ROWS_TOGETHER - 1) / MOST_ROWS_TOGETHER);
  g.rows = (B + count - 1) / count;
  g.steps = MAX(1, MIN(MIN(x->steps, MOST_STEPS), MOST_NUMBERS_TOGETHER / (g.rows * width)));
  Rows division;
  for (long l = 0; l < s->num_layers; l++) {
    Call c = s->calls[l];
    set_rows(&g, &division, &c, g.steps, g.rows);
    g.of_workspace = MAX(g.of_workspace, s->workspace_floats(&c, 0));
  }
  g.of_input = g.steps * g.rows * x->width;
  g.of_layer = g.steps * g.rows * H;
  g.of_states = slots ? g.rows * H : 0;
  g.floats = ROUND_UP(g.of_workspace) + ROUND_UP(g.of_input) + 2 * ROUND_UP(g.of_layer) +
             s->num_states * ROUND_UP(g.of_states);
  const Block block = take_block(g.floats * (B < n ? 1 : n));
  if (!block.memory) return 0;
  g.scratch = block.memory;
  look_at_weights(s, x->steps * B);
  void *lock = work > LONG_WORK ? py.release_lock() : NULL;
  int64_t packed = 1;
  for (long l = 0; l < s->num_layers && packed; l++) {
    Call c = s->calls[l];
    divide_among(&division, &c, 1, g.rows, n);
    packed = s->pack(py.parallel_for, &c, s->packed);
  }
  if (packed && B < n) {
    read_piece(&g, 0, 0);
  } else if (packed) {
    run(py.parallel_for, n, (B + g.rows - 1) / g.rows, work, read_piece, &g);
  }
  if (lock) py.take_lock(lock);
  s->packed = packed;
  give_block(block);
  return packed;
}

/* advance(steps, x, out, parameters, rows, turned): the outputs of all steps, which are `out` unless that
   is None; or None, where it is not taken. turned: None for one step, else whether `x` and `out`
   are (rows, steps, width); rows: the numbers of streams, or None for all rows. */
static PyObject *advance(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  (void)self, (void)count;
  Steps *s = py.as_address(args[0]);
  const long H = s->hidden_size, dims = args[5] == py.none ? 2 : 3;
  const int turned = args[5] == py.true_;
  PyObject *out = args[2];
  Chunk x, y;
  if (is_observed() || !is_chunk(args[1], &x, dims, turned, 0)) return not_taken();
  if (x.width != s->input_size) return not_taken();
  if (out != py.none && (!is_chunk(out, &y, dims, turned, 1) || y.steps != x.steps ||
                         y.rows != x.rows || y.width != H || are_entangled(&x, &y))) {
    return not_taken();
  }
  const int whole = args[4] == py.none;
  if (whole ? x.rows != s->batch_size : !find_rows(s, args[4], x.rows)) return not_taken();
  if (!has_weights(s, args[3]) || !note_versions(s)) return not_taken();
  View view;
  if (out != py.none) {
    py.increase(out);
  } else {
    const long a = turned ? x.rows : x.steps, b = turned ? x.steps : x.rows;
    out = dims == 2 ? new_tensor(s->like, &view, 2, x.rows, H, 0) : new_tensor(s->like, &view, 3, a, b, H);
    if (!out) return not_taken();
    y = (Chunk){view.data, x.steps, x.rows, H, turned ? H : x.rows * H, turned ? x.steps * H : H, 1};
  }
  int together = 1; /* whether the rows follow one another */
  for (long i = 1; !whole && i < x.rows; i++) together &= s->slots[i] == s->slots[0] + i;
  if (!read_all(s, &x, &y, together ? NULL : s->slots, whole ? 0 : s->slots[0])) {
    py.decrease(out);
    return not_taken();
  }
  if (args[2] != py.none) count_change(out);
  return out;
}
