/* What a caller hands to a kernel, and how threads share its work.
 *
 * T = num_steps; N = num_rows, the rows of all steps; B, the rows of the batch that are not of
 * length zero; I = input_size; H = hidden_size; K = head_size; G and R, the gates of the cell and
 * those with a recurrent part. All rows of step 0 come first, then those of step 1, and so on. The rows of the
 * batch are sorted by length, longest first.
 *
 * emitting/call.py has the same structure, and a kernel asserts the place of every field. All
 * memory is the caller's; what is written never overlaps what is read, but for what says "updated".
 */
#ifndef UNROLLED_CALL_H
#define UNROLLED_CALL_H

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "cell.h"
#include "tile.h"
#include "vector.h"

#define H_OF(call) ((long)(call)->hidden_size)
#define K_OF(call) ((long)(call)->head_size)

typedef struct {
  int64_t num_steps, num_rows, input_size, hidden_size;
  int64_t head_size;           /* K: units that read one another's output; H without heads */
  int64_t reverse;             /* read each row from its end to its beginning */
  int64_t train;               /* keep what the backward pass needs */
  int64_t gate_stride;         /* floats between the rows of gates */
  int64_t num_parts;           /* of the batch */
  int64_t num_threads;         /* at least 1; above num_parts, threads may share a part's units */
  int64_t given;               /* backward, bit s: the gradient of state s at the end, bit
                                  MOST_STATES: d_output; others are absent, their memory zero */
  int64_t kept;                /* forward: `packed` holds all weights, as unrolled_pack left them */
  int64_t starts_wanted;       /* backward: whether d_states are to be those at the start */
  int64_t x_stride;            /* floats between the rows of x; unused without inputs of a step */
  int64_t inputs_stride;       /* floats between the rows of inputs */
  const int64_t *batch_sizes;  /* [T], the rows of each step, never growing */
  const int64_t *starts;       /* [T], the first of the N rows that is of each step */
  const int64_t *parts;        /* [num_parts + 1], bounds of the rows of the batch of each part */
  const float *x;              /* [N, x_stride], the first I of each row; [N, I] without inputs */
  const float *inputs;         /* [N, inputs_stride]: of each row those of its step, H each */
  const float *weight_ih;      /* [G * H, I], as torch has it */
  const float *weight_hh;      /* [R * H, K]; NULL if nothing is recurrent */
  const float *bias_ih;        /* [G * H]; NULL: no biases */
  const float *bias_hh;        /* [R * H]; NULL: no biases, or nothing is recurrent */
  const float *parameters[MOST_PARAMETERS]; /* [H] */
  float *packed;               /* [unrolled_packed_floats]; written by unrolled_pack if `kept`, else
                                  by unrolled_forward, and of no use afterwards */
  float *workspace;            /* [unrolled_workspace_floats] */
  float *gates;                /* train: [N, gate_stride], updated by the backward pass; a row ends
                                  with 16 floats of no use */
  float *records;              /* [N, RECORDS, H]; NULL: nothing is recorded */
  const float *initial[MOST_STATES]; /* [B, H] */
  float *states[MOST_STATES];  /* after each step, [N, H], of former output states only after the
                                  last one of a row; without train all but the first are [B, H],
                                  the initial ones, updated */
  /* Of the backward pass; a gradient that is NULL is not wanted. */
  const float *d_output;       /* [N, H] */
  float *d_states[MOST_STATES]; /* [B, H]: of those at the end, updated to those at the start if
                                   `starts_wanted`, else to numbers of no use */
  float *d_x;                  /* [N, x_stride]: after I numbers those of the inputs; [N, I] without */
  float *d_weight_ih;          /* [G * H, I] */
  float *d_weight_hh;          /* [R * H, K] */
  float *d_bias_ih;            /* [G * H] */
  float *d_bias_hh;            /* [R * H] */
  float *d_parameters[MOST_PARAMETERS]; /* [H] */
} Call;

/* torch's own thread pool: run(begin, end, context) on pieces of begin..end. */
typedef void (*ParallelBody)(int64_t begin, int64_t end, void *context);
typedef void (*ParallelFor)(int64_t begin, int64_t end, int64_t grain, ParallelBody body,
                            void *context);

