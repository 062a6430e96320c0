/* Tokens from a language model: each is read, the layers do a step, the scores of the next one are
 * computed, and it is drawn. All in one call, for several texts at once.
 *
 * Before this come vector.h, tile.h and call.h (`writer.py`). A text's bits do not depend on those
 * beside it: each score is one sum over the units of its row, in one order.
 */
typedef struct {
  int64_t (*step)(ParallelFor, Call *, int64_t, const float *, float *, int64_t); /* of entry.h */
  ParallelFor parallel_for;
  Call *calls;
  int64_t num_layers, batch_size, input_size, hidden_size, num_tokens;
  const float *embedding; /* [V, I]; NULL: one-hot, and I = V */
  const float *weight;    /* [V, H] */
  const float *bias;      /* [V]; NULL: none */
  float *x;               /* [B, I]; zeros if one-hot */
  float *h;               /* [B, H] */
  float *scores;          /* [B, V] */
  float *likely;          /* [V], for one row: how likely, but for a factor */
  int64_t *order;         /* [V], for one row */
  double temperature, top_p; /* top_p: 1 or above: all */
  int64_t top_k;             /* 0: all */
} Writer;

#define TOKENS_AT_ONCE 4 /* whose scores are summed side by side */

INL float sum_of(vf v) {
  float sum = 0;
  for (int i = 0; i < W; i++) sum += v[i];
  return sum;
}

/* Scores of `count` tokens from `first` on, of one row. */
INL void score(const Writer *w, const float *h, float *scores, long first, const int count) {
  const long H = w->hidden_size;
  vf sums[TOKENS_AT_ONCE] = {0};
  for (long i = 0; i < H; i += W) {
    const vf part = load(h + i, H - i);
    for (int v = 0; v < count; v++) sums[v] += part * load(w->weight + (first + v) * H + i, H - i);
  }
  for (int v = 0; v < count; v++) {
    scores[first + v] = sum_of(sums[v]) + (w->bias ? w->bias[first + v] : 0);
  }
}

LOCAL void score_row(void *context, long b, long thread) {
  (void)thread;
  const Writer *w = context;
  const long V = w->num_tokens;
  const float *h = w->h + b * w->hidden_size;
  float *scores = w->scores + b * V;
  long v = 0;
  for (; v + TOKENS_AT_ONCE <= V; v += TOKENS_AT_ONCE) score(w, h, scores, v, TOKENS_AT_ONCE);
  for (; v < V; v++) score(w, h, scores, v, 1);
}

/* Whether token a comes before token b: the likelier, of equals the first. */
INL int comes_before(const float *scores, long a, long b) {
  return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
}

/* Let order[at] sink in the heap of `count`, whose first comes before all others. */
LOCAL void sink(const float *scores, int64_t *order, long at, long count) {
  for (long next; (next = 2 * at + 1) < count; at = next) {
    if (next + 1 < count && comes_before(scores, order[next + 1], order[next])) next++;
    if (!comes_before(scores, order[next], order[at])) return;
    const int64_t token = order[at];
    order[at] = order[next], order[next] = token;
  }
}

/* Take the first token out of the heap of `count`, to the place behind those that are left. */
LOCAL int64_t take_first(const float *scores, int64_t *order, long count) {
  const int64_t token = order[0];
  order[0] = order[count - 1], order[count - 1] = token;
  sink(scores, order, 0, count - 1);
  return token;
}

/* Leave of `likely` the top_k likeliest, and of those the fewest that have top_p of what they have
   together; the others become zero. */
LOCAL void filter(const Writer *w, const float *scores) {
  const long V = w->num_tokens, most = w->top_k ? MIN(w->top_k, V) : V;
  float *likely = w->likely;
  int64_t *order = w->order;
  for (long v = 0; v < V; v++) order[v] = v;
  for (long v = V / 2; v-- > 0;) sink(scores, order, v, V);
  double total = 0, reached = 0;
  long left = V, kept = 0;
  if (most < V) {
    while (left > V - most) total += likely[take_first(scores, order, left--)];
  } else {
    for (long v = 0; v < V; v++) total += likely[v];
  }
  for (; kept < most; kept++) {
    if (w->top_p < 1 && reached >= w->top_p * total) break;
    if (left == V - kept) take_first(scores, order, left--);
    reached += likely[order[V - 1 - kept]];
  }
  for (long n = 0; n < V - kept; n++) likely[order[n]] = 0;
}

/* A token, drawn as its score says by a number in 0..1; -1 if the scores are no finite numbers. */
LOCAL int64_t draw(const Writer *w, const float *scores, double number) {
  const long V = w->num_tokens;
  float most = -INFINITY;
  long best = 0;
  for (long v = 0; v < V; v++) {
    if (!(scores[v] - scores[v] == 0)) return -1;
    if (scores[v] > most) most = scores[v], best = v;
  }
  if (w->temperature == 0 || w->top_k == 1) return best;
  const float cold = 1 / w->temperature, bound = 3e38f;
  for (long v = 0; v < V; v += W) {
    vf below = greater(splat(-bound), load(scores + v, V - v) - most);
    below = greater(splat(-bound), select(below < 0, below * cold, splat(0)));
    store(w->likely + v, V - v, vexp(below));
  }
  if (w->top_k || w->top_p < 1) filter(w, scores);
  double total = 0;
  for (long v = 0; v < V; v++) total += w->likely[v];
  const double end = number * total;
  double reached = 0;
  long last = best;
  for (long v = 0; v < V; v++) {
    if (!w->likely[v]) continue;
    reached += w->likely[v], last = v;
    if (reached > end) break;
  }
  return last;
}

/* Draw from the scores of each row as they are. tokens: [B]; of a row whose scores are no finite numbers
   it is -1 from then on, and others go on. */
void unrolled_draw(const Writer *w, const double *numbers, int64_t *tokens) {
  for (long b = 0; b < w->batch_size; b++) {
    if (tokens[b] >= 0) tokens[b] = draw(w, w->scores + b * w->num_tokens, numbers[b]);
  }
}

/* Read a token of each row, and draw the next. tokens: [B], updated; numbers: [B], in 0..1; known:
   whether the weights are those of the last call. */
void unrolled_write(const Writer *w, const double *numbers, int64_t *tokens, int64_t known) {
  const long B = w->batch_size, I = w->input_size;
  for (long b = 0; b < B; b++) {
    if (tokens[b] < 0) continue; /* it reads what is there, and nobody sees what comes of it */
    if (w->embedding) {
      memcpy(w->x + b * I, w->embedding + tokens[b] * I, I * sizeof(float));
    } else {
      w->x[b * I + tokens[b]] = 1;
    }
  }
  /* of floats, which can always be packed */
  w->step(w->parallel_for, w->calls, w->num_layers, w->x, w->h, known);
  for (long b = 0; !w->embedding && b < B; b++) {
    if (tokens[b] >= 0) w->x[b * I + tokens[b]] = 0;
  }
  const long work = B * w->num_tokens * w->hidden_size;
  run(w->parallel_for, w->calls[0].num_threads, B, work, score_row, (void *)w);
  unrolled_draw(w, numbers, tokens);
}
