// The buttons that go through what was read, step by step.

import { h, s } from "../dom.js";
import { capital, t } from "../i18n.js";
import { place, run, set, state, walk } from "../store.js";

const SECONDS_A_STEP = 1.1;
const ICONS = {
  first: "M3 3h2.4v10H3zM14 3v10L6.6 8z",
  previous: "M11.5 2.6v10.8L3.6 8z",
  play: "M4 2.4v11.2L13 8z",
  pause: "M3.6 3h3v10h-3zM9.4 3h3v10h-3z",
  next: "M4.5 2.6v10.8L12.4 8z",
  last: "M10.6 3H13v10h-2.4zM2 3v10l7.4-5z",
};
const KEYS = { first: "Home", previous: "ArrowLeft", next: "ArrowRight", last: "End" };

const icon = (name) => s("svg", { viewBox: "0 0 16 16", width: 15, height: 15, "aria-hidden": "true" }, s("path", { d: ICONS[name], fill: "currentColor" }));

/** length: how many steps there are now. Played is in the direction in which the layer reads. */
export function player({ signal, length }) {
  let playing = 0;
  const counter = h("span", { class: "soft counter" });
  const playButton = h("button", { type: "button", class: "quiet icon", id: "play", onclick: toggle });
  const nav = (name) => {
    const label = t(`${name}_step`);
    return h("button", { type: "button", class: "quiet icon", id: name, "aria-label": label, title: label, onclick: () => walk(KEYS[name], length()) }, icon(name));
  };
  const element = h("div", { class: "player" }, nav("first"), nav("previous"), playButton, nav("next"), nav("last"), counter);

  function advance() {
    const isReverse = run().parts[state.part].reverse;
    const end = isReverse ? 0 : length() - 1;
    if (place(length()) === end) toggle();
    else walk(isReverse ? "ArrowLeft" : "ArrowRight", length());
  }

  function toggle() {
    clearInterval(playing);
    playing = playing ? 0 : setInterval(advance, SECONDS_A_STEP * 1000);
    showPlay();
  }

  function showPlay() {
    playButton.replaceChildren(icon(playing ? "pause" : "play"));
    playButton.title = t(playing ? "pause" : "play");
    playButton.setAttribute("aria-label", playButton.title);
  }

  signal.addEventListener("abort", () => clearInterval(playing));
  showPlay();
  return {
    element,
    show(at) {
      counter.textContent = capital(t("place", { number: at + 1, total: length() }));
    },
    key(key) {
      if (key !== " ") return walk(key, length());
      toggle();
      return true;
    },
  };
}