/* Work that is worth another thread, in multiply-adds: waking one takes a microsecond or two. */
#define WORTH_A_THREAD (1l << 18)

/* Where another process has the core of a thread, whoever waits for that thread waits for some
   milliseconds, many times what a short call takes. So waits are measured, and after two in a row
   that were longer than the work, one thread does all for WAIT_SHARE times as long: however busy the
   machine, waits take at most that share of the time. */
#define WAIT_SHARE 32
#define SHORT_WAIT 50000 /* ns, in which a thread that slept is awake */
#define SLOW 16          /* multiply-adds in a nanosecond, where threads gain even so */
static int64_t alone_until __attribute__((unused)); /* ns of the clock */
static int64_t late __attribute__((unused));        /* ns of the wait before, if it was late */

INL int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

INL int is_alone(void) { return nanoseconds() < __atomic_load_n(&alone_until, __ATOMIC_RELAXED); }

/* Whether a thread that worked for a while on its share of `work` waited too long for others. The
   while says too much where its own core was taken, so `work` bounds it. */
INL int is_late(int64_t worked, int64_t waited, long work) {
  return waited > MIN(worked + worked / 2, work / SLOW) + SHORT_WAIT;
}

/* Take down what a thread waited since `begin`. Two late waits in a row are for a core that is taken:
   the first after a pause wakes a thread that slept, and the second finds it awake. */
LOCAL void note_wait(int64_t begin, int64_t waited, long work) {
  const int64_t end = nanoseconds(), before = __atomic_load_n(&late, __ATOMIC_RELAXED);
  const int is_now = is_late(end - begin - waited, waited, work);
  if (is_now && before) {
    __atomic_store_n(&alone_until, end + WAIT_SHARE * (before + waited), __ATOMIC_RELAXED);
  }
  if (before || is_now) __atomic_store_n(&late, is_now && !before ? waited : 0, __ATOMIC_RELAXED);
}

/* Pieces of work that threads take one after the other: one whose core another process has takes
   fewer. */
typedef struct {
  void (*body)(void *context, long piece, long thread);
  void *context;
  long count, taken;
  int64_t done; /* when the caller's thread found nothing more to take */
} Pieces;

LOCAL void take_pieces(int64_t begin, int64_t end, void *context) {
  (void)end;
  Pieces *p = context;
  const unsigned long mode = flush_denormals();
  for (;;) {
    const long piece = __atomic_fetch_add(&p->taken, 1, __ATOMIC_RELAXED);
    if (piece >= p->count) break;
    p->body(p->context, piece, begin);
  }
  restore_denormals(mode);
  if (begin == 0) p->done = nanoseconds();
}

/* Run `count` pieces, which are `work` in all, on at most `threads` threads. */
LOCAL void run(ParallelFor parallel_for, long threads, long count, long work,
               void (*body)(void *context, long piece, long thread), void *context) {
  Pieces pieces = {body, context, count, 0, 0};
  threads = work < WORTH_A_THREAD ? 1 : MIN(threads, count);
  if (threads == 1 || is_alone()) {
    take_pieces(0, 1, &pieces);
    return;
  }
  const int64_t begin = nanoseconds();
  parallel_for(0, threads, 1, take_pieces, &pieces);
  note_wait(begin, nanoseconds() - pieces.done, work);
}

/* How many meetings a member has come to, in cache lines that only it writes: what the others read is
   sent to them once a meeting. */
typedef struct {
  long arrived __attribute__((aligned(128)));
} Member;

/* What the members of a team share. */
typedef struct {
  Member *members;
  long alone;    /* after so many meetings the first goes on alone; 0: it does not */
  int64_t begin; /* when they were called */
  long work;     /* of the call */
  long price;    /* ns that a step saves for each of its meetings */
} Meeting;

/* Several threads that run the same rows, each some of the units, step by step together. */
typedef struct {
  long first, last, members; /* this thread's share of the units: first..last of members */
  Meeting *meeting;
  long passed;    /* meetings */
  int64_t waited; /* ns, without the waits that were short */
} Team;

