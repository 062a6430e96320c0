// Read: give the model an input, see what it says of it, and what happens in it step by step.

import * as api from "../api.js";
import { chosenSignal, signalControls } from "../controls.js";
import { h, later, oneAtATime } from "../dom.js";
import { dataView } from "../forecast.js";
import { heatMap, mapped } from "../heatmap.js";
import { signalName, t } from "../i18n.js";
import { fixed } from "../numbers.js";
import { viewOf } from "../predictions.js";
import { forget } from "../scales.js";
import { isRecorded, isTyped, nothingToRead, place, question, rangeOf, run, set, state, walk, watch } from "../store.js";
import { candidateList, legend, readout, ribbon } from "../text.js";

const HYPOTHESES = { beam: 4, n_best: 3 };

/** How an input is written. */
function formOf({ form }) {
  const isAlone = form.kind === "series" && form.dimensions === 1;
  return t(`forms.${isAlone ? "series_alone" : form.kind}`, form);
}

/** What is asked of a prediction, of the options that the run has. */
function optionsOf(one) {
  const options = {};
  if (one.predict_options.includes("running")) options.running = true;
  const isSearched = one.says === "forecasts" && one.predict_options.includes("beam"); // what it says, it reads
  return isSearched ? { ...options, ...HYPOTHESES } : options;
}

export function read(root, { signal, report, say }) {
  const one = run();
  const isMedium = one.form.kind === one.reads;
  const input = isMedium ? fileInput(one, { signal, report, given: load }) : textInput(one, { signal, changed: load });
  const answer = h("div", { class: "answer" });
  const ofData = h("div", { class: "answer column" });
  const text = ribbon((at) => set({ position: at }), t("text"));
  const legendHolder = h("span");
  const said = h("p", { class: "readout", id: "readout" });
  const map = heatMap(signal, (at, unit) => set({ unit, mean: false, position: at, signal: mapped() }));
  const candidates = h("div");
  const opinion = h("section", { class: "card", hidden: true }, h("h2", null, t(one.says === "answers" ? "answers" : "next")), candidates);
  const isWritten = one.says === "forecasts";
  const inside = h("section", { class: "card", hidden: true },
    h("div", { class: "card-head" }, h("h2", null, t(isWritten ? "what_is_written" : "what_is_read")), signalControls(signal)),
    h("div", { class: "card-head" }, said, legendHolder), text.element);
  root.replaceChildren(
    h("div", { class: "two" },
      h("div", { class: "column" },
        h("section", { class: "card" },
          h("h1", null, t("views.read")),
          h("p", { class: "soft hint" }, t(`shapes.${one.task}`)),
          isTyped(one) && input.element,
          h("p", { class: "soft hint" }, isTyped(one) ? formOf(one) : t("forecast.not_typed"))),
        answer, ofData, inside, map.element),
      h("div", { class: "column side" }, opinion)));
  let reading = null;
  let prediction = null;
  let given = ""; // the text that it is of

  /** Asks what the run says of an input, and how it read it. */
  async function load() {
    await Promise.all([predict(), look()]);
  }

  const predict = oneAtATime(async () => {
    if (nothingToRead()) {
      answer.replaceChildren();
      return;
    }
    try {
      if (isMedium) prediction = input.prediction();
      else {
        const asked = question();
        ({ prediction } = await api.predict({ ...asked, options: optionsOf(one) }));
        given = asked.text;
      }
      if (signal.aborted) return;
      report(null);
      showPrediction();
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  });

  function showPrediction() {
    if (prediction) answer.replaceChildren(viewOf(prediction, { ...input.medium(), reads: one.reads, text: given }));
  }

  /** Shows forecasts of the run's data, which are the same whatever is typed. */
  async function showData() {
    try {
      const cards = await dataView(one.name, nothingToRead());
      if (!signal.aborted) ofData.replaceChildren(...cards);
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  }

  const look = oneAtATime(async () => {
    const asked = question();
    inside.hidden = opinion.hidden = map.element.hidden = nothingToRead();
    if (nothingToRead()) return;
    const chosen = chosenSignal();
    const name = state.signal;
    const known = reading?.pieces.length ?? 0;
    const position = state.position !== null && state.position < known ? state.position : null;
    try {
      const read = await api.read({ ...asked, ...chosen.asked, expected: true, position });
      if (signal.aborted || asked.text !== question().text) return;
      reading = read;
      if (place(reading.pieces.length) !== reading.position) set({ position: reading.position });
      showReading(name, chosen.values(reading));
    } catch (error) {
      inside.hidden = opinion.hidden = map.element.hidden = true;
      if (!signal.aborted && error.code !== "medium") report(error);
    }
  });

  function showReading(name, values) {
    const { pieces } = reading;
    inside.hidden = !pieces.length;
    if (!pieces.length) return;
    const at = place(pieces.length);
    text.show(pieces, values, name, rangeOf(name));
    text.mark(at);
    legendHolder.replaceChildren(values ? legend(name, values, rangeOf(name)) : "");
    const words = [readout(reading, at)];
    if (isRecorded(name) && values) words.push(`${signalName(name)} = ${fixed(values[at])}`);
    said.textContent = words.join("  ·  ");
    opinion.hidden = !reading.candidates.length;
    candidates.replaceChildren(candidateList(reading.candidates, { came: isWritten ? pieces[at + 1] : undefined }));
    map.show(reading);
    say(said.textContent);
  }

  watch((changed) => {
    if (changed.has("theme")) {
      forget();
      showPrediction();
    }
    if (["signal", "unit", "part", "mean", "position", "theme"].some((name) => changed.has(name))) look();
  }, signal);
  load();
  if (one.backtests) showData();
  return { step: (key) => walk(key, reading?.pieces.length ?? 0) };
}

/** A field for a line of text or numbers. */
function textInput(one, { signal, changed }) {
  const element = h("textarea", { class: "typing plain", id: "input", rows: "3", spellcheck: "false", "aria-label": t("input") });
  element.value = state.text;
  const soon = later(250, () => !signal.aborted && changed());
  element.addEventListener("input", () => {
    set({ text: element.value, position: null });
    soon();
  }, { signal });
  const isExample = one.form.kind === "series" && one.made_up && state.text === one.example;
  const hint = isExample ? h("p", { class: "soft hint" }, t("made_up")) : null;
  return { element: h("div", { class: "column" }, element, hint), medium: () => ({}) };
}

/** A field for a picture or a recording, which stays with the run while the page is open. */
function fileInput(one, { signal, report, given }) {
  const file = h("input", { type: "file", id: "medium", accept: one.reads === "picture" ? "image/*" : "audio/*" });
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    try {
      const data = await base64(chosen);
      const options = optionsOf(one);
      const { prediction } = await api.caption({ run: one.name, data, options });
      const old = api.media.get(one.name);
      if (old) URL.revokeObjectURL(old.address);
      api.media.set(one.name, { data, options, prediction, address: URL.createObjectURL(chosen) });
      if (signal.aborted) return;
      report(null);
      set({ position: null });
      given();
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  }, { signal });
  const element = h("label", { class: "field" }, h("span", null, t(`choose_file.${one.reads}`)), file);
  const medium = () => ({ address: api.media.get(one.name)?.address });
  return { element, medium, prediction: () => api.media.get(one.name)?.prediction ?? null };
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}
