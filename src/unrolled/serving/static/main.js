// The page: which view is shown, keys, language and theme. Each view is a file of its own.

import * as api from "./api.js";
import { writeBar } from "./bar.js";
import { h, visible } from "./dom.js";
import { factsOf, loadWords, t } from "./i18n.js";
import { grouped } from "./numbers.js";
import { forget } from "./scales.js";
import { chooseKeys, chosen, readAddress, rememberLanguage, run, set, state, unknownIn, watch } from "./store.js";
import { compare } from "./views/compare.js";
import { gradient } from "./views/gradient.js";
import { read } from "./views/read.js";
import { report as written } from "./views/report.js";
import { step } from "./views/step.js";
import { unroll } from "./views/unroll.js";
import { write } from "./views/write.js";

const VIEWS = { report: written, write, read, step, unroll, gradient, compare };
const $ = (id) => document.getElementById(id);

let current = null; // the view that is shown, and what ends it
let lasting = ""; // what is said as long as the view is shown, where nothing goes wrong
let broken = []; // names of runs that cannot be shown

/** The views of a run, by what it can do; in a file, those that it names. */
function viewsOf(one) {
  return one.views ?? [one.writes ? "write" : "read", ...(one.step ? ["step"] : []), "unroll", "gradient", "compare"];
}

const MOST_NAMED = 12; // characters in a notice

/** What of the text is not read, in words; "" if all is. */
function leftOut() {
  const unknown = unknownIn(state.text);
  const list = unknown.slice(0, MOST_NAMED).map(visible).join(" ") + (unknown.length > MOST_NAMED ? " …" : "");
  const most = state.limits.text_characters;
  const isLong = state.text.length > most && [...state.text].length > most;
  return [unknown.length ? t("unknown", { list }) : "", isLong ? t("too_long", { most: grouped(most) }) : ""].filter(Boolean).join(" ");
}

/** Says what went wrong, or what is left out, or clears it. */
function report(failure) {
  const problem = failure ?? [lasting, leftOut()].filter(Boolean).join(" ");
  const notice = $("notice");
  notice.hidden = !problem;
  if (!problem) return;
  if (typeof problem === "string") notice.textContent = problem;
  else if (problem.code === "medium") notice.textContent = t(`give_file.${run().reads}`);
  else if (problem instanceof TypeError) notice.textContent = t("offline") ?? problem.message;
  else {
    // what the server has words for is said in the page's language
    const inWords = (part) => t(`errors.${problem.code}.${part}`, problem.values) ?? problem[part];
    notice.textContent = [t("failed", { message: inWords("message") }), inWords("hint")].filter(Boolean).join(" ");
  }
}

function say(words) {
  $("live").textContent = words;
}

function show() {
  current?.end.abort();
  const available = viewsOf(run());
  const hasLostCell = state.view === "step" && !available.includes("step");
  if (!available.includes(state.view)) [state.view] = available;
  const end = new AbortController();
  const root = $("view");
  if (root.dataset.view !== state.view) scrollTo(0, 0);
  root.dataset.view = state.view;
  root.replaceChildren();
  lasting = hasLostCell ? t("no_cell", { cell: run().cell }) : "";
  if (broken.length && !lasting) lasting = t("broken", { runs: broken.join(", ") });
  report(null);
  current = { end, view: VIEWS[state.view](root, { signal: end.signal, report, say }) };
  chrome();
}

/** Everything around the view. */
function chrome() {
  const one = run();
  writeBar(t("title"));
  const focused = document.activeElement?.dataset?.view;
  $("tabs").setAttribute("aria-label", t("views_label"));
  $("tabs").replaceChildren(...viewsOf(one).map((name, index) =>
    h("button", {
      type: "button", class: "tab", "aria-current": name === state.view ? "page" : null, "data-view": name,
      title: String(index + 1), onclick: () => set({ view: name }),
    }, t(`views.${name}`))));
  if (focused) $("tabs").querySelector(`[data-view=${focused}]`)?.focus();
  $("run").replaceChildren(...state.runs.map(({ name }) => h("option", { value: name, selected: name === state.run }, name)));
  $("run").closest("label").hidden = Boolean(one.views) && state.runs.length < 2;
  $("facts").textContent = [factsOf(one), whereabouts(one)].filter(Boolean).join(" · ");
}

