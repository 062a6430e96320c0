/* A short call of a layer, from Python's objects to a kernel and back, in one crossing.
 *
 * Everything about the tensors is asked here that `memory.py` and `calls.py` ask: what is not as a
 * kernel wants it is not taken, Py_None is returned, and the ordinary way, in Python, does it or says
 * what is wrong. So there are no errors of its own. A tensor is looked at by DLPack's C exchange, a
 * table of functions that torch's tensors have, and by torch's own methods: neither needs headers.
 * Functions of Python are those of its stable interface, given by address.
 *
 * Before this come vector.h, tile.h and call.h (`crossing.py`). All functions are called with the
 * interpreter's lock held, which also guards what is static here; torch's methods let it go for a
 * moment, so that others may run then, as they may between two lines of Python.
 */
/* By hand, since stdlib.h has another `select` than vector.h. */
int posix_memalign(void **, size_t, size_t);
void free(void *);

typedef struct PyObject PyObject;
typedef ptrdiff_t Py_ssize_t;

/* DLPack, version 1. */
typedef struct {
  void *data;
  struct {
    int32_t type, number;
  } device;
  int32_t ndim;
  struct {
    uint8_t code, bits;
    uint16_t lanes;
  } dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} DLTensor;

/* Python's Py_buffer. */
typedef struct {
  void *data;
  PyObject *object;
  Py_ssize_t bytes, item_bytes;
  int readonly, ndim;
  char *format;
  Py_ssize_t *shape, *strides, *suboffsets;
  void *internal;
} Buffer;

/* What crossing.py gives, in this order. */
static struct {
  PyObject *(*call)(PyObject *, PyObject *const *, size_t, PyObject *);
  PyObject *(*call_method)(PyObject *, PyObject *const *, size_t, PyObject *);
  PyObject *(*attribute)(PyObject *, PyObject *);
  PyObject *(*item)(PyObject *, PyObject *);
  PyObject *(*type)(PyObject *);
  PyObject *(*tuple)(Py_ssize_t);
  Py_ssize_t (*tuple_size)(PyObject *);
  PyObject *(*tuple_item)(PyObject *, Py_ssize_t);
  int (*set_tuple_item)(PyObject *, Py_ssize_t, PyObject *);
  int64_t (*as_integer)(PyObject *);
  PyObject *(*integer)(int64_t);
  void *(*as_address)(PyObject *);
  void (*increase)(PyObject *);
  void (*decrease)(PyObject *);
  void (*clear_error)(void);
  void *(*release_lock)(void);
  void (*take_lock)(void *);
  PyObject *(*function)(void *, PyObject *, PyObject *);
  int (*buffer)(PyObject *, Buffer *, int);
  void (*release_buffer)(Buffer *);
  int (*look)(PyObject *, DLTensor *);
  ParallelFor parallel_for;
  /* objects, which live as long as the process */
  PyObject *none, *true_, *false_, *tensor, *parameter;
  PyObject *is_neg, *storage_offset, *untyped_storage, *nbytes, *requires_grad, *version;
  PyObject *is_inference, *new_empty, *empty_like, *raw_repr, *cpu, *current_level;
  PyObject *forward_gradients; /* the dict of torch.autograd.forward_ad */
  PyObject *included_keys, *is_autocast_enabled, *is_grad_enabled, *num_threads, *increase_version;
  int64_t unobserved_keys; /* bits */
  int64_t threads_meet;    /* whether every piece has a thread of its own */
} py;

#define MOST_DIMS 3
#define MOST_WEIGHTS 64  /* of a stack */
#define MOST_STEPS 512   /* of a short call */
#define MOST_ROWS_AT_A_STEP 1024
#define MOST_WORK (1l << 28) /* multiply-adds: what a longer call takes is not the way to it */
#define MOST_FLOATS (1l << 20) /* of a tensor or tape: for what is larger there is an arena */
#define LONG_WORK (1l << 18) /* which others need not wait for */
#define HEAD 16              /* floats before what a tape holds: the first says whether it was used */

/* A layer, or a stack of them in one or two directions, as short_calls.py describes it. */
typedef struct {
  int64_t num_gates, num_recurrent, num_states, num_vectors, biased;
  int64_t input_size, hidden_size, head_size, num_layers, num_directions;
  int64_t reverse; /* of one layer in one direction */
  int64_t single;  /* one step: no tensor has a dim for time, nor a state one for layers */
  int64_t slots, scratch_slots, numbers;
  void (*forward)(ParallelFor, Call *);
  void (*backward)(ParallelFor, Call *);
  int64_t (*packed_floats)(const Call *);
  int64_t (*workspace_floats)(const Call *, int64_t);
  PyObject **names; /* of all weights, layer after layer, direction after direction */
  /* NULL, or memory where weights lie packed, of each layer and direction; they are read there as long
     as all weights are these objects, of these addresses and versions */
  float **kept;
  int64_t (*pack)(ParallelFor, Call *, int64_t);
  PyObject **weights;
  const int64_t *addresses, *versions;
} Plan;

/* ---- Tensors --------------------------------------------------------------------------------- */

typedef struct {
  float *data;
  long ndim, count, size[MOST_DIMS], stride[MOST_DIMS];
  int contiguous;
} View;

/* The result of a method without arguments as an integer, or -1. */
static int64_t asked(PyObject *object, PyObject *name) {
  PyObject *result = py.call_method(name, &object, 1, NULL);
  if (!result) return -1;
  const int64_t number = py.as_integer(result);
  py.decrease(result);
  return number;
}

static int is_true(PyObject *object, PyObject *name) {
  PyObject *value = py.attribute(object, name);
  if (value) py.decrease(value);
  return value == py.true_;
}