/* Which of `count` rows, or groups of units, this thread has. */
INL long share_begin(const Team *team, long count) { return count * team->first / team->members; }
INL long share_end(const Team *team, long count) { return count * team->last / team->members; }

/* Whether member n has come to the meeting that this thread is at. */
INL int is_here(const Team *team, long n) {
  return __atomic_load_n(&team->meeting->members[n].arrived, __ATOMIC_ACQUIRE) >= team->passed;
}

/* The first is to go on alone after the next meeting, to which all come knowing it. One member alone says
   so, for another may be a meeting ahead, and would name a later one. */
INL void part_next(Team *team) {
  long none = 0;
  __atomic_compare_exchange_n(&team->meeting->alone, &none, team->passed + 1, 0, __ATOMIC_RELAXED,
                              __ATOMIC_RELAXED);
}

/* The other's core may be taken. A team whose members wait more than they work parts at the next
   meeting: then all have come there knowing it. */
OUT_OF_LINE void wait_for_member(Team *team, long n) {
  Meeting *m = team->meeting;
  const int64_t begin = nanoseconds();
  while (!is_here(team, n)) sched_yield();
  const int64_t end = nanoseconds();
  team->waited += end - begin;
  if (!is_late(end - m->begin - team->waited, team->waited, m->work)) return;
  part_next(team);
}

/* Wait until all members are here. They run at once, since torch's pool gives each of its threads
   a piece; a thread that was given several pieces counts for as many. Whether this one goes on. */
INL int meet(Team *team) {
  if (team->last - team->first == team->members) return 1;
  Meeting *m = team->meeting;
  team->passed++;
  for (long n = team->first; n < team->last; n++) {
    __atomic_store_n(&m->members[n].arrived, team->passed, __ATOMIC_RELEASE);
  }
  for (long n = 0; n < team->members; n++) {
    for (long tries = 0; !is_here(team, n); tries++) {
      if (tries > 2000) wait_for_member(team, n);
    }
  }
  const long alone = __atomic_load_n(&m->alone, __ATOMIC_RELAXED);
  if (!alone || team->passed < alone) return 1;
  team->last = team->members;
  return team->first == 0;
}

#define TRIALS 3
#define IN_A_ROW 4 /* one may be short because the one before was long */
#define TRIAL_SHARE 512 /* trials in vain take at most that share of the time */
#define FAR 400 /* ns: longer than a meeting takes between any cores */
static int64_t apart_until __attribute__((unused)); /* ns of the clock */
static long apart_price __attribute__((unused));    /* what a meeting cost too much for */

/* What sharing costs a step, in ns, with the lines that are read after a meeting: 200 to 300 were
   measured where a meeting without any takes 75, 2000 to 2400 where it takes 280. */
INL int64_t cost_of(int64_t meeting) { return 2 * meeting + meeting * meeting / 32; }

INL int is_apart(long price) {
  const int64_t until = __atomic_load_n(&apart_until, __ATOMIC_RELAXED);
  return price <= __atomic_load_n(&apart_price, __ATOMIC_RELAXED) && nanoseconds() < until;
}

/* How long a meeting takes depends on how far the cores are apart, 50 ns or 250, and on a virtual
   machine on when. So it is tried, and where it takes too long the first goes on alone, and the others
   are not asked for a while. Whether this one goes on. */
LOCAL int try_meetings(Team *team) {
  Meeting *m = team->meeting;
  int64_t least = INT64_MAX, begin;
  if (m->price >= cost_of(FAR)) return 1;
  if (!meet(team)) return 0;
  for (long trial = 0; trial < TRIALS; trial++) {
    begin = nanoseconds();
    for (long i = 0; i < IN_A_ROW; i++) {
      if (!meet(team)) return 0;
    }
    least = MIN(least, (nanoseconds() - begin) / IN_A_ROW);
  }
  if (team->first == 0 && cost_of(least) > m->price) {
    part_next(team);
    begin = nanoseconds();
    __atomic_store_n(&apart_price, m->price, __ATOMIC_RELAXED);
    __atomic_store_n(&apart_until, begin + TRIAL_SHARE * (begin - m->begin), __ATOMIC_RELAXED);
  }
  return meet(team);
}

#endif
