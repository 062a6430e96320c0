// An exercise: a question, an answer that is typed or chosen, and what is said of it.

import { h, prose } from "../dom.js";
import { t } from "../i18n.js";

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** A number as somebody types it: with a point or a comma, a hyphen or a minus, as 1/4 or 25 %; NaN if it is none. */
export function numberIn(text) {
  const plain = text.replace(/\s*([/%])\s*/g, "$1").trim().replaceAll(",", ".").replaceAll("−", "-");
  const isShare = plain.endsWith("%");
  const parts = (isShare ? plain.slice(0, -1) : plain).split("/");
  if (parts.length > 2 || !parts.every((part) => NUMBER.test(part))) return NaN;
  const [above, below = 1] = parts.map(Number);
  return above / below / (isShare ? 100 : 1);
}

/** Whether an answer is right. check: {number, within} or {choice}; a number may be a function of now. */
function isRight(check, answer) {
  if (check.choice !== undefined) return Number(answer) === check.choice;
  const number = typeof check.number === "function" ? check.number() : check.number;
  return Math.abs(numberIn(answer) - number) <= (check.within ?? 1e-9);
}

/** words: {question, choices, right, wrong}; choices only where one is to be chosen. place: of the exercise in its scene. */
export function exercise(words, check, place) {
  const name = `answer-${place}`;
  const said = h("p", { class: "said-of-it", role: "status" });
  const field = words.choices
    ? h("div", { class: "choices" }, words.choices.map((text, k) =>
      h("label", { class: "choice" }, h("input", { type: "radio", name, value: String(k), required: true }), h("span", null, prose(text)))))
    : h("input", { type: "text", inputmode: "decimal", autocomplete: "off", name, class: "number-answer", "aria-labelledby": `question-${place}`, required: true });
  const form = h("form", {
    class: "exercise", novalidate: true,
    onsubmit(event) {
      event.preventDefault();
      const answer = new FormData(form).get(name) ?? "";
      const isNone = answer.trim() === "";
      if (isNone || (!words.choices && Number.isNaN(numberIn(answer)))) {
        said.textContent = t(isNone ? "lecture.no_answer" : "lecture.no_number");
        delete form.dataset.right;
        return;
      }
      const right = isRight(check, answer);
      form.dataset.right = String(right);
      said.replaceChildren(h("b", null, t(right ? "lecture.right" : "lecture.wrong")), " ", ...prose(right ? words.right : words.wrong));
    },
  },
  h("fieldset", null, h("legend", { id: `question-${place}` }, prose(words.question)),
    words.choices ? field : h("div", { class: "answer-row" }, field, h("button", { class: "primary" }, t("lecture.check"))),
    words.choices ? h("button", { class: "primary" }, t("lecture.check")) : null),
  said);
  return form;
}
