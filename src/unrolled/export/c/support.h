#if WEIGHT_BITS == 8
typedef int8_t Weight; /* times the scale of its column */
#elif WEIGHT_BITS == 16
typedef uint16_t Weight; /* the upper half of a float */
#else
typedef float Weight;
#endif

typedef struct {
  const Weight *numbers; /* [depth][columns] */
#if WEIGHT_BITS == 8
  const float *scales; /* [columns] */
#endif
  int32_t depth, columns; /* both 1 or more */
} Matrix;

#if WEIGHT_BITS == 8
#define NUMBER(weight) ((float)(weight))
#define SCALED(sum, matrix, column) ((sum) * (matrix)->scales[column])
#elif WEIGHT_BITS == 16
#define NUMBER(weight) FLOATS((uint32_t)(weight) << 16)
#define SCALED(sum, matrix, column) (sum)
#else
#define NUMBER(weight) (weight)
#define SCALED(sum, matrix, column) (sum)
#endif

/* Sums that are made at once, which should fit the registers; a multiple of 4. */
#ifndef TILE
#if defined(__AVX__) || defined(__SSE__) || defined(__ARM_NEON)
#define TILE 64
#elif defined(__wasm_simd128__)
#define TILE 16
#else
#define TILE 4
#endif
#endif

/* The sums of `count` columns, a constant, from one on. The last products are added where the sums
   are written: gcc would make a loop that only writes them a memcpy, and so keep some in memory. */
#define SUMS(count)                                                        \
  do {                                                                     \
    float sum[count];                                                      \
    for (int32_t c = 0; c < (count); c++) sum[c] = 0.0f;                   \
    const Weight *restrict row = matrix->numbers + first;                  \
    const int32_t last = matrix->depth - 1;                                \
    for (int32_t k = 0; k < last; k++, row += matrix->columns) {           \
      const float factor = a[k];                                           \
      for (int32_t c = 0; c < (count); c++) {                              \
        sum[c] = MULTIPLY_ADD(NUMBER(row[c]), factor, sum[c]);             \
      }                                                                    \
    }                                                                      \
    const float factor = a[last];                                          \
    for (int32_t c = 0; c < (count); c++) {                                \
      sum[c] = MULTIPLY_ADD(NUMBER(row[c]), factor, sum[c]);               \
      out[first + c] = SCALED(sum[c], matrix, first + c);                  \
    }                                                                      \
  } while (0)

/* out[c] = sum over k of a[k] matrix[k][c], each of them one sum in the order of k.
   a: [depth]; out: [columns], elsewhere. */
static void product(const Matrix *matrix, const float *restrict a, float *restrict out) {
  int32_t first = 0;
  if (matrix->columns >= 2 * TILE || TILE <= 32) { /* one strip of 64 takes longer than two of 32 */
    for (; first + TILE <= matrix->columns; first += TILE) SUMS(TILE);
  }
#if TILE > 32
  for (; first + 32 <= matrix->columns; first += 32) SUMS(32);
#endif
#if TILE > 16
  for (; first + 16 <= matrix->columns; first += 16) SUMS(16);
#endif
#if TILE > 4
  for (; first + 4 <= matrix->columns; first += 4) SUMS(4);
#endif
  for (; first < matrix->columns; first++) SUMS(1);
}

/* out = row k of the matrix: its product with a one at k and zeros. */
static void lookup(const Matrix *matrix, int32_t k, float *restrict out) {
  const Weight *row = matrix->numbers + k * matrix->columns;
  for (int32_t c = 0; c < matrix->columns; c++) out[c] = SCALED(NUMBER(row[c]), matrix, c);
}

/* out = row k of a table, whose scales are of rows. */
static void embed(const Matrix *table, int32_t k, float *restrict out) {
  const Weight *row = table->numbers + k * table->columns;
  for (int32_t c = 0; c < table->columns; c++) out[c] = SCALED(NUMBER(row[c]), table, k);
}

static void copy(int32_t count, const float *restrict from, float *restrict to) {
  for (int32_t n = 0; n < count; n++) to[n] = from[n];
}

static void zero(int32_t count, float *to) {
  for (int32_t n = 0; n < count; n++) to[n] = 0.0f;
}

/* A one at k among zeros. */
static void one_at(int32_t count, int32_t k, float *to) {
  for (int32_t n = 0; n < count; n++) to[n] = n == k ? 1.0f : 0.0f;
}

static void add(int32_t count, const float *restrict from, float *restrict to) {
  for (int32_t n = 0; n < count; n++) to[n] += from[n];
}

