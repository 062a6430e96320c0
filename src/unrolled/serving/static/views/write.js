// Write: type, see every token coloured as the network reads it, and let it write on.

import * as api from "../api.js";
import { chosenSignal, signalControls } from "../controls.js";
import { h, later, oneAtATime, spoken } from "../dom.js";
import { t } from "../i18n.js";
import { fixed } from "../numbers.js";
import { forget, paint, scaleOf } from "../scales.js";
import { isHeard, isRecorded, place, question, rangeOf, readable, run, set, state, watch } from "../store.js";
import { candidateList, legend, readout } from "../text.js";
import { heatMap, mapped } from "../heatmap.js";
import { generator } from "./generator.js";

/** How a candidate is inserted after a token: of sets, as a set of its own. */
function asNext(text, token) {
  if (run().form.kind !== "sets") return text;
  const label = /^[^\s|"[][^\s|"]*$/.test(text) ? text : JSON.stringify(text);
  return token.trimEnd().endsWith("|") ? ` ${label} |` : ` | ${label}`;
}

export function write(root, { signal, report }) {
  const mirror = h("div", { class: "mirror", "aria-hidden": "true" });
  const editor = h("textarea", {
    class: "typing", id: "text", spellcheck: "false", autocapitalize: "off", autocomplete: "off",
    "aria-label": t("text"), "aria-describedby": "readout",
  });
  editor.value = state.text;
  const said = h("p", { class: "readout", id: "readout" });
  const legendHolder = h("span");
  const hint = h("p", { class: "soft hint grow" });
  const next = h("h2");
  const candidates = h("div", { class: "candidates-holder" });
  const after = h("p", { class: "soft" });
  const map = heatMap(signal, (at, unit) => {
    set({ unit, mean: false, position: at, signal: mapped() });
    moveCaret(at);
  });
  const writer = generator({ editor, signal, report, typed });
  let reading = null;

  root.replaceChildren(
    h("div", { class: "two" },
      h("div", { class: "column" },
        h("section", { class: "card" },
          h("div", { class: "card-head" }, h("h1", null, t("views.write")), signalControls(signal)),
          h("div", { class: "card-head" }, hint, legendHolder),
          h("div", { class: "editor" }, mirror, editor),
          said),
        map.element),
      h("div", { class: "column side" },
        h("section", { class: "card" }, next, after, candidates),
        writer.element)));

  function sayUnit() {
    hint.textContent = t("write_hint");
    next.textContent = t("next");
    writer.sayUnit();
  }

  const spansOf = () => [...mirror.children];
  const isReadingOf = (text) => reading?.pieces.join("") === readable(text);

  /** A text cut into tokens: {text, at}; at is the token's place, null of what is not read. */
  function piecesOf(text) {
    const read = readable(text);
    const pieces = isReadingOf(text) ? reading.pieces : [...read];
    if (read === text) return pieces.map((piece, at) => ({ text: piece, at }));
    const rest = [...text];
    const all = [];
    const skip = (wanted) => {
      while (rest.length && rest[0] !== wanted) all.push({ text: rest.shift(), at: null });
    };
    pieces.forEach((piece, at) => {
      const [first] = piece;
      if (first !== undefined) skip(first);
      rest.splice(0, [...piece].length);
      all.push({ text: piece, at });
    });
    // what is beyond the most that is read may be long: it is one piece
    if (rest.length) all.push({ text: rest.join(""), at: null });
    return all;
  }

  /** Shows the text at once, with the colours that are known, before the server has read it. */
  function mirrorText(text) {
    const pieces = piecesOf(text);
    const spans = spansOf();
    let same = 0;
    const isSame = (span, piece) => span.textContent === piece.text && (span.dataset.at ?? null) === (piece.at === null ? null : String(piece.at));
    while (same < pieces.length && same < spans.length && isSame(spans[same], pieces[same])) same += 1;
    for (const old of spans.slice(same)) old.remove();
    mirror.append(...pieces.slice(same).map(({ text: piece, at }) =>
      h("span", at === null ? { class: readable(piece) ? "beyond" : "unknown" } : { "data-at": at }, piece)));
    mirror.append(h("b", null, "\u200b")); // a last line that is empty has its height too
  }

  function typed() {
    const text = editor.value;
    set({ text, position: tokenAtCaret(text) });
    mirrorText(text);
    report(null);
    refresh();
  }

  /** The token before the caret, as an index; null at the end of the text. */
  function tokenAtCaret(text) {
    const caret = editor.selectionStart;
    if (caret >= text.length) return null;
    let end = 0;
    let before = null;
    for (const piece of piecesOf(text)) {
      end += piece.text.length;
      before = piece.at ?? before;
      if (end >= caret) return before ?? 0;
    }
    return null;
  }

  /** Where a token ends in the text that was typed. */
  function endOf(at) {
    const pieces = piecesOf(state.text);
    return pieces.slice(0, pieces.findIndex((piece) => piece.at === at) + 1).map((piece) => piece.text).join("").length;
  }

  function moveCaret(at) {
    const caret = endOf(at);
    editor.setSelectionRange(caret, caret);
    editor.focus();
  }

  const refresh = oneAtATime(async () => {
    const asked = question();
    const name = state.signal;
    const chosen = chosenSignal();
    // where a token is no character, or one that may not be read, the place is known by the answer
    const isPlaced = (run().characters !== null && isHeard(asked.text)) || isReadingOf(asked.text);
    const position = isPlaced && state.position < [...readable(asked.text)].length ? state.position : null;
    try {
      const answer = await api.read({ ...asked, ...chosen.asked, position });
      if (signal.aborted || asked.text !== question().text || asked.run !== state.run) return;
      reading = answer;
      report(null);
      show(name, chosen.values(answer));
      refreshMap();
      // the caret's place was counted before this answer said which characters are read
      if (document.activeElement === editor) set({ position: tokenAtCaret(state.text) });
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  });

  const refreshMap = later(120, () => reading && map.show(reading));

  function show(name, values) {
    mirrorText(state.text);
    const scale = scaleOf(name, values ?? [], rangeOf(name));
    const here = place(reading.pieces.length);
    for (const span of mirror.querySelectorAll("[data-at]")) {
      const at = Number(span.dataset.at);
      span.className = at === here ? "here" : "";
      const value = values?.[at];
      if (value === null || value === undefined) {
        span.style.backgroundColor = "";
        span.style.color = "";
      } else paint(span, scale.rgb(value));
    }
    legendHolder.replaceChildren(legend(name, values, rangeOf(name)));
    showPlace(name, values, here);
  }

  function showPlace(name, values, here) {
    const token = reading.pieces[here];
    if (token === undefined) {
      said.textContent = t("nothing_read");
      after.textContent = "";
      candidates.replaceChildren();
      return;
    }
    const words = [readout(reading, here)];
    if (isRecorded(name) && values) words.push(`${name} = ${fixed(values[here])}`);
    said.textContent = words.join("  ·  ");
    after.textContent = t("next_after", { token: spoken(token) });
    const list = candidateList(reading.candidates, {
      came: reading.pieces[here + 1],
      choose(text) {
        const at = endOf(here);
        editor.setRangeText(asNext(text, token), at, at, "end");
        typed();
      },
    });
    // Who has come to a candidate by keys stays at its place when the list is another.
    const chosen = [...candidates.querySelectorAll(".candidate")].indexOf(document.activeElement);
    candidates.replaceChildren(list);
    list.querySelectorAll(".candidate")[chosen]?.focus();
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
    if (changed.has("run")) {
      sayUnit();
      reading = null;
      typed();
    } else if (["signal", "unit", "part", "mean", "position", "theme"].some((name) => changed.has(name))) refresh();
  }, signal);
  signal.addEventListener("abort", () => writer.stop());

  sayUnit();
  mirrorText(state.text);
  const { position } = state;
  typed();
  if (position !== null) set({ position });
  return { step: () => false, takesAnotherRun: true };
}
