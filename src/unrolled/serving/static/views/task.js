// Try: classifiers, taggers and translators on one input, each with what it can show.

import * as api from "../api.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { run } from "../store.js";

export function task(root, { report }) {
  const one = run();
  const answer = h("div", { class: "answer" });
  const input = h("textarea", { class: "typing plain", id: "input", rows: "4", "aria-label": t("input") });
  const options = one.predict_options?.includes("running") ? { running: true } : {};
  root.replaceChildren(
    h("section", { class: "card" },
      h("h1", null, one.name),
      one.takes_media ? h("p", null, t("media")) : [
        h("p", { class: "soft hint" }, t("task_hint")[one.task] ?? ""),
        h("form", {
          class: "form",
          async onsubmit(event) {
            event.preventDefault();
            try {
              const found = await api.predict({ run: one.name, text: input.value, options });
              report(null);
              answer.replaceChildren(shown(found.prediction));
            } catch (error) {
              report(error);
            }
          },
        }, input, h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, t("predict")))),
        answer,
      ]));
  return { step: () => false };
}

function shown(prediction) {
  return h("details", { open: true }, h("summary", null, t("raw")), h("pre", null, JSON.stringify(prediction, null, 1)));
}
