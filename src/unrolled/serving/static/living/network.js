// A model of tokens as it is computed in the page: embedding, recurrent layers, scores.

import { Compiled } from "./compiled.js";
import { evaluate, pullBack } from "./graph.js";
import { addProduct, addTransposed, finderIn, unpacked } from "./weights.js";

const MOST_LAGS = 40; // as on the server

/** The weights of a layer, found. */
function layerOf({ weight_ih, weight_hh, bias_ih, bias_hh, vectors }, find) {
  const named = Object.fromEntries(Object.entries(vectors).map(([name, place]) => [name, find(place).values]));
  return { input: find(weight_ih), recurrent: find(weight_hh), inputBias: find(bias_ih)?.values, recurrentBias: find(bias_hh)?.values, vectors: named };
}

const nameIn = (id) => id.slice(id.indexOf(":") + 1);

export class Network {
  /** `nodes` are those of the cell's step. */
  constructor({ network }, nodes, size, find, compiled) {
    this.compiled = compiled;
    this.cell = network.cell;
    this.nodes = nodes;
    this.size = size;
    this.labels = network.labels;
    this.embedding = find(network.embedding);
    this.layers = network.layers.map((layer) => layerOf(layer, find));
    this.scores = { weight: find(network.scores.weight), bias: find(network.scores.bias).values };
    // whether a unit's values need those of others within a step, and not only before it
    this.isTogether = network.cell.over_units || nodes.some(({ operation }) => operation === "product");
  }

  /** `size` is how many units a layer has; a module is used where there is one and it runs. */
  static async load(model, nodes, size) {
    const store = await unpacked(model.weights);
    const { cell, scores } = model.network;
    const shape = { states: cell.states, size, isInt8: Boolean(scores.weight.scales) };
    const compiled = model.compiled && (await Compiled.load(model.compiled, shape, store).catch(() => null));
    return new Network(model, nodes, size, finderIn(store), compiled);
  }

  /** Whether steps are computed by WebAssembly, with vectors or without, or by this script. */
  get engine() {
    if (!this.compiled) return "script";
    return this.compiled.isFast ? "vectors" : "scalar";
  }

  /** The states before the first token: for each layer, by name. */
  begin() {
    return this.layers.map(() => Object.fromEntries(this.cell.states.map((name) => [name, new Float64Array(this.size)])));
  }

  /** What the first layer reads of a token: numbers, or null for the token as a one among zeros. */
  features(token) {
    if (!this.embedding) return null;
    const width = this.embedding.shape[1];
    return Float64Array.from(this.embedding.values.subarray(token * width, (token + 1) * width));
  }

  /** What a step of a layer is given, of all units or of one alone. */
  leaves(layer, { x, token, before }, unit = null) {
    const { size, cell } = this;
    const count = unit === null ? size : 1;
    const first = (gates, gate) => gates.indexOf(gate) * size + (unit ?? 0);
    const part = (values) => (unit === null ? values : values.slice(unit, unit + 1));
    const withBias = (bias, at) => (bias ? Float64Array.from(bias.subarray(at, at + count)) : new Float64Array(count));
    const product = (weight, bias, at, read) => {
      const out = withBias(bias, at);
      addProduct(weight, read, out, at, count);
      return out;
    };
    return ({ id, operation, inputs }, values) => {
      const name = nameIn(id);
      if (operation === "before") return part(before[name]);
      if (operation === "vector") return Float64Array.from(part(layer.vectors[name]));
      if (operation === "input") {
        const at = first(cell.feedforward, name);
        if (x) return product(layer.input, layer.inputBias, at, x);
        const out = withBias(layer.inputBias, at);
        const columns = layer.input.shape[1];
        return out.map((value, k) => value + layer.input.values[(at + k) * columns + token]);
      }
      if (operation === "given") return part(x ?? oneHot(token, layer.input.shape[1]));
      const at = first(cell.recurrent, name);
      return product(layer.recurrent, layer.recurrentBias, at, operation === "product" ? values[inputs[0]] : before[cell.states[0]]);
    };
  }

  /** All values of a step of a layer, of all units or of one alone. */
  step(layer, given, unit = null) {
    const alone = unit !== null && !this.isTogether;
    const values = evaluate(this.nodes, alone ? 1 : this.size, this.leaves(layer, given, alone ? unit : null));
    if (unit === null || alone) return values;
    return Object.fromEntries(Object.entries(values).map(([id, all]) => [id, all.slice(unit, unit + 1)]));
  }

