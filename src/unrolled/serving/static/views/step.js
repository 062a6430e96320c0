// Step: the cell as its diagram, one character at a time, with the numbers of one unit.

import * as api from "../api.js";
import { CELLS } from "../cells/index.js";
import { Diagram } from "../cells/diagram.js";
import { shownNumbers } from "../cells/equations.js";
import { unitControl } from "../controls.js";
import { h, math, oneAtATime, prose, s, visible } from "../dom.js";
import { t } from "../i18n.js";
import { filledTerm } from "../numbers.js";
import { forget, scaleOf } from "../scales.js";
import { place, run, set, state, watch } from "../store.js";
import { legend, ribbon } from "../text.js";

const SECONDS_A_STEP = 1.1;

const ICONS = {
  first: "M3 3h2.4v10H3zM14 3v10L6.6 8z",
  back: "M11.5 2.6v10.8L3.6 8z",
  play: "M4 2.4v11.2L13 8z",
  pause: "M3.6 3h3v10h-3zM9.4 3h3v10h-3z",
  on: "M4.5 2.6v10.8L12.4 8z",
  last: "M10.6 3H13v10h-2.4zM2 3v10l7.4-5z",
};

const icon = (name) => s("svg", { viewBox: "0 0 16 16", width: 15, height: 15, "aria-hidden": "true" }, s("path", { d: ICONS[name], fill: "currentColor" }));

