// Step: the cell as a drawing and as equations, one step at a time, with the numbers of one unit.

import * as api from "../api.js";
import { Drawing } from "../cells/drawing.js";
import { formula, numbersAt, numbersThatAdd, readStep, shownNumbers } from "../cells/equations.js";
import { layOut } from "../cells/layout.js";
import { sceneOf } from "../cells/scene.js";
import { sentenceFor, titleFor } from "../cells/sentences.js";
import { partControl, unitControl } from "../controls.js";
import { h, math, oneAtATime, prose, spoken } from "../dom.js";
import { t } from "../i18n.js";
import { filledTerm } from "../numbers.js";
import { forget } from "../scales.js";
import { nothingToRead, place, question, rangeOf, run, set, state, watch } from "../store.js";
import { legend, ribbon } from "../text.js";
import { explaining } from "./explaining.js";
import { holding } from "./holding.js";
import { player } from "./player.js";
import { unitGrid } from "./units.js";

const MOST_BESIDE = 1100; // how wide a drawing may be to have its equations beside it
const LEAST_ROOM = 260; // for the drawing, in pixels
const BELOW = 42; // what the card has beneath the chips, and the page beneath the card

export function step(root, { signal, report, say }) {
  const one = run();
  if (one.step.refused) {
    const words = t("no_graph", { message: one.step.refused });
    root.replaceChildren(h("section", { class: "card" }, h("h1", null, t("views.step")), h("p", null, words)));
    return { step: () => false };
  }
  const cell = readStep(one.step);
  const { equations } = cell;
  const named = new Set(equations.map(({ id }) => id));
  const isReverse = () => one.parts[state.part].reverse;
  let unit = null; // the numbers of the unit over the text
  let pieces = [];
  let drawing = null;
  let drawn = null; // for which direction

  const text = ribbon((at) => set({ position: at }), t("text"));
  const holder = h("div", { class: "diagram-holder", tabindex: "0" });
  const sentence = h("p", { class: "sentence", id: "sentence", });
  const list = h("ol", { class: "operations" });
  const chips = h("div", { class: "chips", role: "group" },
    h("button", { type: "button", class: "chip", "aria-pressed": "true", "data-equation": "whole", onclick: () => set({ operation: -1 }) }, t("whole")),
    equations.map((equation, index) =>
      h("button", { type: "button", class: "chip", "aria-pressed": "false", "data-equation": equation.id, onclick: () => set({ operation: index }) },
        prose(titleFor(equation)))));
  const legendHolder = h("span");
  const wayHint = h("p", { class: "soft hint" });
  const buttons = player({ signal, length: () => pieces.length });
  const units = unitGrid(signal, (chosen) => set({ unit: chosen }));
  const choose = (at) => set({ position: at });
  const held = one.says ? holding({ signal, report, choose }) : null; // of what is no choice there are no shares to compare
  const explained = explaining({ signal, report, choose });
  const products = equations.filter(({ kind }) => kind === "vector").map(({ id, symbol }) => {
    const gates = one.step.nodes.filter((node) => node.operation === "product" && node.inputs[0] === id);
    return t("product_note", { u: gates.map((node) => node.symbol).join(", "), vector: symbol });
  });

  const main = h("div", { class: "two wide-left stepping" },
    h("div", { class: "column" },
      h("section", { class: "card" },
        h("h1", { class: "unseen" }, t("views.step")),
        h("div", { class: "card-head" }, buttons.element,
          h("div", { class: "controls" }, partControl(), unitControl(signal), legendHolder)),
        text.element, wayHint, sentence, holder, chips),
      units.element, held?.element, explained.element),
    h("div", { class: "column" },
      h("section", { class: "card equations" }, list,
        [t("terms_note"), t(`cell_notes.${one.cell}`), ...products].filter(Boolean).map((note) => h("p", { class: "soft hint" }, prose(note))))));
  root.replaceChildren(main);
  nothing();

  /** Gives the drawing the room that the window has left, so that nothing has to be scrolled. */
  function fit() {
    const above = holder.getBoundingClientRect().top + scrollY;
    holder.style.setProperty("--room", `${Math.max(LEAST_ROOM, innerHeight - above - chips.offsetHeight - BELOW)}px`);
  }

  /** Says that nothing has been read, and shows no numbers. */
  function nothing() {
    pieces = [];
    sentence.textContent = t("nothing_read");
    main.classList.add("nothing");
  }

  const load = oneAtATime(async () => {
    if (nothingToRead()) {
      nothing();
      return;
    }
    const asked = { ...question(), part: state.part };
    try {
      const [reading, numbers] = await Promise.all([
        api.read({ run: asked.run, text: asked.text }),
        api.unit({ ...asked, unit: state.unit }).catch((error) => error),
      ]);
      if (signal.aborted) return;
      if (numbers instanceof Error && reading.pieces.length) throw numbers; // of nothing there are none
      pieces = reading.pieces;
      unit = numbers;
      report(null);
      if (!pieces.length) {
        nothing();
        return;
      }
      main.classList.remove("nothing");
      draw();
      text.show(pieces, unit.values[one.memory], one.memory, rangeOf(one.memory));
      legendHolder.replaceChildren(legend(one.memory, unit.values[one.memory], rangeOf(one.memory)));
      wayHint.textContent = isReverse() ? t("backwards_hint") : "";
      show();
      held?.show(pieces);
      explained.show(pieces);
    } catch (error) {
      if (signal.aborted) return;
      nothing();
      report(error);
    }
  });

  /** Draws the cell, once for each direction. */
  function draw() {
    if (drawn === isReverse()) return;
    drawn = isReverse();
    const scene = sceneOf(cell, one.states);
    const layout = layOut(scene, one.states);
    drawing = new Drawing(scene, layout, drawn);
    main.classList.toggle("stacked", layout.width > MOST_BESIDE);
    holder.replaceChildren(drawing.svg);
  }

  function show() {
    if (!unit || !pieces.length) return;
    const at = place(pieces.length);
    const numbers = numbersAt(cell, unit, at);
    const shown = new Map(equations.map((equation) => [equation.id, shownNumbers(cell, equation, numbers)]));
    text.mark(at);
    buttons.show(at);
    drawing.show(numbers, numbersThatAdd(cell, numbers, 3, drawing.ids), pieces[at], t("diagram", { cell: one.cell, number: state.unit, token: spoken(pieces[at]) }));
    const short = numbersThatAdd(cell, numbers, 2, named);
    const all = equations.map((equation) => sentenceFor(equation, numbers, short));
    list.replaceChildren(...equations.map((equation, index) => block(equation, index, shown.get(equation.id), all[index])));
    units.show(one.memory, at);
    showEquation();
    const on = equations[state.operation];
    const results = equations.flatMap(({ kind }, index) => (["state", "output"].includes(kind) ? [all[index]] : []));
    const words = on ? all[state.operation] : results.join(" ");
    sentence.replaceChildren(h("span", null, prose(words)));
    fit();
    say(`${spoken(pieces[at])}. ${sentence.textContent}`);
  }

  function block(equation, index, shown, words) {
    const terms = equation.terms.map((term) => {
      const parts = filledTerm(term, shown).map(({ name, text: written }) =>
        name ? h("span", { class: "n", "data-name": name, "data-shown": shown[name] }, written) : math(written));
      return h("span", { class: "term" }, "= ", parts);
    });
    return h("li", { class: "operation", "data-equation": equation.id },
      h("button", { type: "button", class: "operation-name", onclick: () => set({ operation: index }) }, prose(titleFor(equation))),
      h("div", { class: "formula" }, formula(equation.formula, isReverse())),
      h("div", { class: "filled" }, terms),
      h("p", { class: "said" }, prose(words)));
  }

  function showEquation() {
    const on = equations[state.operation]?.id ?? null;
    drawing.highlight(on);
    for (const item of list.children) item.classList.toggle("on", item.dataset.equation === on);
    const lit = list.querySelector(".on");
    const card = list.parentElement;
    if (lit && (lit.offsetTop < card.scrollTop || lit.offsetTop + lit.offsetHeight > card.scrollTop + card.clientHeight)) {
      card.scrollTop = lit.offsetTop - card.clientHeight / 3; // within the card, which is positioned
    }
    for (const chip of chips.children) chip.setAttribute("aria-pressed", String(chip.dataset.equation === (on ?? "whole")));
  }

  watch((changed) => {
    if (changed.has("theme")) forget();
    if (["text", "part", "unit", "theme"].some((name) => changed.has(name))) load();
    else if (changed.has("position") || changed.has("operation")) show();
  }, signal);
  addEventListener("resize", fit, { signal });
  load();

  return {
    /** Keys that mean something here; returns whether this was one. */
    step(key) {
      if (key === "ArrowDown") set({ operation: Math.min(equations.length - 1, state.operation + 1) });
      else if (key === "ArrowUp") set({ operation: Math.max(-1, state.operation - 1) });
      else return buttons.key(key);
      return true;
    },
  };
}
