// All units as squares, coloured by what they hold now, to choose one from.

import * as api from "../api.js";
import { h, oneAtATime } from "../dom.js";
import { decode } from "../heatmap.js";
import { signalName, t } from "../i18n.js";
import { scaleOf } from "../scales.js";
import { question, rangeOf, run, state } from "../store.js";

const SIDE = 16; // of a square

/** A card with the squares; `choose(unit)` is told which was taken. */
export function unitGrid(signal, choose) {
  const canvas = h("canvas", { class: "grid", tabindex: "0", role: "slider", "aria-valuemin": "0", "aria-label": t("choose_unit") });
  const hint = h("p", { class: "soft hint" });
  const busiest = h("button", { type: "button", class: "quiet", id: "busiest" }, t("busiest"));
  const element = h("section", { class: "card units" },
    h("div", { class: "card-head" }, h("h2", null, t("choose_unit")), busiest), canvas, hint);
  let drawn = null;

  const numColumns = () => Math.max(16, Math.min(48, Math.floor((element.clientWidth - 40) / SIDE)));

  const show = oneAtATime(async (name, at) => {
    hint.textContent = t("grid_hint", { name: signalName(name) });
    // the step before, in the direction in which the layer reads, for what changes
    const before = run().parts[state.part].reverse ? at + 1 : at - 1;
    const start = Math.max(0, Math.min(at, before));
    try {
      const answer = await api.map({ ...question(), part: state.part, name, start, stop: Math.max(at, before) + 1 });
      if (signal.aborted) return;
      const values = decode(answer);
      const of = (step) => values.slice((step - answer.start) * answer.units, (step - answer.start + 1) * answer.units);
      const hasBefore = before >= answer.start && before < answer.start + answer.steps;
      drawn = { units: answer.units, now: of(at), then: hasBefore ? of(before) : new Float64Array(answer.units), name };
      draw();
    } catch {
      // the text has changed meanwhile
    }
  });

  function draw() {
    const columns = numColumns();
    canvas.width = columns * SIDE;
    canvas.height = Math.ceil(drawn.units / columns) * SIDE;
    canvas.setAttribute("aria-valuemax", String(drawn.units - 1));
    canvas.setAttribute("aria-valuenow", String(state.unit));
    const scale = scaleOf(drawn.name, drawn.now, rangeOf(drawn.name));
    const context = canvas.getContext("2d");
    drawn.now.forEach((value, unit) => {
      context.fillStyle = `rgb(${scale.rgb(value).join(" ")})`;
      const x = (unit % columns) * SIDE;
      const y = Math.floor(unit / columns) * SIDE;
      context.fillRect(x + 1, y + 1, SIDE - 2, SIDE - 2);
      if (unit === state.unit) {
        context.strokeStyle = getComputedStyle(canvas).color;
        context.lineWidth = 2.5;
        context.strokeRect(x + 1, y + 1, SIDE - 2, SIDE - 2);
      }
    });
  }

  canvas.addEventListener("click", (event) => {
    if (!drawn) return;
    const columns = numColumns();
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * Math.ceil(drawn.units / columns));
    const unit = row * columns + column;
    if (unit < drawn.units) choose(unit);
  }, { signal });
  canvas.addEventListener("keydown", (event) => {
    if (!drawn) return;
    const columns = numColumns();
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    choose(Math.max(0, Math.min(drawn.units - 1, state.unit + by)));
  }, { signal });
  busiest.addEventListener("click", () => {
    if (!drawn) return;
    const changes = Array.from(drawn.now, (value, unit) => Math.abs(value - drawn.then[unit]));
    choose(changes.indexOf(Math.max(...changes)));
  }, { signal });
  return { element, show };
}
