// The vanilla cell, and what its state is for: it goes on to the next step, and up to the answer.

import { s } from "../dom.js";
import { fixed, percent } from "../numbers.js";
import { cellScene } from "./cells.js";
import { arrowHead, figureWidth, fitted, numberBox } from "./unrolled.js";

const OUTPUTS = { a: 2.5, b: 0, c: -2.5 }; // by name, the weight from the state

/** The answer of a state: softmax of its products with the weights. */
function answersOf(state) {
  const parts = Object.entries(OUTPUTS).map(([name, weight]) => [name, Math.exp(weight * state)]);
  const sum = parts.reduce((total, [, part]) => total + part, 0);
  return Object.fromEntries(parts.map(([name, part]) => [name, part / sum]));
}

function twoOutputs(state, t) {
  const width = figureWidth();
  const [x, y] = [width < 700 ? 100 : 124, 128];
  const bars = Object.entries(answersOf(state)).map(([name, share], k) => {
    const [left, top, room] = [x + 66, 16 + 22 * k, width - x - 148];
    return [
      fitted(name, left, top + 9, 20, { class: "bar-text" }),
      s("rect", { x: left + 14, y: top, width: room, height: 17, rx: 4, class: "bar-ground" }),
      s("rect", { x: left + 14, y: top, width: Math.max(1, room * share), height: 17, rx: 4, class: "bar-share" }),
      s("text", { x: left + 22 + room, y: top + 14, class: "tick" }, percent(share)),
    ];
  });
  return s("svg", { viewBox: `0 0 ${width} 176`, class: "unrolled-figure lecture-figure", role: "img", "aria-label": t("outputs_label") }, arrowHead(), arrowHead("loop-head", "back-head"),
    s("path", { d: `M${x} ${y - 30}V50Q${x} 42 ${x + 8} 42H${x + 50}`, class: "way", "marker-end": "url(#lecture-head)" }),
    s("path", { d: `M${x + 42} ${y}H${width - 150}`, class: "back", "stroke-width": 2.6, "marker-end": "url(#loop-head)" }),
    numberBox(state, fixed(state, 3), x, y, 40, 56),
    s("text", { x: x - 54, y: y + 6, class: "axis-name", "text-anchor": "end" }, "h", s("tspan", { dy: "0.3em", class: "small-name" }, "t")),
    s("text", { x: width - 142, y: y - 3, class: "tick" }, t("on_1")), s("text", { x: width - 142, y: y + 15, class: "tick" }, t("on_2")),
    fitted(t("up"), (x + 66 + width) / 2, 98, width - x - 70, { most: 13, class: "tick" }), bars);
}

export const vanilla = (stage) => cellScene(stage, {
  name: "rnn",
  weights: { a: [1.5, 0.8, 0] },
  knobs: [{ gate: "a", part: 0, label: "knob_w", min: -3, max: 3 }, { gate: "a", part: 1, label: "knob_u", min: -2, max: 2 }],
  lines: [{ id: "h", name: "h", series: 0 }],
  checks: [{ number: 28 }, { choice: 1 }],
  below: (numbers) => [twoOutputs(numbers.h, stage.t)],
});
