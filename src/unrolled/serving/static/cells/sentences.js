// What an equation of a step is called and what it does now, in the page's language.

import { nameOf, sentenceOn, t, titleOf } from "../i18n.js";
import { local } from "../numbers.js";

const EDGES = [0.05, 0.35, 0.65, 0.95]; // shut, nearly shut, half open, mostly open, wide open

const letterOf = ({ symbol }) => symbol.replace(/_\{.*\}$/, "");

/** The title of an equation; formulas stand between asterisks. */
export const titleFor = (equation) => titleOf(equation.kind, letterOf(equation), `*${equation.symbol}*`);

/** A sentence on an equation with the numbers of a step, as they are shown; formulas stand between asterisks. */
export function sentenceFor(equation, numbers, shown) {
  const { id, kind, symbol, cuts } = equation;
  const letter = letterOf(equation);
  const written = (name) => local(shown[name] ?? "");
  const part = (prefix) => written(cuts[0].find((each) => each.startsWith(prefix)));
  const isOfParts = equation.kept !== null && kind === "state";
  return sentenceOn(isOfParts ? "state_of_parts" : kind, letter, {
    name: nameOf(kind, letter), letter, symbol,
    opening: t("openings")[EDGES.filter((edge) => numbers[id] >= edge).length],
    value: written(id), before: written(`before:${id}`), kept: written(equation.kept), added: written(equation.added),
    x: part("x:"), u: part("u:"),
  });
}
