// A cell with one unit, whose numbers are computed here: its drawing, its equations one by one, and what
// its gates and states do over some steps. Sliders move the gates' biases.

import { Drawing } from "../cells/drawing.js";
import { formula, numbersThatAdd, readStep, shownNumbers } from "../cells/equations.js";
import { layOut } from "../cells/layout.js";
import { sceneOf } from "../cells/scene.js";
import { sentenceFor, titleFor } from "../cells/sentences.js";
import { h, math, prose, s } from "../dom.js";
import { t as say } from "../i18n.js";
import { filledTerm, fixed } from "../numbers.js";
import { button, slider } from "./controls.js";
import { Network } from "./network.js";
import { figureWidth } from "./unrolled.js";

/** What the unit reads: a pulse, nothing, another one with the other sign. */
const INPUTS = [0, 1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0];

/**
 * Runs a network of one unit over inputs; returns the numbers of each step by the ids of the graph's nodes.
 * weights: for each gate [of the input, of the past, bias].
 */
function runUnit(cell, weights, inputs = INPUTS) {
  const network = new Network({ cell, input: 1, hidden: 1, output: 1 });
  cell.gates.forEach((gate, k) => {
    const [input, past, bias] = weights[gate];
    network.weights.weight_ih[k] = input;
    network.weights.weight_hh[k] = past;
    network.weights.bias_ih[k] = bias;
    network.weights.bias_hh[k] = 0;
  });
  let state = network.begin();
  return inputs.map((x) => {
    const values = network.step([x], state);
    const numbers = Object.fromEntries(cell.step.nodes.map(({ id }) => [id, values[id][0]]));
    for (const name of cell.states) numbers[`before:${name}`] = state[name][0];
    state = Object.fromEntries(cell.states.map((name) => [name, values[name]]));
    return numbers;
  });
}

