// A cell's step as a graph of named operations (`step` of a run's description), computed for all
// units at once, and its gradient. Numbers are those of 64 bits.

import { OPERATIONS } from "../operations.js";

const LEAVES = new Set(["input", "recurrent", "product", "before", "given", "vector"]);

export const isLeaf = (node) => LEAVES.has(node.operation);

const running = (x) => {
  let sum = 0;
  return x.map((value) => (sum += value));
};

/** What needs all units: of them it makes one number for each, the same for all but running sums. */
const OVER_UNITS = {
  sum: (x) => new Float64Array(x.length).fill(x.reduce((a, b) => a + b, 0)),
  amax: (x) => new Float64Array(x.length).fill(x.reduce((a, b) => Math.max(a, b))),
  amin: (x) => new Float64Array(x.length).fill(x.reduce((a, b) => Math.min(a, b))),
  cumsum: running,
  reversed_cumsum: (x) => running(x.toReversed()).toReversed(),
};

/** Their gradients, of what they gave and what they were given. */
const BACK_OVER_UNITS = {
  sum: (d) => OVER_UNITS.sum(d),
  amax: (d, out, x) => shared(d, out, x),
  amin: (d, out, x) => shared(d, out, x),
  cumsum: (d) => OVER_UNITS.reversed_cumsum(d),
  reversed_cumsum: (d) => running(d),
};

/** A gradient shared out evenly among the units that have what was looked for. */
function shared(d, out, x) {
  const total = d.reduce((a, b) => a + b, 0);
  const count = x.filter((value, i) => value === out[i]).length;
  return x.map((value, i) => (value === out[i] ? total / count : 0));
}

/** What an operation is given for unit i. */
const operand = (input, values, i) => (typeof input === "string" ? values[input][i] : input);

/**
 * The values of all nodes by their ids, each for `size` units; `leaf(node, values)` gives those that
 * nothing is computed for, `held(id, values)` what stands in place of those of a node.
 */
export function evaluate(nodes, size, leaf, held = null) {
  const values = {};
  for (const node of nodes) {
    const { id, operation, inputs } = node;
    if (isLeaf(node)) values[id] = leaf(node, values);
    else if (operation === "copy" && typeof inputs[0] === "string") values[id] = values[inputs[0]];
    else if (OVER_UNITS[operation]) values[id] = OVER_UNITS[operation](filled(inputs[0], values, size));
    else {
      const out = (values[id] = new Float64Array(size));
      const compute = OPERATIONS[operation];
      // most operations are of one or two numbers of each unit; the loops for those are short
      const [a, b] = inputs.map((input) => filled(input, values, size));
      if (inputs.includes(null) || inputs.length > 2) {
        for (let i = 0; i < size; i += 1) out[i] = compute(...inputs.map((input) => operand(input, values, i)));
      } else if (b) for (let i = 0; i < size; i += 1) out[i] = compute(a[i], b[i]);
      else for (let i = 0; i < size; i += 1) out[i] = compute(a[i]);
    }
    if (held) values[id] = held(id, values[id]);
  }
  return values;
}

const filled = (input, values, size) => (typeof input === "string" ? values[input] : new Float64Array(size).fill(input));

/** Whether all that a step consists of is known here. */
export const isKnown = (nodes) =>
  nodes.every((node) => isLeaf(node) || node.operation === "copy" || OVER_UNITS[node.operation] || OPERATIONS[node.operation]);

/** What says yes or no, or jumps: no gradient goes through it. */
const JUMPS = /^(?:[gl][te]|eq|ne|isnan|logical_\w+|bitwise_\w+|round|floor|ceil|trunc|sign|constant)$/;

const SMALL = 1e-5; // by which an operation's argument is moved, in parts of it, to see what it does

/**
 * Follows gradients back through a step. `seeds` holds those of values by id; `leaf(node, d)` is told
 * those of what the step was given. Returns the gradients of all values.
 *
 * What an operation does to a small change is measured, on both sides of its argument: so there is
 * one rule for all operations.
 */
export function pullBack(nodes, values, seeds, size, leaf) {
  const gradients = {};
  const of = (id) => (gradients[id] ??= new Float64Array(size));
  for (const [id, seed] of Object.entries(seeds)) seed.forEach((value, i) => (of(id)[i] += value));
  for (const node of nodes.toReversed()) {
    const { id, operation, inputs } = node;
    const d = gradients[id];
    if (!d || JUMPS.test(operation)) continue;
    if (isLeaf(node)) {
      leaf(node, d, of);
      continue;
    }
    inputs.forEach((input, k) => {
      if (typeof input !== "string") return;
      const into = of(input);
      const x = values[input];
      if (operation === "copy") d.forEach((value, i) => (into[i] += value));
      else if (OVER_UNITS[operation]) BACK_OVER_UNITS[operation](d, values[id], x).forEach((value, i) => (into[i] += value));
      else {
        for (let i = 0; i < size; i += 1) {
          if (d[i] === 0) continue;
          const given = inputs.map((each) => operand(each, values, i));
          const step = SMALL * Math.max(1, Math.abs(x[i]));
          given[k] = x[i] + step;
          const above = OPERATIONS[operation](...given);
          given[k] = x[i] - step;
          into[i] += (d[i] * (above - OPERATIONS[operation](...given))) / (2 * step);
        }
      }
    });
  }
  return gradients;
}
