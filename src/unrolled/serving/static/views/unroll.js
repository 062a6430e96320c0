// Unroll: the network once for every character, and the gradient on its way back.

import * as api from "../api.js";
import { h, oneAtATime, s, visible } from "../dom.js";
import { t } from "../i18n.js";
import { fixed, percent } from "../numbers.js";
import { forget, inkOn, scaleOf } from "../scales.js";
import { place, run, set, state, walk, watch } from "../store.js";
import { ribbon } from "../text.js";
import { unitControl } from "../controls.js";
import { sayVerdict } from "../verdict.js";

const WIDE = 96; // of a column
const NARROW = 72; // on a small screen
const MARGIN = 46; // before the first

export function unroll(root, { signal, report, say }) {
  let reading = null;
  let numbers = null;
  let back = null;
  let wide = WIDE;
  const text = ribbon((at) => set({ position: at }), t("text"));
  const holder = h("div", { class: "unrolled" });
  const said = h("div", { class: "verdict" });
  root.replaceChildren(
    h("section", { class: "card" },
      h("div", { class: "card-head" }, h("h1", null, t("unroll_title")), h("div", { class: "controls" }, run()?.equations ? unitControl(signal) : null)),
      h("p", { class: "soft hint" }, t("unroll_shape")),
      text.element,
      holder,
      h("p", { class: "soft hint" }, run()?.equations ? t("unroll_hint") : t("unroll_window")),
      said));

  const load = oneAtATime(async () => {
    const one = run();
    const asked = { run: state.run, text: state.text };
    try {
      const [answer, unit] = await Promise.all([
        api.read({ ...asked, expected: true }),
        one.equations ? api.unit({ ...asked, layer: state.layer, unit: Math.min(state.unit, one.hidden_size - 1) }) : null,
      ]);
      if (signal.aborted || asked.run !== state.run) return;
      reading = answer;
      numbers = unit;
      back = null;
      report(null);
      text.show(reading.pieces, reading.surprise, "surprise");
      show();
      loadGradient();
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  });

  const loadGradient = oneAtATime(async () => {
    if (!reading?.pieces.length) return;
    const position = place(reading.pieces.length);
    if (position === 0) return; // nothing lies before it
    const asked = { run: state.run, text: state.text, position };
    try {
      const answer = await api.gradient(asked);
      if (signal.aborted || asked.text !== state.text || asked.run !== state.run) return;
      back = { ...answer, position };
      show();
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  });

  /** The states that are drawn: that which carries the gradient, a row for each layer. */
  function rows() {
    const one = run();
    return one.num_layers ?? 1;
  }

  function show() {
    const total = reading.pieces.length;
    if (!total) {
      holder.replaceChildren(h("p", { class: "soft" }, t("nothing_read")));
      return;
    }
    const at = place(total);
    text.mark(at);
    const room = Math.max(240, holder.clientWidth);
    wide = room < 480 ? NARROW : WIDE;
    const count = Math.max(3, Math.min(at + 1, Math.floor((room - MARGIN) / wide)));
    const first = Math.max(0, at - count + 1);
    const svg = draw(first, at, rows());
    holder.replaceChildren(svg);
    holder.scrollLeft = holder.scrollWidth;
    said.replaceChildren(back?.position === at && back.verdict ? sayVerdict(back.verdict) : h("p", { class: "soft" }, back?.position === at || at === 0 ? "" : t("computing")));
    say(`${visible(reading.pieces[at])}: ${t("expects")} ${visible(reading.expected[at].text)}`);
  }

  function draw(first, at, layers) {
    const shown = at - first + 1;
    const rowTall = 104;
    const stateY = (layer) => 150 + (layers - 1 - layer) * rowTall;
    const inputY = stateY(0) + 118;
    const width = MARGIN + shown * wide;
    const height = inputY + 46;
    const half = wide === NARROW ? 24 : 30; // of a box
    const x = (k) => MARGIN - 6 + (k - first) * wide + wide / 2;
    const parts = [arrowHeads()];
    const name = numbers ? (numbers.values.c ? "c" : "h") : null;
    const scale = name && scaleOf(name, numbers.values[name]);
    const reach = back?.position === at ? carrier() : null;
    const recurs = Boolean(run().equations);
    for (let layer = 0; recurs && layer < layers; layer += 1) {
      const y = stateY(layer);
      if (first > 0) parts.push(s("text", { x: 4, y: y - 4, class: "tick" }, "…"));
      for (let k = first; k <= at; k += 1) {
        const from = k === first ? (first > 0 ? 26 : 12) : x(k - 1) + half + 2;
        parts.push(s("path", { d: `M${from} ${y - 9}H${x(k) - half - 4}`, class: "way", "marker-end": "url(#head)" }));
      }
    }
    for (let k = first; k <= at; k += 1) {
      const isHere = k === at;
      const column = s("g", {
        class: `column-of${isHere ? " here" : ""}`, "data-at": k, onclick: () => set({ position: k }),
      });
      column.append(s("title", null, `${visible(reading.pieces[k])} → ${visible(reading.expected[k].text)} ${percent(reading.expected[k].probability)}`));
      for (let layer = 0; layer < layers; layer += 1) {
        const y = stateY(layer);
        column.append(s("path", { d: `M${x(k)} ${layer ? stateY(layer - 1) - 30 : inputY - 24}V${y + 33}`, class: "way", "marker-end": "url(#head)" }));
        const box = s("rect", { x: x(k) - half, y: y - 28, width: 2 * half, height: 56, rx: 10, class: "state" });
        const own = scale && layer === state.layer;
        if (own) {
          const [r, g, b] = scale.rgb(numbers.values[name][k]);
          box.style.fill = `rgb(${r} ${g} ${b})`;
        }
        column.append(box);
        const share = recurs || !reach ? null : reach[layer]?.[at - k];
        if (share) {
          box.style.fill = `color-mix(in oklab, var(--back) ${Math.round(90 * Math.min(1, Math.sqrt(share)))}%, var(--panel))`;
          column.append(s("text", { x: x(k), y: y + 6, class: "tick share" }, percent(share)));
        }
        if (own) {
          const value = numbers.values[name][k];
          const text = s("text", { x: x(k), y: y + 6, class: "state-number", "data-name": name, "data-at": k }, fixed(value, 2));
          text.style.fill = inkOn(scale.rgb(value));
          column.append(text);
        }
      }
      column.append(s("path", { d: `M${x(k)} ${stateY(layers - 1) - 28}V88`, class: "way", "marker-end": "url(#head)" }));
      const guess = reading.expected[k];
      const right = reading.pieces[k + 1] === guess.text;
      column.append(s("rect", { x: x(k) - half, y: 26, width: 2 * half, height: 58, rx: 10, class: `guess${right ? " right" : ""}` }));
      column.append(s("text", { x: x(k), y: 52, class: "glyph" }, visible(guess.text)));
      column.append(s("text", { x: x(k), y: 75, class: "tick", "text-anchor": "middle" }, percent(guess.probability)));
      column.append(s("rect", { x: x(k) - 22, y: inputY - 22, width: 44, height: 44, rx: 8, class: "token" }));
      column.append(s("text", { x: x(k), y: inputY + 8, class: "glyph" }, visible(reading.pieces[k])));
      parts.push(column);
    }
    if (reach && recurs) parts.push(...gradientArrows({ first, at, x, stateY, layers, reach, half }));
    return s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "unrolled-figure", role: "img", "aria-label": t("unroll_title") }, parts);
  }

  /** For each layer the shares of the gradient by lag, of the state that is drawn. */
  function carrier() {
    return back.reach.c ?? back.reach.h ?? back.reach.x;
  }

  function gradientArrows({ first, at, x, stateY, layers, reach, half }) {
    const parts = [];
    parts.push(s("path", { d: `M${x(at) + 14} 88V${stateY(layers - 1) - 32}`, class: "back", "marker-end": "url(#back-head)", "stroke-width": 4 }));
    for (let layer = 0; layer < layers; layer += 1) {
      const y = stateY(layer) + 12;
      for (let k = at; k > first; k -= 1) {
        const share = reach[layer]?.[at - k + 1];
        if (share === undefined || share === null) continue;
        const seen = Math.min(1, share);
        const path = s("path", {
          d: `M${x(k) - half - 2} ${y}H${x(k - 1) + half + 5}`, class: "back", "marker-end": "url(#back-head)",
          "stroke-width": (0.8 + 3.6 * Math.sqrt(seen)).toFixed(2), "data-lag": at - k + 1, "data-share": share,
        });
        path.style.opacity = Math.max(0.07, Math.sqrt(seen)).toFixed(3);
        parts.push(path);
        const note = s("text", { x: (x(k) + x(k - 1)) / 2, y: y + 30, class: "back-share", "text-anchor": "middle" }, percent(share));
        parts.push(note);
      }
    }
    return parts;
  }

  function arrowHeads() {
    const head = (id, style) =>
      s("marker", { id, viewBox: "0 0 10 10", refX: 8, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" },
        s("path", { d: "M0 1L9 5L0 9z", class: style }));
    return s("defs", null, head("head", "head"), head("back-head", "back-head"));
  }

  watch((changed) => {
    if (changed.has("theme")) forget();
    if (["run", "text", "layer", "unit", "theme"].some((n) => changed.has(n))) load();
    else if (changed.has("position") && reading) {
      show();
      loadGradient();
    }
  }, signal);
  addEventListener("resize", () => reading && show(), { signal });
  load();

  return {
    step: (key) => walk(key, reading?.pieces.length ?? 0),
  };
}
