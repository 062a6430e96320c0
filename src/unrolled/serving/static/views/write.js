// Write: type, see every character coloured as the network reads it, and let it write on.

import * as api from "../api.js";
import { h, later, oneAtATime, visible } from "../dom.js";
import { t } from "../i18n.js";
import { fixed } from "../numbers.js";
import { forget, paint, scaleOf } from "../scales.js";
import { place, run, set, state, watch } from "../store.js";
import { candidateList, legend } from "../text.js";
import { signalControls } from "../controls.js";
import { heatMap } from "../heatmap.js";

export function write(root, { signal, report }) {
  const mirror = h("div", { class: "mirror", "aria-hidden": "true" });
  const editor = h("textarea", {
    class: "typing", id: "text", spellcheck: "false", autocapitalize: "off", autocomplete: "off",
    "aria-label": t("text"), "aria-describedby": "readout",
  });
  editor.value = state.text;
  const readout = h("p", { class: "readout", id: "readout" });
  const legendHolder = h("span");
  const candidates = h("div", { class: "candidates-holder" });
  const after = h("p", { class: "soft" });
  const controls = signalControls(signal);
  const map = heatMap(signal, (at, unit) => {
    set({ unit, mean: false, position: at });
    moveCaret(at);
  });
  const writer = generator({ editor, signal, report, typed, stopped });
  let reading = null;

  root.replaceChildren(
    h("div", { class: "two" },
      h("div", { class: "column" },
        h("section", { class: "card" },
          h("div", { class: "card-head" }, h("h1", null, t("views").write), controls.element),
          h("div", { class: "card-head" }, h("p", { class: "soft hint grow" }, t("write_hint")), legendHolder),
          h("div", { class: "editor" }, mirror, editor),
          readout,
        ),
        map.element,
      ),
      h("div", { class: "column side" },
        h("section", { class: "card" }, h("h2", null, t("next_character")), after, candidates),
        writer.element,
      ),
    ),
  );

  const spansOf = () => [...mirror.children];

  /** Shows the text at once, with the colours that are known, before the server has read it. */
  function mirrorText(text) {
    const pieces = reading && reading.pieces.join("") === text ? reading.pieces : [...text];
    const spans = spansOf();
    let same = 0;
    while (same < pieces.length && same < spans.length && spans[same].textContent === pieces[same]) same += 1;
    for (const old of spans.slice(same)) old.remove();
    mirror.append(...pieces.slice(same).map((piece) => h("span", null, piece)));
    mirror.append(h("b", null, "\u200b")); // a last line that is empty has its height too
  }

  function unknownIn(text) {
    const known = run()?.characters;
    return known ? [...new Set([...text].filter((c) => !known.includes(c)))] : [];
  }

  function typed() {
    const text = editor.value;
    set({ text, position: tokenAtCaret(text) });
    mirrorText(text);
    const unknown = unknownIn(text);
    if (unknown.length) {
      for (const span of spansOf()) span.classList.toggle("unknown", unknown.includes(span.textContent));
      report(t("unknown")(unknown.map(visible).join(" ")));
      return;
    }
    if ([...text].length > state.limits.text_characters) {
      report(t("too_long")(state.limits.text_characters));
      return;
    }
    refresh();
  }

  function stopped() {
    refresh();
  }

  /** The token before the caret, as an index; null at the end of the text. */
  function tokenAtCaret(text) {
    const caret = editor.selectionStart;
    if (caret >= text.length) return null;
    const pieces = reading && reading.pieces.join("") === text ? reading.pieces : [...text];
    let end = 0;
    for (let at = 0; at < pieces.length; at += 1) {
      end += pieces[at].length;
      if (end >= caret) return at;
    }
    return null;
  }

  function moveCaret(at) {
    const caret = reading.pieces.slice(0, at + 1).join("").length;
    editor.setSelectionRange(caret, caret);
    editor.focus();
  }

  const refresh = oneAtATime(async () => {
    const asked = { run: state.run, text: state.text };
    const name = state.signal;
    const isGate = name !== "surprise";
    try {
      const answer = await api.read({
        ...asked,
        position: state.position === null || state.position >= [...asked.text].length ? null : state.position,
        signal: isGate ? { layer: state.layer, name, unit: state.mean ? null : state.unit } : null,
      });
      if (signal.aborted) return;
      if (asked.text !== state.text || asked.run !== state.run) return;
      reading = answer;
      report(null);
      show(name, isGate ? answer.values : answer.surprise);
      refreshMap();
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  });

  const refreshMap = later(120, () => map.show(reading, state));

  function show(name, values) {
    mirrorText(state.text);
    const scale = scaleOf(name, values ?? []);
    const here = place(reading.pieces.length);
    spansOf().forEach((span, at) => {
      if (span.localName === "b") return;
      span.className = at === here ? "here" : "";
      const value = values?.[at];
      if (value === null || value === undefined) {
        span.style.backgroundColor = "";
        span.style.color = "";
      } else paint(span, scale.rgb(value));
    });
    legendHolder.replaceChildren(legend(name, values));
    showPlace(name, values, here);
  }

  function showPlace(name, values, here) {
    const token = reading.pieces[here];
    if (token === undefined) {
      readout.textContent = t("nothing_read");
      after.textContent = "";
      candidates.replaceChildren();
      return;
    }
    const bits = reading.surprise[here];
    const words = [t("readout")(visible(token), bits === null ? null : fixed(bits, 2))];
    if (name !== "surprise" && values) words.push(`${name} = ${fixed(values[here])}`);
    readout.textContent = words.join("  ·  ");
    after.textContent = t("next_after")(visible(token));
    const came = reading.pieces[here + 1];
    const list = candidateList(reading.candidates, {
      came,
      words: { insert: t("insert"), came: t("came") },
      choose(text) {
        const at = reading.pieces.slice(0, here + 1).join("").length;
        editor.setRangeText(text, at, at, "end");
        typed();
      },
    });
    candidates.replaceChildren(list);
  }

  editor.addEventListener("input", typed, { signal });
  editor.addEventListener("scroll", () => (mirror.scrollTop = editor.scrollTop), { signal });
  const caretMoved = later(60, () => {
    if (signal.aborted || document.activeElement !== editor) return;
    const position = tokenAtCaret(state.text);
    if (position !== state.position) set({ position });
  });
  document.addEventListener("selectionchange", caretMoved, { signal });
  watch((changed) => {
    if (changed.has("text") && editor.value !== state.text) editor.value = state.text;
    if (changed.has("theme")) forget();
    if (["run", "signal", "unit", "layer", "mean", "position", "theme"].some((n) => changed.has(n))) refresh();
  }, signal);
  signal.addEventListener("abort", () => writer.stop());

  mirrorText(state.text);
  typed();
  return { step: () => false };
}

/** The card that lets the network write on. */
function generator({ editor, signal, report, typed, stopped }) {
  let running = null;
  const temperature = h("input", { type: "range", min: "0", max: "2", step: "0.05", value: "0.8", id: "temperature" });
  const said = h("output", { class: "soft", for: "temperature" });
  const length = h("input", { type: "number", min: "1", max: String(state.limits.generate_tokens), value: "200", id: "length" });
  const seed = h("input", { type: "text", inputmode: "numeric", pattern: "[0-9]*", placeholder: t("random"), id: "seed" });
  const button = h("button", { type: "submit", class: "primary" }, t("generate"));
  const count = h("span", { class: "soft", "aria-live": "polite" });
  const tell = () => {
    const value = Number(temperature.value);
    said.textContent = `${fixed(value, 2)} · ${t("bolder")(value)}`;
  };
  temperature.addEventListener("input", tell, { signal });
  tell();

  async function start() {
    running = new AbortController();
    button.textContent = t("stop");
    editor.readOnly = true;
    let written = 0;
    const seedText = seed.value.trim();
    try {
      const lines = api.generate(
        {
          run: state.run,
          text: state.text,
          length: Math.min(Number(length.value) || 1, state.limits.generate_tokens),
          temperature: Number(temperature.value),
          seed: /^\d+$/.test(seedText) ? Number(seedText) : null,
        },
        running.signal,
      );
      for await (const line of lines) {
        const piece = line.prompt ?? line.text;
        if (piece === undefined) continue;
        if (line.text) written += [...line.text].length;
        editor.value += piece;
        editor.setSelectionRange(editor.value.length, editor.value.length);
        typed();
        editor.scrollTop = editor.scrollHeight;
        count.textContent = t("wrote")(written);
        if ([...editor.value].length >= state.limits.text_characters) break;
      }
    } catch (error) {
      if (error.name !== "AbortError") report(error);
    } finally {
      running?.abort();
      running = null;
      button.textContent = t("generate");
      editor.readOnly = false;
      if (!signal.aborted) stopped();
    }
  }

  const stop = () => running?.abort();
  document.addEventListener("keydown", (event) => event.key === "Escape" && stop(), { signal });
  const element = h("section", { class: "card" },
    h("h2", null, t("generate")),
    h("form", {
      class: "form",
      onsubmit(event) {
        event.preventDefault();
        if (running) stop();
        else start();
      },
    },
      h("label", { for: "temperature" }, t("temperature"), said), temperature,
      h("div", { class: "pair" },
        h("label", { for: "length" }, t("length"), length),
        h("label", { for: "seed" }, t("seed"), seed)),
      h("div", { class: "row" }, button, count),
    ),
  );
  return { element, stop };
}
