// The card that lets the network write on.

import * as api from "../api.js";
import { h } from "../dom.js";
import { capital, t } from "../i18n.js";
import { fixed } from "../numbers.js";
import { ending, run, state } from "../store.js";

/** What a temperature does, as an index of the words for it. */
const boldness = (temperature) => (temperature === 0 ? 0 : 2 + Math.sign(temperature - 1));

/** Writes into `editor`, which calls `typed` after each piece. */
export function generator({ editor, signal, report, typed }) {
  let running = null;
  const temperature = h("input", { type: "range", min: "0", max: "2", step: "0.05", value: "0.8", id: "temperature" });
  const said = h("output", { class: "soft", for: "temperature" });
  const length = h("input", { type: "number", min: "1", max: String(state.limits.generate_tokens), value: "200", id: "length" });
  const lengthName = h("span");
  const seed = h("input", { type: "text", inputmode: "numeric", pattern: "[0-9]*", placeholder: t("random"), id: "seed" });
  const button = h("button", { type: "submit", class: "primary" }, t("generate"));
  const count = h("span", { class: "soft", "aria-live": "polite" });
  const tell = () => {
    const value = Number(temperature.value);
    said.textContent = `${fixed(value, 2)} · ${t("bolder")[boldness(value)]}`;
  };
  temperature.addEventListener("input", tell, { signal });
  tell();

  async function start() {
    running = new AbortController();
    button.textContent = t("stop");
    editor.readOnly = true;
    let written = 0;
    const seedText = seed.value.trim();
    const asked = {
      run: state.run,
      text: ending(run().form.kind === "sets" ? state.text.replaceAll("\n", " ") : state.text),
      length: Math.max(1, Math.min(Math.trunc(Number(length.value)) || 1, state.limits.generate_tokens)),
      temperature: Number(temperature.value),
      seed: /^\d+$/.test(seedText) ? Number(seedText) : null,
    };
    try {
      for await (const line of api.generate(asked, running.signal)) {
        const piece = line.prompt ?? line.text;
        if (piece === undefined) continue;
        if (line.text) written += [...line.text].length;
        editor.value += piece;
        editor.setSelectionRange(editor.value.length, editor.value.length);
        typed();
        editor.scrollTop = editor.scrollHeight;
        count.textContent = t("wrote", { count: written });
      }
    } catch (error) {
      if (error.name !== "AbortError") report(error);
    } finally {
      running?.abort();
      running = null;
      button.textContent = t("generate");
      editor.readOnly = false;
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
        h("label", { for: "length" }, lengthName, length),
        h("label", { for: "seed" }, t("seed"), seed)),
      h("div", { class: "row" }, button, count)));
  const sayUnit = () => {
    lengthName.textContent = capital(t("length"));
  };
  return { element, stop, sayUnit };
}
