/* How factors of products are stored: as floats, or in fewer bits. A step of a stream waits for its
 * weights where they do not fit the cache next to the core.
 *
 *     WEIGHT_BITS 32  a float
 *     WEIGHT_BITS 16  a bfloat16: the nearest one. Made a float again, it is multiplied and added as
 *                     that float would be.
 *     WEIGHT_BITS 8   an int8 times a scale of its row of torch's weight, the largest of the row by 127.
 *                     The row that it multiplies becomes fixed point, with 22 bits behind its largest
 *                     power of two, so that sums are integers: exact, in whatever order.
 *
 * With MIXED, in training under autocast, both factors of every product are the nearest bfloat16, as
 * are those of which the gradients are made. Such a product is a float, exactly, so that a sum is the
 * same chain of additions from pairs, where the processor multiplies them (PAIRS), and from floats.
 * Its instruction takes the high halves first: they have the even places.
 *
 * In a panel stand, for each vector of columns, first what is said of them (HEAD_WORDS vectors), then
 * words of 32 bits that hold the weights of PER_WORD places of the depth, the first in the low bits.
 * Backward passes have WEIGHT_BITS 32.
 */
#ifndef UNROLLED_WORDS_H
#define UNROLLED_WORDS_H

#include "cell.h"
#include "vector.h"

#if MIXED && defined(__AVX512BF16__) && W == 16
#define PAIRS 1
#else
#define PAIRS 0
#endif

#define PER_WORD (PAIRS ? 2 : 32 / WEIGHT_BITS)
#define WORDS(depth) (((depth) + PER_WORD - 1) / PER_WORD)
#define HEAD_WORDS (WEIGHT_BITS == 8 ? 2 : 0)
#define PANEL_FLOATS(depth, vectors) ((HEAD_WORDS + WORDS(depth)) * (vectors) * W)

/* Words are written as bits and multiplied as floats, often in one function: compilers must know. */
typedef uint32_t vu __attribute__((vector_size(W * 4), may_alias));

#if WEIGHT_BITS == 8

#define DIGITS 3 /* bytes of a number in fixed point */
#define ENCODED_HEAD 16
#define DIGIT_FLOATS(depth) ((WORDS(depth) + 15) / 16 * 16)
#define ENCODED_FLOATS(depth) (ENCODED_HEAD + DIGITS * DIGIT_FLOATS(depth))
#define MIDDLE (1 << 22) /* what stands for zero */

typedef uint8_t vb __attribute__((vector_size(W), aligned(1), may_alias));

/* The greater of two absolute values, as bits: NaN is greater than infinity. */
INL vi greater_bits(vi a, vf b) {
  const vi bits = (vi)b & INT32_MAX;
  const vi mask = bits > a;
  return (mask & bits) | (~mask & a);
}

/* A row in fixed point: 2^-22 of a power of two above its largest number, or NaN if that is infinite
   or NaN, then the lowest bytes of all numbers, the middle ones and the highest.
   a: [depth]; to: [ENCODED_FLOATS(depth)], returned. */
LOCAL const float *encoded(const float *a, long depth, float *to) {
  vi most = {0};
  for (long k = 0; k < depth; k += W) most = greater_bits(most, load(a + k, depth - k));
  int32_t largest = 0;
  for (int i = 0; i < W; i++) largest = largest > most[i] ? largest : most[i];
  const int32_t field = largest >> 23, exponent = field < 26 ? -100 : field - 126;
  const vf factor = (vf)((vi){0} + ((127 + 22 - exponent) << 23));
  const vf scale = (vf)((vi){0} + (field == 255 ? 0x7fc00000 : (127 - 22 + exponent) << 23));
  to[0] = scale[0];
  uint8_t *digits = (uint8_t *)(to + ENCODED_HEAD);
  const long apart = DIGIT_FLOATS(depth) * sizeof(float);
  for (long k = 0; k < depth; k += W) {
    const vf x = clamp(load(a + k, depth - k) * factor, 1 - MIDDLE, MIDDLE - 1);
    const vu bits = (vu)(x + 0x1.8p23f) & 0x7fffff;
    for (int d = 0; d < DIGITS; d++) {
      *(vb *)(digits + d * apart + k) = __builtin_convertvector(bits >> (8 * d) & 255, vb);
    }
  }
  return to;
}

