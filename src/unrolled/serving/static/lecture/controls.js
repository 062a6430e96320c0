// What is tried in a scene: sliders with their number, rows of choices, buttons.

import { h, prose } from "../dom.js";
import { fixed } from "../numbers.js";

/** A slider. value: to begin with. onchange is told the number. */
export function slider({ label, min, max, step, value, digits = 2, id, onchange }) {
  const shown = h("output", { class: "slider-value" }, fixed(value, digits));
  const input = h("input", {
    type: "range", min, max, step, id, value: String(value),
    oninput: () => {
      shown.textContent = fixed(Number(input.value), digits);
      onchange(Number(input.value));
    },
  });
  return h("label", { class: "slider" }, h("span", { class: "slider-label" }, prose(label)), input, shown);
}

/** Buttons of which one is chosen. options: {value: label}. */
export function choice({ label, options, value, onchange }) {
  const buttons = Object.entries(options).map(([each, text]) => h("button", {
    type: "button", class: "chip", "data-choice": each, "aria-pressed": String(each === String(value)),
    onclick: () => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.choice === each));
      onchange(each);
    },
  }, prose(text)));
  return h("div", { class: "chips", role: "group", "aria-label": label }, buttons);
}

export const button = (text, onclick, properties) => h("button", { type: "button", class: "quiet", onclick, ...properties }, text);
