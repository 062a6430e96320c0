/* A model's calls, given as numbers: which function, and where its arguments are. Nothing is checked
   here: who makes the numbers (linking.py) and who calls (web/unrolled.js) do. */

#define EXPORT(name) __attribute__((export_name(#name)))

typedef struct {
  int32_t function;
  uint32_t kinds[2]; /* of each argument, 4 bits: a number, or what it is added to */
  int32_t arguments[9];
} Operation;

typedef struct { /* what goes over a sequence; sizes are bytes, of a row */
  int32_t operations, count, order, reads, writes, in_size, out_size, out_at;
} Pass;

enum { LOOP = -2, SET = -1 };
enum { AHEAD, BACK, FIRST, LAST, ONCE };
enum { IN, OUT, TRACE, A, B, MEMORY, KEYS, LOOKS, END };

typedef struct {
  int32_t size; /* bytes of its memory, behind which rows lie */
  int32_t rows[END], is_pooled, setup, num_setup, variables, num_passes;
  Pass passes[];
} Model;

/* The sums of `count` columns that lie side by side in a panel of `width`. */
#define PANEL(count, width)                                           \
  for (int32_t at = 0; at < (width); at += (count)) {                 \
    const Weight *restrict row = panel + at;                          \
    float sum[count];                                                 \
    for (int32_t c = 0; c < (count); c++) sum[c] = 0.0f;              \
    for (int32_t k = 0; k < depth; k++, row += (width)) {             \
      const float factor = a[k];                                      \
      for (int32_t c = 0; c < (count); c++) {                         \
        sum[c] = MULTIPLY_ADD(row[c], factor, sum[c]);        \
      }                                                               \
    }                                                                 \
    for (int32_t c = 0; c < (count); c++) {                           \
      out[first + at + c] = sum[c];                                     \
    }                                                                 \
  }

#if defined(__wasm_simd128__)
#define AT_ONCE(width) (width)
#else
#define AT_ONCE(width) 4
#endif

static void scale(int32_t count, const float *scales, float *restrict out) {
  for (int32_t c = 0; c < count; c++) out[c] *= scales[c];
}

/* The `product` of support.h, to the last bit, of a matrix that lies panel after panel, each
   [depth][width] (linking.py): so that what is read next lies behind what was read. scales:
   [columns], or 0. */
static void scaled_product(const Matrix *matrix, const float *scales, const float *restrict a,
                           float *restrict out) {
  const Weight *panel = matrix->numbers;
  const int32_t depth = matrix->depth, columns = matrix->columns;
  int32_t first = 0;
  for (; first + 32 <= columns; first += 32, panel += 32 * depth) PANEL(AT_ONCE(32), 32)
  for (; first + 16 <= columns; first += 16, panel += 16 * depth) PANEL(AT_ONCE(16), 16)
  for (; first + 4 <= columns; first += 4, panel += 4 * depth) PANEL(4, 4)
  for (; first < columns; first++, panel += depth) PANEL(1, 1)
  if (scales) scale(columns, scales, out);
}

static void scaled_lookup(const Matrix *matrix, const float *scales, int32_t k,
                          float *restrict out) {
  lookup(matrix, k, out);
  if (scales) scale(matrix->columns, scales, out);
}

/* scales: of rows, or 0. */
static void scaled_embed(const Matrix *table, const float *scales, int32_t k,
                         float *restrict out) {
  embed(table, k, out);
  for (int32_t c = 0; scales && c < table->columns; c++) out[c] *= scales[k];
}

/* The `convolve` of support.h, of a matrix that lies so. */
static void scaled_convolve(const Matrix *matrix, const float *scales, int32_t side, int32_t stride,
                            const float *restrict in, float *restrict patch,
                            float *restrict out) {
  const int32_t after = (side + stride - 1) / stride;
  for (int32_t place = 0; place < after * after; place++) {
    patch_of(place, side, stride, matrix->depth / 9, in, patch);
    scaled_product(matrix, scales, patch, out + place * matrix->columns);
  }
}

/* Numbers of int8 as floats. */
static void widen(int32_t count, const float *from, float *restrict to) {
  const int8_t *numbers = (const int8_t *)from;
  for (int32_t n = 0; n < count; n++) to[n] = (float)numbers[n];
}

#define I(place) a[place]
#define F(place) ((float *)a[place])
#define P(place) ((int32_t *)a[place])
#define D(place) ((double *)a[place])
#define B(place) ((const uint8_t *)a[place])
#define E(place) FLOATS((uint32_t)a[place])
#define M(place) &(Matrix){F(place), a[(place) + 2], a[(place) + 3]}, F((place) + 1)