/* sum + the products of four unsigned bytes with four signed ones, in each place. */
INL vi dot(vi sum, vi u, vi s) {
#if defined(__AVX512VNNI__) && W == 16
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(u), "v"(s));
  return sum;
#elif defined(__AVXVNNI__) && W == 8
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(u), "x"(s));
  return sum;
#elif (defined(__AVX512BW__) && W == 16) || (defined(__AVX2__) && W == 8) || \
    (defined(__SSE2__) && W == 4)
  typedef int16_t vs __attribute__((vector_size(W * 4)));
  vi even = u & 0x00ff00ff, odd = (vi)((vu)u >> 8 & 0x00ff00ff);
  const vs low = (vs)s << 8;
#if defined(__AVX__)
  __asm__("vpmaddwd %1, %0, %0" : "+v"(even) : "v"(low >> 8));
  __asm__("vpmaddwd %1, %0, %0" : "+v"(odd) : "v"((vs)s >> 8));
#else
  __asm__("pmaddwd %1, %0" : "+x"(even) : "x"(low >> 8));
  __asm__("pmaddwd %1, %0" : "+x"(odd) : "x"((vs)s >> 8));
#endif
  return sum + even + odd;
#else
  for (int j = 0; j < 32; j += 8) {
    sum += (vi)((vu)u >> j & 255) * ((vi)((vu)s << (24 - j)) >> 24);
  }
  return sum;
#endif
}

#else

#define DIGITS 1

#endif

#if WEIGHT_BITS == 16 || MIXED

/* The nearest bfloat16, as the bits of it; of two, the even one; NaN stays NaN. */
INL vu rounded(vf x) {
#if PAIRS
  typedef uint16_t vh __attribute__((vector_size(W * 2)));
  vh half;
  __asm__("vcvtneps2bf16 %1, %0" : "=v"(half) : "v"(x));
  return __builtin_convertvector(half, vu);
#else
  const vu bits = (vu)x;
  const vu nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const vu number = (vu)(x == x);
  return (nearest & number) | (~number & 0x7fc0);
#endif
}

#endif

/* The same bits in each place. */
INL vf repeated(float a) {
  int32_t bits;
  memcpy(&bits, &a, sizeof bits);
  return (vf)((vi){0} + bits);
}

/* A factor as it is multiplied, where it stays a float. */
INL vf narrow(vf x) {
#if MIXED
  x = (vf)(rounded(x) << 16);
#endif
  return x;
}

/* What stands in a word for the factors of one place of the depth, and of the next: that is not
   asked for without PAIRS. */
INL vf word_of(vf x, vf next) {
#if PAIRS
  return (vf)(rounded(x) << 16 | rounded(next));
#else
  (void)next;
  return narrow(x);
#endif
}

/* sum + the products of a word with a word, as of one float with another. */
INL vf add_product(vf sum, vf p, float factor) {
#if PAIRS
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(p), "v"(repeated(factor)));
  return sum;
#else
  return sum + p * factor;
#endif
}

#if MIXED

#define ENCODED_FLOATS(depth) ((WORDS(depth) + 15) / 16 * 16)

/* A row of factors, word after word. a: [depth]; to: [ENCODED_FLOATS(depth)], returned. */
LOCAL const float *encoded(const float *a, long depth, float *to) {
#if PAIRS
  typedef uint32_t vh __attribute__((vector_size(W * 2), aligned(4), may_alias));
  for (long k = 0; k < depth; k += W) {
    vh half;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(half) : "v"(load(a + k, depth - k)));
    *(vh *)(to + k / 2) = half << 16 | half >> 16;
  }
#else
  for (long k = 0; k < depth; k += W) *(vfu *)(to + k) = narrow(load(a + k, depth - k));
#endif
  return to;
}

#elif WEIGHT_BITS != 8

#define ENCODED_FLOATS(depth) (0 * (depth))

INL const float *encoded(const float *a, long depth, float *to) {
  (void)depth, (void)to;
  return a;
}

#endif

#endif
