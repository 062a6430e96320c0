/* Streams: chunks of any number of steps, for all rows of a stack or for some, in one crossing.
 *
 * Comes after crossing.c, whose manners it has. The states of all rows lie in memory of the stack;
 * rows that follow one another there are computed in their place, others are copied together before
 * a layer reads them, and back after it.
 */

#define MOST_ROWS_TOGETHER 1024 /* so that what is copied together stays in a cache */

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

/* One layer's states and where they are while some rows are read. */
typedef struct {
  const int64_t *slots; /* of the rows; NULL: they follow one another in `whole` */
  float *whole[MOST_STATES], *together[MOST_STATES];
  long count, width, back, last; /* back: whether to `whole`; last: where the first state is then */
} Moves;

static void move_rows(int64_t begin, int64_t end, void *context) {
  const Moves *m = context;
  const size_t bytes = m->width * sizeof(float);
  for (long r = begin; r < end; r++) {
    for (long s = 0; s < m->count; s++) {
      float *in_whole = m->whole[s] + m->slots[r] * m->width;
      float *row = m->together[s] + r * m->width;
      memcpy(m->back ? in_whole : row, m->back ? row : in_whole, bytes);
    }
  }
}

static void move_states(Moves *m, long rows) {
  py.parallel_for(0, rows, MAX(1, WORTH_A_THREAD / (4 * m->count * m->width)), move_rows, m);
}

/* Scratch of a call: for its input, between layers, of the kernel, for states that are together. */
typedef struct {
  float *x, *layers[2], *workspace, *states[MOST_STATES];
} Memory;

/* Read steps begin.. of rows first..; their states are at `slots`, or from `place` on. */
static void read_piece(const Steps *s, Rows *division, const Memory *memory, long num_threads,
                       const Chunk *x, const Chunk *y, long begin, long steps, long first,
                       long rows, const int64_t *slots, long place) {
  const long H = s->hidden_size;
  float *from = dense_at(x, begin, steps, first, rows), *to = dense_at(y, begin, steps, first, rows);
  if (!from) {
    from = memory->x;
    copy_chunk(x, begin, steps, first, rows, from, 0);
  }
  for (long l = 0; l < s->num_layers; l++) {
    Call c = s->calls[l];
    divide_among(division, &c, steps, rows, num_threads);
    const int last = l + 1 == s->num_layers;
    Moves m = {.slots = slots, .count = s->num_states, .width = H};
    for (long n = 0; n < s->num_states; n++) {
      m.whole[n] = (float *)s->calls[l].initial[n] + (slots ? 0 : place * H);
      m.together[n] = memory->states[n];
      c.states[n] = slots ? m.together[n] : m.whole[n];
      c.initial[n] = c.states[n];
    }
    if (slots) move_states(&m, rows);
    c.x = l ? memory->layers[(l + 1) % 2] : from;
    c.states[0] = last && to ? to : memory->layers[l % 2];
    c.workspace = memory->workspace;
    s->forward(py.parallel_for, &c);
    float *end = c.states[0] + (steps - 1) * rows * H;
    if (slots) {
      m.together[0] = end;
      m.back = 1;
      move_states(&m, rows);
    } else {
      memcpy(m.whole[0], end, rows * H * sizeof(float));
    }
    if (last && !to) copy_chunk(y, begin, steps, first, rows, c.states[0], 1);
  }
}

/* Read all of `x` into `y`; whether there was memory. */
static int read_all(Steps *s, const Chunk *x, const Chunk *y, const int64_t *slots, long place) {
  const long H = s->hidden_size, width = MAX(x->width, H), num_threads = threads();
  const long rows = next_rows(x->rows, MOST_ROWS_TOGETHER), few = (x->rows - 1) % rows + 1;
  const long steps = MAX(1, MIN(MIN(x->steps, MOST_STEPS), MOST_FLOATS / (rows * width)));
  Rows division;
  long of_kernel = 0;
  for (long l = 0; l < s->num_layers; l++) {
    Call c = s->calls[l];
    divide_among(&division, &c, 1, few, num_threads);
    of_kernel = MAX(of_kernel, s->workspace_floats(&c, 0));
    divide_among(&division, &c, 1, rows, num_threads);
    of_kernel = MAX(of_kernel, s->workspace_floats(&c, 0));
  }
  const long of_layer = steps * rows * H, of_states = slots ? rows * H : 0;
  const Block block = take_block(ROUND_UP(of_kernel) + ROUND_UP(steps * rows * x->width) +
                                 2 * ROUND_UP(of_layer) + s->num_states * ROUND_UP(of_states));
  float *memory = block.memory;
  if (!memory) return 0;
  Memory m = {.workspace = next(&memory, of_kernel)};
  m.x = next(&memory, steps * rows * x->width);
  for (long i = 0; i < 2; i++) m.layers[i] = next(&memory, of_layer);
  for (long i = 0; i < s->num_states; i++) m.states[i] = next(&memory, of_states);
  const long work = s->work * x->steps * x->rows;
  void *lock = work > LONG_WORK ? py.release_lock() : NULL;
  for (long l = 0; l < s->num_layers; l++) {
    Call c = s->calls[l];
    divide_among(&division, &c, 1, rows, num_threads);
    s->pack(py.parallel_for, &c, s->packed);
  }
  for (long first = 0; first < x->rows; first += rows) {
    for (long begin = 0; begin < x->steps; begin += steps) {
      read_piece(s, &division, &m, num_threads, x, y, begin, MIN(steps, x->steps - begin), first,
                 MIN(rows, x->rows - first), slots ? slots + first : NULL, place + first);
    }
  }
  if (lock) py.take_lock(lock);
  s->packed = 1;
  give_block(block);
  return 1;
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
                         y.rows != x.rows || y.width != H)) {
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
