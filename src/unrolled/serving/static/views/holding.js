// What if: gates held open or shut, units silenced, and what the network then expects.

import * as api from "../api.js";
import { partName } from "../controls.js";
import { h, oneAtATime, spoken } from "../dom.js";
import { signalName, t } from "../i18n.js";
import { fixed, local } from "../numbers.js";
import { nothingToRead, place, question, rangeOf, run, state, watch } from "../store.js";
import { candidateList, legend, ribbon } from "../text.js";

const MOST_HOLDS = 16;
const MOST_UNITS = 32; // that one hold may name
const SHOWN = 6; // candidates
const WRITTEN = 120; // tokens
const TEMPERATURE = 0.6;

/** Units as they are typed, "3, 7-9": null for all, undefined for what means nothing. */
export function unitsOfText(text, count) {
  if (!text.trim()) return null;
  const units = new Set();
  for (const part of text.split(/[\s,;]+/).filter(Boolean)) {
    const ends = /^(\d{1,6})(?:[-–](\d{1,6}))?$/.exec(part);
    if (!ends) return undefined;
    const [first, last] = [Number(ends[1]), Number(ends[2] ?? ends[1])];
    if (last < first || last >= count || units.size + last - first >= MOST_UNITS) return undefined;
    for (let unit = first; unit <= last; unit += 1) units.add(unit);
  }
  return [...units];
}