static void relu(int32_t count, float *to) {
  for (int32_t n = 0; n < count; n++) to[n] = vmax(to[n], 0.0f);
}

static void tanh_of(int32_t count, float *to) {
  for (int32_t n = 0; n < count; n++) to[n] = vtanh(to[n]);
}

static void sigmoid_of(int32_t count, float *to) {
  for (int32_t n = 0; n < count; n++) to[n] = vsigmoid(to[n]);
}

/* The mean of all steps until now. total: [count], steps: [1], both zeros at first. */
static void mean_of(int32_t count, const float *restrict in, float *restrict total,
                    float *restrict steps, float *restrict mean) {
  *steps += 1.0f;
  for (int32_t n = 0; n < count; n++) {
    total[n] += in[n];
    mean[n] = total[n] / *steps;
  }
}

/* The greatest of all steps until now. begun: [1], 0 at first. */
static void most_of(int32_t count, const float *restrict in, float *restrict begun,
                    float *restrict most) {
  for (int32_t n = 0; n < count; n++) {
    most[n] = *begun == 0.0f || in[n] > most[n] ? in[n] : most[n];
  }
  *begun = 1.0f;
}

/* The mean of all steps until now by a softmax over their scores, whose greatest is kept, so that
   none overflows. total: [count], weight: [1], zeros at first; score, most: [1]. */
static void attention_of(int32_t count, const float *restrict in, const float *restrict score,
                   float *restrict total, float *restrict weight, float *restrict most,
                   float *restrict pooled) {
  const float now = *weight == 0.0f || *score > *most ? *score : *most;
  const float old = *weight == 0.0f ? 0.0f : vexp(*most - now);
  const float share = vexp(*score - now);
  *weight = *weight * old + share;
  *most = now;
  for (int32_t n = 0; n < count; n++) {
    total[n] = total[n] * old + in[n] * share;
    pooled[n] = total[n] / *weight;
  }
}

/* log(1 + e^x), as torch has it. */
static float softplus(float x) { return x > 20.0f ? x : vlog1p(vexp(x)); }

/* x becomes the exponentials of x, each divided by the sum of all. */
static void softmax(int32_t count, float *x) {
  float most = x[0], sum = 0.0f;
  for (int32_t n = 1; n < count; n++) most = vmax(most, x[n]);
  for (int32_t n = 0; n < count; n++) {
    x[n] = vexp(x[n] - most);
    sum += x[n];
  }
  for (int32_t n = 0; n < count; n++) x[n] = x[n] / sum;
}

/* sums += factor from */
static void add_times(int32_t count, float factor, const float *restrict from, float *restrict sums) {
  for (int32_t n = 0; n < count; n++) sums[n] = MULTIPLY_ADD(factor, from[n], sums[n]);
}

/* out[0] = the sum over n of a[n] b[n] */
static void dot(int32_t count, const float *restrict a, const float *restrict b,
                float *restrict out) {
  float sum = 0.0f;
  for (int32_t n = 0; n < count; n++) sum = MULTIPLY_ADD(a[n], b[n], sum);
  out[0] = sum;
}

/* context = the steps of a memory, [steps][size], by the softmax over their scores, which `weights`
   are at first. */
static void look_over(int32_t steps, int32_t size, const float *restrict memory,
                      float *restrict weights, float *restrict context) {
  softmax(steps, weights);
  zero(size, context);
  for (int32_t t = 0; t < steps; t++) {
    add_times(size, weights[t], memory + (size_t)t * (size_t)size, context);
  }
}

static void divide(int32_t count, int32_t by, float *x) {
  for (int32_t n = 0; n < count; n++) x[n] /= (float)by;
}

static void take_greater(int32_t count, const float *restrict from, float *restrict to) {
  for (int32_t n = 0; n < count; n++) to[n] = vmax(to[n], from[n]);
}

/* How dark a picture is, [places][3] from 0 to 2, of its bytes, [3][places]. */
static void darkness(int32_t places, const uint8_t *restrict pixels, float *restrict out) {
  for (int32_t n = 0; n < places; n++) {
    for (int32_t c = 0; c < 3; c++) {
      out[3 * n + c] = (255.0f - (float)pixels[c * places + n]) / 127.5f;
    }
  }
}

/* The 3 x 3 places, zeros around, of which a convolution of every `stride`th one makes the one of a
   number. in: [side][side][size]; patch: [9][size]. */