static int is_inference(PyObject *object) {
  PyObject *answer = py.call_method(py.is_inference, &object, 1, NULL);
  if (answer) py.decrease(answer);
  return answer != py.false_;
}

/* The end of the memory of a tensor, in bytes, or -1. */
static int64_t end_of_storage(PyObject *object) {
  PyObject *storage = py.call_method(py.untyped_storage, &object, 1, NULL);
  if (!storage) return -1;
  const int64_t end = asked(storage, py.nbytes);
  py.decrease(storage);
  return end;
}

/* Whether an object is a plain tensor of float32 in memory of the CPU, all of it; then `view` is it. */
static int is_plain(PyObject *object, View *view) {
  PyObject *type = py.type(object);
  py.decrease(type);
  if (type != py.tensor && type != py.parameter) return 0;
  DLTensor t;
  if (py.look(object, &t)) return 0; /* it has no address, as what torch.func wraps */
  if (t.device.type != 1 || t.dtype.code != 2 || t.dtype.bits != 32 || t.dtype.lanes != 1) return 0;
  if (t.ndim > MOST_DIMS || t.byte_offset) return 0;
  long count = 1, last = 0, dense = 1;
  view->contiguous = 1;
  for (long i = t.ndim; i-- > 0;) {
    view->size[i] = t.shape[i];
    view->stride[i] = t.strides ? t.strides[i] : dense;
    view->contiguous &= t.shape[i] == 1 || view->stride[i] == dense;
    dense *= t.shape[i];
    count *= t.shape[i];
    last += (t.shape[i] - 1) * view->stride[i];
  }
  view->data = t.data;
  view->ndim = t.ndim;
  view->count = count;
  if (!count || !t.data) return 0; /* nothing, zeros without memory, or storage that was freed */
  PyObject *negative = py.call_method(py.is_neg, &object, 1, NULL);
  if (negative) py.decrease(negative);
  if (negative != py.false_) return 0; /* their sign is turned when they are read */
  const int64_t offset = asked(object, py.storage_offset);
  return offset >= 0 && 4 * (offset + last + 1) <= end_of_storage(object);
}

/* The same for one whose numbers follow one another, of this shape. */
static int is_dense(PyObject *object, View *view, long ndim, long a, long b, long c) {
  const long shape[] = {a, b, c};
  if (!is_plain(object, view) || view->ndim != ndim || !view->contiguous) return 0;
  for (long i = 0; i < ndim; i++) {
    if (view->size[i] != shape[i]) return 0;
  }
  return 1;
}

/* New memory as torch gives it to everybody, (a, b, c) or less, of the kind of `like`; NULL: none. */
static PyObject *new_tensor(PyObject *like, View *view, long ndim, long a, long b, long c) {
  const long shape[] = {a, b, c};
  PyObject *arguments[1 + MOST_DIMS] = {like};
  for (long i = 0; i < ndim; i++) arguments[1 + i] = py.integer(shape[i]);
  PyObject *result = py.call_method(py.new_empty, arguments, 1 + ndim, NULL);
  for (long i = 0; i < ndim; i++) py.decrease(arguments[1 + i]);
  DLTensor t;
  if (result && (py.look(result, &t) || !t.data)) {
    py.decrease(result);
    return NULL;
  }
  if (result) *view = (View){t.data, ndim, a * (ndim > 1 ? b : 1) * (ndim > 2 ? c : 1), {0}, {0}, 1};
  return result;
}

/* Memory of the shape of a dense tensor. */
static PyObject *new_like(PyObject *like, float **data) {
  PyObject *result = py.call(py.empty_like, &like, 1, NULL);
  DLTensor t;
  if (result && (py.look(result, &t) || !t.data)) {
    py.decrease(result);
    return NULL;
  }
  if (result) *data = t.data;
  return result;
}

/* ---- What torch is about --------------------------------------------------------------------- */

/* Whether somebody wants to see torch's operations, or to have them in another type. */
static int is_observed(void) {
  PyObject *keys = py.call(py.included_keys, NULL, 0, NULL);
  if (!keys) return 1;
  const int64_t bits = asked(keys, py.raw_repr);
  py.decrease(keys);
  if (bits < 0 || bits & ~py.unobserved_keys) return 1;
  PyObject *level = py.item(py.forward_gradients, py.current_level);
  if (!level || py.as_integer(level) >= 0) return 1;
  PyObject *autocast = py.call(py.is_autocast_enabled, &py.cpu, 1, NULL);
  if (autocast) py.decrease(autocast);
  return autocast != py.false_;
}

static int has_gradients(void) {
  PyObject *enabled = py.call(py.is_grad_enabled, NULL, 0, NULL);
  if (enabled) py.decrease(enabled);
  return enabled != py.false_;
}

static long threads(void) {
  PyObject *number = py.call(py.num_threads, NULL, 0, NULL);
  const int64_t n = number ? py.as_integer(number) : 1;
  if (number) py.decrease(number);
  return n < 1 ? 1 : n;
}

/* ---- Scratch --------------------------------------------------------------------------------- */

/* Memory of earlier calls, which later ones take: what a call has taken is out of reach of others. */
typedef struct {
  float *memory;
  long floats;
} Block;
static Block blocks[4];
#define MOST_KEPT (4l << 20) /* floats of each */

static Block take_block(long floats) {
  for (int i = 0; i < 4; i++) {
    if (blocks[i].floats >= floats && blocks[i].memory) {
      const Block block = blocks[i];
      blocks[i] = (Block){NULL, 0};
      return block;
    }
  }
  Block block = {NULL, floats + floats / 4};
  if (posix_memalign((void **)&block.memory, 64, block.floats * sizeof(float))) block.memory = NULL;
  return block;
}

