/* What tests/kernels/driver.c takes from Linux, on Windows, and the functions of a loaded library.
 *
 * Included before the kernel's own prelude, after which `long` is another. Without guard pages: the
 * driver is run with "heap".
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE = 0, MAP_ANONYMOUS = 0, _SC_PAGESIZE = 0 };
#define MAP_FAILED ((void *)-1)
static inline int sysconf(int name) { return (void)name, 4096; }
static inline void *mmap(void *at, size_t size, int protection, int flags, int file, int offset) {
  return (void)at, (void)size, (void)protection, (void)flags, (void)file, (void)offset, MAP_FAILED;
}
static inline int mprotect(void *at, size_t size, int protection) {
  return (void)at, (void)size, (void)protection, -1;
}

__declspec(dllimport) void *CreateThread(void *, size_t, void *(*)(void *), void *, unsigned, void *);
__declspec(dllimport) unsigned WaitForSingleObject(void *, unsigned);
__declspec(dllimport) int CloseHandle(void *);
typedef void *pthread_t;
static inline int pthread_create(pthread_t *made, void *how, void *(*run)(void *), void *given) {
  return !(*made = CreateThread(how, 0, run, given, 0, NULL));
}
static inline int pthread_join(pthread_t thread, void **result) {
  return (void)result, WaitForSingleObject(thread, 0xffffffff) || !CloseHandle(thread);
}

__declspec(dllimport) void *LoadLibraryA(const char *);
__declspec(dllimport) void *GetProcAddress(void *, const char *);
__declspec(dllimport) unsigned int GetLastError(void);

/* A function of the library that lies beside the program. */
static inline void *symbol(const char *name) {
  static void *library;
  if (!library) library = LoadLibraryA(LIBRARY);
  void *function = library ? GetProcAddress(library, name) : NULL;
  if (!function) {
    fprintf(stderr, "%s: %s is not there, error %u\n", LIBRARY, name, GetLastError());
    exit(4);
  }
  return function;
}
