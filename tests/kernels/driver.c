/* Runs one pass of a kernel outside of Python, on the arguments that a file describes.
 *
 *     driver forward|backward arguments results threads heap|before|behind near|far|late
 *
 * Compiled with -DKERNEL='"the kernel.c"', as it is or with sanitizers, for this machine or another.
 * The file holds the integers of Call, then for each of its pointers, in order: how many bytes are
 * there (-1: NULL), whether they may be written, and the bytes. Results are the same bytes, those
 * that may be written. Every buffer has its exact size: on the heap, where a sanitizer sees its
 * ends, or in pages of its own, right behind or right before one that must not be touched.
 * Whether threads share a row is decided by a clock. Here it is one of three that go on with every
 * look at them: by which meetings of threads are short, or long, or short until waits become long.
 */
#define _GNU_SOURCE
#define select their_select /* a kernel has another function of that name */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#undef select

static int64_t look(void);
#define clock_gettime(clock, now) (*(now) = (struct timespec){0, look()})
#include KERNEL

#define INTEGERS (offsetof(Call, batch_sizes) / sizeof(int64_t))
#define POINTERS ((sizeof(Call) - INTEGERS * sizeof(int64_t)) / sizeof(void *))
#define CHECK(true)                                          \
  do {                                                       \
    if (!(true)) {                                           \
      fprintf(stderr, "line %d: %s\n", __LINE__, #true);     \
      exit(3);                                               \
    }                                                        \
  } while (0)

static int64_t num_threads;
static char where;
static char pace;

#define TRIED 64 /* looks at the clock, more than a team takes to try its meetings */

static int64_t look(void) {
  static int64_t looks, now;
  const int64_t before = __atomic_fetch_add(&looks, 1, __ATOMIC_RELAXED);
  const int64_t step = pace == 'f' ? 2000 : pace == 'l' && before >= TRIED ? 1000000 : 1;
  return __atomic_add_fetch(&now, step, __ATOMIC_RELAXED);
}

/* `size` bytes; what is not the buffer's on its pages is filled, for check_margins to look at. */
typedef struct {
  char *pages, *begin;
  size_t all, size;
} Buffer;

static Buffer make_buffer(size_t size) {
  Buffer b = {NULL, NULL, 0, size};
  if (where == 'h') {
    CHECK(!posix_memalign((void **)&b.begin, sizeof(vf), size));
    return b;
  }
  const size_t page = sysconf(_SC_PAGESIZE);
  b.all = (size + page - 1) / page * page;
  char *map = mmap(NULL, b.all + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(map != MAP_FAILED);
  b.pages = map + page;
  CHECK(!size || !mprotect(b.pages, b.all, PROT_READ | PROT_WRITE));
  memset(b.pages, 0x7f, b.all);
  b.begin = where == 'b' ? b.pages : b.pages + b.all - size;
  return b;
}

static void check_margins(Buffer b) {
  if (!b.pages) return;
  for (char *p = b.pages; p < b.pages + b.all; p++) {
    CHECK((p >= b.begin && p < b.begin + b.size) || *p == 0x7f);
  }
}

typedef struct {
  ParallelBody body;
  void *context;
  int64_t begin, end;
} Piece;

static void *run_piece(void *given) {
  const Piece *piece = given;
  piece->body(piece->begin, piece->end, piece->context);
  return NULL;
}

/* As torch's: each thread has one run of pieces. */
static void parallel_for(int64_t begin, int64_t end, int64_t grain, ParallelBody body,
                         void *context) {
  (void)grain;
  const int64_t each = (end - begin + num_threads - 1) / num_threads;
  pthread_t threads[num_threads];
  Piece pieces[num_threads];
  int64_t running = 0;
  for (; begin < end; begin += each, running++) {
    pieces[running] = (Piece){body, context, begin, MIN(end, begin + each)};
    CHECK(!pthread_create(threads + running, NULL, run_piece, pieces + running));
  }
  for (int64_t i = 0; i < running; i++) CHECK(!pthread_join(threads[i], NULL));
}

/* Uninitialised memory of `floats` floats, as NaN. */
static Buffer make_floats(int64_t floats) {
  Buffer b = make_buffer(floats * sizeof(float));
  memset(b.begin, 0xff, b.size);
  return b;
}

/* What the heap gave, so that a sanitizer calls nothing lost. */
static void give_back(Buffer b) {
  if (where == 'h') free(b.begin);
}

/* Hold a forward pass of one step, which kept nothing and did not pack what it read once, against
   unrolled_step, as a stream calls it: there all weights are packed, the states are read and written
   in one place, and the output goes to two. */
static void check_step(Call call) {
  call.kept = 1;
  const Buffer packed = make_floats(unrolled_packed_floats(&call));
  call.packed = (float *)packed.begin;
  unrolled_pack(parallel_for, &call, 0);
  unrolled_pack(parallel_for, &call, 1);
  const size_t bytes = call.num_rows * call.hidden_size * sizeof(float);
  const float *expected[STATES];
  Buffer state[STATES], output = make_buffer(bytes), y = make_buffer(bytes);
  for (int s = 0; s < STATES; s++) {
    expected[s] = call.states[s];
    state[s] = make_buffer(bytes);
    memcpy(state[s].begin, call.initial[s], bytes);
    call.initial[s] = call.states[s] = (float *)state[s].begin;
  }
  call.states[0] = (float *)output.begin;
  unrolled_step(parallel_for, &call, 1, call.x, (float *)y.begin, 1);
  for (int s = 0; s < STATES; s++) {
    CHECK(!memcmp(state[s].begin, expected[s], bytes));
    check_margins(state[s]);
    give_back(state[s]);
  }
  CHECK(!memcmp(output.begin, expected[0], bytes));
  CHECK(!memcmp(y.begin, expected[0], bytes));
  check_margins(packed);
  check_margins(output);
  check_margins(y);
  give_back(packed);
  give_back(output);
  give_back(y);
}

int main(int count, char **arguments) {
  CHECK(count == 7);
  const int backward = !strcmp(arguments[1], "backward");
  num_threads = atol(arguments[4]);
  where = strcmp(arguments[5], "behind") ? arguments[5][0] : 'e';
  pace = arguments[6][0];
  FILE *in = fopen(arguments[2], "rb");
  CHECK(in);
  Call call = {0};
  Buffer buffers[POINTERS] = {{0}};
  int64_t written[POINTERS] = {0};
  void *addresses[POINTERS] = {0};
  CHECK(fread(&call, sizeof(int64_t), INTEGERS, in) == INTEGERS);
  for (size_t i = 0; i < POINTERS; i++) {
    int64_t size;
    CHECK(fread(&size, sizeof size, 1, in) == 1);
    CHECK(fread(written + i, sizeof size, 1, in) == 1);
    if (size < 0) continue;
    buffers[i] = make_buffer(size);
    addresses[i] = buffers[i].begin;
    CHECK(fread(buffers[i].begin, 1, size, in) == (size_t)size);
    if (buffers[i].pages && size && !written[i]) {
      CHECK(!mprotect(buffers[i].pages, buffers[i].all, PROT_READ));
    }
  }
  fclose(in);
  memcpy((char *)&call + INTEGERS * sizeof(int64_t), addresses, sizeof addresses);
  call.inputs = call.x + call.input_size; /* in the rows of x, as far as there are any */
  const Buffer packed = make_floats(unrolled_packed_floats(&call));
  const Buffer workspace = make_floats(unrolled_workspace_floats(&call, backward));
  call.packed = (float *)packed.begin;
  call.workspace = workspace.size ? (float *)workspace.begin : NULL;
  if (backward) {
#if WEIGHT_BITS == 32
    unrolled_backward(parallel_for, &call);
#endif
  } else {
    unrolled_forward(parallel_for, &call);
    if (call.num_steps == 1 && !call.train) check_step(call);
  }
  check_margins(packed);
  check_margins(workspace);
  FILE *out = fopen(arguments[3], "wb");
  CHECK(out);
  for (size_t i = 0; i < POINTERS; i++) {
    check_margins(buffers[i]);
    if (written[i]) CHECK(fwrite(buffers[i].begin, 1, buffers[i].size, out) == buffers[i].size);
  }
  CHECK(!fclose(out));
  for (size_t i = 0; i < POINTERS; i++) give_back(buffers[i]);
  give_back(packed);
  give_back(workspace);
  return 0;
}
