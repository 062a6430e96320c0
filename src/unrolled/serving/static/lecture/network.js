// A recurrent layer and a dense one above it, trained by backpropagation through time. The cell is the
// graph of its equations, as the server has it: its derivative is that of each operation, in reverse.
// Weights have the names, the shapes and the order of rows that they have in PyTorch.

const sigmoid = (a) => 1 / (1 + Math.exp(-a));

/** For each operation its value, and the derivatives of its value y with respect to its operands. */
const RULES = {
  add: [(a, b) => a + b, () => 1, () => 1],
  sub: [(a, b) => a - b, () => 1, () => -1],
  mul: [(a, b) => a * b, (y, a, b) => b, (y, a) => a],
  neg: [(a) => -a, () => -1],
  sigmoid: [sigmoid, (y) => y * (1 - y)],
  tanh: [Math.tanh, (y) => 1 - y * y],
  relu: [(a) => Math.max(0, a), (y) => Number(y > 0)],
};

/** Numbers in 0..1, the same for the same seed (mulberry32). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  };
}

/** result += matrix (rows x columns) times vector; a whole number stands for a one at that place. */
function addProduct(result, matrix, vector, columns) {
  for (let r = 0; r < result.length; r += 1) {
    const row = r * columns;
    if (typeof vector === "number") {
      result[r] += matrix[row + vector];
      continue;
    }
    let sum = 0;
    for (let k = 0; k < columns; k += 1) sum += matrix[row + k] * vector[k];
    result[r] += sum;
  }
}

/** gradient (rows x columns) += outer product of what comes back to the rows and the vector. */
function addOuter(gradient, back, vector, columns) {
  for (let r = 0; r < back.length; r += 1) {
    const row = r * columns;
    if (typeof vector === "number") gradient[row + vector] += back[r];
    else for (let k = 0; k < columns; k += 1) gradient[row + k] += back[r] * vector[k];
  }
}

/** result += the transposed matrix times what comes back to its rows. */
function addBack(result, matrix, back) {
  const columns = result.length;
  for (let r = 0; r < back.length; r += 1) {
    for (let k = 0; k < columns; k += 1) result[k] += matrix[r * columns + k] * back[r];
  }
}

function softmax(logits) {
  const most = Math.max(...logits);
  const parts = logits.map((a) => Math.exp(a - most));
  const sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((a) => a / sum);
}

