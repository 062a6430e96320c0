// The bar at the top of the page, in the visitor's language: of the runs' page and of the lecture's.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { state } from "./store.js";

const $ = (id) => document.getElementById(id);

/** Writes what the page is called, the words of its frame, the languages, and what the tools are called. */
export function writeBar(title) {
  document.documentElement.lang = state.language;
  document.title = title;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = t(element.dataset.word);
  $("language").setAttribute("aria-label", t("language"));
  $("language").replaceChildren(...Object.entries(state.languages).map(([code, name]) =>
    h("option", { value: code, lang: code, selected: code === state.language }, name)));
  for (const id of ["full", "theme", "help"]) {
    $(id).setAttribute("aria-label", t(id));
    $(id).title = t(id);
  }
  $("full").hidden = !document.fullscreenEnabled;
  $("theme").textContent = document.documentElement.dataset.theme === "dark" ? "☀" : "☾";
}
