// The window of a convolution over time: what an output sees through levels with growing gaps.

import { s } from "../dom.js";
import { slider } from "./controls.js";
import { figureWidth } from "./unrolled.js";

/** How many steps the last output sees: gaps double from level to level. */
const reachOf = (kernel, levels) => 1 + (kernel - 1) * (2 ** levels - 1);

export function reach({ figure, controls, tell, t }) {
  let [kernel, levels] = [2, 3];
  let at = null; // a step; null is the last

  function draw() {
    const width = figureWidth();
    const count = width < 700 ? 17 : 33;
    const step = (width - 28) / count;
    const x = (k) => 14 + step * (k + 0.5);
    const row = 62;
    const y = (level) => 26 + (levels - level) * row;
    const here = Math.min(at ?? count - 1, count - 1);
    const [lines, dots] = [[], []];
    let lit = new Set([here]);
    const litBy = [];
    for (let level = levels; level >= 0; level -= 1) {
      litBy[level] = lit;
      const below = new Set();
      for (const k of lit) for (let i = 0; i < kernel; i += 1) below.add(k - i * 2 ** (level - 1));
      lit = below;
    }
    for (let level = levels; level >= 0; level -= 1) {
      for (let k = 0; k < count; k += 1) {
        if (level) {
          for (let i = 0; i < kernel; i += 1) {
            const from = k - i * 2 ** (level - 1);
            if (from < 0) continue;
            const line = s("path", { d: `M${x(from)} ${y(level - 1)}L${x(k)} ${y(level)}`, class: `way window${litBy[level].has(k) ? " seen" : ""}` });
            if (litBy[level].has(k)) lines.push(line);
            else lines.unshift(line);
          }
        }
        const radius = Math.min(8, step / 2 - 1);
        dots.push(s("circle", { cx: x(k), cy: y(level), r: radius, class: `node${litBy[level].has(k) ? " lit" : ""}${level === levels && k === here ? " here" : ""}` }));
      }
    }
    const picks = Array.from({ length: count }, (_, k) => s("rect", { x: x(k) - step / 2, y: 6, width: step, height: 40, class: "pick hidden-pick", onclick: () => {
      at = k;
      draw();
    } }));
    const labels = [
      s("text", { x: 14, y: y(0) + 30, class: "tick" }, t("inputs")),
      s("text", { x: width - 14, y: y(0) + 30, class: "tick", "text-anchor": "end" }, t("now")),
    ];
    figure.replaceChildren(s("svg", { viewBox: `0 0 ${width} ${y(0) + 40}`, class: "unrolled-figure lecture-figure", role: "img", "aria-label": t("label") }, lines, dots, labels, picks));
    const seen = reachOf(kernel, levels);
    tell(t("told", { seen, kernel, levels, inside: [...litBy[0]].filter((k) => k >= 0).length }));
  }

  controls.replaceChildren(
    slider({ label: t("kernel"), id: "kernel", min: 2, max: 5, step: 1, value: kernel, digits: 0, onchange: (value) => {
      kernel = value;
      draw();
    } }),
    slider({ label: t("levels"), id: "levels", min: 1, max: 5, step: 1, value: levels, digits: 0, onchange: (value) => {
      levels = value;
      draw();
    } }));
  draw();
  return {
    numbers: () => [["levels", "gap_of_the_last", "steps_seen"], ...Array.from({ length: levels }, (_, l) => [l + 1, 2 ** l, reachOf(kernel, l + 1)])],
    checks: [{ number: 31 }, { choice: 1 }],
    redraw: draw,
    key(key) {
      const by = { ArrowUp: 1, ArrowDown: -1 }[key];
      if (!by) return false;
      const count = figureWidth() < 700 ? 17 : 33;
      at = Math.max(0, Math.min(count - 1, (at ?? count - 1) + by));
      draw();
      return true;
    },
  };
}
