// What is to be seen of a cell: its graph as boxes, signs and wires, without places. An operation is
// a sign; a function of a gate's sum is a box, and what enters a box is added up.

import { isLeaf } from "./equations.js";

const SIGNS = { add: "+", sub: "−", mul: "×", div: "÷" };
const PILLS = {
  add: (text) => `+ ${text}`,
  sub: (text, first) => (first ? `${text} −` : `− ${text}`),
  mul: (text) => `${text} ·`,
  div: (text, first) => (first ? `${text} ÷` : `÷ ${text}`),
  pow: (text, first) => (first ? `${text} ^` : { 2: "( )²", 3: "( )³" }[text] ?? `^ ${text}`),
};
const FUNCTIONS = { sigmoid: "σ", neg: "−", reciprocal: "1 ÷", abs: "| |", sqrt: "√", log: "ln", relu: "max(0, ·)", copy: "=" };
// of two values, or of one and a constant
const INFIX = { gt: ">", ge: "≥", lt: "<", le: "≤", eq: "=", ne: "≠", maximum: "max", minimum: "min", logical_and: "∧", logical_or: "∨" };

/**
 * The scene of a step, as `readStep` gives it.
 *
 * glyphs: {id, kind, text, below, equations}. kind: "gate" box, "dot" sign, "pill" function, "port" of a
 * state, "input" x_t, "joint". wires: {id, from, to, ids, equations}: a wire carries the sum of the
 * numbers of `ids`, or all of a layer where there are none.
 */