/* In the place of the smallest, which is given up. */
static void give_block(Block block) {
  int smallest = 0;
  for (int i = 1; i < 4; i++) {
    if (blocks[i].floats < blocks[smallest].floats) smallest = i;
  }
  Block old = block;
  if (block.floats <= MOST_KEPT && block.floats > blocks[smallest].floats) {
    old = blocks[smallest];
    blocks[smallest] = block;
  }
  free(old.memory);
}

/* The next `floats` of some memory, whole vectors. */
static float *next(float **memory, long floats) {
  float *begin = *memory;
  *memory += (floats + 15) / 16 * 16;
  return begin;
}
#define ROUND_UP(floats) (((floats) + 15) / 16 * 16)

/* ---- Calls ----------------------------------------------------------------------------------- */

typedef struct {
  int64_t sizes[MOST_STEPS], starts[MOST_STEPS], parts[2 * MOST_ROWS_AT_A_STEP + 1];
  long work;
} Rows;

/* A batch of B rows of T steps, divided among n threads. */
static void divide_among(Rows *rows, Call *c, long T, long B, long n) {
  const long each = MIN(n, B), more = MIN(2 * n, B / 12), num_parts = MAX(each, more);
  for (long t = 0; t < T; t++) {
    rows->sizes[t] = B;
    rows->starts[t] = t * B;
  }
  for (long p = 0; p <= num_parts; p++) rows->parts[p] = B * p / num_parts;
  c->num_steps = T;
  c->num_rows = T * B;
  c->num_parts = num_parts;
  c->num_threads = py.threads_meet ? n : num_parts;
  c->batch_sizes = rows->sizes;
  c->starts = rows->starts;
  c->parts = rows->parts;
}

static void divide(Rows *rows, Call *c, long T, long B) { divide_among(rows, c, T, B, threads()); }

static long num_weights(const Plan *p) {
  return 1 + (p->num_recurrent > 0) + (p->biased ? 1 + (p->num_recurrent > 0) : 0) + p->num_vectors;
}

static long weight_size(const Plan *p, long input_size) {
  return p->num_gates * p->hidden_size * input_size +
         p->num_recurrent * p->hidden_size * p->head_size;
}

/* Whether `object`, weight number `n` of a layer that reads `input_size`, is as a kernel reads it;
   then the call is given its address, and `place` is where that of its gradient goes. */
static int set_weight(const Plan *p, Call *c, long n, long input_size, PyObject *object,
                      float ***place) {
  const long H = p->hidden_size, G = p->num_gates * H, R = p->num_recurrent * H;
  View v = {0};
  if (n-- == 0) {
    const int ok = is_dense(object, &v, 2, G, input_size, 0);
    c->weight_ih = v.data;
    *place = &c->d_weight_ih;
    return ok;
  }
  if (R && n-- == 0) {
    const int ok = is_dense(object, &v, 2, R, p->head_size, 0);
    c->weight_hh = v.data;
    *place = &c->d_weight_hh;
    return ok;
  }
  if (p->biased && n-- == 0) {
    const int ok = is_dense(object, &v, 1, G, 0, 0);
    c->bias_ih = v.data;
    *place = &c->d_bias_ih;
    return ok;
  }
  if (p->biased && R && n-- == 0) {
    const int ok = is_dense(object, &v, 1, R, 0, 0);
    c->bias_hh = v.data;
    *place = &c->d_bias_hh;
    return ok;
  }
  const int ok = is_dense(object, &v, 1, H, 0, 0);
  c->parameters[n] = v.data;
  *place = &c->d_parameters[n];
  return ok;
}

/* Whether weight number `n` of all is the one that was packed, as it was then. */
static int is_kept(const Plan *p, long n, PyObject *weight) {
  DLTensor t;
  if (weight != p->weights[n] || py.look(weight, &t) || (int64_t)t.data != p->addresses[n]) return 0;
  PyObject *version = py.attribute(weight, py.version);
  if (!version) return 0;
  const int64_t number = py.as_integer(version);
  py.decrease(version);
  return number == p->versions[n];
}

static void run_forward(const Plan *p, Call *c) { p->forward(py.parallel_for, c); }
static void run_backward(const Plan *p, Call *c) { p->backward(py.parallel_for, c); }

/* Without the lock if it takes a while. */
static void run_call(const Plan *p, Call *c, void (*pass)(const Plan *, Call *), long work) {
  void *lock = work > LONG_WORK ? py.release_lock() : NULL;
  pass(p, c);
  if (lock) py.take_lock(lock);
}

static PyObject *not_taken(void) {
  py.clear_error();
  py.increase(py.none);
  return py.none;
}

/* A tuple of `count` objects, whose references it has; NULL if one is NULL, or `whole` is not so. */
static PyObject *tuple_if(int whole, PyObject **objects, long count) {
  for (long i = 0; i < count; i++) whole &= objects[i] != NULL;
  PyObject *tuple = whole ? py.tuple(count) : NULL;
  for (long i = 0; i < count; i++) {
    if (tuple) {
      py.set_tuple_item(tuple, i, objects[i]);
    } else if (objects[i]) {
      py.decrease(objects[i]);
    }
  }
  return tuple;
}

/* ---- Without gradients ----------------------------------------------------------------------- */

/* The parts of a tape: HEAD, the gates, the histories. */
static long tape_floats(const Plan *p, long rows) {
  const long row = p->slots * p->hidden_size + p->numbers + HEAD;
  return HEAD + rows * row + p->num_states * rows * p->hidden_size;
}