  /** Reads a token: what each layer was given and made of it, and the scores of the next one. */
  read(token, states) {
    let x = this.features(token);
    if (this.compiled) {
      const { named, scores } = this.compiled.read(token, states);
      const steps = named.map((values, k) => {
        const given = { x, token, before: states[k] };
        x = values[this.cell.states[0]];
        return { given, values };
      });
      return { steps, states: named.map((values) => this.statesOf(values)), scores };
    }
    const steps = this.layers.map((layer, k) => {
      const given = { x, token, before: states[k] };
      const values = this.step(layer, given);
      x = values[this.cell.states[0]];
      return { given, values };
    });
    return { steps, states: steps.map(({ values }) => this.statesOf(values)), scores: this.scoresOf(x) };
  }

  statesOf(values) {
    return Object.fromEntries(this.cell.states.map((name) => [name, values[name]]));
  }

  scoresOf(output) {
    const scores = Float64Array.from(this.scores.bias);
    addProduct(this.scores.weight, output, scores);
    return scores;
  }

  /**
   * How far the loss of what is said at the end of `steps` reaches back: for each state, and for
   * what the layers read (x), the lengths of its gradient by layer and lag.
   *
   * steps: what `read` gave of each token, the last of which the loss is of. next: the right token.
   */
  reach(steps, next) {
    const { size, cell, layers } = this;
    const last = steps.at(-1);
    const expected = softmax(last.scores);
    expected[next ?? expected.indexOf(Math.max(...expected))] -= 1;
    const lags = Math.min(MOST_LAGS, steps.length - 1) + 1;
    const lengths = Object.fromEntries([...cell.states, "x"].map((name) => [name, layers.map(() => [])]));
    let fromLater = layers.map(() => ({})); // gradients of the states by what came after the step
    for (let lag = 0; lag < lags; lag += 1) {
      const { steps: ofLayers } = steps[steps.length - 1 - lag];
      let fromAbove = null;
      if (lag === 0) addTransposed(this.scores.weight, expected, (fromAbove = new Float64Array(size)));
      const earlier = layers.map(() => ({}));
      for (let k = layers.length - 1; k >= 0; k -= 1) {
        const { given } = ofLayers[k];
        const layer = layers[k];
        const values = this.step(layer, given);
        const seeds = { ...fromLater[k] };
        const output = cell.states[0];
        if (fromAbove) seeds[output] = sum(seeds[output], fromAbove);
        const width = layer.input.shape[1];
        const ofInput = new Float64Array(width);
        const gradients = pullBack(this.nodes, values, seeds, size, ({ id, operation, inputs }, d, of) => {
          const name = nameIn(id);
          if (operation === "input") addTransposed(layer.input, d, ofInput, cell.feedforward.indexOf(name) * size);
          else if (operation === "given") d.forEach((value, i) => (ofInput[i] += value));
          else if (operation === "before") earlier[k][name] = sum(earlier[k][name], d);
          else if (operation === "recurrent") {
            const into = (earlier[k][output] ??= new Float64Array(size));
            addTransposed(layer.recurrent, d, into, cell.recurrent.indexOf(name) * size);
          } else if (operation === "product") addTransposed(layer.recurrent, d, of(inputs[0]), cell.recurrent.indexOf(name) * size);
        });
        for (const name of cell.states) lengths[name][k].push(lengthOf(gradients[name]));
        lengths.x[k].push(lengthOf(ofInput));
        fromAbove = ofInput;
      }
      fromLater = earlier;
    }
    const relative = ([name, rows]) => [name, rows.map((row) => row.map((value) => value / row[0]))];
    return { lags: Array.from({ length: lags }, (_, lag) => lag), reach: Object.fromEntries(Object.entries(lengths).map(relative)) };
  }
}

const oneHot = (token, size) => {
  const x = new Float64Array(size);
  x[token] = 1;
  return x;
};

const sum = (a, b) => (a ? a.map((value, i) => value + b[i]) : b.slice());

const lengthOf = (gradient) => (gradient ? Math.hypot(...gradient) : 0);

/** Logarithms of the probabilities that scores stand for. */
export function logSoftmax(scores) {
  const most = scores.reduce((a, b) => Math.max(a, b));
  const rest = Math.log(scores.reduce((total, score) => total + Math.exp(score - most), 0));
  return scores.map((score) => score - most - rest);
}

export const softmax = (scores) => logSoftmax(scores).map(Math.exp);