export function sceneOf(step, states) {
  const { nodes, equations } = step;
  const byId = new Map(equations.map((equation) => [equation.id, equation]));
  const owners = new Map();
  for (const equation of equations) {
    for (const id of equation.inner) owners.set(id, [...(owners.get(id) ?? []), equation.id]);
  }
  const users = new Map();
  for (const node of nodes.values()) {
    for (const source of node.inputs) {
      if (typeof source === "string") users.set(source, [...(users.get(source) ?? []), node.id]);
    }
  }
  const isConstant = (source) => typeof source !== "string" || nodes.get(source).constant !== null;
  const textOf = (source) => (typeof source === "string" ? nodes.get(source).constant : numberText(source));
  const glyphs = [];
  const wires = [];
  const absorbed = new Set();

  const isOnlyUsed = (id) => users.get(id)?.length === 1 && !byId.has(id);

  /** What is added up in a box: {id} of terms, or {constant} with its sign. */
  function termsOf(source, sign = 1) {
    if (isConstant(source)) return [{ constant: textOf(source), sign }];
    const node = nodes.get(source);
    const sums = (node.operation === "add" && node.inputs.length === 2)
      || (node.operation === "sub" && node.inputs.length === 2 && isConstant(node.inputs[1]));
    if (sign < 0 || !sums || !isOnlyUsed(source)) return [{ id: source }];
    const [a, b] = node.inputs;
    return [...termsOf(a), ...termsOf(b, node.operation === "sub" ? -1 : 1)];
  }

  const isPart = (id) => ["input", "recurrent"].includes(nodes.get(id).operation);

  /** Whether a node is the sum of a gate's two parts, which the wire from below carries. */
  const isWhole = (id) => {
    const { operation, inputs } = nodes.get(id);
    return operation === "add" && inputs.length === 2 && !byId.has(id)
      && inputs.every((source) => typeof source === "string" && isPart(source));
  };

  /** The terms of the box that a function of a gate's sum is; null if it is none. */
  function boxTerms({ operation, inputs }) {
    const [source] = inputs;
    const isFunction = !(operation in SIGNS) && !(operation in PILLS) && !(operation in INFIX);
    if (!isFunction || isConstant(source) || !inputs.slice(1).every(isConstant)) return null;
    const terms = termsOf(source).flatMap((term) =>
      (term.id && isWhole(term.id) ? nodes.get(term.id).inputs.map((id) => ({ id })) : [term]));
    return terms.some((term) => term.id && isPart(term.id)) ? terms : null;
  }

  const boxes = new Map();
  for (const node of nodes.values()) {
    const terms = isLeaf(node) || node.constant !== null ? null : boxTerms(node);
    if (!terms) continue;
    boxes.set(node.id, terms);
    const ends = new Set(terms.map((term) => term.id));
    const absorb = (source) => {
      if (ends.has(source) || isConstant(source) || isLeaf(nodes.get(source))) return;
      absorbed.add(source);
      nodes.get(source).inputs.forEach(absorb);
    };
    absorb(node.inputs[0]);
  }

  const comesFromBelow = (id) => isPart(id) || nodes.get(id).operation === "given";
  const from = (id) => (comesFromBelow(id) || absorbed.has(id) ? "bus" : id);
  const ownersOf = (id) => owners.get(id) ?? [];

  function connect(ids, to, equationsOfTarget) {
    const carried = ids.length > 1 ? sumNode(ids) : ids;
    const result = carried.filter((id) => byId.has(id));
    wires.push({
      id: `${ids.join("+")}>${to}`, from: from(ids[0]), to, ids: carried,
      equations: [...new Set([...equationsOfTarget, ...result])],
    });
  }

  /** The node that is the sum of some, if there is one; else they themselves. */
  function sumNode(ids) {
    for (const node of nodes.values()) {
      if (node.operation === "add" && node.inputs.length === 2 && ids.every((id) => node.inputs.includes(id))) return [node.id];
    }
    return ids;
  }

  for (const node of nodes.values()) {
    if (node.operation === "before" && users.has(node.id)) {
      const readers = readersOf(node.id);
      glyphs.push({ id: node.id, kind: "port", side: "left", text: node.symbol, equations: readers });
      continue;
    }
    if (node.operation === "product") {
      const [vector] = node.inputs;
      const gate = node.id.slice(2);
      glyphs.push({ id: node.id, kind: "pill", text: `W_{${gate}}`, equations: readersOf(node.id) });
      connect([vector], node.id, readersOf(node.id));
      continue;
    }
    if (isLeaf(node) || node.constant !== null || absorbed.has(node.id)) continue;
    const own = byId.get(node.id);
    const mine = ownersOf(node.id);
    const terms = boxes.get(node.id);
    if (terms) {
      const constants = terms.filter((term) => term.constant !== undefined)
        .map((term) => (term.constant.startsWith("−") ? `− ${term.constant.slice(1)}` : `${term.sign < 0 ? "−" : "+"} ${term.constant}`));
      const sum = ["·", ...constants].join(" ");
      const below = constants.length || node.inputs.length > 1 ? applied(node, sum) : FUNCTIONS[node.operation] ?? node.operation;
      glyphs.push({ id: node.id, kind: "gate", text: own?.symbol ?? "", below: node.operation === "copy" ? "" : below, equations: mine });
      const parts = terms.filter((term) => term.id && isPart(term.id)).map((term) => term.id);
      for (const gate of new Set(parts.map((id) => id.slice(2)))) {
        connect(parts.filter((id) => id.slice(2) === gate), node.id, mine);
      }
      for (const term of terms) if (term.id && !isPart(term.id)) connect([term.id], node.id, mine);
      continue;
    }
    glyphs.push({ ...signOf(node, own), equations: mine });
    const dynamic = node.inputs.filter((source) => !isConstant(source));
    for (const source of new Set(dynamic)) connect([source], node.id, mine);
  }

  /** A sign, or a function with what is constant in it. */
  function signOf(node, own) {
    const dynamic = node.inputs.filter((source) => !isConstant(source));
    const fixed = node.inputs.filter((source) => source !== null && isConstant(source)).map(textOf);
    const { operation, id } = node;
    const name = own && !isState(node) ? own.symbol : null;
    if (dynamic.length === 2 && new Set(dynamic).size === 2 && !fixed.length) {
      if (SIGNS[operation]) return { id, kind: "dot", text: SIGNS[operation], name };
      if (INFIX[operation]) return { id, kind: INFIX[operation].length > 1 ? "pill" : "dot", text: INFIX[operation], name };
    }
    if (operation === "mul" && dynamic.length === 2 && !fixed.length) return { id, kind: "pill", text: "( )²", name };
    if (dynamic.length === 1 && fixed.length === 1) {
      const isFirst = isConstant(node.inputs[0]);
      if (PILLS[operation]) return { id, kind: "pill", text: PILLS[operation](fixed[0], isFirst), name };
      const sign = INFIX[operation];
      if (sign) return { id, kind: "pill", text: isFirst ? `${fixed[0]} ${sign}` : `${sign} ${fixed[0]}`, name };
    }
    return { id, kind: "pill", text: fixed.length ? applied(node, "·") : FUNCTIONS[operation] ?? operation, name };
  }

  /** A function of `values`, with what is constant in it. */
  function applied({ operation, inputs }, values) {
    const [low, high] = inputs.slice(1);
    if (operation === "relu") return `max(0, ${values})`;
    if (operation === "clamp" && isAbsent(high)) return `max(${values}, ${textOf(low)})`;
    if (operation === "clamp" && isAbsent(low)) return `min(${values}, ${textOf(high)})`;
    const given = inputs.filter((source) => source !== null).map((source) => (isConstant(source) ? textOf(source) : values));
    return `${FUNCTIONS[operation] ?? operation}(${given.join(", ")})`;
  }

  function isState(node) {
    return states.includes(node.id);
  }

  /** The equations that a leaf is in. */
  function readersOf(leaf) {
    return equations.filter((equation) => equation.inner.some((id) => nodes.get(id).inputs.includes(leaf)))
      .map((equation) => equation.id);
  }

  for (const state of states) {
    const node = nodes.get(state);
    if (!node) continue;
    glyphs.push({ id: `after:${state}`, kind: "port", side: "right", text: byId.get(state).symbol, equations: [state] });
    if (node.constant !== null) glyphs.push({ id: state, kind: "pill", text: node.constant, equations: [state] });
    wires.push({ id: `${state}>after:${state}`, from: state, to: `after:${state}`, ids: [state], equations: [state] });
  }
  const used = [...nodes.values()].filter(isLeaf);
  const fed = (operation) => [...new Set(used.filter((node) => node.operation === operation).flatMap((node) => readersOf(node.id)))];
  const [byInput, byPast] = [fed("input"), fed("recurrent")];
  const all = [...new Set([...byInput, ...byPast])];
  glyphs.push({ id: "bus", kind: "joint", equations: all });
  if (byInput.length) {
    glyphs.push({ id: "from:x", kind: "input", text: "x_{t}", equations: all });
    wires.push({ id: "from:x>bus", from: "from:x", to: "bus", ids: [], equations: all });
  }
  if (byPast.length) {
    glyphs.push({ id: "from:h", kind: "port", side: "left", text: `${states[0]}_{t−1}`, equations: all });
    wires.push({ id: "from:h>bus", from: "from:h", to: "bus", ids: [], equations: all });
  }
  return { glyphs, wires };
}

const isAbsent = (value) => value === null || value === undefined;

function numberText(value) {
  return String(Number(Number(value).toPrecision(6))).replace("-", "−");
}
