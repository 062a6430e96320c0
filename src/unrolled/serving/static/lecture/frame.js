// The lecture: which scene is shown, its text, its figure with what can be tried, its exercises, and the
// way to the next one. Each scene is a file of its own, and knows nothing of the others.

import * as api from "../api.js";
import { writeBar } from "../bar.js";
import { h, later, prose } from "../dom.js";
import { loadWords, t } from "../i18n.js";
import { chosen, rememberLanguage, set, state, watch } from "../store.js";
import { exercise } from "./exercise.js";
import { saveNumbers, savePicture } from "./saving.js";
import { sequence } from "./sequence.js";
import { layer } from "./layer.js";
import { carried } from "./carried.js";
import { configurations } from "./configurations.js";
import { vanilla } from "./vanilla.js";
import { hello } from "./hello.js";
import { gates, gru, janet } from "./cells.js";
import { reach } from "./reach.js";
import { gradient } from "./gradient.js";
import { compare } from "./compare.js";

/**
 * The scenes in order, by the names that addresses have: #lecture/gates. A scene is a function of a
 * stage (see `show`); it returns {numbers, checks, key, redraw}: rows for a file, a header first; what
 * makes an answer right, one for each exercise; optionally what a key does, and a drawing at another width.
 */
const SCENES = { sequence, layer, state: carried, configurations, vanilla, hello, gates, gru, janet, window: reach, gradient, compare };
const NAMES = Object.keys(SCENES);

/** Says a readout to who does not see it, once it stands still: while a network learns, it changes all the time. */
const speak = later(800, (readout) => {
  $("live").textContent = readout.textContent;
});

const $ = (id) => document.getElementById(id);

let shown = null; // {name, scene, end} of the scene on the page
let cells = null;

/** The scene of the address, the language that it asks for, and a name that no scene has: #lecture/gates/pt-BR. */
function readAddress() {
  const [, name, language] = location.hash.slice(1).split("/");
  const isKnown = NAMES.includes(name);
  return { name: isKnown ? name : NAMES[0], language: language?.slice(0, 20), unknown: isKnown ? "" : name?.slice(0, 40) };
}

const linkTo = (name) => `#lecture/${name}`;
const words = (name) => (key, values) => t(`lecture.scenes.${name}.${key}`, values);
const titleOf = (name) => t(`lecture.scenes.${name}.title`);
const near = (name, by) => NAMES[NAMES.indexOf(name) + by];

/** Shows a scene, from its top where another one was shown. */
function show(name) {
  shown?.end.abort();
  const end = new AbortController();
  const say = words(name);
  const number = NAMES.indexOf(name) + 1;
  const figure = h("div", { class: "stage-figure" });
  const controls = h("div", { class: "controls stage-controls" });
  const readout = h("p", { class: "stage-readout" });
  const head = h("h1", { tabindex: "-1", id: "scene-title" }, say("title"));
  const files = h("div", { class: "stage-files" },
    h("span", { class: "soft" }, t("lecture.save")),
    ["svg", "png", "csv"].map((kind) => h("button", {
      type: "button", class: "quiet", "data-file": kind, "aria-label": t("lecture.save_as", { kind: kind.toUpperCase() }),
      onclick: () => (kind === "csv" ? saveNumbers(shown.scene.numbers(), name) : savePicture(figure, name, kind)),
    }, kind.toUpperCase())));
  const exercises = h("section", { class: "card exercises", "aria-label": t("lecture.exercises") });
  const way = (by, sign) => {
    const to = near(name, by);
    return to ? h("a", { class: `way-on ${by < 0 ? "back-to" : "on-to"}`, href: linkTo(to), rel: by < 0 ? "prev" : "next" },
      h("span", { class: "soft" }, t(by < 0 ? "lecture.previous" : "lecture.next")),
      h("span", null, by < 0 ? `${sign} ${titleOf(to)}` : `${titleOf(to)} ${sign}`)) : h("span");
  };
  $("view").replaceChildren(
    h("article", { class: "scene", "data-scene": name },
      h("header", { class: "scene-head" },
        h("p", { class: "scene-number" }, t("lecture.number", { number, total: NAMES.length })), head,
        h("p", { class: "lead" }, prose(say("lead")))),
      h("div", { class: "lesson" },
        h("div", { class: "lesson-text" }, say("text").map((each) => h("p", null, prose(each)))),
        h("section", { class: "card stage", "aria-label": t("lecture.figure") }, controls, figure, readout,
          h("p", { class: "soft hint" }, prose(say("try"))), files),
        exercises),
      h("nav", { class: "ways", "aria-label": t("lecture.ways") }, way(-1, "←"), way(1, "→"))));
  const stage = {
    figure, controls, readout, cells, signal: end.signal, t: say,
    /** Says below the figure what it shows now. */
    tell(text) {
      readout.replaceChildren(...prose(text));
      speak(readout);
    },
  };
  const isFirst = !shown;
  const isOther = shown?.name !== name;
  shown = { name, end, scene: null };
  shown.scene = SCENES[name](stage);
  exercises.replaceChildren(h("h2", null, t("lecture.exercises")),
    h("div", { class: "exercise-list" }, say("exercises").map((each, k) => exercise(each, shown.scene.checks[k], k))));
  chrome();
  if (isOther && !isFirst) head.focus({ preventScroll: true }); // who does not see the page goes on from its title
  if (isOther) scrollTo(0, 0);
}

