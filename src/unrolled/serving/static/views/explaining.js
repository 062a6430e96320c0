// What a prediction is made of: how much each token before it has added to it.

import * as api from "../api.js";
import { h, oneAtATime, spoken, visible } from "../dom.js";
import { t } from "../i18n.js";
import { fixed, percent } from "../numbers.js";
import { nothingToRead, place, question, run, watch } from "../store.js";
import { legend, ribbon } from "../text.js";

const METHODS = ["integrated", "gradient", "leave-one-out"];

/** The card, which asks only while it is open; hidden in a file, which has no such answers. `show(pieces)` is told what was read. */
export function explaining({ signal, report, choose }) {
  const one = run();
  const methods = h("select", { id: "explain-method", onchange: () => load() },
    METHODS.map((name) => h("option", { value: name }, t(`explaining.methods.${name}`))));
  const words = h("p", { class: "readout", role: "status" });
  const text = ribbon(choose, t("explaining.title"));
  const legendHolder = h("span");
  const inside = h("div", { class: "column" },
    h("div", { class: "card-head" }, h("label", { class: "field" }, h("span", null, t("explaining.method")), methods), legendHolder),
    text.element, words);
  const details = h("details", { ontoggle: () => load() },
    h("summary", null, h("h2", null, t("explaining.title"))),
    h("p", { class: "soft hint" }, t("explaining.hint")), inside);
  const element = h("section", { class: "card explaining", hidden: !one.says || !api.attribute }, details);
  let pieces = [];

  const load = oneAtATime(async () => {
    if (!details.open || nothingToRead() || !pieces.length) return;
    const read = pieces;
    const at = place(read.length);
    inside.classList.add("waiting");
    try {
      const answer = await api.attribute({ ...question(), position: at, method: methods.value });
      if (signal.aborted) return;
      report(null);
      const values = read.map((_, k) => answer.values[k - answer.first] ?? null);
      text.show(read, values, t("explaining.value"));
      text.mark(at);
      legendHolder.replaceChildren(legend(t("explaining.value"), values));
      const most = values.reduce((best, each, k) => (Math.abs(each ?? 0) > Math.abs(values[best] ?? 0) ? k : best), 0);
      words.textContent = [
        t("explaining.said", { what: visible(answer.text), share: percent(answer.probability, 1), token: spoken(read[most]), nats: fixed(values[most] ?? 0, 2) }),
        answer.residual === null ? "" : t("explaining.residual", { nats: fixed(answer.residual, 3) }),
      ].filter(Boolean).join(" ");
    } catch (error) {
      if (signal.aborted) return;
      words.textContent = "";
      report(error);
    } finally {
      inside.classList.remove("waiting");
    }
  });

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