/** In a file, whether the model is in it, and what computes it; or why not. */
function whereabouts({ inside, outside, engine }) {
  if (inside) return `${t(`inside.${inside}`)} ${t(`engines.${engine}`)}`;
  return outside ? t(`outside.${outside.why}`, outside) : "";
}

function applyTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = state.theme || (dark ? "dark" : "light");
  forget();
}

function help(list = t("keys")) {
  const dialog = $("keys");
  dialog.replaceChildren(
    h("h2", null, t("help")),
    h("dl", null, list.map(([keys, what]) => [h("dt", null, keys), h("dd", null, what)])),
    h("label", { class: "check" },
      h("input", { type: "checkbox", id: "single-keys", checked: state.keys, onchange: (event) => chooseKeys(event.target.checked) }), t("single_keys")),
    h("form", { method: "dialog" }, h("button", { class: "primary" }, t("close"))));
  dialog.setAttribute("aria-label", t("help"));
  dialog.showModal();
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen().catch(report);
}

/** Whether keys mean something to an element itself; to a checkbox, only the space bar does. */
function isTyping(element) {
  return element.matches("textarea, select, input:not([type=checkbox]), [contenteditable]");
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open || !current) return;
  const element = event.target instanceof Element ? event.target : document.body;
  if (isTyping(element)) {
    if (event.key === "Escape") element.blur();
    return;
  }
  const views = viewsOf(run());
  if (event.key.length === 1 && !state.keys) return;
  if (event.key === "?") help();
  else if (event.key === "f") fullScreen();
  else if (/^[1-9]$/.test(event.key) && views[event.key - 1]) set({ view: views[event.key - 1] });
  else if (event.key === "[" || event.key === "]") {
    const by = event.key === "[" ? -1 : 1;
    const count = run().hidden_size;
    set({ unit: (state.unit + by + count) % count, mean: false });
  } else if (event.key === " " && element.matches("button, a, summary, input")) return;
  else if (!current.view.step(event.key)) return;
  event.preventDefault();
}

async function changeLanguage(code) {
  try {
    await loadWords(code);
    rememberLanguage(state.language);
    show();
  } catch (error) {
    report(error);
  }
}

function listen() {
  $("language").addEventListener("change", (event) => changeLanguage(event.target.value));
  $("theme").addEventListener("click", () =>
    set({ theme: document.documentElement.dataset.theme === "dark" ? "light" : "dark" }));
  $("run").addEventListener("change", (event) => set({ run: event.target.value }));
  $("full").addEventListener("click", fullScreen);
  $("help").addEventListener("click", () => help());
  document.addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    applyTheme();
    show();
  });
  addEventListener("hashchange", () => {
    if (isLecture()) {
      location.reload();
      return;
    }
    readAddress();
    show();
  });
  watch((changed) => {
    if (changed.has("theme")) applyTheme();
    if (changed.has("run") && !current.view.takesAnotherRun) show();
    else if (changed.has("view") || !viewsOf(run()).includes(state.view)) show();
    else if (changed.has("run") || changed.has("theme")) chrome();
  });
}

const isLecture = () => api.lecture && /^#lecture\b/.test(location.hash); // a file has none

/** Shows the lecture instead of the runs: another page in the same frame. */
async function beginLecture() {
  addEventListener("hashchange", () => {
    if (!isLecture()) location.reload();
  });
  const { openLecture } = await import("./lecture/frame.js");
  await openLecture({ applyTheme, fullScreen, help, isTyping, report });
}

async function begin() {
  state.theme = chosen.theme;
  applyTheme();
  if (isLecture()) {
    await beginLecture();
    return;
  }
  try {
    const [answer] = await Promise.all([api.runs(), loadWords(chosen.language)]);
    state.limits = answer.limits;
    state.runs = answer.runs;
    broken = answer.broken;
  } catch (error) {
    report(error);
    return;
  }
  if (!state.runs.length) { // a server of the lecture alone
    history.replaceState(null, "", "#lecture");
    await beginLecture();
    return;
  }
  readAddress();
  listen();
  show();
}

begin();
