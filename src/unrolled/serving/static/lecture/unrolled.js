// The network once for every step: what goes in below, the state in the middle, what it says above.

import { s } from "../dom.js";
import { percent } from "../numbers.js";
import { inkOn, scaleOf } from "../scales.js";

const MOST_WIDE = 132; // of a column
const BAR = 15; // how tall a line of a distribution is

const css = (rgb) => `rgb(${rgb.join(" ")})`;

/** How wide figures of the lecture are drawn: on a telephone with fewer units, so that texts stay as large. */
export const figureWidth = () => (innerWidth <= 720 ? 380 : 760);

export function arrowHead(id = "lecture-head", style = "head") {
  return s("defs", null, s("marker", { id, viewBox: "0 0 10 10", refX: 8, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" },
    s("path", { d: "M0 1L9 5L0 9z", class: style })));
}

/** A text as large as the room allows, at most `most`. */
export function fitted(text, x, y, room, { most = 19, ...properties } = {}) {
  const size = Math.max(8, Math.min(most, room / (0.61 * Math.max(1, text.length))));
  const element = s("text", { x, y: y + 0.34 * size, "text-anchor": "middle", ...properties }, text);
  element.style.fontSize = `${size.toFixed(1)}px`;
  return element;
}

/** The units of a state as cells, over one another. */
function strip(values, x, y, wide, tall) {
  const scale = scaleOf("h", [], [-1, 1]);
  const each = tall / values.length;
  return [...values].map((value, k) => {
    const cell = s("rect", { x: x - wide / 2, y: y + k * each, width: wide, height: each });
    cell.style.fill = css(scale.rgb(value));
    return cell;
  });
}

/** A distribution as bars: {text, share, right}. */
function bars(shares, x, y, wide) {
  const label = Math.min(0.5 * wide, 8 + 8.2 * Math.max(...shares.map(({ text }) => text.length)));
  return shares.map(({ text, share, right }, k) => {
    const at = y + k * BAR;
    const room = wide - label;
    return [
      s("rect", { x: x - wide / 2 + label, y: at + 2, width: room, height: BAR - 4, rx: 3, class: "bar-ground" }),
      s("rect", { x: x - wide / 2 + label, y: at + 2, width: Math.max(0.5, room * share), height: BAR - 4, rx: 3, class: right ? "bar-right" : "bar-share" }),
      fitted(text, x - wide / 2 + label / 2, at + BAR / 2, label - 4, { most: 13, class: right ? "bar-text right" : "bar-text" }),
    ];
  });
}

/**
 * columns: {input: text or null, state: numbers, output: {text, share, right, tone} or null, shares: of all outputs
 * or nothing}. label: of the whole. picture: {width, height, draw} of what goes in on the left, and can be changed. Returns an SVG.
 */
export function unrolledFigure(columns, { label, picture = null, stateTall = 92 }) {
  const width = figureWidth();
  const first = picture ? picture.width : 0;
  const wide = Math.min(MOST_WIDE, (width - 16 - first) / columns.length);
  const left = (width - first - wide * columns.length) / 2 + first;
  const half = Math.min(38, wide * 0.4);
  const numShares = Math.max(0, ...columns.map(({ shares }) => shares?.length ?? 0));
  const sharesTall = numShares ? numShares * BAR + 10 : 0;
  const top = 6 + sharesTall;
  const outputTall = 46;
  const stateTop = top + outputTall + 34;
  const inputTop = stateTop + stateTall + 34;
  const x = (k) => left + wide * (k + 0.5);
  const parts = [arrowHead()];
  const way = (d) => s("path", { d, class: "way", "marker-end": "url(#lecture-head)" });
  columns.forEach(({ input, state, output, shares }, k) => {
    const at = x(k);
    const group = s("g");
    const middle = stateTop + stateTall / 2;
    if (k) group.append(way(`M${x(k - 1) + half * 0.7 + 2} ${middle}H${at - half * 0.7 - 3}`));
    if (input !== null) {
      group.append(way(`M${at} ${inputTop - 2}V${stateTop + stateTall + 4}`));
      group.append(s("rect", { x: at - half, y: inputTop, width: 2 * half, height: 40, rx: 8, class: "token" }));
      group.append(fitted(input, at, inputTop + 20, 2 * half - 8, { class: "glyph" }));
    }
    group.append(...strip(state, at, stateTop, 1.4 * half, stateTall));
    group.append(s("rect", { x: at - 0.7 * half, y: stateTop, width: 1.4 * half, height: stateTall, rx: 4, class: "state-frame" }));
    if (output) {
      group.append(way(`M${at} ${stateTop - 2}V${top + outputTall + 5}`));
      group.append(s("rect", { x: at - half, y: top, width: 2 * half, height: outputTall, rx: 9, class: ["guess", output.right === true && "right", output.right === false && "wrong", output.tone].filter(Boolean).join(" ") }));
      group.append(fitted(output.text, at, top + 17, 2 * half - 8, { class: "glyph" }));
      if (output.share !== undefined) group.append(fitted(percent(output.share), at, top + 36, 2 * half - 6, { most: 12.5, class: "tick" }));
    }
    if (shares) group.append(...bars(shares, at, 2, Math.min(wide - 8, 2.1 * half)).flat());
    parts.push(group);
  });
  if (picture) {
    parts.push(picture.draw(0, stateTop + stateTall / 2), way(`M${picture.width - 6} ${stateTop + stateTall / 2}H${x(0) - 0.7 * half - 3}`));
  }
  const hasInput = columns.some(({ input }) => input !== null);
  const height = hasInput ? inputTop + 46 : stateTop + Math.max(stateTall, picture ? stateTall / 2 + picture.height / 2 : 0) + 8;
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "unrolled-figure lecture-figure", role: picture ? "group" : "img", "aria-label": label }, parts);
}

/** A number in a box in the colour of its value. */
export function numberBox(value, text, x, y, half, tall, low = -1, high = 1) {
  const colour = scaleOf("h", [], [low, high]).rgb(value);
  const box = s("rect", { x: x - half, y: y - tall / 2, width: 2 * half, height: tall, rx: 9, class: "state" });
  box.style.fill = css(colour);
  const label = fitted(text, x, y, 2 * half - 4, { most: 15, class: "state-number" });
  label.style.fill = inkOn(colour);
  return [box, label];
}
