// A text as a row of tokens that can be looked at one by one, coloured by a signal.

import { h, visible } from "./dom.js";
import { fixed, percent } from "./numbers.js";
import { gradientStops, paint, scaleOf } from "./scales.js";

/** The tokens of a reading as one block; a click on one calls `choose(index)`. */
export function ribbon(choose, label) {
  const box = h("div", {
    class: "ribbon",
    role: "listbox",
    tabindex: "0",
    "aria-label": label,
    onclick(event) {
      const token = event.target.closest("[data-at]");
      if (token) choose(Number(token.dataset.at));
    },
  });
  let spans = [];
  let current = -1;

  return {
    element: box,
    /** Shows tokens, each coloured by its value, if there are values. */
    show(pieces, values, name) {
      const scale = values && scaleOf(name, values);
      const known = spans.length === pieces.length && spans.every((s, i) => s.dataset.piece === pieces[i]);
      if (!known) {
        spans = pieces.map((piece, at) =>
          h("span", { class: "token", role: "option", "data-at": at, "data-piece": piece, id: `t${at}` },
            piece === "\n" ? "↵\n" : piece),
        );
        box.replaceChildren(...spans);
        current = -1;
      }
      spans.forEach((span, at) => {
        const value = values?.[at];
        if (value === null || value === undefined) {
          span.style.backgroundColor = "";
          span.style.color = "";
          span.title = visible(pieces[at]);
        } else {
          paint(span, scale.rgb(value));
          span.title = `${visible(pieces[at])}  ${name} = ${fixed(value)}`;
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
export function legend(name, values) {
  const scale = scaleOf(name, values ?? []);
  const bar = h("span", { class: "legend-bar", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(to right, ${gradientStops(scale).join(",")})`;
  const end = (value) => String(value).replace("-", "−");
  return h("span", { class: "legend" }, end(scale.low), bar, name === "surprise" ? `${end(scale.high)}+` : end(scale.high));
}

/** The likeliest next tokens as bars. `choose(text)` makes them buttons; `came` is marked. */
export function candidateList(candidates, { choose, came, most = 8, words }) {
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
    const properties = { class: `candidate${isCame ? " came" : ""}`, title: isCame ? words.came : null };
    if (!choose) return h("li", null, h("div", properties, inside));
    return h("li", null, h("button", {
      ...properties, type: "button", "aria-label": words.insert(visible(text), share), onclick: () => choose(text),
    }, inside));
  });
  return h("ol", { class: "candidates" }, rows);
}