/** Lines over the steps: the input as columns, each of `lines` {name, values, series, dash}. */
function traceChart(lines, inputs, at, { label, onpick }) {
  const width = figureWidth();
  const [left, right, top, bottom] = [38, 52, 14, 34];
  const tall = 200;
  const all = lines.flatMap(({ values }) => values);
  const most = Math.max(1, ...all.map(Math.abs));
  const step = (width - left - right) / inputs.length;
  const x = (k) => left + step * (k + 0.5);
  const y = (value) => top + ((most - value) / (2 * most)) * (tall - top - bottom);
  const ends = lines.map(({ name, values, series }) => ({ name, series, y: y(values.at(-1)) })).sort((a, b) => a.y - b.y);
  for (let k = 1; k < ends.length; k += 1) ends[k].y = Math.max(ends[k].y, ends[k - 1].y + 16);
  const over = Math.max(0, (ends.at(-1)?.y ?? 0) - (tall - bottom));
  return s("svg", { viewBox: `0 0 ${width} ${tall}`, class: "chart trace", role: "img", "aria-label": label },
    s("rect", { x: x(at) - step / 2, y: top - 8, width: step, height: tall - top - bottom + 16, rx: 6, class: "here-column" }),
    [-1, 0, 1].map((value) => [s("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "rule" }), s("text", { x: left - 8, y: y(value) + 5, class: "tick", "text-anchor": "end" }, fixed(value, 0))]),
    inputs.map((value, k) => (value ? s("rect", { x: x(k) - 7, width: 14, y: Math.min(y(0), y(value)), height: Math.abs(y(value) - y(0)), rx: 3, class: "input-bar" }) : null)),
    lines.map(({ values, series, dash }) => s("path", { d: values.map((value, k) => `${k ? "L" : "M"}${x(k).toFixed(1)} ${y(value).toFixed(1)}`).join(""), class: `line series-${series}`, "stroke-dasharray": dash })),
    lines.filter(({ dash }) => !dash).map(({ values, series }) => values.map((value, k) => s("circle", { cx: x(k), cy: y(value), r: 3.6, class: `point series-${series}` }))),
    ends.map(({ name, series, y: where }) => s("text", { x: width - right + 8, y: where - over + 5, class: `line-label series-${series}` }, name)),
    inputs.map((_, k) => s("text", { x: x(k), y: tall - 12, class: "tick", "text-anchor": "middle" }, String(k + 1))),
    inputs.map((_, k) => s("rect", { x: x(k) - step / 2, y: 0, width: step, height: tall, class: "pick hidden-pick", onclick: () => onpick(k) })));
}

/**
 * The scene of a cell. weights: to begin with, see `runUnit`. knobs: gates whose bias has a slider. lines: what is
 * drawn over the steps: {id, name, series, dash}. below: further drawings of a step's numbers. at: the first step shown.
 */
export function cellScene({ figure, controls, tell, t, cells }, { name, weights, knobs, lines, checks, below = () => [], at: first = 1 }) {
  const cell = cells[name];
  const step = readStep(cell.step);
  const { equations } = step;
  const scene = sceneOf(step, cell.states);
  const drawing = new Drawing(scene, layOut(scene, cell.states), false);
  const named = new Set(equations.map(({ id }) => id));
  let at = first;
  let on = -1; // of the equations; -1 is all
  const holder = h("div", { class: "diagram-holder", tabindex: "0", "aria-label": t("label") }, drawing.svg);
  const chips = h("div", { class: "chips", role: "group", "aria-label": t("equations") });
  const block = h("div", { class: "equation-block" });
  const trace = h("div");
  const further = h("div");
  figure.replaceChildren(holder, chips, block, trace, further);

  const choose = (index) => {
    on = index;
    draw();
  };
  const walk = (by) => {
    at = Math.max(0, Math.min(INPUTS.length - 1, at + by));
    draw();
  };

  function draw() {
    const run = runUnit(cell, weights);
    const numbers = run[at];
    drawing.show(numbers, numbersThatAdd(step, numbers, 3, drawing.ids), fixed(INPUTS[at], 0), t("label"));
    drawing.highlight(equations[on]?.id ?? null);
    chips.replaceChildren(
      h("button", { type: "button", class: "chip", "aria-pressed": String(on === -1), onclick: () => choose(-1) }, say("whole")),
      ...equations.map((equation, k) => h("button", { type: "button", class: "chip", "data-equation": equation.id, "aria-pressed": String(on === k), onclick: () => choose(k) }, prose(titleFor(equation)))));
    const short = numbersThatAdd(step, numbers, 2, named);
    block.replaceChildren(...equations.filter((_, k) => on === -1 || on === k).map((equation) => {
      const shown = shownNumbers(step, equation, numbers);
      const terms = equation.terms.map((term) => h("span", { class: "term" }, "= ", filledTerm(term, shown).map(({ name: id, text }) =>
        (id ? h("span", { class: "n" }, text) : math(text)))));
      return h("div", { class: `operation${on === -1 ? "" : " on"}`, "data-equation": equation.id },
        h("div", { class: "formula" }, formula(equation.formula)),
        h("div", { class: "filled" }, on === -1 ? terms.slice(0, 1).concat(terms.slice(-1)) : terms),
        on === -1 ? null : h("p", { class: "said" }, prose(sentenceFor(equation, numbers, short))));
    }));
    trace.replaceChildren(traceChart(
      lines.map((line) => ({ ...line, values: run.map((each) => each[line.id]) })), INPUTS, at,
      { label: t("trace_label"), onpick: (k) => walk(k - at) }));
    further.replaceChildren(...below(numbers, at));
    const results = equations.filter(({ kind }) => ["state", "output"].includes(kind)).map((equation) => sentenceFor(equation, numbers, short));
    tell(`${t("told", { number: at + 1, x: fixed(INPUTS[at], 0) })} ${results.join(" ")}`);
  }

  controls.replaceChildren(
    h("div", { class: "joined" },
      button("‹", () => walk(-1), { "aria-label": say("previous_step"), title: say("previous_step") }),
      button("›", () => walk(1), { "aria-label": say("next_step"), title: say("next_step"), id: "next-step" })),
    ...knobs.map(({ gate, part = 2, label, min = -6, max = 6 }) => slider({
      label: t(label ?? `knob_${gate}`), id: `knob-${gate}-${part}`, min, max, step: 0.5, value: weights[gate][part], digits: 1, onchange: (value) => {
        weights[gate][part] = value;
        draw();
      },
    })));
  draw();
  return {
    numbers: () => [["t", "x", ...cell.step.nodes.map(({ id }) => id)], ...runUnit(cell, weights).map((numbers, k) => [k + 1, INPUTS[k], ...cell.step.nodes.map(({ id }) => numbers[id])])],
    checks,
    redraw: draw,
    key(key) {
      const to = { ArrowDown: Math.min(equations.length - 1, on + 1), ArrowUp: Math.max(-1, on - 1) }[key];
      if (to !== undefined) choose(to);
      else if (key === "[" || key === "]") walk(key === "[" ? -1 : 1);
      else return false;
      return true;
    },
  };
}

export const gates = (stage) => cellScene(stage, {
  name: "lstm",
  weights: { i: [6, 0, -3], f: [0, 0, 4], g: [2, 0.3, 0], o: [0, 0, 1] },
  knobs: [{ gate: "f" }, { gate: "i" }, { gate: "o" }],
  lines: [{ id: "c", name: "c", series: 0 }, { id: "h", name: "h", series: 2 }, { id: "f", name: "f", series: 1, dash: "7 4" }, { id: "i", name: "i", series: 3, dash: "2 4" }],
  checks: [{ number: 0 }, { choice: 1 }, { choice: 0 }],
});

export const gru = (stage) => cellScene(stage, {
  name: "gru",
  weights: { r: [0, 0, 2], z: [-5, 0, 3], n: [2, 0.5, 0] },
  knobs: [{ gate: "z" }, { gate: "r" }],
  lines: [{ id: "h", name: "h", series: 0 }, { id: "z", name: "z", series: 1, dash: "7 4" }, { id: "r", name: "r", series: 3, dash: "2 4" }],
  checks: [{ number: 0.7 }, { choice: 2 }],
});

export const janet = (stage) => cellScene(stage, {
  name: "janet",
  weights: { f: [-4, 0, 3], g: [2, 0.5, 0] },
  knobs: [{ gate: "f" }],
  lines: [{ id: "h", name: "h", series: 0 }, { id: "f", name: "f", series: 1, dash: "7 4" }, { id: "h.1.0.1", name: "f′", series: 3, dash: "2 4" }],
  checks: [{ choice: 1 }, { number: 1 - 1 / (1 + Math.exp(-1)), within: 0.006 }],
});
