// The equations of a cell's step, with the numbers of one unit filled in. What they are, the server
// says: a graph of operations, and for each value with a name what it is equal to.

import { math } from "../dom.js";
import { addUp, agreeing, local } from "../numbers.js";
import { OPERATIONS } from "../operations.js";

const PLACE = /\{([^}]+)\}/g;

const idsIn = (term) => [...term.matchAll(PLACE)].map((match) => match[1]);

/** The steps' graph with its nodes by id, and each equation with what is in it. */
export function readStep(step) {
  const nodes = new Map(step.nodes.map((node) => [node.id, node]));
  const named = new Set(step.equations.map((equation) => equation.id));
  const equations = step.equations.map((equation) => {
    const cuts = equation.terms.map(idsIn);
    return { ...equation, cuts, ids: [...new Set(cuts.flat())], inner: innerOf(nodes, named, equation.id) };
  });
  return { nodes, equations };
}

/** The nodes that an equation computes, its own last. */
function innerOf(nodes, named, id) {
  const inner = nodes.get(id).inputs.filter(
    (source) => typeof source === "string" && !named.has(source) && !isLeaf(nodes.get(source)),
  );
  return [...inner.flatMap((source) => innerOf(nodes, named, source)), id];
}

const LEAVES = new Set(["input", "recurrent", "product", "before", "given", "vector"]);

export const isLeaf = (node) => LEAVES.has(node.operation);

/** The numbers of one unit at a step, by the ids of the graph's nodes. */
export function numbersAt(step, unit, at) {
  const numbers = {};
  for (const { id } of step.nodes.values()) {
    const colon = id.indexOf(":");
    const [kind, name] = [id.slice(0, Math.max(0, colon)), id.slice(colon + 1)];
    const all = unit.inner[id] ?? { x: unit.x, u: unit.u, before: unit.before, "": unit.values }[kind]?.[name];
    numbers[id] = all[at];
  }
  // a state that the equations read through products alone has no node, and was something before
  for (const [name, values] of Object.entries(unit.before)) numbers[`before:${name}`] = values[at];
  return numbers;
}

/** What a node is, computed from the numbers in `known`; NaN where an operation is not. */
function evaluate(nodes, id, known) {
  if (known[id] !== undefined) return known[id];
  const node = nodes.get(id);
  const operation = OPERATIONS[node.operation];
  if (!operation || isLeaf(node)) return NaN;
  const inputs = node.inputs.map((source) => (typeof source === "string" ? evaluate(nodes, source, known) : source));
  return operation(...inputs);
}

/** The numbers of an equation as they are shown, by id: with so many digits that they add up. */
export function shownNumbers(step, equation, numbers) {
  const { cuts, ids } = equation;
  const values = Object.fromEntries(ids.map((id) => [id, numbers[id]]));
  const given = new Set(cuts[0]);
  const levels = Object.fromEntries(ids.map((id) => [id, given.has(id) ? "in" : "mid"]));
  levels[equation.id] = "out";
  const of = (cut, shown) => Object.fromEntries(cut.map((id) => [id, shown[id]]));
  const checks = cuts.slice(0, -1).flatMap((cut, k) => [
    (shown) => [equation.id, evaluate(step.nodes, equation.id, of(cut, shown))],
    ...cuts[k + 1].filter((id) => !cut.includes(id) && id !== equation.id).map(
      (id) => (shown) => [id, evaluate(step.nodes, id, of(cut, shown))],
    ),
  ]);
  return addUp(values, levels, checks);
}

const SUMS = ["add", "sub"];

/** The numbers with `digits` after the point, by id; those of a sum that is shown have as many as it takes. */
export function numbersThatAdd(step, numbers, digits, shown) {
  const sums = [...step.nodes.values()].filter(({ id, operation }) => SUMS.includes(operation) && shown.has(id)).map((node) => ({
    result: node.id,
    operands: node.inputs.filter((source) => typeof source === "string"),
    value: (written) => OPERATIONS[node.operation](...node.inputs.map(written)),
  }));
  return agreeing(numbers, sums, digits);
}

/** A formula as elements, in the page's language; of a direction that reads backwards, t+1 comes first. */
export function formula(text, reverse = false) {
  return math(local(reverse ? text.replaceAll("t−1", "t+1") : text));
}
