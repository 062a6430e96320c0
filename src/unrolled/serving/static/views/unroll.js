// Unroll: the network once for every step, and the gradient on its way back.

import * as api from "../api.js";
import { chosenSignal, partControl, unitControl } from "../controls.js";
import { h, oneAtATime, s, spoken, visible } from "../dom.js";
import { t } from "../i18n.js";
import { fixed, percent } from "../numbers.js";
import { forget, inkOn, scaleOf, shareColour } from "../scales.js";
import { nothingToRead, place, question, rangeOf, run, set, signalsOf, state, walk, watch } from "../store.js";
import { ribbon } from "../text.js";
import { sayMeasured, sayVerdict } from "../verdict.js";

const WIDE = 96; // of a column
const NARROW = 72; // on a small screen
const MARGIN = 46; // before the first
const ROW = 104; // from a layer to the next
const GUESS = 58; // how tall what is said is

export function unroll(root, { signal, report, say }) {
  const one = run();
  const hasCell = one.step !== null;
  let reading = null;
  let numbers = null; // of the unit, for each layer of the direction that is chosen
  let back = null;
  const text = ribbon((at) => set({ position: at }), t("text"));
  const holder = h("div", { class: "unrolled", tabindex: "0" });
  const wayHint = h("p", { class: "soft hint" });
  const said = h("div", { class: "verdict" });
  const gradientHint = hasCell ? (one.says ? "unroll_hint" : "unroll_no_loss") : "unroll_window";
  root.replaceChildren(
    h("section", { class: "card" },
      h("div", { class: "card-head" }, h("h1", null, t("unroll_title")),
        h("div", { class: "controls" }, hasCell ? [partControl(), unitControl(signal)] : null)),
      h("p", { class: "soft hint" }, t(`shapes.${one.task}`)),
      text.element, holder,
      h("p", { class: "soft hint" }, t(gradientHint)), wayHint, said));

  const isReverse = () => one.parts[state.part].reverse;
  const numLayers = one.parts.at(-1).layer + 1;
  const partsThisWay = () => one.parts.flatMap(({ reverse }, k) => (reverse === isReverse() ? [k] : []));

  const load = oneAtATime(async () => {
    if (nothingToRead()) {
      holder.replaceChildren(h("p", { class: "soft" }, t("nothing_read")));
      return;
    }
    const asked = question();
    const colour = chosenSignal(signalsOf(one)[0]);
    try {
      const [answer, unit] = await Promise.all([
        api.read({ ...asked, ...colour.asked, expected: true }),
        hasCell ? Promise.all(partsThisWay().map((part) => api.unit({ ...asked, part, unit: state.unit }))).catch((error) => error) : null,
      ]);
      if (signal.aborted) return;
      if (unit instanceof Error && answer.pieces.length) throw unit; // of nothing there are no numbers
      reading = answer;
      numbers = unit;
      back = null;
      report(null);
      if (!reading.pieces.length) {
        holder.replaceChildren(h("p", { class: "soft" }, t("nothing_read")));
        return;
      }
      text.show(reading.pieces, colour.values(reading), signalsOf(one)[0], rangeOf(signalsOf(one)[0]));
      show();
      loadGradient();
    } catch (error) {
      if (signal.aborted) return;
      holder.replaceChildren(h("p", { class: "soft" }, t("nothing_read")));
      report(error);
    }
  });

  const loadGradient = oneAtATime(async () => {
    const position = place(reading.pieces.length);
    if (position < 1) return; // nothing lies before it
    const asked = question();
    try {
      const answer = await api.gradient({ ...asked, position });
      if (signal.aborted || asked.text !== question().text) return;
      back = { ...answer, position };
      show();
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  });

  function show() {
    const total = reading.pieces.length;
    if (!total) {
      holder.replaceChildren(h("p", { class: "soft" }, t("nothing_read")));
      return;
    }
    const at = place(total);
    text.mark(at);
    const room = Math.max(240, holder.clientWidth);
    const wide = room < 480 ? NARROW : WIDE;
    const count = Math.max(3, Math.floor((room - MARGIN) / wide));
    // a direction that reads forwards is seen up to here, one that reads backwards from here on
    const first = isReverse() ? Math.max(0, Math.min(at, total - count)) : Math.max(0, at - count + 1);
    const last = isReverse() ? Math.min(total, first + count) - 1 : at;
    holder.replaceChildren(draw(first, last, at, wide));
    holder.scrollLeft = isReverse() ? 0 : holder.scrollWidth;
    wayHint.textContent = isReverse() ? `${t("backwards_hint")} ${t("reach_forwards")}` : "";
    const judged = back?.position === at;
    said.replaceChildren(...(judged && back.verdict ? [sayVerdict(back.verdict), sayMeasured(back.measured)] : [h("p", { class: "soft" }, judged || at === 0 ? "" : t("computing"))]));
    const guess = reading.expected?.[at];
    say(guess ? `${spoken(reading.pieces[at])}: ${t(one.says === "answers" ? "says" : "expects")} ${spoken(guess.text)}` : spoken(reading.pieces[at]));
  }

  function draw(first, last, at, wide) {
    const reverse = isReverse();
    const top = reading.expected ? 26 + GUESS : 0;
    const stateY = (layer) => top + 66 + (numLayers - 1 - layer) * ROW;
    const inputY = stateY(0) + 118;
    const half = wide === NARROW ? 24 : 30; // of a box
    const width = MARGIN + (last - first + 1) * wide;
    const x = (k) => MARGIN - 6 + (k - first) * wide + wide / 2;
    const name = one.memory;
    const scale = numbers && scaleOf(name, numbers.flatMap(({ values }) => values[name]), rangeOf(name));
    const reach = back?.position === at && !reverse ? back.reach[name] ?? back.reach.x : null; // x: what a layer reads
    const parts = [arrowHeads()];
    for (let layer = 0; hasCell && layer < numLayers; layer += 1) {
      parts.push(...ways(stateY(layer), { first, last, x, half, reverse, width }));
    }
    if (!hasCell) parts.push(...windows({ first, last, at, x, stateY, inputY }));
    for (let layer = 0; numLayers > 1 && layer < numLayers; layer += 1) {
      parts.push(s("text", { x: 2, y: stateY(layer) - 32, class: "tick" }, `${t("layer")} ${layer + 1}`));
    }
    for (let k = first; k <= last; k += 1) {
      const column = s("g", { class: `column-of${k === at ? " here" : ""}`, "data-at": k, onclick: () => set({ position: k }) });
      const guess = reading.expected?.[k];
      const piece = spoken(reading.pieces[k]);
      column.append(s("title", null, guess ? `${piece} → ${spoken(guess.text)} ${percent(guess.probability)}` : piece));
      for (let layer = 0; layer < numLayers; layer += 1) {
        const y = stateY(layer);
        column.append(s("path", { d: `M${x(k)} ${layer ? stateY(layer - 1) - 30 : inputY - 24}V${y + 33}`, class: "way", "marker-end": "url(#head)" }));
        const box = s("rect", { x: x(k) - half, y: y - 28, width: 2 * half, height: 56, rx: 10, class: "state" });
        column.append(box);
        const write = (text, colour, properties) => {
          box.style.fill = `rgb(${colour.join(" ")})`;
          const label = s("text", { x: x(k), y: y + 6, ...properties }, text);
          label.style.fill = inkOn(colour);
          const room = (2 * half - 8) / (0.66 * text.length);
          if (room < 14) label.style.fontSize = `${room.toFixed(1)}px`; // −123.45 too stays inside
          column.append(label);
        };
        const share = hasCell ? null : reach?.[layer]?.[at - k];
        if (share) write(percent(share), shareColour(share), { class: "share" });
        if (scale) {
          const value = numbers[layer].values[name][k];
          write(fixed(value, 2), scale.rgb(value), { class: "state-number", "data-name": name, "data-layer": layer, "data-at": k });
        }
      }
      if (guess) {
        column.append(s("path", { d: `M${x(k)} ${stateY(numLayers - 1) - 28}V${top + 4}`, class: "way", "marker-end": "url(#head)" }));
        const isRight = one.says === "forecasts" && reading.pieces[k + 1] === guess.text;
        column.append(s("rect", { x: x(k) - half, y: 26, width: 2 * half, height: GUESS, rx: 10, class: `guess${isRight ? " right" : ""}` }));
        column.append(glyph(named(guess.text), x(k), 52, 2 * half - 6));
        column.append(s("text", { x: x(k), y: 75, class: "tick", "text-anchor": "middle" }, percent(guess.probability)));
      }
      column.append(s("rect", { x: x(k) - half, y: inputY - 22, width: 2 * half, height: 44, rx: 8, class: "token" }));
      column.append(glyph(named(reading.pieces[k]), x(k), inputY + 7, 2 * half - 6, one.form.kind === "series"));
      parts.push(column);
    }
    if (reach && hasCell) parts.push(...gradientArrows({ first, at, x, stateY, reach, half, top }));
    const height = inputY + 46;
    return s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "unrolled-figure", role: "img", "aria-label": t("unroll_title") }, parts);
  }

  /** A token as its box has it: of tokens that are parts of words, a blank before it says something. */
  const named = (token) => (one.unit === "token" ? visible(token) : spoken(token));

  /** What each level sees of the one below; what the output at `at` sees stands out. */
  function windows({ first, last, at, x, stateY, inputY }) {
    let seen = new Set([at]); // steps of the level above
    const parts = [];
    for (let layer = numLayers - 1; layer >= 0; layer -= 1) {
      const from = layer ? stateY(layer - 1) - 28 : inputY - 22;
      const below = new Set();
      for (let k = first; k <= last; k += 1) {
        for (const lag of one.windows[layer]) {
          if (k - lag < first) continue;
          if (seen.has(k)) below.add(k - lag);
          if (lag) parts.push(s("path", { d: `M${x(k - lag)} ${from}L${x(k)} ${stateY(layer) + 30}`, class: `way window${seen.has(k) ? " seen" : ""}`, "data-lag": lag, "data-layer": layer }));
        }
      }
      seen = below;
    }
    return parts;
  }

  /** The arrows of a state from step to step, in the direction in which the layer reads. */
  function ways(y, { first, last, x, half, reverse, width }) {
    const arrow = (from, to) => s("path", { d: `M${from} ${y - 9}H${to}`, class: "way", "marker-end": "url(#head)" });
    const parts = [];
    if (first > 0) parts.push(s("text", { x: 4, y: y - 4, class: "tick" }, "…"));
    for (let k = first; k <= last; k += 1) {
      if (reverse) {
        const from = k === last ? width - 2 : x(k + 1) - half - 2;
        parts.push(arrow(from, x(k) + half + 4));
      } else {
        const from = k === first ? (first > 0 ? 26 : 12) : x(k - 1) + half + 2;
        parts.push(arrow(from, x(k) - half - 4));
      }
    }
    return parts;
  }

  function gradientArrows({ first, at, x, stateY, reach, half, top }) {
    const begin = top ? [s("path", { d: `M${x(at) + 14} ${top + 4}V${stateY(numLayers - 1) - 32}`, class: "back", "marker-end": "url(#back-head)", "stroke-width": 4 })] : [];
    const parts = begin;
    for (let layer = 0; layer < numLayers; layer += 1) {
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
        parts.push(s("text", { x: (x(k) + x(k - 1)) / 2, y: y + 30, class: "back-share", "text-anchor": "middle" }, percent(share)));
      }
    }
    return parts;
  }

  watch((changed) => {
    if (changed.has("theme")) forget();
    if (["text", "part", "unit", "theme"].some((name) => changed.has(name))) load();
    else if (changed.has("position") && reading) {
      show();
      loadGradient();
    }
  }, signal);
  addEventListener("resize", () => reading && show(), { signal });
  load();

  return { step: (key) => walk(key, reading?.pieces.length ?? 0) };
}

/** A token in a box: as large as it can be, and cut where it is too long; times differ at their ends. */
function glyph(text, x, y, room, keepsEnd = false) {
  const size = Math.max(11, Math.min(20, room / (0.61 * text.length)));
  const most = Math.floor(room / (0.61 * size));
  const shown = text.length > most ? (keepsEnd ? `…${text.slice(1 - most)}` : `${text.slice(0, most - 1)}…`) : text;
  const element = s("text", { x, y: y - (20 - size) / 4, class: "glyph" }, shown);
  element.style.fontSize = `${size.toFixed(1)}px`;
  return element;
}

function arrowHeads() {
  const head = (id, style) =>
    s("marker", { id, viewBox: "0 0 10 10", refX: 8, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" },
      s("path", { d: "M0 1L9 5L0 9z", class: style }));
  return s("defs", null, head("head", "head"), head("back-head", "back-head"));
}
