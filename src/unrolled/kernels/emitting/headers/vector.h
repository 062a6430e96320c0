/* Vectors of W floats by the vector extensions of GCC and Clang: loads, masks, mathematics.
 *
 * Not for products or loops over time: those are in tile.h, forward.h and backward.h. One text for
 * every instruction set; where a set has an instruction that C cannot name, it is one line of
 * assembly.
 */
#ifndef UNROLLED_VECTOR_H
#define UNROLLED_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define W 16
#define REGISTERS 32
#elif defined(__AVX__)
#define W 8
#define REGISTERS 16
#elif defined(__aarch64__)
#define W 4
#define REGISTERS 32
#else
#define W 4
#define REGISTERS 16
#endif

/* Functions of a kernel; not every cell calls all of them. */
#define INL static inline __attribute__((always_inline, unused))
#define LOCAL static __attribute__((unused))
#define OUT_OF_LINE static __attribute__((noinline, unused))

typedef float vf __attribute__((vector_size(W * 4)));
typedef float vfu __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(W * 4)));

INL vf splat(float a) { return (vf){0} + a; }

/* ---- Memory ---------------------------------------------------------------------------------
 * p: [min(n, W)], the caller's, of any alignment. Nothing past it is touched. */

#if defined(__AVX512F__)
#define FIRST(n) ((uint16_t)((1u << (n)) - 1))
#elif defined(__AVX__)
#define FIRST(n) ((vi){0, 1, 2, 3, 4, 5, 6, 7} < (int32_t)(n))
#endif

/* The first n floats at p, then zeros; all W where n >= W. */
INL vf load(const float *p, long n) {
  if (n >= W) return *(const vfu *)p;
  vf v = {0};
#if defined(__AVX512F__)
  __asm__("vmovups %1, %0%{%2%}%{z%}" : "=v"(v) : "m"(*(const vfu *)p), "Yk"(FIRST(n)));
#elif defined(__AVX__)
  __asm__("vmaskmovps %1, %2, %0" : "=x"(v) : "m"(*(const vfu *)p), "x"(FIRST(n)));
#else
  for (long i = 0; i < n; i++) v[i] = p[i];
#endif
  return v;
}

/* The first n floats of v, to p; all W where n >= W. */
INL void store(float *p, long n, vf v) {
  if (n >= W) {
    *(vfu *)p = v;
    return;
  }
#if defined(__AVX512F__)
  __asm__("vmovups %1, %0%{%2%}" : "+m"(*(vfu *)p) : "v"(v), "Yk"(FIRST(n)));
#elif defined(__AVX__)
  __asm__("vmaskmovps %1, %2, %0" : "+m"(*(vfu *)p) : "x"(v), "x"(FIRST(n)));
#else
  for (long i = 0; i < n; i++) p[i] = v[i];
#endif
}

