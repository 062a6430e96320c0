// Compare: two runs read the same text side by side.

import * as api from "../api.js";
import { names } from "../controls.js";
import { h, oneAtATime, visible } from "../dom.js";
import { t } from "../i18n.js";
import { fixed } from "../numbers.js";
import { forget } from "../scales.js";
import { place, run, set, state, walk, watch } from "../store.js";
import { candidateList, legend, ribbon } from "../text.js";

export function compare(root, { signal, report, say }) {
  const models = state.runs.filter((one) => one.task === "lm");
  if (models.length < 2) {
    root.replaceChildren(h("section", { class: "card" }, h("h1", null, t("views").compare), h("p", null, t("one_run"))));
    return { step: () => false };
  }
  if (!models.some((one) => one.name === state.second) || state.second === state.run) {
    set({ second: models.find((one) => one.name !== state.run).name });
  }
  const sides = [side("run"), side("second")];
  const difference = ribbon((at) => set({ position: at }), t("difference"));
  const hint = h("p", { class: "soft hint" });
  root.replaceChildren(
    h("h1", { class: "unseen" }, t("views").compare),
    h("div", { class: "halves" }, sides.map((one) => one.element)),
    h("section", { class: "card" }, h("h2", null, t("difference")), hint, difference.element,
      h("p", { class: "soft hint" }, t("same_text"))));

  /** One half: its own run and its own signal. */
  function side(which) {
    let name = "surprise";
    let unit = 0;
    const text = ribbon((at) => set({ position: at }), t("text"));
    const bits = h("p", { class: "figure" });
    const list = h("div");
    const legendHolder = h("span");
    const controls = h("div", { class: "controls" });
    const element = h("section", { class: "card side-of", "data-side": which },
      h("div", { class: "card-head" }, controls, legendHolder), bits, text.element,
      h("h2", null, t("next_character")), list);

    function drawControls() {
      const one = run(state[which]);
      const known = ["surprise", ...names(one)];
      if (!known.includes(name)) name = "surprise";
      const runs = h("select", {
        id: `${which}-of`, "aria-label": t(which === "run" ? "first_run" : "second_run"),
        onchange: (event) => set({ [which]: event.target.value }),
      }, models.map((model) => h("option", { value: model.name, selected: model.name === state[which] }, model.name)));
      const signals = h("select", {
        id: `${which}-signal`, "aria-label": t("colour_by"),
        onchange(event) { name = event.target.value; drawControls(); load(); },
      }, known.map((key) => h("option", { value: key, selected: key === name }, t("signal")[key] ?? key)));
      const units = h("input", {
        type: "number", class: "unit", min: "0", max: String(one.hidden_size - 1), value: String(unit), "aria-label": t("unit"),
        onchange(event) { unit = Math.max(0, Math.min(one.hidden_size - 1, Math.trunc(Number(event.target.value)) || 0)); load(); },
      });
      const focused = document.activeElement?.id;
      controls.replaceChildren(runs, signals, ...(name === "surprise" ? [] : [units]));
      if (focused) controls.querySelector(`#${CSS.escape(focused)}`)?.focus();
    }
    drawControls();

    return {
      element,
      drawControls,
      async read(position) {
        const chosen = name === "surprise" ? null : { layer: 0, name, unit: Math.min(unit, run(state[which]).hidden_size - 1) };
        return api.read({ run: state[which], text: state.text, position, signal: chosen });
      },
      show(reading) {
        const values = name === "surprise" ? reading.surprise : reading.values;
        const at = place(reading.pieces.length);
        text.show(reading.pieces, values, name);
        text.mark(at);
        legendHolder.replaceChildren(legend(name, values ?? []));
        const known = reading.surprise.filter((v) => v !== null);
        const characters = [...reading.pieces.slice(1).join("")].length;
        const mean = known.length ? known.reduce((a, b) => a + b, 0) / characters : null;
        bits.replaceChildren(h("strong", null, mean === null ? "–" : fixed(mean, 2)), ` ${t("bits_per_character")}`, h("span", { class: "model" }, t("facts")(run(state[which]))));
        list.replaceChildren(candidateList(reading.candidates, {
          came: reading.pieces[at + 1], most: 6, words: { came: t("came") },
        }));
      },
    };
  }

  let readings = null;
  const load = oneAtATime(async () => {
    const asked = { first: state.run, second: state.second, text: state.text };
    try {
      const position = state.position !== null && state.position < [...state.text].length ? state.position : null;
      const found = await Promise.all(sides.map((one) => one.read(position)));
      if (signal.aborted || asked.text !== state.text || asked.first !== state.run || asked.second !== state.second) return;
      readings = found;
      report(null);
      show();
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  });

  function show() {
    sides.forEach((one, i) => one.show(readings[i]));
    const [a, b] = readings;
    hint.textContent = t("difference_hint")(state.run, state.second);
    const alike = a.pieces.length === b.pieces.length && a.pieces.every((piece, i) => piece === b.pieces[i]);
    difference.element.parentElement.hidden = !alike;
    if (alike) {
      const gains = a.surprise.map((bits, i) => (bits === null ? null : Math.max(-1, Math.min(1, (b.surprise[i] - bits) / 4))));
      difference.show(a.pieces, gains, "Δ");
      difference.mark(place(a.pieces.length));
    }
    const at = place(a.pieces.length);
    if (a.pieces.length) say(`${visible(a.pieces[at])}: ${state.run} ${visible(a.candidates[0].text)}, ${state.second} ${visible(b.candidates[0]?.text ?? "")}`);
  }

  watch((changed) => {
    if (changed.has("theme")) forget();
    if (changed.has("run") || changed.has("second")) {
      if (state.run === state.second) {
        set({ second: models.find((one) => one.name !== state.run).name });
        return;
      }
      for (const one of sides) one.drawControls();
    }
    if (["run", "second", "text", "position", "theme"].some((n) => changed.has(n))) load();
  }, signal);
  load();

  return {
    step: (key) => walk(key, readings?.[0].pieces.length ?? 0),
  };
}
