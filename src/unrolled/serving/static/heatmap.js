// All units of a gate or state over the text: a row is a unit, a column a token.

import * as api from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { scaleOf } from "./scales.js";
import { place, run } from "./store.js";
import { names } from "./controls.js";

const MOST_STEPS = 200;

function decode(data) {
  const text = atob(data);
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

/** A card with the map; `choose(token, unit)` is told what was clicked. */
export function heatMap(signal, choose) {
  const canvas = h("canvas", { class: "map", role: "img" });
  const marker = h("div", { class: "map-marker" });
  const column = h("div", { class: "map-column" });
  const title = h("h2");
  const card = h("section", { class: "card", hidden: true },
    h("div", { class: "card-head" }, title),
    h("div", { class: "map-frame" }, canvas, marker, column),
    h("p", { class: "soft hint" }, t("map_hint")));
  let order = [];
  let drawn = null;

  canvas.addEventListener("click", (event) => {
    if (!drawn) return;
    const box = canvas.getBoundingClientRect();
    const at = Math.floor(((event.clientX - box.left) / box.width) * drawn.steps);
    const row = Math.floor(((event.clientY - box.top) / box.height) * drawn.units);
    choose(drawn.start + Math.min(at, drawn.steps - 1), order[Math.min(row, drawn.units - 1)]);
  }, { signal });

  function paintAll(answer, name) {
    const { steps, units, lowest, highest } = answer;
    const bytes = decode(answer.data);
    const value = (byte) => lowest + (byte / 255) * (highest - lowest);
    const scale = scaleOf(name, Float64Array.from(bytes, value));
    const palette = Array.from({ length: 256 }, (_, byte) => scale.rgb(value(byte)));
    const means = new Float64Array(units);
    for (let at = 0; at < bytes.length; at += 1) means[at % units] += bytes[at];
    order = [...means.keys()].sort((a, b) => means[b] - means[a]);
    canvas.width = steps;
    canvas.height = units;
    const context = canvas.getContext("2d");
    const image = context.createImageData(steps, units);
    order.forEach((unit, row) => {
      for (let step = 0; step < steps; step += 1) {
        const [r, g, b] = palette[bytes[step * units + unit]];
        const to = 4 * (row * steps + step);
        image.data.set([r, g, b, 255], to);
      }
    });
    context.putImageData(image, 0, 0);
  }

  let key = "";
  return {
    element: card,
    async show(reading, state) {
      const known = names(run());
      const length = reading.pieces.length;
      card.hidden = !known.length || length < 2;
      if (card.hidden || signal.aborted) return;
      const name = known.includes(state.signal) ? state.signal : known.at(-1);
      const stop = Math.min(length, Math.max(MOST_STEPS, place(length) + 1));
      const start = Math.max(0, stop - MOST_STEPS);
      const wanted = JSON.stringify([state.run, state.text, state.layer, name, start, stop, document.documentElement.dataset.theme]);
      try {
        if (wanted !== key) {
          drawn = await api.map({ run: state.run, text: state.text, layer: state.layer, name, start, stop });
          if (signal.aborted) return;
          key = wanted;
          paintAll(drawn, name);
        }
      } catch {
        return; // the text has changed meanwhile; its own map is on its way
      }
      title.textContent = t("map_title")(t("signal")[name] ?? name);
      canvas.setAttribute("aria-label", title.textContent);
      const row = order.indexOf(state.unit);
      marker.hidden = row < 0 || state.mean;
      marker.style.top = `${((row + 0.5) / drawn.units) * 100}%`;
      const at = place(length) - drawn.start;
      column.hidden = at < 0 || at >= drawn.steps;
      column.style.left = `${(at / drawn.steps) * 100}%`;
      column.style.width = `${100 / drawn.steps}%`;
    },
  };
}