/** Everything around the scene. */
function chrome() {
  writeBar(`${titleOf(shown.name)} · unrolled`);
  $("tabs").setAttribute("aria-label", t("lecture.scenes_label"));
  $("tabs").replaceChildren(...NAMES.map((name, k) =>
    h("a", { class: "tab scene-link", href: linkTo(name), title: titleOf(name), "aria-label": `${k + 1}: ${titleOf(name)}`, "aria-current": name === shown.name ? "page" : null }, String(k + 1))));
}

function go(to) {
  if (to) location.hash = linkTo(to);
}

/** Loads the sheet before anything is drawn: drawings measure texts. */
function loadSheet() {
  const sheet = h("link", { rel: "stylesheet", href: "/static/lecture/lecture.css" });
  return new Promise((done) => {
    sheet.addEventListener("load", done);
    sheet.addEventListener("error", done);
    document.head.append(sheet);
  });
}

/** Opens the lecture in the page. page: what it shares with the rest: {applyTheme, fullScreen, help, isTyping, report}. */
export async function openLecture(page) {
  document.documentElement.classList.add("lecture");
  const { language } = readAddress();
  try {
    [{ cells }] = await Promise.all([api.lecture(), loadWords(language ?? chosen.language), loadSheet()]);
  } catch (error) {
    page.report(error);
    return;
  }
  const speakIn = async (language) => {
    try {
      await loadWords(language);
      return true;
    } catch (error) {
      page.report(error);
      return false;
    }
  };
  const showAddressed = () => {
    const { name, unknown } = readAddress();
    show(name);
    page.report(unknown ? t("lecture.unknown", { name: unknown }) : "");
  };
  $("language").addEventListener("change", async (event) => {
    if (!await speakIn(event.target.value)) return;
    rememberLanguage(state.language);
    history.replaceState(null, "", linkTo(shown.name)); // it may have named the language of before
    show(shown.name);
  });
  $("theme").addEventListener("click", () => set({ theme: document.documentElement.dataset.theme === "dark" ? "light" : "dark" }));
  $("full").addEventListener("click", page.fullScreen);
  $("help").addEventListener("click", () => page.help(t("lecture.keys")));
  const repaint = () => {
    page.applyTheme();
    chrome();
    shown.scene.redraw?.();
  };
  watch((changed) => changed.has("theme") && repaint());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  matchMedia("(max-width: 720px)").addEventListener("change", () => shown.scene.redraw?.());
  addEventListener("hashchange", async () => {
    const { language: asked } = readAddress();
    const isOther = Object.hasOwn(state.languages, asked ?? "") && asked !== state.language;
    if (!isOther || await speakIn(asked)) showAddressed();
  });
  document.addEventListener("keydown", (event) => onKey(event, page));
  showAddressed();
}

function onKey(event, page) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const element = event.target instanceof Element ? event.target : document.body;
  if (page.isTyping(element)) {
    if (event.key === "Escape") element.blur();
    return;
  }
  if (event.key.length === 1 && !state.keys) return;
  const by = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 }[event.key];
  if (by) go(near(shown.name, by));
  else if (event.key === "Home") go(NAMES[0]);
  else if (event.key === "End") go(NAMES.at(-1));
  else if (event.key === "?") page.help(t("lecture.keys"));
  else if (event.key === "f") page.fullScreen();
  else if (!shown.scene.key?.(event.key, element)) return;
  event.preventDefault();
}