/* Copy [a, b, width] to [b, a, width]. */
static void exchange(const float *from, float *to, long a, long b, long width) {
  for (long i = 0; i < a; i++) {
    for (long j = 0; j < b; j++) {
      memcpy(to + (j * a + i) * width, from + (i * b + j) * width, width * sizeof(float));
    }
  }
}

/* NULL where it is not taken. weights: [MOST_WEIGHTS], references that the caller gives back. */
static PyObject *infer_with(PyObject *const *args, PyObject **weights, long *num_held) {
  const Plan *p = py.as_address(args[0]);
  PyObject *input = args[1], *hx = args[2];
  const int batch_first = args[4] == py.true_;
  const long H = p->hidden_size, D = p->num_directions, stacked = p->num_layers * D;
  const long each = num_weights(p), S = p->num_states;
  View x, states[MOST_STATES];
  if (is_observed() || !is_plain(input, &x) || !x.contiguous) return NULL;
  const long whole_ndim = p->single ? 2 : 3;
  if (x.ndim != whole_ndim && x.ndim != whole_ndim - 1) return NULL;
  const int batched = x.ndim == whole_ndim, turned = batched && batch_first;
  const long T = p->single ? 1 : x.size[turned];
  const long B = batched ? x.size[p->single ? 0 : !turned] : 1;
  if (x.size[x.ndim - 1] != p->input_size || T > MOST_STEPS || B > MOST_ROWS_AT_A_STEP ||
      each * stacked > MOST_WEIGHTS) {
    return NULL;
  }
  const int differentiable = has_gradients();
  int wanted = differentiable && is_true(input, py.requires_grad);
  if (hx != py.none) {
    if (S > 1 && py.tuple_size(hx) != S) return NULL;
    for (long s = 0; s < S; s++) {
      PyObject *state = S == 1 ? hx : py.tuple_item(hx, s);
      const int ok = p->single && batched ? is_dense(state, states + s, 2, B, H, 0)
                     : p->single          ? is_dense(state, states + s, 1, H, 0, 0)
                     : batched            ? is_dense(state, states + s, 3, stacked, B, H)
                                          : is_dense(state, states + s, 2, stacked, H, 0);
      if (!ok) return NULL;
      wanted |= differentiable && is_true(state, py.requires_grad);
    }
  }
  Call calls[MOST_WEIGHTS];
  long work = 0, floats = 0;
  Rows rows;
  Call rest;
  memset(&rest, 0, sizeof rest);
  divide(&rows, &rest, T, B);
  for (long l = 0; l < stacked; l++) {
    const long I = l < D ? p->input_size : D * H;
    Call *c = calls + l;
    *c = rest;
    c->input_size = I;
    c->hidden_size = H;
    c->head_size = p->head_size;
    c->reverse = p->reverse || l % D;
    c->gate_stride = p->scratch_slots * H + p->numbers;
    c->kept = p->kept != NULL;
    for (long n = 0; n < each; n++) {
      float **place;
      PyObject *weight = py.item(args[3], p->names[l * each + n]);
      if (!weight) return NULL; /* it is computed */
      py.increase(weight);
      weights[(*num_held)++] = weight;
      if (!set_weight(p, c, n, I, weight, &place)) return NULL;
      if (p->kept && !is_kept(p, l * each + n, weight)) return NULL;
      wanted |= differentiable && is_true(weight, py.requires_grad);
    }
    work += weight_size(p, I) * T * B;
    const long packed = p->kept ? 0 : ROUND_UP(p->packed_floats(c));
    floats = MAX(floats, packed + ROUND_UP(p->workspace_floats(c, 0)));
  }
  if (work > MOST_WORK || T * B * MAX(p->input_size, D * H) > MOST_FLOATS) return NULL;
  if (wanted) {
    if (!batched || tape_floats(p, T * B) > MOST_FLOATS) return NULL;
    py.increase(py.true_);
    return py.true_;
  }
  /* the results, then scratch: of the kernel, for its input and output in order of time, between layers */
  PyObject *results[1 + MOST_STATES];
  View output, ends[MOST_STATES];
  const int copied = turned && T > 1 && B > 1;
  if (p->single) {
    for (long s = 0; s <= S; s++) {
      View *v = s ? ends + s - 1 : &output;
      results[s] = batched ? new_tensor(input, v, 2, B, H, 0) : new_tensor(input, v, 1, H, 0, 0);
    }
  } else {
    results[0] = batched ? new_tensor(input, &output, 3, x.size[0], x.size[1], D * H)
                         : new_tensor(input, &output, 2, T, D * H, 0);
    for (long s = 0; s < S; s++) {
      results[1 + s] = batched ? new_tensor(input, ends + s, 3, stacked, B, H)
                               : new_tensor(input, ends + s, 2, stacked, H, 0);
    }
  }
  const long of_kernel = floats, of_output = ROUND_UP(T * B * H), of_layer = ROUND_UP(T * B * D * H);
  floats += (copied ? ROUND_UP(T * B * p->input_size) : 0) + 2 * of_layer + of_output * D;
  const Block block = take_block(floats);
  int whole = block.memory != NULL;
  for (long i = 0; i <= S; i++) whole &= results[i] != NULL;
  if (whole) {
    float *memory = block.memory, *in_order = x.data;
    float *kernels = next(&memory, of_kernel);
    float *layers[2] = {next(&memory, of_layer), next(&memory, of_layer)};
    float *directions = next(&memory, of_output * D);
    void *lock = work > LONG_WORK ? py.release_lock() : NULL;
    if (copied) {
      in_order = next(&memory, T * B * p->input_size);
      exchange(x.data, in_order, B, T, p->input_size);
    }
    for (long s = 0; s < S; s++) {
      if (hx == py.none) {
        memset(ends[s].data, 0, stacked * B * H * sizeof(float));
      } else {
        memcpy(ends[s].data, states[s].data, stacked * B * H * sizeof(float));
      }
    }
    for (long l = 0; l < stacked; l++) {
      Call *c = calls + l;
      const int last = l / D + 1 == p->num_layers;
      float *to = last && !copied ? output.data : layers[l / D % 2];
      c->x = l < D ? in_order : layers[(l / D + 1) % 2];
      c->packed = p->kept ? p->kept[l] : kernels;
      c->workspace = p->kept ? kernels : kernels + ROUND_UP(p->packed_floats(c));
      c->states[0] = D == 1 ? to : directions + l % D * of_output;
      for (long s = 0; s < S; s++) {
        c->initial[s] = ends[s].data + l * B * H;
        if (s) c->states[s] = ends[s].data + l * B * H;
      }
      if (c->kept && !p->pack(py.parallel_for, c, 1)) {
        whole = 0;
        break;
      }
      p->forward(py.parallel_for, c);
      const float *end = c->states[0] + (c->reverse ? 0 : (T - 1) * B * H);
      memcpy(ends[0].data + l * B * H, end, B * H * sizeof(float));
      for (long n = 0; D > 1 && n < T * B; n++) {
        memcpy(to + (n * D + l % D) * H, c->states[0] + n * H, H * sizeof(float));
      }
      if (last && copied && l + 1 == stacked) exchange(to, output.data, T, B, D * H);
    }
    if (lock) py.take_lock(lock);
  }
  give_block(block);
  return tuple_if(whole, results, 1 + S);
}

