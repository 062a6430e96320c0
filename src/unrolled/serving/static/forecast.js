// Forecasts over time: what was given, what comes next with its interval, and what would have been said.

import * as api from "./api.js";
import { chartWidth, textWidth } from "./charts.js";
import { h, s } from "./dom.js";
import { t } from "./i18n.js";
import { local, readable } from "./numbers.js";

const MISSING = /^(\?|nan|na|null|none|)$/i; // as the server reads it
const MOST_POINTS = 24; // of a forecast whose steps are marked
const looked = { index: new Map(), isOpen: false }; // at which target of a card, at tables: it stays while one types

/** The numbers of each target in what was typed, of whose lines the first is read; null where one is missing. */
const valuesIn = (text) => text.trim().split(/[\r\n]/, 1)[0].split(":").map((part) =>
  part.split(",").map((text) => (MISSING.test(text.trim()) ? null : Number(text))));

/** Round numbers between two others, three to seven of them, each written. */
function levelsBetween(lowest, highest) {
  const raw = (highest - lowest) / 4;
  const power = Math.floor(Math.log10(raw));
  const part = raw / 10 ** power;
  const step = 10 ** power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
  const first = Math.ceil(lowest / step);
  const number = Math.floor(highest / step + 1e-9) - first + 1;
  const levels = Array.from({ length: number }, (_, k) => (first + k) * step);
  const different = levels.filter((level, k) => level !== levels[k - 1]); // of numbers with no more digits
  return different.map((level) => [level, readable(level, -Math.floor(Math.log10(step) + 1e-9))]);
}

