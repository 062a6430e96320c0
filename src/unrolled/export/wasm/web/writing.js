// Words that are written of what was read: of a translator's sentence, of a captioner's picture.

const [UNKNOWN, BEGIN, END] = [0, 1, 2];

/** The logarithms of a softmax over scores, of which those of marks are never written. */
function logarithms(scores) {
  let most = -Infinity, sum = 0;
  scores.forEach((each, n) => (most = n === UNKNOWN || n === BEGIN ? most : Math.max(most, each)));
  scores.forEach((each, n) => (sum += n === UNKNOWN || n === BEGIN ? 0 : Math.exp(each - most)));
  const total = most + Math.log(sum);
  return Array.from(scores, (each, n) => (n === UNKNOWN || n === BEGIN ? -Infinity : each - total));
}

/** The places of the greatest of many numbers, the greatest first, of equals the first. */
function greatest(numbers, count) {
  const kept = [];
  numbers.forEach((each, n) => {
    if (kept.length === count && !(each > numbers[kept[count - 1]])) return;
    let place = kept.length;
    while (place && each > numbers[kept[place - 1]]) place -= 1;
    kept.splice(place, 0, n);
    if (kept.length > count) kept.pop();
  });
  return kept;
}

/** What writes of a `Model` that has it: `model.model.writes` is set. */
export class Writer {
  constructor(model) {
    this.model = model;
  }

  /** Reads a whole: tokens, numbers step by step, or what `pictureOf` returns. */
  read(x) {
    if (!x.length) throw RangeError("there is nothing to read");
    this.model.run(x);
    this.steps = x.length / this.model.model.inputs;
  }

  /** Reads the word that was written last, at first 1, and says scores of the next one. */
  step(word) {
    const { model, steps } = this, { wasm, base, at } = model, { outputs, writes } = model.model;
    if (word >>> 0 !== word || word >= outputs) throw RangeError(`no word ${word}`);
    if (!steps) throw Error("nothing was read");
    model.view(at[0], 1, Int32Array)[0] = word;
    wasm.run(base, writes, steps, 0);
    return model.view(at[1], outputs, Float32Array).slice();
  }

  /** How much the last step looked at each place of what was read; none where it does not look. */
  get looks() {
    const { model, steps } = this, { header, places } = model.model;
    if (!places) return null;
    return model.view(model.wasm.place(model.base, header, steps, 7), steps, Float32Array).slice();
  }

  /**
   * The search of the package (networks/beam.py), which yields after each step what it has found,
   * the best first: { words, looks, logarithm, score, complete }.
   */
  *search({ beam = 1, alpha = 0, most = 100 } = {}) {
    const penalty = (count) => ((5 + count) / 6) ** alpha;
    let live = [{ words: [], looks: [], logarithm: 0, state: this.model.state }];
    const finished = [];
    const ranked = (goingOn) => [
      ...finished,
      ...goingOn.map((each) => ({
        ...each, complete: false, score: each.logarithm / penalty(each.words.length),
      })).sort((a, b) => b.score - a.score),
    ];
    for (let length = 0; length <= most; length++) {
      const totals = [], after = live.map(({ words, looks, logarithm, state }) => {
        this.model.state = state;
        const scores = logarithms(this.step(words.at(-1) ?? BEGIN));
        totals.push(scores.map((each) => each + logarithm));
        return { words, looks: [...looks, this.looks], state: this.model.state };
      });
      const count = this.model.model.outputs, goingOn = [], all = totals.flat();
      greatest(all, 2 * beam).some((index, rank) => {
        const logarithm = all[index], word = index % count;
        if (logarithm === -Infinity || goingOn.length === beam) return true;
        const { words, looks, state } = after[Math.floor(index / count)];
        if (word !== END) goingOn.push({ words: [...words, word], looks, state, logarithm });
        else if (rank < beam) {
          const score = logarithm / penalty(words.length + 1);
          finished.push({ words, looks, logarithm, score, complete: true });
          finished.sort((a, b) => b.score - a.score);
        }
        return false;
      });
      if (finished.length >= beam) live = [];
      else if (length < most) live = goingOn;
      yield ranked(live);
      if (!live.length) return;
    }
  }
}

/**
 * What a translator says that answers `delay` steps late: after each step the same as a search, of
 * one alone. tokens: with the mark of the end.
 */
export function* delayed(model, tokens, { delay, most }) {
  const words = [];
  let logarithm = 0;
  model.reset();
  for (let t = 0; words.length <= most; t++) {
    const scores = logarithms(model.step(tokens[t] ?? BEGIN));
    if (t < delay) continue;
    const [best] = greatest(scores, 1), complete = best === END;
    if (complete || words.length < most) logarithm += scores[best];
    if (!complete && words.length === most) return;
    if (!complete) words.push(best);
    yield [{ words: [...words], looks: [], logarithm, score: logarithm, complete }];
    if (complete) return;
  }
}
