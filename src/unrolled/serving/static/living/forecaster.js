// A forecaster as it is computed in the page: a window of numbers in, what comes after it out. How it
// reads windows is in windows.js.

import { scoresIn, scoresOf } from "./network.js";
import { Stack } from "./stack.js";
import { Windows } from "./windows.js";

const UNDO = { log: Math.exp, log1p: Math.expm1 };
const LEAST = 1e-4; // of what has to be above 0, as `tasks/forecast/head.py` has it
const HEADS = { quantile: quantilesOf, normal: normalOf, "student-t": studentOf, "negative-binomial": countsOf };
// of each number that is said, whether a scale multiplies it, and whether it moves it
const MOVES = { normal: [[1, 1], [1, 0]], "student-t": [[1, 1], [1, 0], [0, 0]], "negative-binomial": [[1, 0], [0, 0]] };

const softplus = (x) => (x > 20 ? x : Math.log1p(Math.exp(x)));

/** Quantiles: the middle one, and others by positive steps from it. */
function quantilesOf(raw, middle) {
  const all = [...raw];
  for (let r = middle - 1, sum = 0; r >= 0; r -= 1) all[r] = raw[middle] - (sum += softplus(raw[r]));
  for (let r = middle + 1, sum = 0; r < raw.length; r += 1) all[r] = raw[middle] + (sum += softplus(raw[r]));
  return all;
}

function normalOf([mean, deviation]) {
  return [mean, softplus(deviation) + LEAST];
}

function studentOf([location, scale, freedom]) {
  return [location, softplus(scale) + LEAST, 2 + softplus(freedom)];
}

function countsOf(raw) {
  return [...raw].map((each) => softplus(each) + LEAST);
}

/** A quantile of Student's t above its middle, of one of the normal distribution below it (Hill, 1970). */
function studentQuantile(n, x, level) {
  const tails = 2 * level;
  const a = 1 / (n - 0.5);
  const b = 48 / a ** 2;
  const c = ((20700 * a / b - 98) * a - 16) * a + 96.36;
  const d = ((94.5 / (b + c) - 3) / b + 1) * Math.sqrt(a * Math.PI / 2) * n;
  let y = (d * tails) ** (2 / n);
  if (y > 0.05 + a) {
    const near = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + (n < 5 ? c + 0.3 * (n - 4.5) * (x + 0.6) : c);
    const inner = (((((0.4 * x * x + 6.3) * x * x + 36) * x * x + 94.5) / near - x * x - 3) / b + 1) * x;
    return Math.sqrt(n * Math.expm1(a * inner * inner));
  }
  y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (n + 2) + 1 / y;
  return Math.sqrt(n * y);
}

export class Forecaster {
  constructor(network, stack, find) {
    const { answer, known, linear, embed, place, channel, decoder } = network;
    Object.assign(this, { network, stack, windows: new Windows(network, find) });
    const linearIn = (each) => each && scoresIn(each, find);
    this.answer = linearIn(answer);
    this.known = known.map(linearIn);
    this.linear = linearIn(linear);
    this.embed = linearIn(embed);
    [this.place, this.channel] = [find(place), find(channel)];
    this.decoder = decoder && new Stack(decoder, find);
    this.shape = network.is_independent ? 1 : network.targets.length; // targets that are read together
  }

  async encode(text) {
    const values = this.windows.read(text);
    if (!values.length) return { pieces: [], xs: [] };
    const window = this.windows.framed(values);
    return { window, pieces: this.network.pieces, xs: this.readBy(window, 0) };
  }

  /** What the layers read of a window, for one of the targets that are read apart. */
  readBy(window, row) {
    const steps = this.windows.steps(window, row);
    const { segment } = this.network;
    if (!segment) return steps;
    const first = steps.length % segment;
    return Array.from({ length: Math.floor(steps.length / segment) }, (_, n) => {
      const own = steps.slice(first + n * segment, first + (n + 1) * segment).flatMap((step) => [...step]);
      return scoresOf(this.embed, Float64Array.from(own)).map((each) => Math.max(0, each));
    });
  }

  /** What is said of a window after what was read of it for the first target, or for all. */
  async say({ window }, outputs, how, steps) {
    const { horizon, targets, is_independent: isApart } = this.network;
    const raws = [];
    for (let row = 0; row < (isApart ? targets.length : 1); row += 1) {
      const read = row ? await this.stack.readAll(this.readBy(window, row), { turn: how.turn }) : { outputs, steps };
      raws.push(this.raw({ outputs: read.outputs, states: this.stack.layers.map((_, k) => this.stack.statesOf(read.steps.at(-1)[k].values)) }, row));
    }
    const { size } = this.network;
    const linear = this.linear && targets.map((_, c) => scoresOf(this.linear, this.windows.seen(window, c)));
    const said = Array.from({ length: horizon }, (_, s) => targets.map((_, c) => {
      const own = isApart ? raws[c][s] : raws[0][s].slice(c * size, (c + 1) * size);
      if (linear) own[this.network.middle] += linear[c][s];
      return this.moved(this.parameters(own, this.network.spread), window, s, c);
    }));
    const prediction = this.prediction(said);
    return { said: outputs.map(() => null), outputs, prediction };
  }

  ofNothing() {
    return { times: [], forecast: {} };
  }