/** How many digits after the point tell numbers apart that span so much. */
const digitsFor = (span) => 3 - Math.floor(Math.log10(span || 1));

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A path through points, in as many parts as missing ones make of it. */
function pathOf(points) {
  let isOn = false;
  return points.map(([x, y]) => {
    if (y === null) {
      isOn = false;
      return "";
    }
    const command = `${isOn ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    isOn = true;
    return command;
  }).join("");
}

/**
 * A chart in which a cursor moves from step to step, by pointing and by the arrow keys.
 *
 * names: of the steps, as they are read out. ticks: the same as they stand below the chart, or null.
 * truth: a number or null for each. forecasts: {start, forecast, low, high}. now: the last step that
 * was given, or null. history: what the truth is called. sayHere(at) is what is read out.
 */
function timeChart({ label, names, ticks, truth, forecasts, now, history, xTitle, sayHere }) {
  const width = chartWidth();
  const isNarrow = width < 700;
  const height = isNarrow ? 280 : 340;
  const all = [...truth, ...forecasts.flatMap(({ forecast, low, high }) => [...forecast, ...low, ...high])].filter(isNumber);
  let lowest = Math.min(...all);
  let highest = Math.max(...all);
  if (!(highest > lowest)) [lowest, highest] = [lowest - (Math.abs(lowest) || 1) / 2, highest + (Math.abs(highest) || 1) / 2];
  const levels = levelsBetween(lowest, highest);
  const left = 16 + Math.max(...levels.map(([, written]) => textWidth(written)));
  const [right, top, bottom] = [14, now === null ? 14 : 30, xTitle ? 56 : 36];
  const margin = 0.04 * (highest - lowest);
  const x = (k) => left + (names.length < 2 ? 0.5 : k / (names.length - 1)) * (width - left - right);
  const y = (value) => top + ((highest + margin - value) / (highest - lowest + 2 * margin)) * (height - top - bottom);
  const at = (value) => (isNumber(value) ? y(value) : null);
  const floor = height - bottom;
  const parts = [];
  if (now !== null) {
    parts.push(s("rect", { x: x(now), y: top, width: width - right - x(now), height: floor - top, class: "horizon" }));
  }
  levels.forEach(([level, written]) => parts.push(
    s("line", { x1: left, x2: width - right, y1: y(level), y2: y(level), class: "rule" }),
    s("text", { x: left - 8, y: y(level) + 5, class: "tick", "text-anchor": "end" }, written)));
  const below = ticks.every((text) => /\d:00$/.test(text)) ? ticks.map((text) => text.slice(0, -3)) : ticks;
  const half = Math.max(...below.map(textWidth)) / 2;
  const room = 2 * half + 22;
  const every = Math.max(1, Math.ceil((names.length * room) / (width - left - right)));
  let taken = 0; // below the chart, from the left
  const begin = now === null ? Math.max(0, names.findIndex((_, k) => x(k) >= half)) : now % every;
  for (let k = begin; k < names.length; k += every) {
    const place = Math.max(half, Math.min(x(k), width - half));
    if (place - half < taken) continue;
    taken = place + half + 10;
    parts.push(
      s("line", { x1: x(k), x2: x(k), y1: floor, y2: floor + 5, class: "rule" }),
      s("text", { x: place, y: floor + 22, class: "tick", "text-anchor": "middle" }, below[k]));
  }
  if (xTitle) parts.push(s("text", { x: (left + width - right) / 2, y: height - 6, class: "axis", "text-anchor": "middle" }, xTitle));
  const lines = [];
  for (const { start, forecast, low, high } of joined(forecasts)) {
    if (low.length) {
      const upper = high.map((value, k) => [x(start + k), at(value)]);
      const lower = low.map((value, k) => [x(start + k), at(value)]).reverse();
      const corners = [...upper, ...lower].filter(([, place]) => place !== null);
      if (low.length === 1) {
        const [[place, above], [, below]] = [upper[0], lower[0]];
        parts.push(s("line", { x1: place, x2: place, y1: above, y2: below, class: "band-line" }));
      } else parts.push(s("path", { d: `${pathOf(corners)}Z`, class: "band" }));
    }
    const points = forecast.map((value, k) => [x(start + k), at(value)]);
    const before = now !== null && isNumber(truth[now]) ? [[x(now), y(truth[now])]] : [];
    lines.push(s("path", { d: pathOf([...before, ...points]), class: "line said" }));
    if (now !== null ? points.length <= MOST_POINTS : points.length === 1) {
      lines.push(...points.filter(([, place]) => place !== null).map(([cx, cy]) => s("circle", { cx, cy, r: 2.6, class: "point series-0" })));
    }
  }
  parts.push(s("path", { d: pathOf(truth.map((value, k) => [x(k), at(value)])), class: "line truth" }), ...lines);
  if (now !== null) {
    const ahead = t("forecast.horizon", { number: names.length - now - 1 });
    const begins = Math.min(x(now) + 5, width - textWidth(ahead));
    parts.push(
      s("line", { x1: x(now), x2: x(now), y1: top, y2: floor, class: "threshold" }),
      s("text", { x: begins - 10, y: top - 9, class: "tick", "text-anchor": "end" }, t("forecast.now")),
      s("text", { x: begins, y: top - 9, class: "tick" }, ahead));
  }
  const cursor = s("line", { y1: top, y2: floor, class: "cursor", visibility: "hidden" });
  const dots = [s("circle", { r: 4.5, class: "dot truth", visibility: "hidden" }), s("circle", { r: 4.5, class: "dot said", visibility: "hidden" })];
  const figure = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", "aria-hidden": "true" }, parts, cursor, dots);
  const last = names.length - 1;
  const start = now === null ? last : Math.min(last, now + 1);
  const box = h("div", {
    class: "time-chart", role: "slider", tabindex: "0", "aria-label": label,
    "aria-valuemin": "0", "aria-valuemax": String(last), "aria-orientation": "horizontal",
  }, figure);
  const said = h("p", { class: "readout" }, t("forecast.hint"));
  let here = null;

  function tell(k) {
    here = k;
    const words = sayHere(k);
    box.setAttribute("aria-valuenow", String(k));
    box.setAttribute("aria-valuetext", words);
  }

  function move(k) {
    tell(Math.max(0, Math.min(last, k)));
    said.textContent = sayHere(here);
    const own = forecastAt(forecasts, here);
    cursor.setAttribute("x1", x(here));
    cursor.setAttribute("x2", x(here));
    cursor.setAttribute("visibility", "visible");
    [truth[here], own?.value].forEach((value, k) => {
      dots[k].setAttribute("visibility", isNumber(value) ? "visible" : "hidden");
      if (!isNumber(value)) return;
      dots[k].setAttribute("cx", x(here));
      dots[k].setAttribute("cy", y(value));
    });
  }

  function point(event) {
    const frame = figure.getBoundingClientRect();
    const place = ((event.clientX - frame.left) / frame.width) * width;
    move(Math.round(((place - left) / (width - left - right)) * last));
  }

  box.addEventListener("pointermove", point);
  box.addEventListener("pointerdown", point);
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const from = here ?? start;
    const to = {
      ArrowLeft: from - 1, ArrowDown: from - 1, ArrowRight: from + 1, ArrowUp: from + 1,
      PageDown: from - 10, PageUp: from + 10, Home: 0, End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // these keys also move in what was read
    move(to);
  });
  tell(start);
  const hasBand = forecasts.some(({ low }) => low.length);
  const swatch = (name, shape) => h("li", null, s("svg", { viewBox: "0 0 30 12", class: "swatch", "aria-hidden": "true" }, shape), name);
  const legend = h("ul", { class: "chart-legend" },
    swatch(history, s("path", { d: "M0 6H30", class: "line truth" })),
    swatch(t("forecast.forecast"), s("path", { d: "M0 6H30", class: "line said" })),
    hasBand && swatch(t("forecast.interval"), s("rect", { x: 0, y: 0, width: 30, height: 12, class: "band" })));
  return h("div", { class: "column" }, legend, box, said);
}

/** Forecasts of one step each, one after the other, as one: a line through all of them. */
function joined(forecasts) {
  if (forecasts.length < 2 || forecasts.some(({ forecast }) => forecast.length > 1)) return forecasts;
  const all = (name) => forecasts.flatMap((each) => each[name]);
  return [{ start: forecasts[0].start, forecast: all("forecast"), low: all("low"), high: all("high") }];
}

/** What is forecast at a step: {value, low, high}; undefined where nothing is. */
function forecastAt(forecasts, at) {
  const own = forecasts.find(({ start, forecast }) => start <= at && at < start + forecast.length);
  if (!own) return undefined;
  const k = at - own.start;
  return { value: own.forecast[k], low: own.low[k], high: own.high[k] };
}

/** What is read out at a step. */
function spokenAt(name, came, own, digits, kind) {
  const number = (value) => readable(value, digits);
  const has = { came: isNumber(came), said: isNumber(own?.value) };
  if (!has.came && !has.said) return t("forecast.missing", { at: name });
  if (!has.said) return t(`forecast.${kind}_here`, { at: name, value: number(came) });
  const values = { at: name, value: number(own.value), came: has.came ? number(came) : "" };
  const said = t(has.came ? "forecast.both_here" : "forecast.said_here", values);
  if (!isNumber(own.low) || !isNumber(own.high)) return said;
  return t("forecast.within", { said, low: number(own.low), high: number(own.high) });
}

/** A card that shows one of several targets; `draw(index)` returns what is shown of one. */
function targetCard(title, names, hint, draw) {
  const shown = h("div", { class: "column" });
  const key = `${title}: ${names}`;
  const first = looked.index.get(key) ?? 0;
  const show = (index) => {
    looked.index.set(key, index);
    shown.replaceChildren(...draw(index));
  };
  const choice = names.length > 1 && h("label", { class: "field" }, h("span", null, t("forecast.target")),
    h("select", { onchange: (event) => show(Number(event.target.value)) },
      names.map((name, index) => h("option", { value: index, selected: index === first }, name))));
  show(first);
  return h("section", { class: "card forecast" }, h("div", { class: "card-head" }, h("h2", null, title), choice),
    hint && h("p", { class: "soft hint" }, hint), shown);
}

const spanOf = (values) => {
  const numbers = values.filter(isNumber);
  return numbers.length ? Math.max(...numbers) - Math.min(...numbers) : 1;
};

/** What comes after the series that were typed, with intervals where the model has them. */
export function forecastView({ times, forecast, low, high }, line) {
  const given = valuesIn(line);
  const targets = Object.keys(forecast);
  return targetCard(t("forecast.title"), targets, "", (index) => {
    const target = targets[index];
    const own = { times, forecast: forecast[target], low: low?.[target] ?? [], high: high?.[target] ?? [] };
    return aheadOf(target, given[index] ?? [], null, own);
  });
}

/** A chart and a table of what comes after a series. Without times its steps are counted from now. */
function aheadOf(name, history, known, own) {
  const now = history.length - 1;
  const truth = [...history, ...own.times.map(() => null)];
  const signed = truth.map((_, k) => local(k > now ? `+${k - now}` : String(k - now)));
  const names = [...(known ?? signed.slice(0, now + 1)), ...own.times];
  const forecasts = [{ ...own, start: now + 1 }];
  const digits = digitsFor(spanOf([...history, ...own.forecast]));
  const chart = timeChart({
    label: t("forecast.label", { name, number: own.times.length }),
    names, ticks: known ? names : signed, truth, forecasts, now,
    history: t(known ? "forecast.came" : "forecast.history"), xTitle: known ? "" : t("forecast.axis"),
    sayHere: (at) => spokenAt(names[at], truth[at], forecastAt(forecasts, at), digits, known ? "came" : "given"),
  });
  return [chart, forecastTable(own.times, own, digits)];
}

function forecastTable(times, { forecast, low, high }, digits) {
  const columns = [["forecast.forecast", forecast], ...(low.length ? [["forecast.heads.low", low], ["forecast.heads.high", high]] : [])];
  const onToggle = (event) => { looked.isOpen = event.target.open; };
  return h("details", { open: looked.isOpen, ontoggle: onToggle }, h("summary", null, t("forecast.table")),
    h("div", { class: "scrolls", tabindex: "0" }, h("table", { class: "figures" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, t("forecast.heads.time")),
        columns.map(([name]) => h("th", { scope: "col" }, t(name))))),
      h("tbody", null, times.map((time, k) => h("tr", null, h("th", { scope: "row" }, time),
        columns.map(([, values]) => h("td", null, isNumber(values[k]) ? readable(values[k], digits) : "–"))))))));
}

const titlesOf = (targets) => targets.map(({ target, series }) => (series ? t("forecast.of", { target, series }) : target));

/**
 * Cards with what would have been forecast of held-out data, and, where `isAhead`, what comes after
 * the data; none where these cannot be read now.
 */
export async function dataView(run, isAhead) {
  const { targets, ahead } = await api.backtest({ run });
  const cards = targets.length ? [pastCard(targets)] : [];
  return isAhead && ahead.length ? [aheadCard(ahead), ...cards] : cards;
}

function aheadCard(targets) {
  const titles = titlesOf(targets);
  return targetCard(t("forecast.title"), titles, t("forecast.ahead_hint"), (index) => {
    const { times, truth, forecasts } = targets[index];
    return aheadOf(titles[index], truth, times, forecasts[0]);
  });
}

function pastCard(targets) {
  const titles = titlesOf(targets);
  return targetCard(t("forecast.backtest"), titles, t("forecast.backtest_hint"), (index) => {
    const { times, truth, forecasts } = targets[index];
    const names = [...times];
    for (const own of forecasts) own.times.forEach((time, k) => (names[own.start + k] ??= time));
    const came = names.map((_, k) => truth[k] ?? null);
    const digits = digitsFor(spanOf(came));
    return [timeChart({
      label: t("forecast.backtest_label", { name: titles[index] }),
      names, ticks: names, truth: came, forecasts, now: null, history: t("forecast.came"), xTitle: "",
      sayHere: (at) => spokenAt(names[at], came[at], forecastAt(forecasts, at), digits, "came"),
    })];
  });
}