/* v, which is now in a register: from here on nothing is read again for it. */
INL vf in_register(vf v) {
#if defined(__AVX512F__)
  __asm__("" : "+v"(v));
#elif defined(__SSE__)
  __asm__("" : "+x"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#endif
  return v;
}

/* ---- Transposition ---------------------------------------------------------------------------
 * In groups of four floats, which is what every set of instructions shuffles fast. */

#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif
#if W == 16
#define IN_FOURS(of) of(0), of(4), of(8), of(12)
#elif W == 8
#define IN_FOURS(of) of(0), of(4)
#else
#define IN_FOURS(of) of(0)
#endif
#define FIRST_ONES(i) i, W + i, i + 1, W + i + 1
#define LAST_ONES(i) i + 2, W + i + 2, i + 3, W + i + 3
#define FIRST_TWOS(i) i, i + 1, W + i, W + i + 1
#define LAST_TWOS(i) i + 2, i + 3, W + i + 2, W + i + 3
#define FOUR(i) i, i + 1, i + 2, i + 3
#define EVEN_FOURS(a, b) SHUFFLE(a, b, FOUR(0), FOUR(8), FOUR(16), FOUR(24))
#define ODD_FOURS(a, b) SHUFFLE(a, b, FOUR(4), FOUR(12), FOUR(20), FOUR(28))

/* The fours of v[i], v[i + 4], ... change places: four g of vector h and four h of vector g. */
INL void transpose_fours(vf *v, int i) {
#if W == 16
  const vf a = EVEN_FOURS(v[i], v[i + 4]), b = ODD_FOURS(v[i], v[i + 4]);
  const vf c = EVEN_FOURS(v[i + 8], v[i + 12]), d = ODD_FOURS(v[i + 8], v[i + 12]);
  v[i] = EVEN_FOURS(a, c);
  v[i + 4] = EVEN_FOURS(b, d);
  v[i + 8] = ODD_FOURS(a, c);
  v[i + 12] = ODD_FOURS(b, d);
#elif W == 8
  const vf a = v[i], b = v[i + 4];
  v[i] = SHUFFLE(a, b, FOUR(0), FOUR(8));
  v[i + 4] = SHUFFLE(a, b, FOUR(4), FOUR(12));
#else
  (void)v, (void)i;
#endif
}

/* v[i][j] becomes v[j][i], for W vectors. */
INL void transpose(vf *v) {
#pragma GCC unroll 4
  for (int i = 0; i < W; i += 4) {
    const vf a = SHUFFLE(v[i], v[i + 1], IN_FOURS(FIRST_ONES));
    const vf b = SHUFFLE(v[i], v[i + 1], IN_FOURS(LAST_ONES));
    const vf c = SHUFFLE(v[i + 2], v[i + 3], IN_FOURS(FIRST_ONES));
    const vf d = SHUFFLE(v[i + 2], v[i + 3], IN_FOURS(LAST_ONES));
    v[i] = SHUFFLE(a, c, IN_FOURS(FIRST_TWOS));
    v[i + 1] = SHUFFLE(a, c, IN_FOURS(LAST_TWOS));
    v[i + 2] = SHUFFLE(b, d, IN_FOURS(FIRST_TWOS));
    v[i + 3] = SHUFFLE(b, d, IN_FOURS(LAST_TWOS));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) transpose_fours(v, i);
}

/* ---- Selection ------------------------------------------------------------------------------ */

/* What plain.h has in other words: a mask's opposite, the mask of a bit, and the bits of floats. */
#define NOT(mask) (~(mask))
#define MASK(bit) ((vi){0} - (bit))
#define BITS(floats) ((vi)(floats))
#define FLOATS(bits) ((vf)(bits))
#define SIGN INT32_MIN

/* a b + c: rounded once where there is FMA, which the compiler then takes. */
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))

/* mask ? a : b; a mask is what a comparison gives: -1 or 0 in each place. */
INL vf select(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }

/* a < b ? a : b and a > b ? a : b. A NaN in b gives NaN; one in a may give b. */
INL vf lesser(vf a, vf b) {
#if defined(__AVX__)
  __asm__("vminps %2, %1, %0" : "=v"(a) : "v"(a), "v"(b));
#elif defined(__SSE__)
  __asm__("minps %1, %0" : "+x"(a) : "x"(b));
#elif defined(__aarch64__)
  __asm__("fmin %0.4s, %1.4s, %2.4s" : "=w"(a) : "w"(a), "w"(b));
#else
  a = select(a < b, a, b);
#endif
  return a;
}

INL vf greater(vf a, vf b) {
#if defined(__AVX__)
  __asm__("vmaxps %2, %1, %0" : "=v"(a) : "v"(a), "v"(b));
#elif defined(__SSE__)
  __asm__("maxps %1, %0" : "+x"(a) : "x"(b));
#elif defined(__aarch64__)
  __asm__("fmax %0.4s, %1.4s, %2.4s" : "=w"(a) : "w"(a), "w"(b));
#else
  a = select(a > b, a, b);
#endif
  return a;
}

/* x held between two numbers; NaN stays NaN. */
INL vf clamp(vf x, float low, float high) { return greater(splat(low), lesser(splat(high), x)); }

