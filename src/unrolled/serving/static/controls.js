// Controls that several views share: what to colour by, and which unit.

import * as api from "./api.js";
import { h, later } from "./dom.js";
import { t } from "./i18n.js";
import { run, set, state, watch } from "./store.js";

/** The names of the gates and states of a run, in the order of its equations, states last. */
export function names(of) {
  if (!of?.signals) return [];
  const states = of.signals.filter((name) => of.states.includes(name)).reverse();
  return [...of.signals.filter((name) => !of.states.includes(name)), ...states];
}

function layerControl() {
  const layers = run()?.num_layers ?? 1;
  if (layers < 2) return null;
  const select = h("select", {
    id: "layer", onchange: (event) => set({ layer: Number(event.target.value) }),
  }, Array.from({ length: layers }, (_, k) => h("option", { value: k, selected: k === state.layer }, String(k + 1))));
  return h("label", { class: "field" }, h("span", null, t("layer")), select);
}

/** A number with buttons for the unit before and after. */
export function unitControl(signal, { disabled = () => false } = {}) {
  const count = () => run()?.hidden_size ?? 1;
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
    total.textContent = t("of_units")(count());
    for (const part of [input, back, on]) part.disabled = disabled();
  }
  watch(update, signal);
  update();
  return h("span", { class: "field" }, h("label", { for: "unit" }, t("unit")), h("span", { class: "joined" }, back, input, on), total);
}

/** What to colour by: surprise or a gate or state, of one unit or of all. */
export function signalControls(signal) {
  const holder = h("div", { class: "controls" });
  const pattern = h("select", { id: "pattern", onchange: (event) => choosePattern(event.target.value) });
  const patterns = h("label", { class: "field", hidden: true }, h("span", null, t("find_unit")), pattern);
  let found = {};

  /** Takes the unit that follows a pattern best. */
  function choosePattern(name) {
    const best = found[name]?.[0];
    if (best) set({ unit: best.unit, mean: false });
  }

  const findPatterns = later(250, async () => {
    if (signal.aborted || state.signal === "surprise" || run()?.characters == null) return;
    const asked = { run: state.run, text: state.text, layer: state.layer, name: state.signal };
    try {
      found = (await api.rank(asked)).patterns;
    } catch {
      return; // the text has changed meanwhile, or cannot be read: that is said elsewhere
    }
    if (signal.aborted) return;
    const names = Object.keys(found);
    patterns.hidden = !names.length;
    pattern.replaceChildren(
      h("option", { value: "" }, "…"),
      ...names.map((name) => {
        const { unit, area } = found[name][0];
        const score = Math.max(area, 1 - area).toFixed(2);
        return h("option", { value: name, selected: pattern.value === name }, `${t("patterns")[name] ?? name}: ${unit} (${score})`);
      }));
  });

  function draw() {
    const known = ["surprise", ...names(run())];
    if (!known.includes(state.signal)) set({ signal: "surprise" });
    const isGate = state.signal !== "surprise";
    const select = h("select", {
      id: "signal", onchange: (event) => set({ signal: event.target.value }),
    }, known.map((name) => h("option", { value: name, selected: name === state.signal }, t("signal")[name] ?? name)));
    const mean = h("label", { class: "check" },
      h("input", {
        type: "checkbox", id: "mean", checked: state.mean,
        onchange: (event) => set({ mean: event.target.checked }),
      }), t("all_units"));
    const focused = document.activeElement?.id;
    holder.replaceChildren(
      h("label", { class: "field" }, h("span", null, t("colour_by")), select),
      ...(isGate ? [layerControl(), unitControl(signal), mean].filter(Boolean) : []),
      isGate ? patterns : "",
    );
    if (isGate) findPatterns();
    if (focused) holder.querySelector(`#${CSS.escape(focused)}`)?.focus();
  }
  watch((changed) => {
    if (["run", "signal", "mean", "layer"].some((name) => changed.has(name))) draw();
    else if (changed.has("text")) findPatterns();
  }, signal);
  draw();
  return { element: holder };
}
