// Small figures of the page: lines over a logarithmic axis, bars. Each is SVG with its numbers.

import { h, s } from "./dom.js";
import { local, percent, powerOfTen } from "./numbers.js";

/** Dashes of lines, as many as there are colours. */
export const DASHES = ["", "7 4", "2 4", "9 3 2 3", "1 3"];

/** How wide a chart is drawn: on a telephone with fewer units, so that its text is as large as elsewhere. */
export const chartWidth = () => (innerWidth <= 720 ? 400 : 720);

const ruler = document.createElement("canvas").getContext("2d");

/** How wide a text is in a chart, in the chart's units. */
export function textWidth(text) {
  ruler.font = `${chartWidth() < 700 ? 14 : 15}px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}

/** What tells line number `k` from others: a colour, and a dash that another line of that colour has not. */
const lookOf = (k) => ({ colour: k % DASHES.length, dash: DASHES[(k + Math.floor(k / DASHES.length)) % DASHES.length] });

/** Decades as a reader says them: 1, 0.1, 0.01, 10⁻³. */
function decade(power) {
  if (power >= -2 && power <= 2) return local(String(10 ** power));
  return powerOfTen(power);
}

/** A step that cuts `most` into at most `parts` round pieces. */
function roundStep(most, parts) {
  const raw = Math.max(1, most / parts);
  const size = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((k) => k * size).find((step) => step >= raw);
}

/**
 * Lines over lags, the shares on a logarithmic axis.
 * lines: {label, values, series}; told apart by colour, dash and a label at the end. cut: {lag, label}
 * of a mark, or null.
 */
export function lagChart({ lines, cut, xTitle, yTitle, label }) {
  const width = chartWidth();
  const height = width < 700 ? 300 : 380;
  const left = width < 700 ? 56 : 84;
  const right = 30 + (width < 700 ? 8.6 : 9.6) * Math.max(5, ...lines.map((line) => line.label.length));
  const top = 26;
  const bottom = 52;
  const usable = lines.flatMap((line) => line.values).filter((v) => v > 0);
  const lowest = Math.max(-8, Math.floor(Math.log10(Math.min(...usable, 0.1))));
  const highest = Math.min(6, Math.max(0, Math.ceil(Math.log10(Math.max(...usable, 1)) - 0.05)));
  const measured = Math.max(...lines.map((line) => line.values.length)) - 1;
  const reached = Math.max(...lines.map((line) => line.values.findLastIndex((share) => share > 10 ** lowest)), cut?.lag ?? 0);
  const steps = Math.min(measured, Math.ceil(1.08 * reached)); // nothing is to be seen beyond
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
  const step = roundStep(steps, width < 700 ? 4 : 6);
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
  if (cut) {
    parts.push(s("line", { x1: x(cut.lag), x2: x(cut.lag), y1: top, y2: height - bottom, class: "threshold cut" }));
    parts.push(s("text", { x: x(cut.lag), y: top - 8, class: "tick", "text-anchor": "middle" }, cut.label));
  }
  const ends = [];
  for (const { label: name, values, series } of lines) {
    const { colour, dash } = lookOf(series);
    const points = values.map((share, k) => [k, share]).filter(([, share]) => share > 0 && Math.log10(share) >= lowest);
    const path = points.map(([k, share], i) => `${i ? "L" : "M"}${x(k).toFixed(1)} ${y(share).toFixed(1)}`).join("");
    parts.push(s("path", { d: path, class: `line series-${colour}`, "stroke-dasharray": dash }));
    // where a level sees only some of the steps, those are marked
    const hasGaps = points.some(([k], i) => i && k > points[i - 1][0] + 1);
    if (hasGaps) parts.push(...points.map(([k, share]) => s("circle", { cx: x(k), cy: y(share), r: 3, class: `point series-${colour}` })));
    const last = points.at(-1);
    if (last) ends.push({ name, colour, x: x(last[0]), y: y(last[1]) });
  }
  for (const end of apart(ends, 19, height - bottom)) {
    const isAway = Math.abs(end.at - end.y) > 5;
    if (isAway) parts.push(s("path", { d: `M${end.x + 2} ${end.y}L${end.x + 12} ${end.at}`, class: "leader" }));
    parts.push(s("text", { x: end.x + (isAway ? 15 : 8), y: end.at + 5, class: `line-label series-${end.colour}` }, end.name));
  }
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label }, parts);
}

/** Labels {x, y} at places `at` beside their lines' ends, those near each other moved apart, none below `lowest`. */
function apart(ends, distance, lowest) {
  const sorted = [...ends].sort((a, b) => a.y - b.y);
  const isNear = (a, b) => Math.abs(a.x - b.x) < 90;
  for (const end of sorted) end.at = Math.min(end.y, lowest);
  for (let round = 0; round < 40; round += 1) {
    sorted.forEach((end, i) => {
      for (const other of sorted.slice(i + 1)) {
        const lack = distance - (other.at - end.at);
        if (!isNear(end, other) || lack <= 0) continue;
        other.at = Math.min(lowest, other.at + lack / 2);
        end.at = other.at - distance;
      }
    });
  }
  return sorted;
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
  const width = chartWidth();
  const height = 230;
  const left = width < 700 ? 16 : 84;
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