static void patch_of(int32_t place, int32_t side, int32_t stride, int32_t size,
                     const float *restrict in, float *restrict patch) {
  const int32_t after = (side + stride - 1) / stride;
  for (int32_t tap = 0; tap < 9; tap++) {
    const int32_t row = place / after * stride + tap / 3 - 1;
    const int32_t column = place % after * stride + tap % 3 - 1;
    if (row < 0 || column < 0 || row >= side || column >= side) {
      zero(size, patch + tap * size);
    } else {
      copy(size, in + (row * side + column) * size, patch + tap * size);
    }
  }
}

/* A convolution of 3 x 3 places, zeros around, of every `stride`th one. in: [side][side][depth / 9];
   patch: [depth]; out: [after][after][columns], after = (side + stride - 1) / stride. */
static void convolve(const Matrix *matrix, int32_t side, int32_t stride, const float *restrict in,
                     float *restrict patch, float *restrict out) {
  const int32_t after = (side + stride - 1) / stride;
  for (int32_t place = 0; place < after * after; place++) {
    patch_of(place, side, stride, matrix->depth / 9, in, patch);
    product(matrix, patch, out + place * matrix->columns);
  }
}

/* x, [places][size], with mean 0 and variance 1, times weight and plus bias of each feature. */
static void normalise(int32_t places, int32_t size, float epsilon, const float *restrict weight,
                      const float *restrict bias, float *restrict x) {
  double sum = 0.0, squares = 0.0;
  for (int32_t n = 0; n < places * size; n++) sum += (double)x[n];
  const double mean = sum / (double)(places * size);
  for (int32_t n = 0; n < places * size; n++) {
    squares += ((double)x[n] - mean) * ((double)x[n] - mean);
  }
  const float spread = vsqrt((float)(squares / (double)(places * size)) + epsilon);
  for (int32_t place = 0; place < places; place++, x += size) {
    for (int32_t n = 0; n < size; n++) {
      x[n] = (x[n] - (float)mean) / spread * weight[n] + bias[n];
    }
  }
}

/* The same of each place by itself. */
static void normalise_each(int32_t places, int32_t size, float epsilon,
                           const float *restrict weight, const float *restrict bias,
                           float *restrict x) {
  for (int32_t n = 0; n < places; n++) normalise(1, size, epsilon, weight, bias, x + n * size);
}

/* x, [steps][size], at places that divide it evenly, between two steps linearly; zeros of none. */
static void press(int32_t places, int32_t size, int32_t steps, const float *restrict x,
                  float *restrict out) {
  zero(places * size, out);
  for (int32_t place = 0; place < places && steps > 0; place++, out += size) {
    const float at = (float)place / (float)(places - 1) * (float)(steps - 1);
    const int32_t below = (int32_t)at, above = below + 1 < steps ? below + 1 : below;
    const float *const from = x + (size_t)below * (size_t)size;
    const float *const to = x + (size_t)above * (size_t)size;
    for (int32_t n = 0; n < size; n++) {
      out[n] = from[n] + (at - (float)below) * (to[n] - from[n]);
    }
  }
}

/* Puts the step `in`, [size], into a ring of `span` + 1 steps and lays the `taps` steps that lie
   0, dilation, ... back side by side, the oldest first. at: where the ring goes on. */
static void window(int32_t size, int32_t taps, int32_t dilation, const float *restrict in,
                   float *restrict ring, int32_t *at, float *restrict out) {
  const int32_t length = (taps - 1) * dilation + 1;
  copy(size, in, ring + *at * size);
  *at = *at + 1 < length ? *at + 1 : 0;
  int32_t from = *at; /* the oldest step */
  for (int32_t tap = 0; tap < taps; tap++) {
    copy(size, ring + from * size, out + tap * size);
    from += dilation;
    if (from >= length) from -= length;
  }
}

/* Draws from softmax(scores / temperature); the greatest at temperature 0. random: any number but 0,
   which is changed (xorshift, Marsaglia 2003). */
static int32_t drawn(int32_t count, const float *scores, float temperature, uint32_t *random) {
  int32_t best = 0;
  for (int32_t n = 1; n < count; n++) best = scores[n] > scores[best] ? n : best;
  if (temperature <= 0.0f) return best;
  float total = 0.0f;
  for (int32_t n = 0; n < count; n++) total += vexp((scores[n] - scores[best]) / temperature);
  uint32_t bits = *random ? *random : 1u;
  bits ^= bits << 13;
  bits ^= bits >> 17;
  bits ^= bits << 5;
  *random = bits;
  float left = total * ((float)(bits >> 8) * 0x1.0p-24f);
  for (int32_t n = 0; n < count; n++) {
    left -= vexp((scores[n] - scores[best]) / temperature);
    if (left < 0.0f) return n;
  }
  return best;
}
