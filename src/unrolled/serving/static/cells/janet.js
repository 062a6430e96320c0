// JANET: an LSTM with nothing but its forget gate, beta = 1. Equations: cells/janet.py.

import { sigmoid } from "../numbers.js";
import { gate, links } from "./equations.js";

const BETA = 1;
const F = 150;
const S = 330;
const G = 560;
const Y = 300;
const BUS = 430;

export default {
  memory: "h",
  summary: ["f", "update"],
  derive(n) {
    const a = { f: n.x.f + n.u.f, g: n.x.g + n.u.g };
    const open = 1 - sigmoid(a.f - BETA);
    return { a, open, kept: n.v.f * n.b.h, written: open * n.v.g };
  },
  width: 760,
  height: 505,
  nodes: [
    { kind: "port", x: 18, y: 40, text: "h_{t−1}", anchor: "start", ops: ["update"] },
    { kind: "port", x: 742, y: 40, text: "h_{t}", anchor: "end", ops: ["update"] },
    { kind: "port", x: 18, y: 406, text: "h_{t−1}", anchor: "start", ops: ["f", "g"] },
    { kind: "joint", x: 60, y: BUS, ops: ["f", "g"] },
    { kind: "joint", x: F, y: 365, ops: ["open"] },
    { kind: "gate", x: F, y: Y, text: "f", below: "σ", ops: ["f"] },
    { kind: "gate", x: S, y: Y, text: "s", below: "1 − σ(· − β)", w: 124, ops: ["open"] },
    { kind: "gate", x: G, y: Y, text: "g", below: "tanh", ops: ["g"] },
    { kind: "dot", x: F, y: 64, text: "×", ops: ["update"] },
    { kind: "dot", x: 445, y: 175, text: "×", ops: ["update"] },
    { kind: "dot", x: 445, y: 64, text: "+", ops: ["update"] },
    { kind: "input", x: 60, y: 475, ops: ["f", "g"] },
  ],
  edges: [
    { path: `M18 64H${F - 17}`, value: (n) => n.b.h, at: [18, 97], name: "h0", ops: ["update"] },
    { path: `M${F + 17} 64H428`, value: (n) => n.d.kept, at: [295, 52, "middle"], name: "kept", ops: ["update"] },
    { path: "M462 64H742", value: (n) => n.v.h, at: [742, 92, "end"], name: "h", ops: ["update"] },
    { path: `M${F} 273V81`, value: (n) => n.v.f, at: [F + 9, 190], name: "f", ops: ["f", "update"] },
    { path: `M${S} 273V175H428`, value: (n) => n.d.open, at: [S - 8, 222, "end"], name: "open", ops: ["open", "update"] },
    { path: `M${G} 273V175H462`, value: (n) => n.v.g, at: [G + 8, 222], name: "g", ops: ["g", "update"] },
    { path: "M445 158V81", value: (n) => n.d.written, at: [455, 128], name: "written", ops: ["update"] },
    { path: `M${F} 365H${S}V327`, value: (n) => n.d.a.f, ops: ["open"] },
    { path: `M18 ${BUS}H${G}`, ops: ["f", "g"], open: true },
    { path: `M60 451V${BUS}`, ops: ["f", "g"], open: true },
    { path: `M${F} ${BUS}V327`, value: (n) => n.d.a.f, at: [F + 8, 400], name: "a_f", ops: ["f", "open"] },
    { path: `M${G} ${BUS}V327`, value: (n) => n.d.a.g, at: [G + 8, 385], name: "a_g", ops: ["g"] },
  ],
  operations: [
    gate("f", "σ"),
    {
      id: "open",
      formula: "s = 1 − σ(x_f + u_f − β)",
      values: (n) => ({ x: n.x.f, u: n.u.f, a: n.d.a.f - BETA, open: n.d.open }),
      ...links(
        { x: "in", u: "in", a: "mid", open: "out" },
        [
          (v) => ["a", v.x + v.u - BETA],
          (v) => ["open", 1 - sigmoid(v.x + v.u - BETA)],
          (v) => ["open", 1 - sigmoid(v.a)],
        ],
        ["1 − σ({x} + {u} − 1)", "1 − σ({a})", "{open}"],
      ),
    },
    gate("g", "tanh"),
    {
      id: "update",
      formula: "h_t = f · h_{t−1} + s · g",
      values: (n) => ({ f: n.v.f, h0: n.b.h, open: n.d.open, g: n.v.g, kept: n.d.kept, written: n.d.written, h: n.v.h }),
      ...links(
        { f: "in", h0: "in", open: "in", g: "in", kept: "mid", written: "mid", h: "out" },
        [
          (v) => ["kept", v.f * v.h0],
          (v) => ["written", v.open * v.g],
          (v) => ["h", v.f * v.h0 + v.open * v.g],
          (v) => ["h", v.kept + v.written],
        ],
        ["{f} · {h0} + {open} · {g}", "{kept} + {written}", "{h}"],
      ),
    },
  ],
};
