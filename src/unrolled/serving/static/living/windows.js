// Windows of series as a forecaster reads them: what is typed, scaled, in its frame, step by step, as
// `tasks/forecast/ends.py`, `scaling.py` and `framing.py` have it.

const MISSING = new Set(["", "?", "nan", "na", "null", "none"]);
const NUMBER = /^[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const LARGEST = 3.4e38; // of float32, about
const CURVES = { log: Math.log, log1p: Math.log1p };
const EPSILON = 1e-5; // of a window's deviation

/** What is wrong with what was typed, by the name of its words. */
class Wrong extends Error {
  constructor(code, values = {}) {
    super(`${code}: ${JSON.stringify(values)}`);
    Object.assign(this, { code, values });
  }
}

function numberOf(field) {
  const text = field.trim();
  if (MISSING.has(text.toLowerCase())) return NaN;
  const number = NUMBER.test(text) ? Number(text.replaceAll("_", "")) : NaN;
  if (!(Math.abs(number) <= LARGEST)) throw new Wrong("forecast_number", { text: text.slice(0, 40) });
  return number;
}

const isThere = (value) => value === value;

/** In place of a missing value the one before, or `start`. */
function filled(values, start = 0) {
  let last = start;
  return values.map((value) => (last = isThere(value) ? value : last));
}

/** How far each value is from the last one that was there at its place in a cycle of `lag`; 0 of the first. */
function changes(values, lag) {
  const last = Array(lag).fill(NaN);
  return values.map((value, t) => {
    const before = last[t % lag];
    if (!isThere(value)) return 0;
    last[t % lag] = value;
    return isThere(before) ? value - before : 0;
  });
}

/** The last value at each place of a cycle that ends with the window, the last of all where there is none. */
function lastCycle(values, lag) {
  const end = filled(values).at(-1);
  return Array.from({ length: lag }, (_, n) => {
    for (let t = values.length - lag + n; t >= 0; t -= lag) if (isThere(values[t])) return values[t];
    return end;
  });
}

/** What is taken off one target's window, and what the rest is divided by. */
function frameOf(values, kind) {
  const known = values.filter(isThere);
  if (kind === "none" || !known.length) return [0, kind === "instance" ? Math.sqrt(EPSILON) : 1];
  if (kind === "last") return [known.at(-1), 1];
  const mean = known.reduce((a, b) => a + b) / known.length;
  return [mean, Math.sqrt(known.reduce((total, value) => total + (value - mean) ** 2, 0) / known.length + EPSILON)];
}

export class Windows {
  constructor(network, find) {
    this.network = network;
    [this.columns, this.future] = [find(network.columns), find(network.future)];
  }

  /** The last steps of what was typed, a number of each target; none of nothing. Throws what is wrong. */
  read(text) {
    if (!text.trim()) return [];
    const { targets, lookback, above, learns } = this.network;
    const parts = text.trim().split(":").map((part) => part.split(",").map(numberOf));
    if (parts.length !== targets.length) {
      throw new Wrong("forecast_targets", { got: parts.length, expected: targets.length, names: targets.join(", ") });
    }
    const lengths = [...new Set(parts.map((part) => part.length))];
    if (lengths.length > 1) throw new Wrong("forecast_lengths", { lengths: lengths.sort((a, b) => a - b).join(", ") });
    for (const value of parts.flat()) {
      if (above !== null && value <= above) throw new Wrong("forecast_log", { value, above });
      if (learns === "negative-binomial" && (value < 0 || value % 1)) throw new Wrong("forecast_count", { value });
    }
    if (lengths[0] < lookback) throw new Wrong("forecast_few", { got: lengths[0], lookback });
    const steps = parts[0].map((_, t) => parts.map((part) => part[t])).slice(-lookback);
    if (!steps.flat().some(isThere)) throw new Wrong("forecast_gone");
    return steps;
  }

  /** A window, target by target: its values in the frame, what the layers read of them, and the frame. */
  framed(steps) {
    const { center, width, curve, lag, frame, horizon } = this.network;
    const apply = CURVES[curve] ?? ((value) => value);
    const all = center.map((_, c) => steps.map((step) => Math.fround((apply(step[c]) - center[c]) / width[c])));
    const frames = all.map((values) => frameOf(values, frame));
    const size = frames.map((each) => each[1]);
    if (lag > 1) {
      const cycles = all.map((values) => lastCycle(values, lag));
      const read = all.map((values) => changes(values, lag));
      return { all, read, seen: read, size, offset: (s) => cycles.map((cycle) => cycle[s % lag]), horizon };
    }
    const inside = all.map((values, c) => values.map((value) => (value - frames[c][0]) / size[c]));
    const seen = inside.map((values) => filled(values));
    const read = lag ? inside.map((values) => changes(values, 1)) : seen;
    const offset = frames.map(([each]) => each);
    return { all, read, seen, size, offset: () => offset, horizon };
  }

  /** What the linear forecast reads of a target. */
  seen({ seen }, c) {
    return Float64Array.from(seen[c]);
  }

  /** What is known of each step that was: values, which are missing, columns; of one target, or all. */
  steps({ all, read }, row) {
    const { is_independent: isApart, marks_missing: isMarked, method } = this.network;
    const own = isApart ? [row] : read.map((_, c) => c);
    const last = read[0].length - 1;
    return read[0].map((_, t) => {
      const marks = isMarked ? own.map((c) => (isThere(all[c][t]) ? 0 : 1)) : [];
      let columns = rowIn(this.columns, t);
      if (method === "recursive") columns = t < last ? rowIn(this.columns, t + 1) : rowIn(this.future, 0); // of the step after it
      return Float64Array.of(...own.map((c) => read[c][t]), ...marks, ...columns);
    });
  }

  /** What is known of a step to come; zeros of one that is not forecast. */
  ahead(s) {
    if (this.future && s >= this.future.shape[0]) return new Float64Array(this.future.shape[1]);
    return Float64Array.from(rowIn(this.future, s));
  }
}

const rowIn = (table, row) => (table ? table.values.subarray(row * table.shape[1], (row + 1) * table.shape[1]) : []);
