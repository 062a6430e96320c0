/* Windows, as kernels see it: a `long` of 64 bits, a clock, and aligned memory.
 *
 * Included before a kernel (`-include`), so that all headers of the system come before `long` is
 * another. By hand and not from windows.h, which has thousands of names.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define long __INT64_TYPE__ /* counts of floats, which 32 bits do not hold */

__declspec(dllimport) int SwitchToThread(void);
__declspec(dllimport) int QueryPerformanceCounter(int64_t *);
__declspec(dllimport) int QueryPerformanceFrequency(int64_t *);
void *_aligned_malloc(size_t, size_t);
void _aligned_free(void *);

#define sched_yield SwitchToThread

static inline int unrolled_clock(struct timespec *now) {
  int64_t ticks, frequency;
  QueryPerformanceFrequency(&frequency);
  QueryPerformanceCounter(&ticks);
  now->tv_sec = ticks / frequency;
  now->tv_nsec = (int)(ticks % frequency * 1000000000 / frequency);
  return 0;
}
#define clock_gettime(clock, now) unrolled_clock(now)

/* crossing.c declares both by itself, and frees only what it has from here. */
static inline int unrolled_memalign(void **memory, size_t alignment, size_t size) {
  return !(*memory = _aligned_malloc(size, alignment));
}
#define posix_memalign unrolled_memalign
#define free _aligned_free