/** The card; `show()` is told that the text or the place has changed, `choose(at)` takes a place. */
export function holding({ signal, report, choose }) {
  const one = run();
  const holds = []; // {name, value, part, units, start, stop, said}
  const names = h("select", { id: "hold-name", onchange: () => suggest() },
    one.signals.map(({ name }) => h("option", { value: name }, signalName(name))));
  const value = h("input", { type: "number", step: "any", id: "hold-value", class: "unit", required: true });
  const quick = h("span", { class: "joined" });
  const units = h("input", { type: "text", id: "hold-units", class: "units-typed", placeholder: t("acting.all"), autocomplete: "off", "aria-describedby": "hold-hint" });
  const when = h("select", { id: "hold-steps" }, ["always", "from", "at"].map((key) => h("option", { value: key }, t(`acting.steps.${key}`))));
  const button = h("button", { type: "submit", class: "primary" }, t("acting.hold"));
  const form = h("form", { class: "controls hold-form", onsubmit: add },
    h("label", { class: "field" }, h("span", null, t("acting.what")), names),
    h("span", { class: "field" }, h("label", { for: "hold-value" }, t("acting.at")), value, quick),
    h("label", { class: "field" }, h("span", null, t("acting.units")), units),
    h("label", { class: "field" }, h("span", null, t("acting.when")), when),
    button);
  const list = h("ul", { class: "holds" });
  const text = ribbon(choose, t("acting.changed_label"));
  const legendHolder = h("span");
  const both = h("div", { class: "beside" });
  const summary = h("p", { class: "readout", role: "status" });
  const written = h("div", { class: "beside written", "aria-live": "polite" });
  const writes = h("button", { type: "button", class: "quiet", id: "write-held", hidden: !one.writes, onclick: () => write() }, t("acting.write"));
  const results = h("div", { class: "column held-results", hidden: true }, both,
    h("div", { class: "card-head" }, h("p", { class: "soft hint grow" }, t("acting.changed_hint")), legendHolder), text.element, summary, writes, written);
  const element = h("section", { class: "card holding" },
    h("h2", null, t("acting.title")),
    h("p", { class: "soft hint", id: "hold-hint" }, t("acting.hint", { most: MOST_UNITS })),
    form, list, results);

  /** Puts in the value that a gate or a state is held at most often, and its others as buttons. */
  function suggest() {
    const range = rangeOf(names.value);
    const isGate = range && range[0] === 0 && range[1] === 1;
    const ways = isGate ? [["shut", 0], ["open", 1]] : [["silent", 0]];
    value.value = String(isGate ? 1 : 0);
    quick.replaceChildren(...ways.map(([word, to]) =>
      h("button", { type: "button", class: "quiet", onclick: () => { value.value = String(to); } }, t(`acting.${word}`))));
  }

  function add(event) {
    event.preventDefault();
    const chosen = unitsOfText(units.value, one.hidden_size);
    if (chosen === undefined) {
      report(t("acting.wrong_units", { most: MOST_UNITS, last: one.hidden_size - 1 }));
      units.focus();
      return;
    }
    const length = pieces.length;
    const at = place(Math.max(1, length));
    const [start, stop] = { always: [null, null], from: [at, null], at: [at, at + 1] }[when.value];
    const several = one.parts.length > 1;
    const part = several ? state.part : null;
    const parts = [
      `${names.value} = ${local(String(Number(value.value)))}`,
      chosen ? t("acting.of_units", { units: units.value.trim() }) : t("acting.all_units"),
      start === null ? null : t(`acting.${when.value}_token`, { token: spoken(pieces[at] ?? ""), at }),
      several ? partName(one.parts[part]) : null,
    ];
    holds.push({ name: names.value, value: Number(value.value), part, units: chosen, start, stop, said: parts.filter(Boolean).join(" · ") });
    drawHolds();
    load();
  }

  function drawHolds() {
    button.disabled = holds.length >= MOST_HOLDS;
    list.replaceChildren(...holds.map((hold, index) =>
      h("li", null, h("span", null, hold.said),
        h("button", {
          type: "button", class: "quiet icon", "aria-label": t("acting.release", { what: hold.said }), title: t("acting.let_go"),
          onclick() {
            holds.splice(index, 1);
            drawHolds();
            (list.querySelectorAll("button")[Math.min(index, holds.length - 1)] ?? button).focus();
            load();
          },
        }, "×"))));
  }

  let pieces = [];
  let writing = null;
  signal.addEventListener("abort", () => writing?.abort());

  const load = oneAtATime(async () => {
    if (!holds.length || nothingToRead() || !pieces.length) {
      results.hidden = true;
      return;
    }
    results.classList.add("waiting");
    const read = pieces;
    const at = place(read.length);
    try {
      const asked = holds.map(({ said: _, ...hold }) => hold);
      const answer = await api.intervene({ ...question(), holds: asked, position: at });
      if (signal.aborted) return;
      report(null);
      draw(answer, read, at);
    } catch (error) {
      if (signal.aborted) return;
      results.hidden = true;
      report(error);
    } finally {
      results.classList.remove("waiting");
    }
  });

  function draw(answer, read, at) {
    results.hidden = false;
    writing?.abort();
    written.replaceChildren();
    const columns = [["free", answer.free], ["held", answer.held]].map(([key, candidates]) =>
      h("div", { class: key }, h("h3", null, t(`acting.${key}`)),
        candidates.length ? candidateList(candidates, { most: SHOWN, came: one.says === "forecasts" ? read[at + 1] : undefined }) : h("p", { class: "soft" }, t("acting.says_nothing"))));
    both.replaceChildren(...columns);
    const changed = answer.changed ?? [];
    text.show(read, changed, t("acting.change"), [0, 1]);
    text.mark(at);
    legendHolder.replaceChildren(legend(t("acting.change"), changed, [0, 1]));
    const [before, after] = answer.surprise;
    summary.textContent = before === null || after === null ? "" : t("acting.surprise", { before: fixed(before, 2), after: fixed(after, 2) });
  }

  /** Lets the network write on, as it is and held, with the same random numbers. */
  async function write() {
    writing?.abort();
    writing = new AbortController();
    const { signal: stop } = writing;
    const asked = { ...question(), length: WRITTEN, temperature: TEMPERATURE, seed: 1 };
    const held = holds.map(({ said: _, ...hold }) => hold);
    const ways = [["free", []], ["held", held]].map(([key, of]) => [of, h("p", { class: `made ${key}` })]);
    written.replaceChildren(...ways.map(([, place]) => place));
    try {
      for (const [of, into] of ways) {
        for await (const line of api.generate({ ...asked, holds: of }, stop)) into.textContent += line.text ?? "";
      }
    } catch (error) {
      if (error.name !== "AbortError" && !signal.aborted) report(error);
    }
  }

  suggest();
  watch((changed) => {
    if (changed.has("position")) load();
  }, signal);
  return {
    element,
    /** Takes the tokens of what has been read. */
    show(read) {
      pieces = read;
      load();
    },
  };
}
