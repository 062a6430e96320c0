// The verdict on a gradient's reach, in the words that came with it.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { state } from "./store.js";

/** What a verdict is the mean over, as an element. */
export function sayMeasured(measured) {
  if (!measured) return h("p");
  const where = measured.held_out ? "measured_held_out" : "measured_here";
  return h("p", { class: "soft hint" }, t(measured.windows === 1 ? "measured_once" : where, { windows: measured.windows }));
}

/** A verdict as an element; `name` is the run's, where there are several. */
export function sayVerdict(verdict, name) {
  if (!verdict) return h("p");
  const { mark, head, sentence, advice } = verdict.words[state.language];
  return h("div", { class: `said-verdict ${verdict.kind}`, "data-kind": verdict.kind },
    h("p", { class: "verdict-head" },
      h("span", { class: "verdict-mark", "aria-hidden": "true" }, mark), name ? `${name}: ` : null, head),
    h("p", null, sentence),
    advice ? h("p", { class: "soft" }, advice) : null);
}