export class Network {
  /**
   * cell: {gates, states, step: {nodes}}, as /api/lecture has it. input, hidden, output: sizes.
   * seed: of weights drawn as in PyTorch, even in ±1/√hidden.
   */
  constructor({ cell, input, hidden, output, seed = 1 }) {
    this.cell = cell;
    this.input = input;
    this.hidden = hidden;
    this.output = output;
    const rows = cell.gates.length * hidden;
    const sizes = {
      weight_ih: rows * input, weight_hh: rows * hidden, bias_ih: rows, bias_hh: rows,
      weight_out: output * hidden, bias_out: output,
    };
    const random = randomFrom(seed);
    const most = 1 / Math.sqrt(hidden);
    this.weights = {};
    for (const [name, size] of Object.entries(sizes)) {
      this.weights[name] = Float64Array.from({ length: size }, () => (2 * random() - 1) * most);
    }
    this.moments = Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, [new Float64Array(size), new Float64Array(size)]]));
    this.updates = 0;
    const known = ["input", "recurrent", "before", ...Object.keys(RULES)];
    const strange = cell.step.nodes.find(({ operation }) => !known.includes(operation));
    if (strange) throw new Error(`no derivative of ${strange.operation} here`);
  }

  get numWeights() {
    return Object.values(this.weights).reduce((sum, { length }) => sum + length, 0);
  }

  /** States before the first step: zeros, by name. */
  begin() {
    return Object.fromEntries(this.cell.states.map((name) => [name, new Float64Array(this.hidden)]));
  }

  /**
   * One step. x: a vector, or the place of its only one, or null where nothing is read.
   * Returns all values of the graph by id; the new states are among them, by their names.
   */
  step(x, before) {
    const { hidden, input, weights, cell } = this;
    const rows = cell.gates.length * hidden;
    const fromInput = Float64Array.from(weights.bias_ih);
    if (x !== null) addProduct(fromInput, weights.weight_ih, x, input);
    const fromPast = Float64Array.from(weights.bias_hh);
    addProduct(fromPast, weights.weight_hh, before[cell.states[0]], hidden);
    const values = { x: fromInput, u: fromPast, rows };
    for (const { id, operation, inputs } of cell.step.nodes) {
      const name = id.slice(id.indexOf(":") + 1);
      if (operation === "before") values[id] = before[name];
      else if (operation === "input" || operation === "recurrent") {
        const from = cell.gates.indexOf(name) * hidden;
        values[id] = (operation === "input" ? fromInput : fromPast).subarray(from, from + hidden);
      } else {
        const [rule] = RULES[operation];
        const [a, b] = inputs.map((source) => (typeof source === "string" ? values[source] : source));
        const result = new Float64Array(hidden);
        for (let k = 0; k < hidden; k += 1) result[k] = rule(typeof a === "number" ? a : a[k], typeof b === "number" ? b : b?.[k]);
        values[id] = result;
      }
    }
    return values;
  }

  /** The shares of the outputs after a step. */
  answer(values) {
    const logits = Float64Array.from(this.weights.bias_out);
    addProduct(logits, this.weights.weight_out, values[this.cell.states[0]], this.hidden);
    return softmax([...logits]);
  }

  /** Reads a sequence of {x, target}; target is a place, or null where nothing is to be said. */
  read(steps, before = this.begin()) {
    const tape = [];
    let state = before;
    for (const { x, target } of steps) {
      const values = this.step(x, state);
      const shares = this.answer(values);
      tape.push({ x, target, before: state, values, shares });
      state = Object.fromEntries(this.cell.states.map((name) => [name, values[name]]));
    }
    return tape;
  }

  /** The loss, nats per target, of sequences, and its gradient with respect to all weights, by name. */
  lossAndGradient(sequences) {
    const tapes = sequences.map((steps) => this.read(steps));
    const targets = tapes.flat().filter(({ target }) => target !== null);
    const gradient = Object.fromEntries(Object.entries(this.weights).map(([name, { length }]) => [name, new Float64Array(length)]));
    const loss = targets.reduce((sum, { shares, target }) => sum - Math.log(shares[target]), 0) / targets.length;
    for (const tape of tapes) this.#back(tape, gradient, 1 / targets.length);
    return { loss, gradient };
  }

  #back(tape, gradient, weight) {
    const { hidden, cell, weights } = this;
    let later = this.begin(); // the gradient that comes back to each state from later steps
    for (const { x, target, before, values, shares } of tape.toReversed()) {
      const back = new Map(cell.states.map((name) => [name, Float64Array.from(later[name])]));
      if (target !== null) {
        const wrong = Float64Array.from(shares, (share, k) => weight * (share - Number(k === target)));
        addOuter(gradient.weight_out, wrong, values[cell.states[0]], hidden);
        wrong.forEach((each, k) => { gradient.bias_out[k] += each; });
        addBack(back.get(cell.states[0]), weights.weight_out, wrong);
      }
      const [backInput, backPast] = [new Float64Array(values.rows), new Float64Array(values.rows)];
      const earlier = this.begin();
      for (const { id, operation, inputs } of cell.step.nodes.toReversed()) {
        const mine = back.get(id);
        if (!mine) continue;
        const name = id.slice(id.indexOf(":") + 1);
        if (operation === "before") mine.forEach((each, k) => { earlier[name][k] += each; });
        else if (operation === "input" || operation === "recurrent") {
          (operation === "input" ? backInput : backPast).set(mine, cell.gates.indexOf(name) * hidden);
        } else {
          const [, ...derivatives] = RULES[operation];
          const given = inputs.map((source) => (typeof source === "string" ? values[source] : source));
          inputs.forEach((source, place) => {
            if (typeof source !== "string") return;
            if (!back.has(source)) back.set(source, new Float64Array(hidden));
            const theirs = back.get(source);
            for (let k = 0; k < hidden; k += 1) {
              theirs[k] += mine[k] * derivatives[place](values[id][k], ...given.map((each) => (typeof each === "number" ? each : each[k])));
            }
          });
        }
      }
      if (x !== null) addOuter(gradient.weight_ih, backInput, x, this.input);
      addOuter(gradient.weight_hh, backPast, before[cell.states[0]], hidden);
      backInput.forEach((each, k) => { gradient.bias_ih[k] += each; });
      backPast.forEach((each, k) => { gradient.bias_hh[k] += each; });
      addBack(earlier[cell.states[0]], weights.weight_hh, backPast);
      later = earlier;
    }
  }

  /** One update by Adam (Kingma and Ba, 2015), as PyTorch has it; returns {loss}, that before it. */
  train(sequences, rate) {
    const { loss, gradient } = this.lossAndGradient(sequences);
    this.updates += 1;
    const [first, second] = [1 - 0.9 ** this.updates, 1 - 0.999 ** this.updates];
    for (const [name, weights] of Object.entries(this.weights)) {
      const [mean, square] = this.moments[name];
      gradient[name].forEach((g, k) => {
        mean[k] = 0.9 * mean[k] + 0.1 * g;
        square[k] = 0.999 * square[k] + 0.001 * g * g;
        weights[k] -= (rate * (mean[k] / first)) / (Math.sqrt(square[k] / second) + 1e-8);
      });
    }
    return { loss };
  }
}

/** The place of the largest. */
export const best = (shares) => shares.indexOf(Math.max(...shares));

/** How many targets of sequences that were read are the likeliest answer, of how many. */
export function countRight(tapes) {
  const targets = tapes.flat().filter(({ target }) => target !== null);
  return { right: targets.filter(({ shares, target }) => best(shares) === target).length, of: targets.length };
}