/* infer(plan, input, hx, parameters, batch_first): (output, *states), or None where that is not taken,
   or True where gradients are wanted. */
static PyObject *infer(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  (void)self, (void)count;
  PyObject *weights[MOST_WEIGHTS];
  long num_held = 0;
  PyObject *results = infer_with(args, weights, &num_held);
  for (long i = 0; i < num_held; i++) py.decrease(weights[i]);
  return results ? results : not_taken();
}


/* ---- With gradients: one layer in one direction, in order of time ----------------------------- */

static void set_tape(const Plan *p, Call *c, float *tape) {
  const long H = p->hidden_size;
  c->train = 1;
  c->gate_stride = p->slots * H + p->numbers + HEAD;
  c->gates = tape + HEAD;
  for (long s = 0; s < p->num_states; s++) {
    c->states[s] = c->gates + c->num_rows * (c->gate_stride + s * H);
  }
}

/* Fill a call with (x, *states, *weights); whether they are taken. */
static int set_inputs(const Plan *p, Call *c, Rows *rows, PyObject *const *inputs) {
  const long H = p->hidden_size, S = p->num_states;
  View x, state;
  if (!is_plain(inputs[0], &x) || !x.contiguous || x.ndim != (p->single ? 2 : 3)) return 0;
  const long T = p->single ? 1 : x.size[0], B = x.size[!p->single];
  if (x.size[x.ndim - 1] != p->input_size || T > MOST_STEPS || B > MOST_ROWS_AT_A_STEP) return 0;
  divide(rows, c, T, B);
  c->x = x.data;
  c->input_size = p->input_size;
  c->hidden_size = H;
  c->head_size = p->head_size;
  c->reverse = p->reverse;
  for (long s = 0; s < S; s++) {
    if (inputs[1 + s] == py.none) continue;
    if (p->single ? !is_dense(inputs[1 + s], &state, 2, B, H, 0)
                  : !is_dense(inputs[1 + s], &state, 3, 1, B, H)) {
      return 0;
    }
    c->initial[s] = state.data;
  }
  for (long n = 0; n < num_weights(p); n++) {
    float **place;
    if (!set_weight(p, c, n, p->input_size, inputs[1 + S + n], &place)) return 0;
  }
  rows->work = weight_size(p, p->input_size) * T * B;
  return 1;
}

/* Zeros for the initial states that are not given, out of `memory`. */
static void set_zeros(const Plan *p, Call *c, float **memory) {
  const long floats = c->batch_sizes[0] * p->hidden_size;
  float *zeros = next(memory, floats);
  memset(zeros, 0, floats * sizeof(float));
  for (long s = 0; s < p->num_states; s++) {
    if (!c->initial[s]) c->initial[s] = zeros;
  }
}

/* train(plan, x, *states, *weights): (output, *states, tape), or None. */
static PyObject *train(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  (void)self;
  const Plan *p = py.as_address(args[0]);
  const long H = p->hidden_size, S = p->num_states;
  Rows rows;
  Call c;
  memset(&c, 0, sizeof c);
  if (count != 2 + S + num_weights(p) || !set_inputs(p, &c, &rows, args + 1)) return not_taken();
  if (tape_floats(p, c.num_rows) > MOST_FLOATS) return not_taken();
  const long T = c.num_steps, B = c.batch_sizes[0];
  PyObject *results[2 + MOST_STATES];
  View output, ends[MOST_STATES], tape;
  if (p->single) {
    results[0] = new_tensor(args[1], &output, 2, B, H, 0);
    for (long s = 0; s < S; s++) results[1 + s] = new_tensor(args[1], ends + s, 2, B, H, 0);
  } else {
    results[0] = new_tensor(args[1], &output, 3, T, B, H);
    for (long s = 0; s < S; s++) results[1 + s] = new_tensor(args[1], ends + s, 3, 1, B, H);
  }
  results[1 + S] = new_tensor(args[1], &tape, 1, tape_floats(p, T * B), 0, 0);
  int whole = 1;
  for (long i = 0; i < 2 + S; i++) whole &= results[i] != NULL;
  if (whole) {
    set_tape(p, &c, tape.data);
    const long packed = ROUND_UP(p->packed_floats(&c));
    const Block block = take_block(packed + ROUND_UP(p->workspace_floats(&c, 0)) + ROUND_UP(B * H));
    float *memory = block.memory;
    whole = memory != NULL;
    if (whole) {
      set_zeros(p, &c, &memory);
      c.packed = memory;
      c.workspace = memory + packed;
      run_call(p, &c, run_forward, rows.work);
      memset(tape.data, 0, HEAD * sizeof(float));
      memcpy(output.data, c.states[0], T * B * H * sizeof(float));
      for (long s = 0; s < S; s++) {
        const float *end = c.states[s] + (c.reverse ? 0 : (T - 1) * B * H);
        memcpy(ends[s].data, end, B * H * sizeof(float));
      }
    }
    give_block(block);
  }
  PyObject *tuple = tuple_if(whole, results, 2 + S);
  return tuple ? tuple : not_taken();
}

