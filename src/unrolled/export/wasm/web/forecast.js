// A forecaster in a page: the last values of a series in, and what comes next as a figure and a table.

const MISSING = new Set(["", "?", "nan", "na", "null", "none"]);
const NUMBER = /^[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const MOST = 3.4e38; // of float32, about
const UNDO = { log: Math.exp, log1p: Math.expm1 };

/** An error that a page says in its language: the name of the words, and what is filled in. */
class Refusal extends Error {
  constructor(name, values = {}) {
    super(`${name}: ${JSON.stringify(values)}`);
    Object.assign(this, { name, values });
  }
}

/** A line's numbers: what lies between tabs, semicolons or commas, or else between blanks. */
function fieldsOf(line) {
  if (!/[\t;,]/.test(line)) return line.trim().split(/\s+/);
  const fields = line.split(/[\t;,]/).map((each) => each.trim());
  return fields.at(-1) === "" ? fields.slice(0, -1) : fields;
}

function numberOf(field) {
  if (MISSING.has(field.toLowerCase())) return NaN;
  const number = NUMBER.test(field) ? Number(field.replaceAll("_", "")) : NaN;
  if (!(Math.abs(number) < MOST)) throw new Refusal("forecast_not", { text: field.slice(0, 40) });
  return number;
}

/** What a run's page knows of a forecaster, beside the model: `content` of the description. */
export class Forecaster {
  constructor(model, { vocabulary, typed }) {
    Object.assign(this, { model, ...typed });
    const { lookback, horizon, targets, series } = vocabulary;
    this.names = [...targets, ...typed.past, ...typed.known];
    Object.assign(this, { lookback, horizon, targets, scales: series });
    this.middle = this.learns === "quantile" ? this.levels.indexOf(0.5) : 0;
    this.size = model.model.outputs / horizon / targets.length;
  }

  /**
   * The steps of a text, each with a number of every target, NaN where one is missing, and of every
   * other column that is read: of one target alone the numbers as they come, else a step on each
   * line. Throws what is wrong with it.
   */
  read(text) {
    const { targets, names, lookback, above, learns } = this, steps = [];
    const lines = text.split(/\r\n|[\n\r]/);
    lines.forEach((line, n) => {
      if (!line.trim()) return;
      const numbers = fieldsOf(line).map(numberOf);
      if (names.length === 1) steps.push(...numbers.map((each) => [each]));
      else steps.push(this.whole(numbers, names, n + 1));
    });
    if (!steps.length) throw new Refusal("empty");
    const own = steps.map((step) => step.slice(0, targets.length));
    const wrong = own.flat().find((each) =>
      (above !== null && each <= above) || (learns === "negative-binomial" && (each < 0 || each % 1)));
    if (wrong !== undefined) {
      throw above === null
        ? new Refusal("forecast_count", { value: wrong })
        : new Refusal("forecast_above", { value: wrong, above });
    }
    if (steps.length < lookback) {
      throw new Refusal("forecast_few", { count: steps.length, lookback, missing: lookback - steps.length });
    }
    if (!own.slice(-lookback).flat().some((each) => each === each)) throw new Refusal("forecast_gone");
    return steps;
  }

  /** A line's numbers, one for each name; none of them missing where that is said. */
  whole(numbers, names, line, isKnown = false) {
    if (numbers.length !== names.length) {
      const all = { line, count: numbers.length, inputs: names.length, targets: names.join(", ") };
      throw new Refusal("forecast_line", all);
    }
    const at = numbers.findIndex((each) => each !== each);
    if (isKnown && at >= 0) throw new Refusal("forecast_lacking", { line, name: names[at] });
    return numbers;
  }

  /** What is known of each step to come, from a text with a step on each line. */
  readAhead(text) {
    const { known, horizon } = this;
    if (!known.length) return [];
    const lines = text.split(/\r\n|[\n\r]/).filter((line) => line.trim());
    const steps = lines.map((line, n) => this.whole(fieldsOf(line).map(numberOf), known, n + 1, true));
    if (steps.length !== horizon) {
      throw new Refusal("forecast_ahead_count", { count: steps.length, horizon, names: known.join(", ") });
    }
    return steps;
  }

  /**
   * What comes after steps, by a series' scale, and by what is known of those to come: of each target `point`, a number of each step to come,
   * and `quantiles`, such numbers of each of `levels`.
   */
  forecast(steps, series, ahead = []) {
    const { model, lookback, horizon, targets, size, middle, learns } = this;
    const { center, width } = this.scales[series];
    const seen = steps.slice(-lookback), count = targets.length;
    const past = seen.flatMap((step) => step.slice(0, count));
    const beside = (rows, calendar) => rows.flatMap((row, t) => {
      const wide = calendar.length / rows.length;
      return [...row, ...calendar.slice(t * wide, (t + 1) * wide)];
    });
    const columns = beside(seen.map((step) => step.slice(count)), this.columns);
    const future = beside(Array.from({ length: horizon }, (_, s) => ahead[s] ?? []), this.future);
    const said = model.run([...past, ...columns, ...future, ...center, ...width]);
    const undo = (learns === "quantile" ? null : UNDO[this.curve]) ?? ((each) => each);
    const isNumber = ["mae", "mse", "huber"].includes(learns); // in numbers of the data already
    return targets.map((name, c) => {
      const all = Array.from({ length: horizon }, (_, s) => {
        const at = (s * targets.length + c) * size;
        return said.slice(at, at + size);
      });
      const point = all.map((p) => (isNumber ? p[0] : undo(p[middle])));
      let quantiles = [];
      if (learns === "quantile") quantiles = this.levels.map((_, r) => all.map((p) => p[r]));
      if (learns === "normal") quantiles = this.deviates.map((z) => all.map((p) => undo(p[0] + p[1] * z)));
      return { name, past: steps.slice(-lookback).map((step) => step[c]), point, quantiles };
    });
  }
}

const make = (name, attributes = {}, ...children) => {
  const isDrawn = ["svg", "path", "line", "text", "circle", "g"].includes(name);
  const made = isDrawn
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

/** Numbers that are easy to read, three to six of them, between two. */
function ticksOf(least, most) {
  const rough = (most - least) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const first = Math.ceil(least / step);
  return Array.from({ length: Math.floor(most / step) - first + 1 }, (_, n) => (first + n) * step);
}

/** The figure of one target: what was, what comes, and between which quantiles. */
function drawn({ past, point, quantiles }, { number, label, wide }) {
  const [width, height, left, bottom, top] = [wide, 220, 64, 24, 10];
  const every = [...past, ...point, ...quantiles.flat()].filter(Number.isFinite);
  let [least, most] = [Math.min(...every), Math.max(...every)];
  if (most - least <= 1e-9 * Math.max(1, Math.abs(most))) [least, most] = [least - 1, most + 1];
  const margin = (most - least) / 20;
  [least, most] = [least - margin, most + margin];
  const total = past.length + point.length - 1;
  const x = (t) => left + ((width - left - 8) * t) / Math.max(1, total);
  const y = (value) => top + ((height - top - bottom) * (most - value)) / (most - least);
  const at = (t, value) => `${x(t).toFixed(1)} ${y(value).toFixed(1)}`;
  const line = (values, from) => values
    .map((value, t) => (value === value ? `${values[t - 1] === values[t - 1] && t ? "L" : "M"}${at(from + t, value)}` : ""))
    .join("");
  const now = past.length - 1, last = past[now];
  const figure = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const tick of ticksOf(least, most)) {
    figure.append(
      make("line", { class: "grid", x1: left, x2: width - 8, y1: y(tick), y2: y(tick) }),
      make("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, number(tick)),
    );
  }
  figure.append(make("line", { class: "now", x1: x(now), x2: x(now), y1: top, y2: height - bottom }));
  const marks = [[0, 1 - past.length, "start"], [now, 0, "middle"], [total, point.length, "end"]];
  for (const [t, step, anchor] of past.length > 1 ? marks : marks.slice(1)) {
    const text = step > 0 ? `+${step}` : String(step).replace("-", "−");
    figure.append(make("text", { x: x(t), y: height - 6, "text-anchor": anchor }, text));
  }
  if (quantiles.length > 1) {
    const begun = (values) => (last === last ? [last, ...values] : values);
    const from = last === last ? now : now + 1;
    for (let n = 0; n < Math.floor(quantiles.length / 2); n++) {
      const [low, high] = [begun(quantiles[n]), begun(quantiles.at(-1 - n))];
      const back = high.map((value, t) => `L${at(from + t, value)}`).reverse().join("");
      figure.append(make("path", { class: "band", d: `${line(low, from)}${back}Z` }));
    }
  }
  figure.append(make("path", { class: "past", d: line(past, 0) }));
  const joined = last === last ? line([last, ...point], now) : line(point, now + 1);
  figure.append(make("path", { class: "point", d: joined }));
  if (point.length < 40) {
    point.forEach((value, s) =>
      figure.append(make("circle", { cx: x(now + 1 + s), cy: y(value), r: 2.5 })));
  }
  return figure;
}

/** Makes the page that of a forecaster; returns what forecasts what is typed. */
export function forecastPage({ content, model, say, code, place, tell }) {
  const forecaster = new Forecaster(model, content);
  const { targets, names: read, known, lookback, horizon, levels, ends, ahead, repeated, scales } = forecaster;
  const number = (value) =>
    value.toLocaleString(code, { maximumSignificantDigits: 6, useGrouping: false });
  const share = (level) => `${(100 * level).toLocaleString(code, { maximumFractionDigits: 2 })} %`;
  const names = Object.keys(scales), input = place("input"), choice = place("series");
  const isOne = read.length === 1;
  place("label").textContent = say(isOne ? "forecast_one" : "forecast_several", {
    targets: read.join(", "), lookback,
  });
  place("go").textContent = say("forecast");
  place("series-label").textContent = say("forecast_series");
  input.rows = isOne ? 4 : Math.min(lookback, 10);
  place("ahead-label").textContent = say("forecast_ahead", { names: known.join(", "), horizon });
  place("coming").hidden = !known.length;
  place("ahead").rows = Math.min(horizon, 10);
  choice.append(...names.map((name) => make("option", { value: name }, name)));
  place("which").hidden = names.length < 2;
  const textOf = (row) => row.map((each) => (each === null ? "?" : String(each))).join(", ");
  const aheadOf = (name) => ahead[name].map(textOf).join("\n");
  const begin = () => {
    const rows = ends[choice.value];
    if (rows) {
      input.value = rows.map(textOf).join(isOne ? ", " : "\n");
      input.scrollTop = input.scrollHeight; // the newest are the last
      place("ahead").value = aheadOf(choice.value);
    }
    show();
  };

  function show() {
    try {
      const steps = forecaster.read(input.value);
      const all = forecaster.forecast(steps, choice.value, forecaster.readAhead(place("ahead").value));
      const count = targets.length, missing = (all) => all.flat().filter((each) => each !== each).length;
      const seen = steps.slice(-lookback), gaps = missing(seen.map((step) => step.slice(0, count)));
      const others = missing(seen.map((step) => step.slice(count)));
      const notes = [];
      if (steps.length > lookback) notes.push(say("forecast_last", { lookback, count: steps.length }));
      if (gaps) notes.push(say("forecast_gaps", { count: gaps }));
      if (others) notes.push(say("forecast_gaps_beside", { count: others }));
      if (repeated.includes(choice.value) && place("ahead").value === aheadOf(choice.value)) {
        notes.push(say("forecast_repeated", { names: known.join(", ") }));
      }
      tell(notes.join(" "));
      place("forecast").replaceChildren(...all.map(shown));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      place("forecast").replaceChildren();
      tell(say(error.name, error.values));
    }
  }

  function shown({ name, past, point, quantiles }) {
    const label = say("forecast_figure", { name, lookback, horizon });
    const wide = Math.max(320, Math.min(736, place("form").clientWidth));
    const figure = drawn({ past, point, quantiles }, { number, label, wide });
    const others = levels.map((level, n) => [level, quantiles[n]]).filter(([level]) => level !== 0.5);
    const heads = [say("forecast_step"), say("forecast_point"), ...others.map(([level]) => share(level))];
    const body = point.map((value, s) => make("tr", {},
      make("th", { scope: "row" }, `+${s + 1}`),
      ...[value, ...others.map(([, values]) => values[s])].map((each) => make("td", {}, number(each)))));
    const table = make("table", {},
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...body));
    const title = make("figcaption", {}, name);
    if (others.length > 1) {
      const between = { low: share(levels[0]), high: share(levels.at(-1)) };
      title.append(" ", make("span", {}, say("forecast_between", between)));
    }
    const room = make("div", { class: "rows", tabindex: "0", role: "region", "aria-label": name }, table);
    return make("figure", {}, title, figure, room);
  }

  let waiting;
  input.oninput = place("ahead").oninput = () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 150);
  };
  choice.onchange = begin;
  if (ends[choice.value]) begin();
  return show;
}
