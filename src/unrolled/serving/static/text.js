// A text as a row of tokens that can be looked at one by one, coloured by a signal.

import { h, spoken, visible } from "./dom.js";
import { signalName, t } from "./i18n.js";
import { fixed, local, percent } from "./numbers.js";
import { gradientStops, paint, scaleOf } from "./scales.js";
import { run } from "./store.js";

let ribbons = 0; // made so far: ids of their tokens

/** The tokens of a reading as one block; a click on one calls `choose(index)`. */
export function ribbon(choose, label) {
  const box = h("div", {
    class: `ribbon${run().reads === "numbers" ? " apart" : ""}`, role: "listbox", tabindex: "0", "aria-label": label,
    onclick(event) {
      const token = event.target.closest("[data-at]");
      if (token) choose(Number(token.dataset.at));
    },
  });
  const prefix = `t${(ribbons += 1)}-`;
  let spans = [];
  let current = -1;

  return {
    element: box,
    /** Shows tokens, each coloured by its value, if there are values; `range` is the signal's. */
    show(pieces, values, name, range) {
      const scale = values && scaleOf(name, values.filter((value) => value !== null), range);
      const known = spans.length === pieces.length && spans.every((span, i) => span.dataset.piece === pieces[i]);
      if (!known) {
        spans = pieces.map((piece, at) =>
          h("span", { class: "token", role: "option", "data-at": at, "data-piece": piece, id: `${prefix}${at}` },
            piece === "\n" ? "↵\n" : piece));
        box.replaceChildren(...spans);
        current = -1;
      }
      const called = signalName(name) ?? name; // others than signals come with a name in words
      spans.forEach((span, at) => {
        const value = values?.[at];
        if (value === null || value === undefined) {
          span.style.backgroundColor = "";
          span.style.color = "";
          span.title = visible(pieces[at]);
        } else {
          paint(span, scale.rgb(value));
          span.title = `${visible(pieces[at])}  ${called} = ${fixed(value)}`;
        }
      });
    },
    /** Marks the token that is looked at. */
    mark(at) {
      if (current >= 0) {
        spans[current]?.classList.remove("here");
        spans[current]?.removeAttribute("aria-selected");
      }
      current = at;
      const span = spans[at];
      if (!span) return;
      span.classList.add("here");
      span.setAttribute("aria-selected", "true");
      box.setAttribute("aria-activedescendant", span.id);
      const top = span.offsetTop; // within the box, which is positioned
      if (top < box.scrollTop || top + span.offsetHeight > box.scrollTop + box.clientHeight) {
        box.scrollTop = top - box.clientHeight / 2;
      }
    },
  };
}

/** A legend: the colours from the lowest value to the highest, with the numbers at its ends. */
export function legend(name, values, range) {
  const scale = scaleOf(name, (values ?? []).filter((value) => value !== null), range);
  const bar = h("span", { class: "legend-bar", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(to right, ${gradientStops(scale).join(",")})`;
  const end = (value) => local(String(value));
  return h("span", { class: "legend" }, end(scale.low), bar, name === "surprise" ? `${end(scale.high)}+` : end(scale.high));
}

/** What a token says of itself under a text: that it begins, how it surprised, or what is answered. */
export function readout(reading, at) {
  const token = spoken(reading.pieces[at]);
  const bits = reading.surprise[at];
  const answer = reading.expected?.[at] ?? (at === reading.position ? reading.candidates[0] : undefined);
  if (bits !== null) return t("readout", { token, bits: fixed(bits, 2) });
  if (reading.surprise.some((each) => each !== null)) return t("readout_first", { token });
  if (!answer) return t("readout_plain", { token });
  return t("readout_answer", { token, answer: visible(answer.text), share: percent(answer.probability) });
}

/** The likeliest next tokens, or answers, as bars. `choose(text)` makes them buttons; `came` is marked. */
export function candidateList(candidates, { choose, came, most = 8 } = {}) {
  const rows = candidates.slice(0, most).map(({ text, probability }) => {
    const bar = h("span", { class: "bar-fill" });
    bar.style.width = `${(100 * probability).toFixed(2)}%`;
    const share = percent(probability, 1);
    const inside = [
      h("span", { class: "candidate-token" }, visible(text)),
      h("span", { class: "bar-track", "aria-hidden": "true" }, bar),
      h("span", { class: "candidate-share" }, share),
    ];
    const isCame = came !== undefined && came === text;
    const properties = { class: `candidate${isCame ? " came" : ""}`, ...(isCame && { title: t("came") }) };
    if (!choose) return h("li", null, h("div", properties, inside));
    return h("li", null, h("button", { title: t("insert"), ...properties, type: "button", onclick: () => choose(text) }, inside));
  });
  const wide = candidates.some(({ text }) => text.length > 2);
  return h("ol", { class: `candidates${wide ? " wide-tokens" : ""}` }, rows);
}
