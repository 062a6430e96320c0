// Recurrent layers as they are computed in the page, one above the other, in one direction or in both.

import { evaluate, pullBack } from "./graph.js";
import { addProduct, addTransposed } from "./weights.js";

const MOST_LAGS = 40; // as on the server

/** The weights of a layer and direction, found. */
function layerOf({ weight_ih, weight_hh, bias_ih, bias_hh, vectors }, find) {
  const named = Object.fromEntries(Object.entries(vectors).map(([name, place]) => [name, find(place).values]));
  return { input: find(weight_ih), recurrent: find(weight_hh), inputBias: find(bias_ih)?.values, recurrentBias: find(bias_hh)?.values, vectors: named };
}

const nameIn = (id) => id.slice(id.indexOf(":") + 1);

export class Stack {
  /** What `living.py` says of a layer: its cell, the graph of a step, the weights of each layer and direction. */
  constructor({ cell, nodes, size, directions, layers }, find) {
    Object.assign(this, { cell, nodes, size, directions });
    this.layers = layers.map((layer) => layerOf(layer, find));
    [this.output] = cell.states;
    // whether a unit's values need those of others within a step, and not only before it
    this.isTogether = cell.over_units || nodes.some(({ operation }) => operation === "product");
  }

  /** The states before the first token of one layer, by name. */
  begin() {
    return Object.fromEntries(this.cell.states.map((name) => [name, new Float64Array(this.size)]));
  }

  statesOf(values) {
    return Object.fromEntries(this.cell.states.map((name) => [name, values[name]]));
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
      return product(layer.recurrent, layer.recurrentBias, at, operation === "product" ? values[inputs[0]] : before[this.output]);
    };
  }

  /**
   * All values of a step of a layer, of all units or of one alone. `held(id, values)` gives what
   * stands in place of the values of a node.
   */
  step(layer, given, unit = null, held = null) {
    const alone = unit !== null && !this.isTogether;
    const values = evaluate(this.nodes, alone ? 1 : this.size, this.leaves(layer, given, alone ? unit : null), alone ? null : held);
    if (unit === null || alone) return values;
    return Object.fromEntries(Object.entries(values).map(([id, all]) => [id, all.slice(unit, unit + 1)]));
  }

  /** A step of all layers, which read in one direction: what each was given and made of it. */
  read(given, states, held = () => null) {
    let { x } = given;
    return this.layers.map((layer, k) => {
      const read = { ...given, x, before: states[k] };
      const values = this.step(layer, read, null, held(k));
      x = values[this.output];
      return { given: read, values };
    });
  }

  /**
   * Reads a whole sequence: for each step what each layer and direction was given and made of it, and
   * the outputs. `keep(values, part)` says what is remembered of a step, `turn` lets others work.
   */
  async readAll(xs, { turn, held = () => null, keep = (values) => this.statesOf(values) }) {
    const steps = xs.map(() => []);
    let reads = xs;
    for (let k = 0; k < this.layers.length; k += this.directions) {
      const outputs = xs.map(() => new Float64Array(this.size * this.directions));
      for (let d = 0; d < this.directions; d += 1) {
        let before = this.begin();
        for (let n = 0; n < xs.length; n += 1) {
          const at = d ? xs.length - 1 - n : n;
          const given = { x: reads[at], before };
          const values = this.step(this.layers[k + d], given, null, held(k + d, at));
          steps[at].push({ given, values: keep(values, k + d) });
          before = this.statesOf(values);
          outputs[at].set(values[this.output], d * this.size);
          await turn();
        }
      }
      reads = outputs;
    }
    return { steps, outputs: reads };
  }

  /**
   * How far the last step of `steps` reaches back, the gradient of whose output is `last`: for each
   * state the lengths of its gradient by layer and lag, in the direction that reads forwards.
   */
  reach(steps, last) {
    const { size, cell, layers, directions, output } = this;
    const lags = Math.min(MOST_LAGS, steps.length - 1) + 1;
    const read = directions === 1 ? steps.slice(-lags) : steps; // what reads backwards begins at the end
    const lengths = Object.fromEntries(cell.states.map((name) => [name, []]));
    let above = read.map((_, n) => (n === read.length - 1 ? last : null));
    for (let k = layers.length - directions; k >= 0; k -= directions) {
      const below = read.map(() => (k ? new Float64Array(size * directions) : null)); // nobody asks for those of x
      for (let d = 0; d < directions; d += 1) {
        const rows = cell.states.map(() => []);
        let seeds = {}; // gradients of the states by what was read after the step
        for (let n = 0; n < read.length; n += 1) {
          const at = d ? n : read.length - 1 - n;
          const own = above[at]?.subarray(d * size, (d + 1) * size);
          if (own) seeds[output] = sum(seeds[output], own);
          const { given } = read[at][k + d];
          const layer = layers[k + d];
          const before = {};
          const gradients = pullBack(this.nodes, this.step(layer, given), seeds, size, ({ id, operation, inputs }, d, of) => {
            const name = nameIn(id);
            if (operation === "input" && below[at]) addTransposed(layer.input, d, below[at], cell.feedforward.indexOf(name) * size);
            else if (operation === "given") below[at]?.forEach((_, i) => (below[at][i] += d[i]));
            else if (operation === "before") before[name] = sum(before[name], d);
            else if (operation === "recurrent") {
              const into = (before[output] ??= new Float64Array(size));
              addTransposed(layer.recurrent, d, into, cell.recurrent.indexOf(name) * size);
            } else if (operation === "product") addTransposed(layer.recurrent, d, of(inputs[0]), cell.recurrent.indexOf(name) * size);
          });
          if (!d && n < lags) cell.states.forEach((name, s) => rows[s].push(lengthOf(gradients[name])));
          seeds = before;
        }
        if (!d) cell.states.forEach((name, s) => lengths[name].unshift(rows[s]));
      }
      above = below;
    }
    return { lags: Array.from({ length: lags }, (_, lag) => lag), lengths };
  }
}

const oneHot = (token, size) => {
  const x = new Float64Array(size);
  x[token] = 1;
  return x;
};

const sum = (a, b) => (a ? a.map((value, i) => value + b[i]) : b.slice());

const lengthOf = (gradient) => (gradient ? Math.hypot(...gradient) : 0);
