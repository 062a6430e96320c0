const bytes = (t, s = atob(t)) => new Uint8Array(s.length).map((_, n) => s.charCodeAt(n));

export class Model {
  static async load(model) {
    const fast = bytes(model.module), simd = WebAssembly.validate(fast);
    const { instance } = await WebAssembly.instantiate(simd ? fast : bytes(model.scalar), { m: Math });
    return new Model(model, instance.exports, simd);
  }

  constructor(model, wasm, simd) {
    Object.assign(this, { model, wasm, simd, base: wasm.memory.buffer.byteLength });
    const raw = bytes(model.image);
    if (raw.length !== model.bytes) throw Error("incomplete");
    this.grow(model.size);
    const all = this.view(0);
    all.set(raw.subarray(0, model.constants));
    all.set(raw.subarray(model.constants), model.operations);
    wasm.start(this.base, model.header);
  }

  view(at, size, T = Uint8Array) {
    return new T(this.wasm.memory.buffer, this.base + at, size);
  }

  grow(end) {
    if (end < 0) throw RangeError("too many steps");
    const { memory } = this.wasm, more = this.base + end - memory.buffer.byteLength;
    if (more > 0) memory.grow((more >> 16) + 1);
  }

  run(x, trace) {
    const { model, base, wasm } = this, { tokens, inputs, outputs, header } = model;
    const steps = x.length / inputs, T = model.doubles ? Float64Array : Float32Array;
    if (steps % 1 !== 0) throw RangeError(`a step is ${inputs} numbers`);
    for (let n = 0, k; tokens && n < x.length; n++)
      if ((k = x[n]) >>> 0 !== k || k >= tokens) throw RangeError(`no token ${k}`);
    if (steps !== this.steps) {
      const at = [0, 1, 2, 8].map((n) => wasm.place(base, header, steps, n));
      this.grow(at[3]);
      Object.assign(this, { at, steps });
    }
    const [read, out, traced] = this.at, said = (model.pooled ? 1 : steps) * outputs;
    model.steps || this.reset();
    this.view(read, x.length, globalThis[model.reads]).set(x);
    wasm.run(base, header, steps, trace);
    if (said && !model.doubles) this.last = out + 4 * (said - outputs);
    if (trace) this.traced = this.view(traced, steps * model.traced, T).slice();
    return this.view(out, said, T).slice();
  }

  step(x, trace) {
    const { model } = this, read = x.length + 1 ? x : [x];
    if (!model.steps) throw Error("no steps: call run");
    if (read.length !== model.inputs) throw RangeError("not one step");
    return this.run(read, trace);
  }

  draw(t = 1) {
    const { last, model } = this;
    if (!last) throw Error("no scores");
    if (!(t >= 0 && t < 1 / 0)) throw RangeError(`temperature ${t}`);
    return this.wasm.draw(this.base, model.outputs, last, t, model.seed);
  }

  reset() {
    this.state = new Uint8Array(this.model.state[1]);
  }

  get state() {
    return this.view(...this.model.state).slice();
  }

  set state(to) {
    const own = this.view(...this.model.state);
    if (to.length !== own.length) throw RangeError("another state");
    own.set(to);
  }

  set seed(seed) {
    this.view(this.model.seed, 1, Uint32Array)[0] = seed;
  }
}
