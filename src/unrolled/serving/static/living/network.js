// A language model as it is computed in the page: embedding, recurrent layers, scores.

import { Compiled } from "./compiled.js";
import { Stack } from "./stack.js";
import { addProduct, addTransposed, finderIn, unpacked } from "./weights.js";

export class Network {
  /** A module is used where there is one and it runs. */
  static async load(model) {
    const store = await unpacked(model.weights);
    const { stack, scores } = model.network;
    const shape = { states: stack.cell.states, size: stack.size, isInt8: Boolean(scores.weight.scales) };
    const compiled = model.compiled && (await Compiled.load(model.compiled, shape, store).catch(() => null));
    return new Network(model.network, finderIn(store), compiled);
  }

  constructor({ stack, embedding, scores }, find, compiled) {
    this.compiled = compiled;
    this.stack = new Stack(stack, find);
    this.embedding = find(embedding);
    this.scores = scoresIn(scores, find);
  }

  /** Whether steps are computed by WebAssembly, with vectors or without, or by this script. */
  get engine() {
    if (!this.compiled) return "script";
    return this.compiled.isFast ? "vectors" : "scalar";
  }

  /** The states before the first token, for each layer. */
  begin() {
    return this.stack.layers.map(() => this.stack.begin());
  }

  /**
   * Reads a token: what each layer was given and made of it, and the scores of the next one.
   * `held(part)` says what is held in a layer; then the step is computed here.
   */
  read(token, states, held) {
    const { stack } = this;
    const given = { x: rowOf(this.embedding, token), token };
    if (!this.compiled || held) {
      const steps = stack.read(given, states, held);
      return { steps, states: steps.map(({ values }) => stack.statesOf(values)), scores: scoresOf(this.scores, steps.at(-1).values[stack.output]) };
    }
    const { named, scores } = this.compiled.read(token, states);
    let { x } = given;
    const steps = named.map((values, k) => {
      const read = { ...given, x, before: states[k] };
      x = values[stack.output];
      return { given: read, values };
    });
    return { steps, states: named.map((values) => stack.statesOf(values)), scores };
  }

  /** How far the loss of what is said after `steps` reaches back; next: the right token, if it is known. */
  reach(steps, next) {
    return this.stack.reach(steps.map((step) => step.steps), gradientOf(this.scores, steps.at(-1).scores, next));
  }
}

/** A row of a table as numbers; null where there is no table. */
export const rowOf = (table, row) => table && Float64Array.from(table.values.subarray(row * table.shape[1], (row + 1) * table.shape[1]));

/** What makes scores of an output. */
export const scoresIn = ({ weight, bias }, find) => ({ weight: find(weight), bias: find(bias).values });

export function scoresOf({ weight, bias }, output) {
  const scores = Float64Array.from(bias);
  addProduct(weight, output, scores);
  return scores;
}

/** The gradient of an output by the cross-entropy of its scores; `right` is the likeliest where nobody knows. */
export function gradientOf({ weight }, scores, right) {
  const expected = softmax(scores);
  expected[right ?? expected.indexOf(Math.max(...expected))] -= 1;
  const gradient = new Float64Array(weight.shape[1]);
  addTransposed(weight, expected, gradient);
  return gradient;
}

/** Logarithms of the probabilities that scores stand for. */
export function logSoftmax(scores) {
  const rest = logSum(scores);
  return scores.map((score) => score - rest);
}

/** The logarithm of the sum of what logarithms are of. */
export function logSum(scores) {
  const most = scores.reduce((a, b) => Math.max(a, b));
  return most + Math.log(scores.reduce((total, score) => total + Math.exp(score - most), 0));
}

export const softmax = (scores) => logSoftmax(scores).map(Math.exp);