/* The lesser and the greater; NaN where either is (one of the two orders gives it, and its bits
 * or'ed with any others are still a NaN), as torch.minimum and torch.maximum. */
INL vf vmin(vf a, vf b) { return (vf)((vi)lesser(a, b) | (vi)lesser(b, a)); }
INL vf vmax(vf a, vf b) { return (vf)((vi)greater(a, b) | (vi)greater(b, a)); }

INL vf vabs(vf x) { return (vf)((vi)x & INT32_MAX); }

/* -1, 0 or 1; 0 of NaN, as torch.sign. */
INL vf vsign(vf x) { return __builtin_convertvector((x < 0) - (x > 0), vf); }

/* ---- exp, sigmoid, tanh ---------------------------------------------------------------------
 * Maximum errors over all floats in units in the last place, measured with gcc and clang, with
 * and without FMA (with gcc and FMA):
 *     vexp      1.9 (1.5)
 *     vsigmoid  2.5 (2.3)
 *     vtanh     3.3 (2.9), and 0.6 (0.6) from |x| = 2 on
 * Limits are exact and NaN stays NaN; a result below the smallest normal float may be zero. */

/* x + ROUND(bias), |x| < 2^22, is rounded to an integer, which + bias is in its low bits. */
#define ROUND(bias) (0x1.8p23f + (bias))
#define LOG2E 0x1.715476p0f
#define LN2 0x1.62e43p-1f
#define LN2_HIGH 0x1.63p-1f /* short: its product with an exponent is exact */
#define LN2_LOW (-0x1.bd0106p-13f)

/* 2^k where the low bits of t hold k + 127: 0 of k = -127, infinity of k = 128. */
INL vf power(vf t) { return (vf)((vi)t << 23); }

/* e^x = 2^k p(r), k = floor(x / ln 2), r = x - k ln 2 in [0, ln 2]. p: of degree 6, p(0) = 1, the
 * minimax of p(r) / e^(r/2) by Remez exchange, coefficients rounded to floats one at a time, the
 * rest fitted again, then their last bits searched for the least error of this very code. */
INL vf vexp(vf x) {
  x = clamp(x, -88.02f, 89.4f); /* k = -127 and 128 */
  vf t = MULTIPLY_ADD(x, LOG2E, -0.5f) + ROUND(127);
  vf k = t - ROUND(127);
  vf r = MULTIPLY_ADD(k, -LN2_LOW, MULTIPLY_ADD(k, -LN2_HIGH, x));
  vf p = MULTIPLY_ADD(r, 0x1.014b9ep-9f, 0x1.fcd06cp-8f);
  p = MULTIPLY_ADD(p, r, 0x1.5789eap-5f);
  p = MULTIPLY_ADD(p, r, 0x1.553414p-3f);
  p = MULTIPLY_ADD(p, r, 0x1.0000e4p-1f);
  p = MULTIPLY_ADD(p, r, 0x1.fffff8p-1f);
  p = MULTIPLY_ADD(p, r, 1.0f);
  return p * power(t);
}

/* e^-x = 2^k e^-r, so 1 / (1 + e^-x) = N(r) / (N(r) + 2^k N(-r)), |r| <= ln(2) / 2, with Pade's
 * e^r = N(r) / N(-r), N(r) = 120 + 60 r + 12 r^2 + r^3, good to 6e-9; all times 7 / 512, which are
 * exact floats where rounding does least harm. */
INL vf vsigmoid(vf x) {
  x = clamp(x, -88.9f, 88.02f); /* k = 128 and -127 */
  vf t = MULTIPLY_ADD(x, -LOG2E, ROUND(127));
  vf k = t - ROUND(127);
  vf r = MULTIPLY_ADD(k, LN2_LOW, MULTIPLY_ADD(k, LN2_HIGH, x));
  vf u = r * r;
  vf even = MULTIPLY_ADD(u, 0.1640625f, 1.640625f);
  vf odd = MULTIPLY_ADD(u, 0.013671875f, 0.8203125f);
  vf above = MULTIPLY_ADD(r, odd, even), below = MULTIPLY_ADD(-r, odd, even);
  return above / MULTIPLY_ADD(power(t), below, above);
}

