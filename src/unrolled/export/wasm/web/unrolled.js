// See unrolled.d.ts
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

export class Model {
  static async load(model) {
    if (!globalThis.WebAssembly) throw Error("no WebAssembly");
    const fast = bytes(model.module), simd = WebAssembly.validate(fast);
    const { instance } = await WebAssembly.instantiate(simd ? fast : bytes(model.scalar));
    return new Model(model, instance.exports, simd);
  }

  constructor(model, wasm, simd) {
    Object.assign(this, { model, wasm, simd });
    this.base = wasm.memory.buffer.byteLength;
    const image = bytes(model.image);
    if (image.length !== model.bytes) throw Error("incomplete");
    this.grow(model.size);
    this.put(0, image.subarray(0, model.constants));
    this.put(model.operations, image.subarray(model.constants));
    wasm.start(this.base, model.header);
  }

  view(Kind, at, length) {
    return new Kind(this.wasm.memory.buffer, this.base + at, length);
  }

  put(at, data) {
    this.view(Uint8Array, at, data.length).set(data);
  }

  grow(end) {
    if (end < 0) throw RangeError("too many steps");
    const { memory } = this.wasm, more = this.base + end - memory.buffer.byteLength;
    if (more > 0) memory.grow((more >> 16) + 1);
  }

  run(x, trace) {
    const { model, base, wasm } = this, { tokens, inputs, header } = model;
    const steps = x.length / inputs;
    if (steps % 1) throw RangeError(`a step is ${inputs} numbers`);
    for (const k of tokens ? x : []) {
      if (!(k >= 0 && k < tokens) || k % 1) throw RangeError(`no token ${k}`);
    }
    model.steps || this.reset();
    if (steps !== this.steps) {
      this.at = [0, 1, 2, 5].map((n) => wasm.place(base, header, steps, n));
      this.grow(this.at[3]);
      this.steps = steps;
      this.said = (model.pooled ? 1 : steps) * model.outputs;
    }
    this.view(tokens ? Int32Array : Float32Array, this.at[0], x.length).set(x);
    wasm.run(base, header, steps, trace);
    if (trace) this.traced = this.view(Float32Array, this.at[2], steps * model.traced).slice();
    return this.view(Float32Array, this.at[1], this.said).slice();
  }

  step(x, trace) {
    const { steps, inputs } = this.model, read = x.length + 1 ? x : [x];
    if (!steps) throw Error("it reads from both ends: call run");
    if (read.length !== inputs) throw RangeError("not one step");
    return this.run(read, trace);
  }

  draw(temperature = 1) {
    const { outputs, seed } = this.model, at = this.at[1] + 4 * (this.said - outputs);
    return this.wasm.draw(this.base, outputs, at, temperature, seed);
  }

  reset() {
    this.state = new Uint8Array(this.model.state[1]);
  }

  get state() {
    return this.view(Uint8Array, ...this.model.state).slice();
  }

  set state(state) {
    const [at, length] = this.model.state;
    if (state.length !== length) throw RangeError("another model's state");
    this.put(at, state);
  }

  set seed(seed) {
    this.put(this.model.seed, new Uint8Array(Uint32Array.of(seed).buffer));
  }
}
