// Compare: two runs read the same input side by side.

import * as api from "../api.js";
import { chosenSignal, partName, signalSelect } from "../controls.js";
import { h, oneAtATime, spoken } from "../dom.js";
import { factsOf, t } from "../i18n.js";
import { fixed } from "../numbers.js";
import { forget } from "../scales.js";
import { isRecorded, nothingToRead, place, question, rangeOf, readsTheSame, run, set, signalsOf, state, walk, watch } from "../store.js";
import { candidateList, legend, readout, ribbon } from "../text.js";

/** The token of another reading that has the end of this one's token at `at`: tokens may differ. */
function counterpart(reading, at, other) {
  const end = reading.pieces.slice(0, at + 1).join("").length;
  let reached = 0;
  const found = other.pieces.findIndex((piece) => (reached += piece.length) >= end);
  return found < 0 ? other.pieces.length - 1 : found;
}

const MOST_BITS = 4; // of a difference in surprise: beyond, the colour is full

const othersOf = (one) => state.runs.filter((other) => other.name !== one.name && readsTheSame(other, one));

export function compare(root, { signal, report, say }) {
  const others = othersOf(run());
  if (!others.length) {
    root.replaceChildren(h("section", { class: "card" }, h("h1", null, t("views.compare")), h("p", null, t("alone"))));
    return { step: () => false };
  }
  if (!others.some((one) => one.name === state.second)) set({ second: others[0].name });
  const sides = [side("run"), side("second")];
  const difference = ribbon((at) => set({ position: at }), t("difference"));
  const hint = h("p", { class: "soft hint" });
  const differenceCard = h("section", { class: "card", hidden: true }, h("h2", null, t("difference")), hint, difference.element,
    h("p", { class: "soft hint" }, t("same_text")));
  root.replaceChildren(
    h("h1", { class: "unseen" }, t("views.compare")),
    h("div", { class: "halves" }, sides.map((one) => one.element)),
    differenceCard);

  /** One half: its own run and its own signal. */
  function side(which) {
    let [name] = signalsOf(run(state[which]));
    let unit = 0;
    let part = 0;
    const text = ribbon((at) => set({ position: which === "run" ? at : counterpart(readings[1], at, readings[0]) }), t("text"));
    const figure = h("p", { class: "figure" });
    const list = h("div");
    const said = h("p", { class: "soft" });
    const legendHolder = h("span");
    const controls = h("div", { class: "controls" });
    const next = h("h2");
    const element = h("section", { class: "card side-of", "data-side": which },
      h("div", { class: "card-head" }, controls, legendHolder), figure, text.element, said, next, list);

    function drawControls() {
      const one = run(state[which]);
      if (!signalsOf(one).includes(name)) [name] = signalsOf(one);
      unit = Math.min(unit, one.hidden_size - 1);
      part = Math.min(part, one.parts.length - 1);
      const shown = which === "run" ? state.runs.filter((each) => othersOf(each).length) : othersOf(run());
      const runs = h("select", {
        id: `${which}-of`, "aria-label": t(which === "run" ? "first_run" : "second_run"),
        onchange: (event) => set({ [which]: event.target.value }),
      }, shown.map((each) => h("option", { value: each.name, selected: each.name === state[which] }, each.name)));
      const choose = (chosen) => {
        name = chosen;
        drawControls();
        load();
      };
      const units = h("input", {
        type: "number", class: "unit", min: "0", max: String(one.hidden_size - 1), value: String(unit), "aria-label": t("unit"),
        onchange(event) {
          unit = Math.max(0, Math.min(one.hidden_size - 1, Math.trunc(Number(event.target.value)) || 0));
          load();
        },
      });
      const parts = h("select", {
        id: `${which}-part`, "aria-label": t("layer"),
        onchange(event) {
          part = Number(event.target.value);
          load();
        },
      }, one.parts.map((each, k) => h("option", { value: k, selected: k === part }, `${one.parts.at(-1).layer ? `${t("layer")} ` : ""}${partName(each, one)}`)));
      const focused = document.activeElement?.id;
      const signals = signalSelect(one, name, choose, { id: `${which}-signal`, "aria-label": t("colour_by") });
      controls.replaceChildren(runs, signals, ...(isRecorded(name, one) ? [...(one.parts.length > 1 ? [parts] : []), units] : []));
      if (focused) controls.querySelector(`#${CSS.escape(focused)}`)?.focus();
      next.textContent = t(one.says === "answers" ? "answers" : "next", {}, one);
      next.hidden = one.says === null;
    }
    drawControls();
    const chosen = () => chosenSignal(name, unit, part, false);

    return {
      element,
      drawControls,
      read: (position) => api.read({ ...question(state[which]), ...chosen().asked, position }),
      show(reading, at) {
        const one = run(state[which]);
        const values = chosen().values(reading);
        text.show(reading.pieces, values, name, rangeOf(name, one));
        text.mark(at);
        legendHolder.replaceChildren(legend(name, values, rangeOf(name, one)));
        const bits = reading.surprise.filter((each) => each !== null);
        const characters = [...reading.pieces.slice(1).join("")].length;
        const mean = bits.reduce((a, b) => a + b, 0) / characters;
        figure.replaceChildren(
          bits.length ? h("strong", null, fixed(mean, 2)) : "", bits.length ? ` ${t("bits_per_character")}` : "",
          h("span", { class: "model" }, factsOf(one)));
        said.textContent = reading.pieces.length ? readout(reading, at) : t("nothing_read");
        list.replaceChildren(candidateList(reading.candidates, { came: bits.length ? reading.pieces[at + 1] : undefined, most: 6 }));
      },
    };
  }

  let readings = null;
  const load = oneAtATime(async () => {
    if (nothingToRead()) return;
    const asked = [state.run, state.second, state.text];
    const isOld = () => signal.aborted || [state.run, state.second, state.text].some((each, k) => each !== asked[k]);
    try {
      let answers = readings ?? [];
      do {
        const wanted = answers.length ? placesIn(answers) : [null, null];
        answers = await Promise.all(sides.map((one, i) => one.read(wanted[i])));
        if (isOld()) return;
      } while (placesIn(answers).some((at, i) => answers[i].position !== null && at !== answers[i].position));
      readings = answers;
      report(null);
      show();
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  });

  function show() {
    const places = placesIn(readings);
    sides.forEach((one, i) => one.show(readings[i], places[i]));
    const [a, b] = readings;
    hint.textContent = t("difference_hint", { first: state.run, second: state.second });
    const isAlike = a.pieces.length === b.pieces.length && a.pieces.every((piece, i) => piece === b.pieces[i]);
    const isForecast = [a, b].every((reading) => reading.surprise.some((bits) => bits !== null));
    differenceCard.hidden = !isAlike || !isForecast;
    if (!differenceCard.hidden) {
      const gains = a.surprise.map((bits, i) => (bits === null ? null : b.surprise[i] - bits));
      difference.show(a.pieces, gains, "Δ", [-MOST_BITS, MOST_BITS]);
      difference.mark(place(a.pieces.length));
    }
    const at = place(a.pieces.length);
    if (a.candidates.length) say(`${spoken(a.pieces[at])}: ${state.run} ${spoken(a.candidates[0].text)}, ${state.second} ${spoken(b.candidates[0]?.text ?? "")}`);
  }

  /** The place that is looked at, in each of two readings of one text. */
  function placesIn([a, b]) {
    const at = place(a.pieces.length);
    return [at, counterpart(a, at, b)];
  }

  watch((changed) => {
    if (changed.has("theme")) forget();
    if (changed.has("run") || changed.has("second")) {
      const left = othersOf(run());
      if (!left.some((one) => one.name === state.second)) {
        set({ second: left[0]?.name ?? "" });
        return;
      }
      readings = null;
      for (const one of sides) one.drawControls();
    }
    if (["run", "second", "text", "position", "theme"].some((name) => changed.has(name))) load();
  }, signal);
  load();
  return { step: (key) => walk(key, readings?.[0].pieces.length ?? 0) };
}