/* e^2x = 2^k e^2r, tanh r = r (15 + r^2) / (15 + 6 r^2) = odd / even by the same N (here times
 * 67 / 512), so for x >= 0, with d = (2^k - 1) / 2, tanh x = (d (even + odd) + odd) /
 * (d (even + odd) + even): never above 1 since odd < even. A gradient has 1 - tanh^2 x, to which
 * every error of a tanh near 1 is large: from 0.6 on it is 1 - (even - odd) / (the same), whose
 * error is that of its last rounding. */
INL vf vtanh(vf x) {
  const vf before = x;
  x = lesser(splat(9.1f), vabs(x)); /* tanh 9.02 = 1 */
  vi high = x > 0.6f;
  vf t = MULTIPLY_ADD(x, 2 * LOG2E, ROUND(126));
  vf k = t - ROUND(126);
  vf r = MULTIPLY_ADD(k, -(LN2 / 2), x);
  vf u = r * r;
  vf minus_even = MULTIPLY_ADD(u, -0.78515625f, -1.962890625f);
  vf by_r = MULTIPLY_ADD(u, 0.130859375f, 1.962890625f); /* odd / r */
  vf common = (power(t) - 0.5f) * MULTIPLY_ADD(r, by_r, -minus_even);
  vf y = MULTIPLY_ADD(r, by_r, select(high, minus_even, common)) / (common - minus_even);
  return FLOATS(BITS(y + select(high, splat(1.0f), splat(0.0f))) | (BITS(before) & SIGN));
}

/* ---- Rare functions: C's own, lane by lane --------------------------------------------------- */

#define VMAP1(name, scalar)                            \
  INL vf name(vf x) {                                  \
    for (int i = 0; i < W; i++) x[i] = scalar(x[i]);   \
    return x;                                          \
  }
#define VMAP2(name, scalar)                                \
  INL vf name(vf x, vf y) {                                \
    for (int i = 0; i < W; i++) x[i] = scalar(x[i], y[i]); \
    return x;                                              \
  }

VMAP1(vsqrt, sqrtf)
VMAP1(vfloor, floorf)
VMAP1(vceil, ceilf)
VMAP1(vround, rintf) /* to even, as torch.round */
VMAP1(vtrunc, truncf)
VMAP1(vexp2, exp2f)
VMAP1(vexpm1, expm1f)
VMAP1(vlog, logf)
VMAP1(vlog2, log2f)
VMAP1(vlog10, log10f)
VMAP1(vlog1p, log1pf)
VMAP1(vsin, sinf)
VMAP1(vcos, cosf)
VMAP1(vtan, tanf)
VMAP1(vasin, asinf)
VMAP1(vacos, acosf)
VMAP1(vatan, atanf)
VMAP1(vsinh, sinhf)
VMAP1(vcosh, coshf)
VMAP1(vasinh, asinhf)
VMAP1(vacosh, acoshf)
VMAP1(vatanh, atanhf)
VMAP1(verf, erff)
VMAP1(verfc, erfcf)
VMAP2(vpow, powf)
VMAP2(vatan2, atan2f)
VMAP2(vhypot, hypotf)

/* ---- Denormals ------------------------------------------------------------------------------ */

/* From here on, on this thread, denormal numbers count as zero; returns the word to restore. */
INL unsigned long flush_denormals(void) {
  unsigned long word = 0;
#if defined(__SSE__)
  word = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr((unsigned)word | 0x8040); /* FTZ and DAZ */
#elif defined(__aarch64__)
  __asm__ volatile("mrs %0, fpcr" : "=r"(word));
  __asm__ volatile("msr fpcr, %0" : : "r"(word | 1ul << 24)); /* FZ */
#endif
  return word;
}

INL void restore_denormals(unsigned long word) {
#if defined(__SSE__)
  __builtin_ia32_ldmxcsr((unsigned)word);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(word));
#else
  (void)word;
#endif
}

#endif
