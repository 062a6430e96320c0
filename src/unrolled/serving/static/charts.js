// Small figures of the page: lines over a logarithmic axis, bars. Each is SVG with its numbers.

import { h, s } from "./dom.js";
import { local, percent } from "./numbers.js";

/** Dashes of lines, as many as there are colours. */
export const DASHES = ["", "7 4", "2 4", "9 3 2 3", "1 3"];

/** Decades as a reader says them: 1, 0.1, 0.01, 10⁻³. */
function decade(power) {
  if (power >= -2 && power <= 2) return local(String(10 ** power));
  const raised = [...String(Math.abs(power))].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
  return `10${power < 0 ? "⁻" : ""}${raised}`;
}

/** A step that cuts `most` into at most `parts` round pieces. */
function roundStep(most, parts) {
  const raw = Math.max(1, most / parts);
  const size = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((k) => k * size).find((step) => step >= raw);
}

/**
 * Lines over lags, the shares on a logarithmic axis.
 * lines: {label, values, series: 0 ... 4}; told apart by colour, dash and a label at the end.
 */
export function lagChart({ lines, xTitle, yTitle, label }) {
  const width = 720;
  const height = 380;
  const left = 84;
  const right = 92;
  const top = 18;
  const bottom = 52;
  const steps = Math.max(...lines.map((line) => line.values.length)) - 1;
  const usable = lines.flatMap((line) => line.values).filter((v) => v > 0);
  const lowest = Math.max(-8, Math.floor(Math.log10(Math.min(...usable, 0.1))));
  const highest = Math.min(6, Math.max(0, Math.ceil(Math.log10(Math.max(...usable, 1)) - 0.05)));
  const x = (k) => left + (k / Math.max(1, steps)) * (width - left - right);
  const y = (share) =>
    top + ((highest - Math.log10(share)) / (highest - lowest)) * (height - top - bottom);
  const parts = [];
  const every = Math.max(1, Math.ceil((highest - lowest) / 6));
  for (let power = highest; power >= lowest; power -= every) {
    const at = y(10 ** power);
    parts.push(s("line", { x1: left, x2: width - right, y1: at, y2: at, class: "rule" }));
    parts.push(s("text", { x: left - 10, y: at + 5, class: "tick", "text-anchor": "end" }, decade(power)));
  }
  const step = roundStep(steps, 6);
  for (let k = 0; k <= steps; k += step) {
    parts.push(s("text", { x: x(k), y: height - bottom + 24, class: "tick", "text-anchor": "middle" }, String(k)));
    parts.push(s("line", { x1: x(k), x2: x(k), y1: height - bottom, y2: height - bottom + 5, class: "rule" }));
  }
  if (lowest < -2) {
    const at = y(0.01);
    parts.push(s("line", { x1: left, x2: width - right, y1: at, y2: at, class: "threshold" }));
    parts.push(s("text", { x: width - right - 4, y: at - 6, class: "tick", "text-anchor": "end" }, percent(0.01, 0)));
  }
  parts.push(s("text", { x: (left + width - right) / 2, y: height - 8, class: "axis", "text-anchor": "middle" }, xTitle));
  parts.push(s("text", { x: 16, y: (top + height - bottom) / 2, class: "axis upright", "text-anchor": "middle", transform: `rotate(-90 16 ${(top + height - bottom) / 2})` }, yTitle));
  const ends = [];
  for (const { label: name, values, series } of lines) {
    let path = "";
    let last = null;
    values.forEach((share, k) => {
      if (!(share > 0) || Math.log10(share) < lowest) return;
      path += `${last === k - 1 && path ? "L" : "M"}${x(k).toFixed(1)} ${y(share).toFixed(1)}`;
      last = k;
    });
    parts.push(s("path", { d: path, class: `line series-${series}`, "stroke-dasharray": DASHES[series] ?? "" }));
    if (last !== null) ends.push({ name, series, x: x(last), y: y(values[last]) });
  }
  ends.sort((a, b) => a.y - b.y);
  ends.forEach((end, i) => {
    end.at = i ? Math.max(end.y, ends[i - 1].at + 19) : end.y;
  });
  const over = Math.max(0, (ends.at(-1)?.at ?? 0) - (height - bottom));
  for (const end of ends) {
    parts.push(s("text", { x: end.x + 8, y: end.at - over + 5, class: `line-label series-${end.series}` }, end.name));
  }
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label }, parts);
}

/** Shares that add up with what is between: shut | between | open. */
export function shareBars(rows, words) {
  return h("table", { class: "shares" },
    h("tbody", null, rows.map(({ name, low, high }) => {
      const shut = h("span", { class: "share-low" });
      const open = h("span", { class: "share-high" });
      shut.style.width = `${100 * low}%`;
      open.style.width = `${100 * high}%`;
      return h("tr", null,
        h("th", { scope: "row" }, name),
        h("td", { class: "share-number" }, percent(low)),
        h("td", { class: "share-bar", title: `${words.shut} ${percent(low)}, ${words.wide} ${percent(high)}` }, h("span", { class: "share-track" }, shut, open)),
        h("td", { class: "share-number" }, percent(high)));
    })));
}

/** How many values lie in each of the bins, whose edges double: 1, 2, 4 ... */
export function doublingHistogram(values, { xTitle, yTitle, label }) {
  const finite = values.filter((v) => v !== null);
  const most = Math.max(2, ...finite);
  const bins = Math.min(12, Math.ceil(Math.log2(most)) || 1);
  const counts = new Array(bins).fill(0);
  for (const value of finite) counts[Math.min(bins - 1, Math.max(0, Math.floor(Math.log2(value))))] += 1;
  const width = 720;
  const height = 230;
  const left = 84;
  const bottom = 52;
  const top = 26;
  const highest = Math.max(...counts, 1);
  const wide = (width - left - 16) / bins;
  const parts = counts.flatMap((count, k) => {
    const tall = (count / highest) * (height - top - bottom);
    const at = left + k * wide;
    return [
      s("rect", { x: at + 2, y: height - bottom - tall, width: wide - 4, height: tall, rx: 3, class: "column-bar" }),
      count ? s("text", { x: at + wide / 2, y: height - bottom - tall - 7, class: "tick", "text-anchor": "middle" }, String(count)) : null,
      s("text", { x: at, y: height - bottom + 24, class: "tick", "text-anchor": "middle" }, String(2 ** k)),
    ];
  }).filter(Boolean);
  parts.push(s("line", { x1: left, x2: width - 16, y1: height - bottom, y2: height - bottom, class: "rule" }));
  parts.push(s("text", { x: (left + width) / 2, y: height - 8, class: "axis", "text-anchor": "middle" }, xTitle));
  parts.push(s("text", { x: 16, y: (height - bottom) / 2 + 10, class: "axis upright", "text-anchor": "middle", transform: `rotate(-90 16 ${(height - bottom) / 2 + 10})` }, yTitle));
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label }, parts);
}
