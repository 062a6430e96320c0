/* The words of vector.h for one float, in C99 for any compiler: what the equations of a step and
 * the functions below are written in. Compilers make vectors of loops over them by themselves.
 *
 * The same operations in the same order as in a kernel: where both have FMA, or neither, both give
 * the same bits. But the compiler must not contract by itself what stands here apart: gcc does not
 * with -std=c99, or with -ffp-contract=off. Denormals are kept, which a kernel has as zeros.
 *
 * A file has of this what it calls, so each function stands between blank lines.
 */
#include <stdint.h>

#if defined(__FAST_MATH__)
#error "-ffast-math breaks the rounding, infinities and NaN of what follows: leave it out"
#endif

typedef float vf;
typedef int vi; /* a mask: 1 or 0, as comparisons give */
typedef union {
  float number;
  uint32_t bits;
} Word;

#ifdef __GNUC__ /* clang warns of those that no equation of a model needs */
#define INL static inline __attribute__((unused))
#else
#define INL static inline
#endif
#define SIGN 0x80000000u

#define splat(number) (number)

#define NOT(mask) (!(mask))

#define MASK(bit) (bit)

INL uint32_t BITS(float number) {
  Word word;
  word.number = number;
  return word.bits;
}

INL float FLOATS(uint32_t bits) {
  Word word;
  word.bits = bits;
  return word.number;
}

/* a b + c, rounded once where the processor does that at once, as in a kernel. A compiler
   left to itself would do it here and not there. */
#if defined(__FP_FAST_FMAF)
#define MULTIPLY_ADD(a, b, c) __builtin_fmaf(a, b, c)
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif

/* mask ? a : b, but by bits: what a or b comes of stays what it is, whichever is taken. */
INL vf select(vi mask, vf a, vf b) {
  const uint32_t bits = mask ? 0xffffffffu : 0u;
  return FLOATS((BITS(a) & bits) | (BITS(b) & ~bits));
}

/* The same of floats that are there already. gcc makes vectors of a loop with it only by bits. */
#if defined(__GNUC__) && !defined(__clang__) && (defined(__SSE2__) || defined(__ARM_NEON))
#define TAKE(mask, a, b) select(mask, a, b)
#else
#define TAKE(mask, a, b) ((mask) ? (a) : (b))
#endif

/* A NaN in b gives NaN; one in a may give b. */
INL vf lesser(vf a, vf b) { return TAKE(a < b, a, b); }

INL vf greater(vf a, vf b) { return TAKE(a > b, a, b); }

/* x held between two numbers; NaN stays NaN. */
INL vf clamp(vf x, float low, float high) { return greater(low, lesser(high, x)); }

/* The lesser and the greater; NaN where either is. */
INL vf vmin(vf a, vf b) { return TAKE(a < b, a, TAKE(a == a, b, a)); }

INL vf vmax(vf a, vf b) { return TAKE(a > b, a, TAKE(a == a, b, a)); }

INL vf vabs(vf x) { return FLOATS(BITS(x) & ~SIGN); }

INL vf vsign(vf x) { return (float)((x > 0.0f) - (x < 0.0f)); }

/* Sums over the units of a row, and the like, in the order of a kernel: one for each lane of its
   vectors, then these in pairs. */
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define LANE(over, n) over.of[(n) & (LANES - 1)]
typedef struct {
  float of[LANES];
} Lanes;

INL Lanes lanes(float first) {
  Lanes v;
  for (int32_t c = 0; c < LANES; c++) v.of[c] = first;
  return v;
}

INL float lanes_total(Lanes v) {
  for (int32_t half = LANES / 2; half > 0; half /= 2) {
    for (int32_t c = 0; c < half; c++) v.of[c] = v.of[c] + v.of[c + half];
  }
  return v.of[0];
}

INL float lanes_greatest(Lanes v) {
  for (int32_t half = LANES / 2; half > 0; half /= 2) {
    for (int32_t c = 0; c < half; c++) v.of[c] = vmax(v.of[c], v.of[c + half]);
  }
  return v.of[0];
}

INL float lanes_least(Lanes v) {
  for (int32_t half = LANES / 2; half > 0; half /= 2) {
    for (int32_t c = 0; c < half; c++) v.of[c] = vmin(v.of[c], v.of[c + half]);
  }
  return v.of[0];
}

/* Each of v becomes the sum up to it, or from it on; summed in double. */
static void running_up(float *v, int32_t units) {
  double sum = 0.0;
  for (int32_t n = 0; n < units; n++) {
    sum += (double)v[n];
    v[n] = (float)sum;
  }
}

static void running_down(float *v, int32_t units) {
  double sum = 0.0;
  for (int32_t n = units - 1; n >= 0; n--) {
    sum += (double)v[n];
    v[n] = (float)sum;
  }
}

/* 2^k where the low bits of t hold k + 127: 0 of k = -127, infinity of k = 128. */
INL vf power(vf t) { return FLOATS(BITS(t) << 23); }
