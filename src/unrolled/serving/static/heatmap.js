// All units of a gate or state over the text: a row is a unit, a column a token.

import * as api from "./api.js";
import { h } from "./dom.js";
import { signalName, t } from "./i18n.js";
import { scaleOf } from "./scales.js";
import { isRecorded, place, question, rangeOf, run, state } from "./store.js";

const MOST_STEPS = 200;

/** The values of a map's answer, the units of a step side by side. */
export function decode({ data, lowest, highest }) {
  return Float64Array.from(atob(data), (c) => lowest + (c.charCodeAt(0) / 255) * (highest - lowest));
}

/** What the map shows: the gate or state that is chosen, or the memory. */
export const mapped = () => (isRecorded(state.signal) ? state.signal : run().memory);

/** A card with the map; `choose(token, unit)` is told what was clicked. */
export function heatMap(signal, choose) {
  const canvas = h("canvas", { class: "map", role: "img" });
  const marker = h("div", { class: "map-marker" });
  const column = h("div", { class: "map-column" });
  const title = h("h2");
  const hint = h("p", { class: "soft hint" });
  const element = h("section", { class: "card", hidden: true },
    h("div", { class: "card-head" }, title),
    h("div", { class: "map-frame" }, canvas, marker, column), hint);
  let order = [];
  let drawn = null;
  let key = "";

  canvas.addEventListener("click", (event) => {
    if (!drawn) return;
    const box = canvas.getBoundingClientRect();
    const at = Math.floor(((event.clientX - box.left) / box.width) * drawn.steps);
    const row = Math.floor(((event.clientY - box.top) / box.height) * drawn.units);
    choose(drawn.start + Math.min(at, drawn.steps - 1), order[Math.min(row, drawn.units - 1)]);
  }, { signal });

  function paintAll({ steps, units }, values, name) {
    const scale = scaleOf(name, values, rangeOf(name));
    const means = new Float64Array(units);
    values.forEach((value, at) => (means[at % units] += value));
    order = [...means.keys()].sort((a, b) => means[b] - means[a]);
    canvas.width = steps;
    canvas.height = units;
    canvas.style.setProperty("--tall", `${Math.max(200, Math.min(512, units))}px`); // a row has a pixel
    const context = canvas.getContext("2d");
    const image = context.createImageData(steps, units);
    order.forEach((unit, row) => {
      for (let step = 0; step < steps; step += 1) {
        image.data.set([...scale.rgb(values[step * units + unit]), 255], 4 * (row * steps + step));
      }
    });
    context.putImageData(image, 0, 0);
  }

  return {
    element,
    async show(reading) {
      const length = reading.pieces.length;
      element.hidden = length < 2;
      if (element.hidden || signal.aborted) return;
      const name = mapped();
      const stop = Math.min(length, Math.max(MOST_STEPS, place(length) + 1));
      const start = Math.max(0, stop - MOST_STEPS);
      const asked = { ...question(), part: state.part, name, start, stop };
      const wanted = JSON.stringify([asked, reading.version, reading.pieces, document.documentElement.dataset.theme]);
      try {
        if (wanted !== key) {
          const answer = await api.map(asked);
          if (signal.aborted || asked.run !== state.run) return;
          drawn = answer;
          key = wanted;
          paintAll(drawn, decode(drawn), name);
        }
      } catch {
        element.hidden = !drawn; // the text has changed meanwhile; its own map is on its way
        return;
      }
      title.textContent = t("map_title", { name: signalName(name) });
      hint.textContent = t("map_hint");
      canvas.setAttribute("aria-label", title.textContent);
      const row = order.indexOf(state.unit);
      marker.hidden = row < 0 || (state.mean && isRecorded(state.signal));
      marker.style.top = `${((row + 0.5) / drawn.units) * 100}%`;
      const at = place(length) - drawn.start;
      column.hidden = at < 0 || at >= drawn.steps;
      column.style.left = `${(at / drawn.steps) * 100}%`;
      column.style.width = `${100 / drawn.steps}%`;
    },
  };
}