export function step(root, { signal, report, say }) {
  let unit = null; // the numbers of the unit over the text
  let pieces = [];
  let diagram = null;
  let cell = null;
  let playing = 0;

  const text = ribbon((at) => set({ position: at }), t("text"));
  const counter = h("span", { class: "soft counter" });
  const holder = h("div", { class: "diagram-holder" });
  const sentence = h("p", { class: "sentence", id: "sentence", "aria-live": "polite" });
  const list = h("ol", { class: "operations" });
  const chips = h("div", { class: "chips", role: "group" });
  const legendHolder = h("span");
  const units = unitGrid(signal, (chosen) => set({ unit: chosen }));
  const playButton = h("button", { type: "button", class: "quiet icon", id: "play", onclick: toggle });
  const go = (to) => () => move(to);
  const nav = (id, label, to) =>
    h("button", { type: "button", class: "quiet icon", id, "aria-label": t(label), title: t(label), onclick: go(to) }, icon(id));

  const main = h("div", { class: "two wide-left" },
    h("div", { class: "column" },
      h("section", { class: "card" },
        h("div", { class: "card-head" },
          h("h1", null, t("views").step),
          h("div", { class: "controls" }, unitControl(signal), legendHolder)),
        text.element,
        h("div", { class: "player" },
          nav("first", "first", () => 0),
          nav("back", "previous", (at) => at - 1),
          playButton,
          nav("on", "next", (at) => at + 1),
          nav("last", "last", (at, n) => n - 1),
          counter),
        sentence,
        holder,
        chips),
      units.element),
    h("div", { class: "column" },
      h("section", { class: "card equations" }, list, h("p", { class: "soft hint" }, prose(t("terms_note"))))));

  const length = () => pieces.length;

  function move(to) {
    if (!length()) return;
    const at = to(place(length()), length());
    set({ position: Math.max(0, Math.min(length() - 1, at)) });
  }

  function toggle() {
    if (playing) {
      clearInterval(playing);
      playing = 0;
    } else {
      playing = setInterval(() => {
        if (place(length()) >= length() - 1) toggle();
        else move((at) => at + 1);
      }, SECONDS_A_STEP * 1000);
    }
    showPlay();
  }

  function showPlay() {
    playButton.replaceChildren(icon(playing ? "pause" : "play"));
    playButton.setAttribute("aria-label", t(playing ? "pause" : "play"));
    playButton.title = t(playing ? "pause" : "play");
  }

  /** All numbers of the unit at one step: x, u, b(efore), v(alues), d(erived). */
  function numbersAt(at) {
    const pick = (part) => Object.fromEntries(Object.entries(part).map(([name, all]) => [name, all[at]]));
    const numbers = { x: pick(unit.x), u: pick(unit.u), b: pick(unit.before), v: pick(unit.values) };
    numbers.d = cell.derive(numbers);
    return numbers;
  }

  const load = oneAtATime(async () => {
    const one = run();
    cell = CELLS[one?.equations] ?? null;
    if (!cell) {
      root.replaceChildren(h("section", { class: "card" }, h("p", null, t("no_cell")(one?.cell ?? ""))));
      return;
    }
    if (!root.contains(main)) root.replaceChildren(main);
    const asked = { run: state.run, text: state.text, layer: state.layer, unit: Math.min(state.unit, one.hidden_size - 1) };
    try {
      if (asked.unit !== state.unit) set({ unit: asked.unit });
      const [reading, numbers] = await Promise.all([
        api.read({ run: asked.run, text: asked.text }),
        api.unit(asked),
      ]);
      if (signal.aborted || asked.run !== state.run) return;
      pieces = reading.pieces;
      unit = numbers;
      report(null);
      if (!pieces.length) {
        sentence.textContent = t("nothing_read");
        return;
      }
      diagram = new Diagram(cell, "");
      holder.replaceChildren(diagram.svg);
      text.show(pieces, unit.values[cell.memory], cell.memory);
      legendHolder.replaceChildren(legend(cell.memory, unit.values[cell.memory]));
      drawChips();
      show();
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  });

  function title(operation) {
    if (operation.id === "update" && cell.memory === "h") return t("gru_update");
    return t("operations")[operation.id];
  }

  function drawChips() {
    const all = [{ id: null }, ...cell.operations];
    chips.replaceChildren(...all.map((operation, index) =>
      h("button", {
        type: "button", class: "chip", "aria-pressed": "false", "data-operation": operation.id ?? "whole",
        onclick: () => set({ operation: index - 1 }),
      }, operation.id === null ? t("whole") : title(operation))));
  }

  function show() {
    if (!unit || !pieces.length) return;
    const at = place(pieces.length);
    const numbers = numbersAt(at);
    text.mark(at);
    counter.textContent = t("character_of")(at + 1, pieces.length);
    diagram.show(numbers, pieces[at]);
    const label = t("diagram")(run().cell.toUpperCase(), state.unit, visible(pieces[at]));
    diagram.svg.setAttribute("aria-label", label);
    diagram.title.textContent = label;
    const sentences = t("sentences")[run().equations];
    list.replaceChildren(...cell.operations.map((operation) => block(operation, numbers, sentences)));
    units.show(cell, at);
    showOperation();
    const on = cell.operations[state.operation];
    const said = on ? [on.id] : cell.summary;
    sentence.textContent = said.map((id) => sentences[id](numbers)).join(" ");
    say(`${visible(pieces[at])}. ${sentence.textContent}`);
  }

  function block(operation, numbers, sentences) {
    const shown = shownNumbers(operation, numbers);
    const terms = operation.terms.map((term) => {
      const parts = filledTerm(term, shown).map(({ name, text }) =>
        name ? h("span", { class: "n", "data-name": name, "data-shown": shown[name] }, text) : math(text));
      return h("span", { class: "term" }, "= ", parts);
    });
    return h("li", { class: "operation", "data-operation": operation.id },
      h("button", {
        type: "button", class: "operation-name",
        onclick: () => set({ operation: cell.operations.indexOf(operation) }),
      }, title(operation)),
      h("div", { class: "formula" }, math(operation.formula)),
      h("div", { class: "filled" }, terms),
      h("p", { class: "said" }, sentences[operation.id](numbers)));
  }

  function showOperation() {
    const on = cell.operations[state.operation]?.id ?? null;
    diagram.highlight(on);
    for (const item of list.children) item.classList.toggle("on", item.dataset.operation === on);
    for (const chip of chips.children) {
      chip.setAttribute("aria-pressed", String(chip.dataset.operation === (on ?? "whole")));
    }
  }

  watch((changed) => {
    if (changed.has("theme")) forget();
    if (changed.has("run")) set({ operation: -1 });
    if (["run", "text", "layer", "unit", "theme"].some((name) => changed.has(name))) load();
    else if (changed.has("position") || changed.has("operation")) show();
  }, signal);
  signal.addEventListener("abort", () => clearInterval(playing));
  showPlay();
  load();

  return {
    /** Keys that mean something here; returns whether this was one. */
    step(key) {
      if (!cell) return false;
      const count = cell.operations.length;
      const keys = {
        ArrowLeft: () => move((at) => at - 1),
        ArrowRight: () => move((at) => at + 1),
        Home: () => move(() => 0),
        End: () => move((at, n) => n - 1),
        ArrowDown: () => set({ operation: Math.min(count - 1, state.operation + 1) }),
        ArrowUp: () => set({ operation: Math.max(-1, state.operation - 1) }),
        " ": toggle,
      };
      if (!keys[key]) return false;
      keys[key]();
      return true;
    },
  };
}

/** All units as squares, coloured by what they hold now, to choose one from. */
function unitGrid(signal, choose) {
  const canvas = h("canvas", { class: "grid", tabindex: "0", role: "slider", "aria-valuemin": "0" });
  const hint = h("p", { class: "soft hint" });
  const busiest = h("button", { type: "button", class: "quiet", id: "busiest" }, t("busiest"));
  const element = h("section", { class: "card" },
    h("div", { class: "card-head" }, h("h2", null, t("choose_unit")), busiest), canvas, hint);
  let drawn = null;

  const size = () => {
    const width = element.clientWidth - 40;
    const columns = Math.max(16, Math.min(48, Math.floor(width / 16)));
    return { columns, rows: Math.ceil(drawn.units / columns) };
  };

  const show = oneAtATime(async (cell, at) => {
    const name = cell.memory;
    canvas.setAttribute("aria-label", t("choose_unit"));
    hint.textContent = t("grid_hint")(t("signal")[name]);
    try {
      const start = Math.max(0, at - 1);
      const answer = await api.map({ run: state.run, text: state.text, layer: state.layer, name, start, stop: at + 1 });
      if (signal.aborted) return;
      const bytes = Uint8Array.from(atob(answer.data), (c) => c.charCodeAt(0));
      const value = (byte) => answer.lowest + (byte / 255) * (answer.highest - answer.lowest);
      const all = Array.from(bytes, value);
      drawn = { units: answer.units, now: all.slice(-answer.units), then: all.slice(0, answer.units), name };
      draw();
    } catch {
      // the text has changed meanwhile
    }
  });

  function draw() {
    const { columns, rows } = size();
    const side = 16;
    canvas.width = columns * side;
    canvas.height = rows * side;
    canvas.setAttribute("aria-valuemax", String(drawn.units - 1));
    canvas.setAttribute("aria-valuenow", String(state.unit));
    const scale = scaleOf(drawn.name, drawn.now);
    const context = canvas.getContext("2d");
    drawn.now.forEach((value, unit) => {
      const [r, g, b] = scale.rgb(value);
      context.fillStyle = `rgb(${r} ${g} ${b})`;
      const x = (unit % columns) * side;
      const y = Math.floor(unit / columns) * side;
      context.fillRect(x + 1, y + 1, side - 2, side - 2);
      if (unit === state.unit) {
        context.strokeStyle = getComputedStyle(canvas).color;
        context.lineWidth = 2.5;
        context.strokeRect(x + 1, y + 1, side - 2, side - 2);
      }
    });
  }

  canvas.addEventListener("click", (event) => {
    if (!drawn) return;
    const { columns, rows } = size();
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const unit = row * columns + column;
    if (unit < drawn.units) choose(unit);
  }, { signal });
  canvas.addEventListener("keydown", (event) => {
    if (!drawn) return;
    const { columns } = size();
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    choose(Math.max(0, Math.min(drawn.units - 1, state.unit + by)));
  }, { signal });
  busiest.addEventListener("click", () => {
    if (!drawn) return;
    let best = 0;
    drawn.now.forEach((value, unit) => {
      if (Math.abs(value - drawn.then[unit]) > Math.abs(drawn.now[best] - drawn.then[best])) best = unit;
    });
    choose(best);
  }, { signal });
  return { element, show };
}