/* Runs operations for each of `steps` steps, from `in` on, which lie `in_stride` bytes apart, as
   what is written does. memory: of the model. v: variables of loops. trace: where what has a name is
   written, or 0. length: steps of the sequence. */
static void go(int32_t memory, int32_t *v, const Operation *operations, int32_t count,
               int32_t steps, int32_t in, int32_t in_stride, int32_t out, int32_t out_stride,
               int32_t trace, int32_t trace_stride, int32_t length) {
  for (int32_t t = 0; t < steps; t++) {
    for (const Operation *each = operations; each < operations + count; each++) {
      int32_t a[9], traces = 0;
      for (int32_t n = 0; n < 9; n++) {
        const int32_t number = each->arguments[n];
        switch (each->kinds[n / 8] >> n % 8 * 4 & 15u) {
          case 1: a[n] = memory + number; break;
          case 2: a[n] = in + number; break;
          case 3: a[n] = out + number; break;
          case 4: a[n] = *(const int32_t *)in; break;
          case 5: a[n] = trace + number; traces = 1; break;
          case 6: a[n] = length; break;
          case 7: a[n] = v[number]; break;
          default: a[n] = number;
        }
      }
      if (traces && !trace) continue;
      switch (each->function) {
        case LOOP: /* over the operations that follow: a variable, how often, how many */
          for (v[a[0]] = 0; v[a[0]] < a[1]; v[a[0]]++) {
            go(memory, v, each + 1, a[2], 1, in, 0, out, 0, trace, 0, length);
          }
          each += a[2];
          break;
        case SET: v[a[0]] = a[1] + a[2] * a[3] + a[4] * a[5] + a[6] * a[7]; break;
CASES
        default: __builtin_trap();
      }
    }
    in += in_stride;
    out += out_stride;
    trace += trace ? trace_stride : 0;
  }
}

/* Where in the memory rows of a sequence lie: what is read, said, traced, goes between passes, or is
   kept for the words that are written of it; or their end. -1 where that is more than a memory can be. */
EXPORT(place)
int32_t place(int32_t memory, int32_t header, int32_t steps, int32_t which) {
  const Model *model = (const Model *)(memory + header);
  int64_t at = model->size;
  for (int32_t n = 0; n < which; n++) {
    const int64_t rows = n == OUT && model->is_pooled ? 1 : steps;
    at += (rows * model->rows[n] + 15) & -16;
  }
  return at + memory < INT32_MAX ? (int32_t)at : -1;
}

/* Makes a memory ready, into which all was put. */
EXPORT(start)
void start(int32_t memory, int32_t header) {
  const Model *model = (const Model *)(memory + header);
  go(memory, 0, (const Operation *)(memory + model->setup), model->num_setup, 1, 0, 0, 0, 0, 0, 0,
     0);
}

/* Reads `steps` steps, which lie where `place` says, and says. is_traced: whether it writes down
   what has a name. */
EXPORT(run)
void run(int32_t memory, int32_t header, int32_t steps, int32_t is_traced) {
  const Model *model = (const Model *)(memory + header);
  for (const Pass *p = model->passes; p < model->passes + model->num_passes; p++) {
    if (!steps && p->order != ONCE) continue;
    const int32_t t = p->order == BACK || p->order == LAST ? steps - 1 : 0;
    const int32_t way = p->order == BACK ? -1 : 1, row = model->rows[TRACE];
    const int32_t in = memory + place(memory, header, steps, p->reads) + t * p->in_size;
    const int32_t out =
        memory + place(memory, header, steps, p->writes) + p->out_at + t * p->out_size;
    const int32_t trace =
        is_traced ? memory + place(memory, header, steps, TRACE) + t * row : 0;
    const Operation *operations = (const Operation *)(memory + p->operations);
    int32_t *variables = (int32_t *)(memory + model->variables);
    go(memory, variables, operations, p->count, p->order <= BACK ? steps : 1, in,
       way * p->in_size, out, way * p->out_size, trace, way * row, steps);
  }
}

/* A token by its score: the greatest at temperature 0. random: any number, which changes. */
EXPORT(draw)
int32_t draw(int32_t memory, int32_t count, int32_t scores, float temperature, int32_t random) {
  const float *said = (const float *)(memory + scores);
  return drawn(count, said, temperature, (uint32_t *)(memory + random));
}