/* A tensor (a, b, c) of any strides, to dense memory. */
static void copy_view(const View *v, float *to) {
  for (long i = 0; i < v->size[0]; i++) {
    for (long j = 0; j < v->size[1]; j++) {
      const float *from = v->data + i * v->stride[0] + j * v->stride[1];
      for (long k = 0; k < v->size[2]; k++) *to++ = from[k * v->stride[2]];
    }
  }
}

/* Whether a gradient is a plain tensor (a, b, c), of any strides; of a single step it is (b, c). */
static int is_gradient(PyObject *object, View *v, int single, long a, long b, long c) {
  if (!is_plain(object, v) || v->ndim != (single ? 2 : 3)) return 0;
  for (long i = 2; single && i > 0; i--) {
    v->size[i] = v->size[i - 1];
    v->stride[i] = v->stride[i - 1];
  }
  if (single) v->size[0] = 1;
  return v->size[0] == a && v->size[1] == b && v->size[2] == c;
}

/* gradients(plan, wanted, d_results, saved): the gradients of (plan, x, *states, *weights), or None.
   wanted: for each of them; d_results: of the output and the states; saved: what was read, the tape. */
static PyObject *gradients(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  (void)self, (void)count;
  const Plan *p = py.as_address(args[0]);
  PyObject *wanted = args[1], *saved = args[3];
  const long H = p->hidden_size, S = p->num_states, inputs = 1 + S + num_weights(p);
  if (is_observed() || inputs > MOST_WEIGHTS || py.tuple_size(saved) != inputs + 1 ||
      py.tuple_size(wanted) != inputs + 1 || py.tuple_size(args[2]) != 1 + S) {
    return not_taken();
  }
  PyObject *given[MOST_WEIGHTS + 1];
  for (long i = 0; i <= inputs; i++) given[i] = py.tuple_item(saved, i);
  Rows rows;
  Call c;
  memset(&c, 0, sizeof c);
  if (!set_inputs(p, &c, &rows, given)) return not_taken();
  const long T = c.num_steps, B = c.batch_sizes[0], N = T * B;
  View d[1 + MOST_STATES], tape;
  if (!is_dense(given[inputs], &tape, 1, tape_floats(p, N), 0, 0)) return not_taken();
  if (tape.data[0] != 0) return not_taken(); /* another backward pass has used it */
  tape.data[0] = 1;
  for (long i = 0; i <= S; i++) {
    PyObject *gradient = py.tuple_item(args[2], i);
    if (gradient == py.none) continue;
    if (!is_gradient(gradient, d + i, p->single, i ? 1 : T, B, H)) return not_taken();
    c.given |= INT64_C(1) << (i ? i - 1 : MOST_STATES);
  }
  set_tape(p, &c, tape.data);
  PyObject *results[1 + MOST_WEIGHTS];
  float *memory_of[MOST_WEIGHTS];
  int whole = 1;
  for (long i = 0; i < inputs; i++) {
    results[1 + i] = NULL;
    memory_of[i] = NULL;
    if (py.tuple_item(wanted, 1 + i) == py.true_) {
      results[1 + i] = new_like(given[i], memory_of + i);
      whole &= results[1 + i] != NULL;
    } else {
      py.increase(py.none);
      results[1 + i] = py.none;
    }
  }
  py.increase(py.none);
  results[0] = py.none;
  c.d_x = memory_of[0];
  for (long s = 0; s < S; s++) c.starts_wanted |= memory_of[1 + s] != NULL;
  for (long n = 0; n < num_weights(p); n++) {
    float **place;
    whole &= set_weight(p, &c, n, p->input_size, given[1 + S + n], &place);
    *place = memory_of[1 + S + n];
  }
  const long floats = ROUND_UP(p->workspace_floats(&c, 1));
  const Block block = take_block(floats + (1 + S) * ROUND_UP(B * H) + ROUND_UP(N * H));
  float *memory = block.memory;
  whole &= memory != NULL;
  if (whole) {
    set_zeros(p, &c, &memory);
    if (c.given >> MOST_STATES & 1 && d[0].contiguous) {
      c.d_output = d[0].data;
    } else {
      float *d_output = next(&memory, N * H);
      c.d_output = d_output;
      if (c.given >> MOST_STATES & 1) {
        copy_view(d, d_output);
      } else {
        memset(d_output, 0, N * H * sizeof(float));
      }
    }
    for (long s = 0; s < S; s++) {
      c.d_states[s] = memory_of[1 + s] ? memory_of[1 + s] : next(&memory, B * H);
      if (c.given >> s & 1) {
        copy_view(d + 1 + s, c.d_states[s]);
      } else {
        memset(c.d_states[s], 0, B * H * sizeof(float));
      }
    }
    c.workspace = memory;
    run_call(p, &c, run_backward, 3 * rows.work);
  }
  give_block(block);
  PyObject *tuple = tuple_if(whole, results, inputs + 1);
  return tuple ? tuple : not_taken();
}

