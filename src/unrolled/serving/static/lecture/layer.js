// What one layer sees: a dense one and a convolution, each of the current example alone.

import { s } from "../dom.js";
import { fixed } from "../numbers.js";
import { choice, slider } from "./controls.js";
import { figureWidth, numberBox } from "./unrolled.js";

const EXAMPLES = [[0.2, 0.9, -0.4, 0.6, -0.8, 0.3, 0.7], [-0.6, 0.1, 0.8, -0.9, 0.4, 0.5, -0.2], [0.9, -0.3, 0.2, 0.7, 0.1, -0.7, -0.5]];
const SIZE = EXAMPLES[0].length;
const NUM_OUTPUTS = 5; // of the dense layer

/** A weight of the dense layer, of output j and input i: some that differ. */
const dense = (j, i) => Math.sin(1.7 * (j + 1) + 2.3 * (i + 1)) / 2;
const kernelOf = (size) => Array.from({ length: size }, (_, i) => Math.cos(1.3 * i + 0.4) / Math.sqrt(size));

/** What a layer says of an example; of a convolution as far as its window lies inside. */
export function outputs(kind, example, size) {
  if (kind === "dense") return Array.from({ length: NUM_OUTPUTS }, (_, j) => Math.tanh(example.reduce((sum, x, i) => sum + dense(j, i) * x, 0)));
  const kernel = kernelOf(size);
  return Array.from({ length: SIZE - size + 1 }, (_, j) => Math.tanh(kernel.reduce((sum, w, i) => sum + w * example[j + i], 0)));
}

/** The inputs that an output sees. */
const seen = (kind, j, size) => (kind === "dense" ? EXAMPLES[0].map((_, i) => i) : Array.from({ length: size }, (_, i) => j + i));

export function layer({ figure, controls, tell, t }) {
  let kind = "dense";
  let size = 3;
  let at = { example: 1, output: 2 };

  function draw() {
    const width = figureWidth();
    const isNarrow = width < 700;
    const shown = isNarrow ? [0, 1] : [0, 1, 2];
    const each = isNarrow ? width : width / shown.length; // examples stand beside one another, or below
    const tall = isNarrow ? 186 : 244;
    const [high, low] = [74, tall - 54]; // outputs, inputs
    const step = (each - 22) / SIZE;
    const half = Math.min(18, step / 2 - 1);
    const parts = [];
    const marks = [];
    for (const e of shown) {
      const left = (isNarrow ? 0 : e * each) + 11;
      const top = isNarrow ? e * tall : 0;
      const values = outputs(kind, EXAMPLES[e], size);
      const xIn = (i) => left + step * (i + 0.5);
      const xOut = (j) => left + (each - 22) / 2 + (j - (values.length - 1) / 2) * step;
      const isHere = e === at.example;
      parts.push(s("rect", { x: left - 7, y: top + 28, width: each - 8, height: tall - 36, rx: 12, class: `example${isHere ? " here" : ""}` }));
      parts.push(s("text", { x: left + (each - 22) / 2, y: top + 18, class: "tick", "text-anchor": "middle" }, t("example", { number: e + 1 })));
      values.forEach((value, j) => {
        const chosen = isHere && j === at.output;
        for (const i of seen(kind, j, size)) {
          const line = s("path", { d: `M${xIn(i)} ${top + low - half}L${xOut(j)} ${top + high + half}`, class: `way window${chosen ? " seen" : ""}` });
          (chosen ? marks : parts).push(line);
        }
      });
      EXAMPLES[e].forEach((value, i) => {
        const isSeen = isHere && seen(kind, at.output, size).includes(i);
        marks.push(s("g", { class: isSeen ? "lit" : null }, numberBox(value, fixed(value, 1), xIn(i), top + low, half, 2 * half)));
      });
      values.forEach((value, j) => marks.push(s("g", {
        class: `pick${isHere && j === at.output ? " lit" : ""}`, onclick: () => {
          at = { example: e, output: j };
          draw();
        },
      }, numberBox(value, fixed(value, 1), xOut(j), top + high, half, 2 * half))));
      parts.push(s("text", { x: left, y: top + 50, class: "tick" }, t("output")), s("text", { x: left, y: top + tall - 16, class: "tick" }, t("inputs")));
    }
    figure.replaceChildren(s("svg", { viewBox: `0 0 ${width} ${isNarrow ? shown.length * tall : tall}`, class: "unrolled-figure lecture-figure", role: "img", "aria-label": t("label") }, parts, marks));
    const count = kind === "dense" ? SIZE * NUM_OUTPUTS + NUM_OUTPUTS : size + 1;
    tell(t(kind === "dense" ? "told_dense" : "told_convolution", { example: at.example + 1, seen: seen(kind, at.output, size).length, inputs: SIZE, weights: count }));
  }

  const window = slider({ label: t("kernel"), id: "kernel", min: 1, max: 5, step: 1, value: size, digits: 0, onchange: (value) => {
    size = value;
    at = { ...at, output: Math.min(at.output, SIZE - size) };
    draw();
  } });
  window.hidden = true;
  controls.replaceChildren(
    choice({ label: t("kind"), options: { dense: t("dense"), convolution: t("convolution") }, value: kind, onchange: (value) => {
      kind = value;
      window.hidden = kind === "dense";
      at = { ...at, output: 2 };
      draw();
    } }), window);
  draw();
  return {
    numbers: () => [["example", "output", "value", "sees_inputs"],
      ...EXAMPLES.flatMap((example, e) => outputs(kind, example, size).map((value, j) => [e + 1, j + 1, value, seen(kind, j, size).map((i) => i + 1).join(" ")]))],
    checks: [{ choice: 1 }, { number: 40 }, { number: 5 }],
    redraw: draw,
    key(key) {
      const by = { ArrowUp: 1, ArrowDown: -1 }[key];
      if (!by) return false;
      const most = outputs(kind, EXAMPLES[0], size).length;
      at = { ...at, output: (at.output + by + most) % most };
      draw();
      return true;
    },
  };
}
