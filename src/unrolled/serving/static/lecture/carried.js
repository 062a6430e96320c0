// The state carried on: one unit of one cell, rolled up and unrolled over steps, on inputs of the reader's.

import { s } from "../dom.js";
import { fixed } from "../numbers.js";
import { choice, slider } from "./controls.js";
import { arrowHead, figureWidth, fitted, numberBox } from "./unrolled.js";

/** The states of h = tanh(w x + u h) over inputs, from zero. */
export function statesOf(inputs, w, u) {
  let h = 0;
  return inputs.map((x) => {
    h = Math.tanh(w * x + u * h);
    return h;
  });
}

export function carried({ figure, controls, tell, t }) {
  const inputs = [1, 0, 0, 0, 0, 0];
  let [w, u] = [1.5, 0.9];
  let form = "unrolled";

  function rolled(width) {
    const [x, y] = [width / 2, 112];
    const h = statesOf(inputs, w, u).at(-1);
    return s("svg", { viewBox: `0 0 ${width} 230`, class: "unrolled-figure lecture-figure", role: "img", "aria-label": t("label_rolled") }, arrowHead(), arrowHead("loop-head", "back-head"),
      s("path", { d: `M${x} 178V${y + 34}`, class: "way", "marker-end": "url(#lecture-head)" }),
      s("path", { d: `M${x} ${y - 30}V44`, class: "way", "marker-end": "url(#lecture-head)" }),
      s("path", { d: `M${x + 46} ${y - 8}C${x + 130} ${y - 92} ${x + 130} ${y + 92} ${x + 50} ${y + 10}`, class: "back", "stroke-width": 3, "marker-end": "url(#loop-head)" }),
      numberBox(h, "h", x, y, 44, 58),
      s("rect", { x: x - 30, y: 180, width: 60, height: 40, rx: 8, class: "token" }), fitted("x", x, 200, 50, { class: "glyph" }),
      fitted("y", x, 28, 50, { class: "glyph" }),
      s("text", { x: x + 120, y: y + 5, class: "back-share" }, `u = ${fixed(u, 2)}`),
      s("text", { x: x + 12, y: 164, class: "tick" }, `w = ${fixed(w, 2)}`));
  }

  function unrolled(width) {
    const count = inputs.length;
    const wide = Math.min(120, (width - 20) / count);
    const left = (width - wide * count) / 2 + 8;
    const half = Math.min(34, wide * 0.36);
    const states = statesOf(inputs, w, u);
    const x = (k) => left + wide * (k + 0.5);
    const parts = [arrowHead(), arrowHead("loop-head", "back-head")];
    states.forEach((h, k) => {
      const from = k ? x(k - 1) + half + 2 : 4;
      parts.push(s("path", { d: `M${from} 76H${x(k) - half - 4}`, class: "back", "stroke-width": 2.6, "marker-end": "url(#loop-head)" }));
      if (k) parts.push(fitted(`· ${fixed(u, 2)}`, (x(k - 1) + x(k)) / 2, width < 700 ? 38 : 58, wide - 2 * half + 22, { most: 12.5, class: "back-share" }));
      parts.push(s("path", { d: `M${x(k)} 150V${76 + 34}`, class: "way", "marker-end": "url(#lecture-head)" }));
      parts.push(...numberBox(h, fixed(h, 2), x(k), 76, half, 56));
      parts.push(fitted(`t = ${k + 1}`, x(k), 16, wide, { most: 13, class: "tick" }));
      const toggle = () => {
        inputs[k] = inputs[k] ? 0 : 1;
        draw(k);
      };
      parts.push(s("g", {
        class: "pick", role: "button", tabindex: "0", "data-input": k, "aria-label": t("input_label", { number: k + 1, value: inputs[k] }), onclick: toggle,
        onkeydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          event.stopPropagation();
          toggle();
        },
      },
      s("rect", { x: x(k) - half, y: 152, width: 2 * half, height: 42, rx: 8, class: inputs[k] ? "token one" : "token" }),
      fitted(String(inputs[k]), x(k), 173, 2 * half, { class: "glyph" })));
    });
    return s("svg", { viewBox: `0 0 ${width} 204`, class: "unrolled-figure lecture-figure", "aria-label": t("label"), role: "group" }, parts);
  }

  function draw(focused) {
    figure.replaceChildren((form === "rolled" ? rolled : unrolled)(figureWidth()));
    if (typeof focused === "number") figure.querySelector(`[data-input="${focused}"]`).focus();
    const states = statesOf(inputs, w, u);
    tell(t("told", { last: fixed(states.at(-1), 3), number: inputs.length }));
  }

  controls.replaceChildren(
    choice({ label: t("form"), options: { rolled: t("rolled"), unrolled: t("unrolled") }, value: form, onchange: (value) => {
      form = value;
      draw();
    } }),
    slider({ label: t("w"), id: "w", min: -2, max: 2, step: 0.1, value: w, onchange: (value) => {
      w = value;
      draw();
    } }),
    slider({ label: t("u"), id: "u", min: -1.5, max: 1.5, step: 0.1, value: u, onchange: (value) => {
      u = value;
      draw();
    } }));
  draw();
  return {
    numbers: () => [["t", "x", "h"], ...statesOf(inputs, w, u).map((h, k) => [k + 1, inputs[k], h])],
    checks: [{ number: () => statesOf([1, 0], 1, 0.5)[1], within: 0.006 }, { choice: 0 }],
    redraw: draw,
  };
}