/* ---- Streams --------------------------------------------------------------------------------- */

/* A stack of layers in the middle of its sequences, as stepper.py describes it. */
typedef struct {
  int64_t (*step)(ParallelFor, Call *, int64_t, const float *, float *, int64_t);
  Call *calls;
  /* input_size: the width of x, inputs of a step included */
  int64_t num_layers, batch_size, input_size, hidden_size, work, packed, num_weights;
  PyObject **names, **weights;
  const int64_t *addresses, *rows, *columns; /* of each weight; columns 0: it is a vector */
  int64_t *versions;                         /* what torch counted when they were packed */
  float *x, *y;                              /* [B, I], [B, H] */
  PyObject *like;                            /* a tensor (B, H) */
  /* What streams.c has beside that. */
  int64_t num_states;
  int64_t (*pack)(ParallelFor, Call *, int64_t);
  void (*forward)(ParallelFor, Call *);
  int64_t (*workspace_floats)(const Call *, int64_t);
  int64_t capacity;                 /* the rows that states have memory for */
  const int64_t *numbers;           /* [capacity], of the streams in these rows, or -1; NULL: a row
                                       is what it is to the caller */
  int64_t *turns, turn, *slots;     /* [capacity], [capacity]: of use within a call */
  int64_t *sums, looked, floats;    /* [LOOKS]: of the weights as they were packed; how many of them
                                       have been looked at again; of all weights */
} Steps;

/* What torch does not count, `weight.data[0] = 1` or another process, shows in sums over all bits of
   the weights. Each step of a row pays for a part of them. */
#define LOOKS 32 /* parts that all weights are looked at in */
#define FEW_FLOATS 2304 /* all at once */

/* Of floats begin..end of all weights, one after the other. */
static uint64_t sum_of(const Steps *s, long begin, long end) {
  typedef uint32_t Bits __attribute__((may_alias));
  typedef uint32_t ManyBits __attribute__((vector_size(64)));
  typedef uint32_t ManyInMemory __attribute__((vector_size(64), aligned(4), may_alias));
  ManyBits sums[4] = {{0}}; /* times an odd number: what one number changes is never lost */
  uint64_t total = 0;
  for (long i = 0, first = 0; i < s->num_weights && first < end; i++) {
    const long count = s->rows[i] * (s->columns[i] ? s->columns[i] : 1);
    const Bits *bits = (const Bits *)s->addresses[i] - first;
    long k = MAX(begin, first);
    const long last = MIN(end, first + count);
    for (; k + 64 <= last; k += 64) {
      for (int j = 0; j < 4; j++) sums[j] = sums[j] * 0x9e3779b1u + *(const ManyInMemory *)(bits + k + 16 * j);
    }
    for (; k < last; k++) total = total * 0x9e3779b97f4a7c15u + bits[k];
    first += count;
  }
  for (int j = 0; j < 4; j++) {
    for (int i = 0; i < 16; i++) total = total * 0x9e3779b97f4a7c15u + sums[j][i];
  }
  return total;
}

/* Before a call that reads `row_steps` steps of rows: the weights are to be packed anew if what is looked
   at now has changed, and all sums are taken if they are to be packed. */
static void look_at_weights(Steps *s, long row_steps) {
  const long parts = s->floats <= FEW_FLOATS ? 1 : LOOKS;
  for (long i = MIN(parts, row_steps); i > 0 && s->packed; i--) {
    const long n = s->looked++ % parts;
    s->packed = s->sums[n] == (int64_t)sum_of(s, s->floats * n / parts, s->floats * (n + 1) / parts);
  }
  for (long n = 0; n < parts && !s->packed; n++) {
    s->sums[n] = sum_of(s, s->floats * n / parts, s->floats * (n + 1) / parts);
  }
}

/* Whether all weights are those that the calls point to, as they lay. */
static int has_weights(Steps *s, PyObject *parameters) {
  for (long i = 0; i < s->num_weights; i++) {
    PyObject *weight = py.item(parameters, s->names[i]);
    if (!weight || weight != s->weights[i]) return 0;
    DLTensor t;
    if (py.look(weight, &t) || (int64_t)t.data != s->addresses[i]) return 0;
    const int64_t columns = s->columns[i], last = columns ? columns : 1;
    if (t.dtype.bits != 32 || t.ndim != 1 + (columns != 0) || t.shape[0] != s->rows[i]) return 0;
    if (columns && (t.shape[1] != columns || (t.strides && t.strides[1] != 1 && columns > 1))) return 0;
    if (t.strides && t.strides[0] != last && s->rows[i] > 1) return 0;
  }
  return 1;
}

/* Take down how often torch counted a change of each weight. Where that is another number than before,
   they are packed anew: in this step or, if it is not taken, in the next. Whether torch told. */
static int note_versions(Steps *s) {
  for (long i = 0; i < s->num_weights; i++) {
    PyObject *version = py.attribute(s->weights[i], py.version);
    if (!version) return 0;
    const int64_t number = py.as_integer(version);
    py.decrease(version);
    if (number != s->versions[i]) s->packed = 0;
    s->versions[i] = number;
  }
  return 1;
}

