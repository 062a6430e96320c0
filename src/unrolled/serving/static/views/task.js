// Try: classifiers, taggers, translators and captioners on one input, each in its own picture.

import * as api from "../api.js";
import { h, later, oneAtATime } from "../dom.js";
import { t } from "../i18n.js";
import { classifyView, captionView, rawView, tagView, translateView } from "../predictions.js";
import { forget } from "../scales.js";
import { run, watch } from "../store.js";

const SHOWN = { classify: classifyView, tag: tagView, translate: translateView };

const kept = new Map(); // what was typed for each run

export function task(root, { signal, report }) {
  const one = run();
  const answer = h("div", { class: "answer" });
  const head = [
    h("h1", null, one.name),
    h("p", { class: "soft hint" }, [t("task_shape")[one.task], t("task_hint")[one.task]].filter(Boolean).join(" · ")),
  ];
  if (one.medium) captioner(root, { one, head, answer, signal, report });
  else reader(root, { one, head, answer, signal, report });
  return { step: () => false };
}

function reader(root, { one, head, answer, signal, report }) {
  const input = h("textarea", { class: "typing plain", id: "input", rows: "3", spellcheck: "false", "aria-label": t("input") });
  input.value = kept.get(one.name) ?? t("example")[one.task] ?? "";
  const options = {};
  if (one.predict_options.includes("running")) options.running = true;
  if (one.predict_options.includes("n_best")) Object.assign(options, { beam: 4, n_best: 3 });
  let last = null;
  const show = () => last && answer.replaceChildren((SHOWN[one.task] ?? rawView)(last));
  const ask = oneAtATime(async () => {
    kept.set(one.name, input.value);
    if (!input.value.trim()) {
      answer.replaceChildren();
      return;
    }
    try {
      const found = await api.predict({ run: one.name, text: input.value.replaceAll("\n", " "), options });
      if (signal.aborted) return;
      report(null);
      last = found.prediction;
      show();
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  });
  input.addEventListener("input", later(250, ask), { signal });
  watch((changed) => {
    if (changed.has("theme")) {
      forget();
      show();
    }
  }, signal);
  root.replaceChildren(h("section", { class: "card" }, head, input), answer);
  ask();
}

function captioner(root, { one, head, answer, signal, report }) {
  const file = h("input", { type: "file", id: "medium", accept: one.medium === "picture" ? "image/*" : "audio/*" });
  let address = null;
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    try {
      const data = await base64(chosen);
      const found = await api.caption({ run: one.name, data, options: { beam: 4, n_best: 3 } });
      if (signal.aborted) return;
      report(null);
      if (address) URL.revokeObjectURL(address);
      address = URL.createObjectURL(chosen);
      answer.replaceChildren(captionView(found.prediction, { address, medium: one.medium }));
    } catch (error) {
      if (!signal.aborted) report(error);
    }
  }, { signal });
  signal.addEventListener("abort", () => address && URL.revokeObjectURL(address));
  root.replaceChildren(h("section", { class: "card" }, head,
    h("label", { class: "field" }, h("span", null, t("choose_file")[one.medium]), file)), answer);
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}
