// The page: which view is shown, keys, language and theme. Each view is a file of its own.

import * as api from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { forget } from "./scales.js";
import { readAddress, restore, run, set, state, watch } from "./store.js";
import { compare } from "./views/compare.js";
import { gradient } from "./views/gradient.js";
import { step } from "./views/step.js";
import { task } from "./views/task.js";
import { unroll } from "./views/unroll.js";
import { write } from "./views/write.js";

const VIEWS = { write, step, unroll, gradient, compare, task };
const $ = (id) => document.getElementById(id);

let current = null; // the view that is shown, and what ends it

function viewsOf(one) {
  return one?.task === "lm" ? ["write", "step", "unroll", "gradient", "compare"] : ["task"];
}

/** Says what went wrong, or clears it. */
function report(problem) {
  const notice = $("notice");
  notice.hidden = !problem;
  if (!problem) return;
  if (typeof problem === "string") notice.textContent = problem;
  else if (problem instanceof TypeError) notice.textContent = t("offline");
  else notice.textContent = [t("failed")(problem.message), problem.hint].filter(Boolean).join(" ");
}

function say(words) {
  $("live").textContent = words;
}

function show() {
  current?.end.abort();
  const available = viewsOf(run());
  if (!available.includes(state.view)) state.view = available[0];
  const end = new AbortController();
  const root = $("view");
  root.dataset.view = state.view;
  root.replaceChildren();
  report(null);
  current = { end, view: VIEWS[state.view](root, { signal: end.signal, report, say }) };
  chrome();
}

/** Everything around the view. */
function chrome() {
  document.documentElement.lang = state.language;
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-i18n]")) {
    element.textContent = t(element.dataset.i18n);
  }
  const focused = document.activeElement?.dataset?.view;
  $("tabs").replaceChildren(...viewsOf(run()).map((name, index) =>
    h("button", {
      type: "button", class: "tab", "aria-current": name === state.view ? "page" : null, "data-view": name,
      title: String(index + 1), onclick: () => set({ view: name }),
    }, t("views")[name])));
  if (focused) $("tabs").querySelector(`[data-view=${focused}]`)?.focus();
  $("run").replaceChildren(...state.runs.map((one) =>
    h("option", { value: one.name, selected: one.name === state.run }, one.name)));
  $("language").textContent = t("language");
  $("language").lang = state.language === "en" ? "pt" : "en";
  $("theme").setAttribute("aria-label", t("theme"));
  $("theme").title = t("theme");
  $("theme").textContent = document.documentElement.dataset.theme === "dark" ? "☀" : "☾";
  $("help").setAttribute("aria-label", t("help"));
  $("help").title = t("help");
  const one = run();
  $("facts").textContent = one ? t("facts")(one) : "";
}

function applyTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = state.theme || (dark ? "dark" : "light");
  forget();
}

function help() {
  const dialog = $("keys");
  dialog.replaceChildren(
    h("h2", null, t("help")),
    h("dl", null, t("keys").map(([keys, what]) => [h("dt", null, keys), h("dd", null, what)])),
    h("form", { method: "dialog" }, h("button", { class: "primary" }, t("close"))));
  dialog.setAttribute("aria-label", t("help"));
  dialog.showModal();
}

function isTyping(element) {
  return element.matches("textarea, select, input, [contenteditable]");
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const element = event.target instanceof Element ? event.target : document.body;
  if (isTyping(element)) {
    if (event.key === "Escape") element.blur();
    return;
  }
  const views = viewsOf(run());
  const one = run();
  if (event.key === "?") help();
  else if (/^[1-9]$/.test(event.key) && views[event.key - 1]) set({ view: views[event.key - 1] });
  else if ((event.key === "[" || event.key === "]") && one?.hidden_size) {
    const by = event.key === "[" ? -1 : 1;
    set({ unit: (state.unit + by + one.hidden_size) % one.hidden_size, mean: false });
  } else if (event.key === " " && element.matches("button, a, summary")) return;
  else if (!current?.view.step(event.key)) return;
  event.preventDefault();
}

async function begin() {
  restore();
  applyTheme();
  chrome();
  $("language").addEventListener("click", () => set({ language: state.language === "en" ? "pt" : "en" }));
  $("theme").addEventListener("click", () =>
    set({ theme: document.documentElement.dataset.theme === "dark" ? "light" : "dark" }));
  $("run").addEventListener("change", (event) => set({ run: event.target.value }));
  $("help").addEventListener("click", help);
  document.addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    applyTheme();
    show();
  });
  addEventListener("hashchange", () => {
    readAddress();
    show();
  });
  try {
    const answer = await api.runs();
    state.limits = answer.limits;
    state.runs = answer.runs;
  } catch (error) {
    report(error);
    return;
  }
  if (!run()) state.run = state.runs[0].name;
  const one = run();
  if (one.hidden_size) state.unit = Math.min(state.unit, one.hidden_size - 1);
  state.layer = Math.min(state.layer, (one.num_layers ?? 1) - 1);
  watch((changed) => {
    if (changed.has("theme")) applyTheme();
    if (changed.has("run")) {
      const other = run();
      state.layer = Math.min(state.layer, (other.num_layers ?? 1) - 1);
      state.unit = Math.min(state.unit, (other.hidden_size ?? 1) - 1);
    }
    const left = changed.has("run") && !viewsOf(run()).includes(state.view);
    if (changed.has("view") || changed.has("language") || left || (changed.has("run") && state.view === "task")) show();
    else if (changed.has("run") || changed.has("theme")) chrome();
  });
  show();
}

begin();
