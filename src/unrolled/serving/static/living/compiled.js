// The model in WebAssembly: its image with the weights filled in, and a step by its module.

import { unpacked } from "./weights.js";
import { Model } from "./unrolled.js";

/** Puts the rows of a matrix where the module reads them: panel after panel, or as they are. */
function fill(image, weights, Kind, { at, length, panels, rows }) {
  const store = new Kind(weights);
  const into = new Kind(image, at, rows.length * length);
  const starts = rows.map((place) => place / Kind.BYTES_PER_ELEMENT);
  if (panels[0] === 0) { // a table, as it is
    starts.forEach((start, row) => into.set(store.subarray(start, start + length), row * length));
    return;
  }
  let to = 0;
  let first = 0;
  for (const width of panels.length ? panels : [rows.length]) {
    for (; first + width <= rows.length; first += width) {
      for (let k = 0; k < length; k += 1) {
        for (let column = first; column < first + width; column += 1, to += 1) into[to] = store[starts[column] + k];
      }
    }
  }
}

function base64(bytes) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += 8192) parts.push(String.fromCharCode(...bytes.subarray(at, at + 8192)));
  return btoa(parts.join(""));
}

export class Compiled {
  /** `states` are the names of a cell's states, `weights` the store of all weights. */
  static async load(compiled, { states, size, isInt8 }, weights) {
    const image = await unpacked(compiled.image);
    for (const each of compiled.fills) fill(image, weights, isInt8 ? Int8Array : Float32Array, each);
    return new Compiled(await Model.load({ ...compiled, image: base64(new Uint8Array(image)) }), states, size);
  }

  constructor(model, states, size) {
    Object.assign(this, { model, states, size, records: model.model.records, isFast: model.simd });
    model.reset();
  }

  /** Reads a token after states: for each layer its named values by name, and the scores. */
  read(token, before) {
    const { model, states, size } = this;
    const all = new Float32Array(before.length * states.length * size);
    before.forEach((layer, k) => states.forEach((name, n) => all.set(layer[name], (k * states.length + n) * size)));
    const bytes = model.state; // what else is in it stays as it is
    bytes.set(new Uint8Array(all.buffer));
    model.state = bytes;
    const scores = Float64Array.from(model.step(token, true));
    const named = this.records.map(({ at }) => Object.fromEntries(Object.entries(at).map(([name, place]) => [name, Float64Array.from(model.traced.subarray(place, place + size))])));
    return { named, scores };
  }
}
