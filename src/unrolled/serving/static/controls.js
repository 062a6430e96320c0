// Controls that several views share: what to colour by, which layer and direction, which unit.

import * as api from "./api.js";
import { h, later } from "./dom.js";
import { signalName, t } from "./i18n.js";
import { fixed } from "./numbers.js";
import { isRecorded, nothingToRead, question, run, set, signalsOf, state, watch } from "./store.js";

/** What a part of a run is called: its layer, and its direction where there are two. */
export function partName(part, of = run()) {
  const layers = new Set(of.parts.map((each) => each.layer)).size;
  const way = part.reverse ? "backwards" : "forwards";
  if (layers === 1) return t(`direction.${way}`);
  return t(`part.${way}`, { layer: part.layer + 1 });
}

/** A choice among the layers and directions; null where there is one alone. */
export function partControl() {
  const one = run();
  if (one.parts.length < 2) return null;
  const several = one.parts.at(-1).layer > 0;
  const select = h("select", {
    id: "part", "aria-label": several ? null : t("layer"), onchange: (event) => set({ part: Number(event.target.value) }),
  }, one.parts.map((part, k) => h("option", { value: k, selected: k === state.part }, partName(part))));
  return h("label", { class: "field" }, several ? h("span", null, t("layer")) : null, select);
}

/** A number with buttons for the unit before and after. */
export function unitControl(signal) {
  const count = () => run().hidden_size;
  const input = h("input", {
    type: "number", min: "0", id: "unit", class: "unit",
    onchange(event) {
      const wanted = Math.trunc(Number(event.target.value)) || 0;
      set({ unit: Math.max(0, Math.min(count() - 1, wanted)), mean: false });
      update();
    },
  });
  const move = (by) => () => set({ unit: (state.unit + by + count()) % count(), mean: false });
  const total = h("span", { class: "soft" });
  const back = h("button", { type: "button", class: "quiet icon", "aria-label": t("before_unit"), onclick: move(-1) }, "‹");
  const on = h("button", { type: "button", class: "quiet icon", "aria-label": t("next_unit"), onclick: move(1) }, "›");
  function update() {
    input.max = String(count() - 1);
    input.value = String(state.unit);
    total.textContent = t("of_units", { count: count() });
  }
  watch(update, signal);
  update();
  return h("span", { class: "field" }, h("label", { for: "unit" }, t("unit")), h("span", { class: "joined" }, back, input, on), total);
}

/** A choice among what a text can be coloured by. */
export function signalSelect(of, chosen, choose, properties) {
  return h("select", { ...properties, onchange: (event) => choose(event.target.value) },
    signalsOf(of).map((name) => h("option", { value: name, selected: name === chosen }, signalName(name, of))));
}

/** What to colour by: what the model says, or a gate or state of one unit or of all. */
export function signalControls(signal) {
  const element = h("div", { class: "controls" });
  const pattern = h("select", { id: "pattern", onchange: (event) => choosePattern(event.target.value) });
  const patterns = h("label", { class: "field", hidden: true }, h("span", null, t("follows")), pattern);
  let best = {}; // units by pattern

  /** Takes the unit that follows a pattern best. */
  function choosePattern(name) {
    if (best[name]) set({ unit: best[name].unit, mean: false });
  }

  const findPatterns = later(250, async () => {
    if (signal.aborted || !isRecorded(state.signal) || run().form.kind !== "text" || nothingToRead()) return;
    let answer;
    try {
      answer = await api.rank({ ...question(), part: state.part, name: state.signal });
    } catch {
      return; // the text has changed meanwhile, or cannot be read: that is said elsewhere
    }
    if (signal.aborted) return;
    best = Object.fromEntries(Object.entries(answer.patterns).map(([name, units]) => [name, units[0]]));
    patterns.hidden = !Object.keys(best).length;
    pattern.replaceChildren(
      h("option", { value: "" }, "…"),
      ...Object.entries(best).map(([name, { unit, area }]) => {
        const words = `${t(`patterns.${name}`) ?? name}: ${unit} (${fixed(Math.max(area, 1 - area), 2)})`;
        return h("option", { value: name, selected: pattern.value === name }, words);
      }));
  });

  function draw() {
    const hasUnits = isRecorded(state.signal);
    const select = signalSelect(run(), state.signal, (name) => set({ signal: name }), { id: "signal" });
    const mean = h("label", { class: "check" },
      h("input", {
        type: "checkbox", id: "mean", checked: state.mean,
        onchange: (event) => set({ mean: event.target.checked }),
      }), t("all_units"));
    const focused = document.activeElement?.id;
    element.replaceChildren(
      h("label", { class: "field" }, h("span", null, t("colour_by")), select),
      ...(hasUnits ? [partControl(), unitControl(signal), mean, patterns].filter(Boolean) : []));
    if (hasUnits) findPatterns();
    if (focused) element.querySelector(`#${CSS.escape(focused)}`)?.focus();
  }
  watch((changed) => {
    if (["run", "signal", "mean", "part"].some((name) => changed.has(name))) draw();
    else if (changed.has("text")) findPatterns();
  }, signal);
  draw();
  return element;
}

/** The signal that the views ask for, and its values in the answer: {asked, values(answer)}. */
export function chosenSignal(name = state.signal, unit = state.unit, part = state.part, mean = state.mean) {
  if (name === "surprise") return { asked: { signal: null }, values: (answer) => answer.surprise };
  if (name === "answer") {
    const sure = (answer) => answer.pieces.map((_, at) => answer.expected?.[at]?.probability ?? null);
    return { asked: { signal: null, expected: true }, values: sure };
  }
  return { asked: { signal: { part, name, unit: mean ? null : unit } }, values: (answer) => answer.values };
}
