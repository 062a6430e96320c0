/* Which vector instructions this x86 processor has, and the system lets a program use.
 *
 * Compiled for the oldest of them: it runs before anything else is chosen. Bits, each with all
 * below it: 1, x86-64-v3; 2, x86-64-v4; 4, the dot products of VNNI and of bfloat16. 0 on others.
 */
#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>

#define HAS(word, bits) (((word) & (bits)) == (bits))

uint64_t unrolled_processor(void) {
  uint32_t a, b, c, d, extended_b, more_a, more_c, old_c, state, high;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  /* FMA, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, OSXSAVE, AVX, F16C */
  if (!HAS(c, bit_FMA | 1u << 13 | 3u << 19 | 1u << 22 | 1u << 23 | 1u << 27 | 1u << 28 | 1u << 29))
    return 0;
  __asm__("xgetbv" : "=a"(state), "=d"(high) : "c"(0));
  if (!HAS(state, 0x6u)) return 0; /* the system keeps the registers of AVX */
  if (!__get_cpuid_count(7, 0, &a, &extended_b, &more_c, &d)) return 0;
  if (!HAS(extended_b, 1u << 3 | 1u << 5 | 1u << 8)) return 0; /* BMI1, AVX2, BMI2 */
  if (!__get_cpuid(0x80000001, &more_a, &b, &old_c, &d) || !HAS(old_c, 1u << 5)) return 0; /* LZCNT */
  /* AVX512 F, DQ, CD, BW, VL, and that the system keeps its registers */
  if (!HAS(extended_b, 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31)) return 1;
  if (!HAS(state, 0xe6u)) return 1;
  if (!__get_cpuid_count(7, 1, &more_a, &b, &c, &d)) return 3;
  return HAS(more_c, 1u << 11) && HAS(more_a, 1u << 5) ? 7 : 3; /* VNNI; BF16 */
}
#else
uint64_t unrolled_processor(void) { return 0; }
#endif