/* Whether an object is an array of float32, whose numbers can be read, or written. */
static int is_array(PyObject *object, View *view, int written) {
  Buffer b;
  if (py.buffer(object, &b, 0x1c | written)) return 0; /* PyBUF_STRIDES | PyBUF_FORMAT | _WRITABLE */
  int ok = b.ndim <= MOST_DIMS && b.item_bytes == 4 && b.format && !strcmp(b.format, "f") && !b.suboffsets;
  if (ok) {
    *view = (View){b.data, b.ndim, 1, {0}, {0}, 1};
    for (long i = b.ndim; i-- > 0;) {
      view->size[i] = b.shape[i];
      view->stride[i] = b.strides[i] / 4;
      view->contiguous &= b.shape[i] == 1 || view->stride[i] == view->count;
      view->count *= b.shape[i];
      ok &= b.strides[i] % 4 == 0;
    }
  }
  py.release_buffer(&b); /* the caller holds the object */
  return ok && view->count;
}

/* Whether an object is a tensor or an array of float32, whose numbers can be read, or written. */
static int is_block(PyObject *object, View *view, int written) {
  PyObject *type = py.type(object);
  py.decrease(type);
  if (type != py.tensor && type != py.parameter) {
    if (!is_array(object, view, written)) return 0;
  } else if (!is_plain(object, view)) {
    return 0;
  } else if (written && (is_true(object, py.requires_grad) || is_inference(object))) {
    return 0;
  }
  for (long i = 0; written && i < view->ndim; i++) {
    if (!view->stride[i] && view->size[i] > 1) return 0;
  }
  return 1;
}

static int is_matrix(PyObject *object, View *view, long rows, long columns, int written) {
  return is_block(object, view, written) && view->ndim == 2 && view->size[0] == rows &&
         view->size[1] == columns;
}

/* Tell torch that a tensor was written to: a graph may have kept it. */
static void count_change(PyObject *out) {
  PyObject *type = py.type(out);
  py.decrease(type);
  if (type != py.tensor && type != py.parameter) return;
  py.increase(out);
  PyObject *tuple = tuple_if(1, &out, 1);
  PyObject *nothing = tuple ? py.call(py.increase_version, &tuple, 1, NULL) : NULL;
  if (nothing) py.decrease(nothing);
  if (tuple) py.decrease(tuple);
  if (!nothing) py.clear_error();
}

/* step(steps, x, out, parameters): the output of one step, which is `out` unless that is None; or
   None, where it is not taken. */
static PyObject *step(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  (void)self, (void)count;
  Steps *s = py.as_address(args[0]);
  const long B = s->batch_size, I = s->input_size, H = s->hidden_size;
  View x, y;
  if (is_observed() || !is_matrix(args[1], &x, B, I, 0)) return not_taken();
  PyObject *out = args[2];
  if (out != py.none && !is_matrix(out, &y, B, H, 1)) return not_taken();
  if (!has_weights(s, args[3]) || !note_versions(s)) return not_taken();
  if (out == py.none) {
    out = new_like(s->like, &y.data);
    if (!out) return not_taken();
    y.contiguous = 1;
  } else {
    py.increase(out);
  }
  const float *from = x.data;
  if (!x.contiguous) {
    from = s->x;
    for (long b = 0; b < B; b++) {
      for (long i = 0; i < I; i++) s->x[b * I + i] = x.data[b * x.stride[0] + i * x.stride[1]];
    }
  }
  float *to = y.contiguous ? y.data : s->y;
  look_at_weights(s, B);
  void *lock = s->work > LONG_WORK ? py.release_lock() : NULL;
  s->packed = s->step(py.parallel_for, s->calls, s->num_layers, from, to, s->packed);
  if (lock) py.take_lock(lock);
  if (!s->packed) {
    py.decrease(out);
    return not_taken();
  }
  if (args[2] != py.none) count_change(out);
  if (!y.contiguous) {
    for (long b = 0; b < B; b++) {
      for (long i = 0; i < H; i++) y.data[b * y.stride[0] + i * y.stride[1]] = to[b * H + i];
    }
  }
  return out;
}

/* step_bound(bound): True, or None where it is not taken. It uses none of torch's operations, and does
   not ask who wants to see them. */
typedef struct {
  Steps *steps;
  const float *x;
  float *y;
  PyObject *out, *parameters;
} Bound;

static PyObject *step_bound(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  (void)self, (void)count;
  const Bound *b = py.as_address(args[0]);
  Steps *s = b->steps;
  if (!has_weights(s, b->parameters) || !note_versions(s)) return not_taken();
  look_at_weights(s, s->batch_size);
  void *lock = s->work > LONG_WORK ? py.release_lock() : NULL;
  s->packed = s->step(py.parallel_for, s->calls, s->num_layers, b->x, b->y, s->packed);
  if (lock) py.take_lock(lock);
  if (!s->packed) return not_taken();
  count_change(b->out);
  py.increase(py.true_);
  return py.true_;
}

static PyObject *advance(PyObject *, PyObject *const *, Py_ssize_t); /* of streams.c */

/* ---- The functions, as Python has them --------------------------------------------------------- */

typedef struct {
  const char *name;
  void *function;
  int flags;
  const char *doc;
} Method;

static Method methods[] = {
    {"infer", (void *)infer, 0x80, NULL}, /* METH_FASTCALL */
    {"train", (void *)train, 0x80, NULL},
    {"gradients", (void *)gradients, 0x80, NULL},
    {"step", (void *)step, 0x80, NULL},
    {"step_bound", (void *)step_bound, 0x80, NULL},
    {"advance", (void *)advance, 0x80, NULL},
};

/* The functions, a tuple, in the order of `methods`; given what `py` holds. */
PyObject *unrolled_crossing(const void *table, int64_t bytes) {
  if (bytes != sizeof py) return NULL;
  memcpy(&py, table, sizeof py);
  const long count = sizeof methods / sizeof *methods;
  PyObject *functions[sizeof methods / sizeof *methods];
  for (long i = 0; i < count; i++) functions[i] = py.function(methods + i, NULL, NULL);
  return tuple_if(1, functions, count);
}