  /** What a head's raw numbers stand for, those that say how far it may be off multiplied by `spread`. */
  parameters(raw, spread) {
    const { learns, middle } = this.network;
    const all = (HEADS[learns] ?? ((each) => [...each]))(raw, middle);
    if (learns === "quantile") return all.map((each) => all[middle] + spread * (each - all[middle]));
    if (learns === "normal" || learns === "student-t") all[1] *= spread;
    return all;
  }

  /** Parameters on the scale of what is learned: a window's frame put back, and its series' scale. */
  moved(parameters, { offset, size }, s, c) {
    const { learns, center, width, frame } = this.network;
    return parameters.map((each, r) => {
      const [isScaled, isMoved] = MOVES[learns]?.[r] ?? [1, 1];
      let moved = each;
      if (isScaled && frame !== "none") moved *= size[c];
      if (isMoved && frame !== "none") moved += offset(s)[c];
      if (isScaled) moved *= width[c];
      return isMoved ? moved + center[c] : moved;
    });
  }

  /** What `predict` says: numbers of the data for each target, with the ends of their interval. */
  prediction(said) {
    const { targets, times, learns, middle, deviates, curve } = this.network;
    const undo = UNDO[curve] ?? ((each) => each);
    const numbers = (of) => Object.fromEntries(targets.map((name, c) => [name, said.map((step) => undo(of(step[c])))]));
    const prediction = { times, forecast: numbers((p) => p[learns === "quantile" ? middle : 0]) };
    const ends = {
      quantile: [(p) => p[0], (p) => p.at(-1)],
      normal: deviates.map((z) => (p) => p[0] + z * p[1]),
      "student-t": [-1, 1].map((sign) => (p) => p[0] + sign * p[1] * studentQuantile(p[2], deviates[0], this.network.tail)),
    }[learns];
    return ends ? { ...prediction, low: numbers(ends[0]), high: numbers(ends[1]) } : prediction;
  }

  /** The raw numbers of each step to come, after what was read. */
  raw({ outputs, states }, row) {
    return { direct: () => this.direct(outputs.at(-1)), segment: () => this.segments(states, row), "encoder-decoder": () => this.decoded(states), recursive: () => this.fed(outputs.at(-1), states) }[this.network.method]();
  }

  ahead(s) {
    return this.windows.ahead(s);
  }

  direct(last) {
    const { horizon } = this.network;
    const all = scoresOf(this.answer, last);
    const spoken = all.length / horizon;
    return Array.from({ length: horizon }, (_, s) => {
      const own = all.slice(s * spoken, (s + 1) * spoken);
      if (!this.known.length) return own;
      const [inner, outer] = this.known;
      const added = scoresOf(outer, scoresOf(inner, Float64Array.of(...last, ...this.ahead(s))).map((each) => Math.max(0, each)));
      return own.map((value, n) => value + added[n]);
    });
  }

  segments(states, row) {
    const { horizon, segment } = this.network;
    const spoken = this.answer.bias.length / segment;
    const raw = [];
    for (let n = 0; n * segment < horizon; n += 1) {
      const x = Float64Array.of(...rowsOf(this.place, n), ...rowsOf(this.channel, row));
      if (this.known.length) {
        const future = Array.from({ length: segment }, (_, k) => [...this.ahead(n * segment + k)]).flat();
        scoresOf(this.known[0], Float64Array.from(future)).forEach((value, i) => (x[i] += value));
      }
      const said = scoresOf(this.answer, this.outputOf(this.stack, this.stack.read({ x }, states)));
      for (let k = 0; k < segment; k += 1) raw.push(said.slice(k * spoken, (k + 1) * spoken));
    }
    return raw.slice(0, horizon);
  }

  decoded(states) {
    const raw = [];
    let now = states;
    for (let s = 0; s < this.network.horizon; s += 1) {
      const x = Float64Array.from(rowsOf(this.place, s));
      if (this.known.length) scoresOf(this.known[0], this.ahead(s)).forEach((value, i) => (x[i] += value));
      const steps = this.decoder.read({ x }, now);
      now = steps.map(({ values }) => this.decoder.statesOf(values));
      raw.push(scoresOf(this.answer, this.outputOf(this.decoder, steps)));
    }
    return raw;
  }

  /** Each step after those before it were read as they were said. */
  fed(last, states) {
    const { horizon, lag, size, middle, marks_missing: isMarked } = this.network;
    const { shape } = this;
    const raw = [];
    const levels = [];
    let [output, now] = [last, states];
    for (let s = 0; s < horizon; s += 1) {
      const own = scoresOf(this.answer, output);
      const parts = Array.from({ length: shape }, (_, c) => own.slice(c * size, (c + 1) * size));
      const said = parts.map((part) => this.parameters(part, 1)[middle]);
      if (lag) {
        const level = s >= lag ? levels[s - lag] : said.map(() => 0);
        parts.forEach((part, c) => (part[middle] += level[c]));
        levels.push(said.map((each, c) => level[c] + each));
      }
      raw.push(Float64Array.from(parts.flatMap((part) => [...part])));
      if (s + 1 === horizon) break;
      const x = Float64Array.of(...said, ...(isMarked ? said.map(() => 0) : []), ...this.ahead(s + 1));
      const steps = this.stack.read({ x }, now);
      output = this.outputOf(this.stack, steps);
      now = steps.map(({ values }) => this.stack.statesOf(values));
    }
    return raw;
  }

  outputOf(stack, steps) {
    return steps.at(-1).values[stack.output];
  }

  gradient() {
    return Float64Array.from(this.network.direction);
  }
}

const rowsOf = ({ values, shape }, row) => values.subarray(row * shape[1], (row + 1) * shape[1]);
