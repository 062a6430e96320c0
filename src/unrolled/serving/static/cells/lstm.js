// The long short-term memory cell. Equations: cells/lstm.py.

import { gate, links } from "./equations.js";

const GATE_Y = 300;
const BUS = 425;
const AT = { f: 150, i: 285, g: 425, o: 565 };

const before = { f: "f", i: "i", g: "g", o: "o" };

export default {
  memory: "c",
  summary: ["update", "h"],
  derive(n) {
    const a = Object.fromEntries(Object.keys(before).map((k) => [k, n.x[k] + n.u[k]]));
    const { i, f, g, o, c, h } = n.v;
    return { a, kept: f * n.b.c, written: i * g, squashed: Math.tanh(c), i, f, g, o, c, h };
  },
  width: 760,
  height: 500,
  nodes: [
    { kind: "port", x: 18, y: 40, text: "c_{t−1}", anchor: "start", ops: ["update"] },
    { kind: "port", x: 742, y: 40, text: "c_{t}", anchor: "end", ops: ["update", "h"] },
    { kind: "port", x: 18, y: 401, text: "h_{t−1}", anchor: "start", ops: ["f", "i", "g", "o"] },
    { kind: "port", x: 742, y: 212, text: "h_{t}", anchor: "end", ops: ["h"] },
    { kind: "joint", x: 70, y: BUS, ops: ["f", "i", "g", "o"] },
    { kind: "gate", x: AT.f, y: GATE_Y, text: "f", below: "σ", ops: ["f"] },
    { kind: "gate", x: AT.i, y: GATE_Y, text: "i", below: "σ", ops: ["i"] },
    { kind: "gate", x: AT.g, y: GATE_Y, text: "g", below: "tanh", ops: ["g"] },
    { kind: "gate", x: AT.o, y: GATE_Y, text: "o", below: "σ", ops: ["o"] },
    { kind: "dot", x: AT.f, y: 64, text: "×", ops: ["update"] },
    { kind: "dot", x: 355, y: 165, text: "×", ops: ["update"] },
    { kind: "dot", x: 355, y: 64, text: "+", ops: ["update"] },
    { kind: "pill", x: 640, y: 132, text: "tanh", ops: ["h"] },
    { kind: "dot", x: 640, y: 226, text: "×", ops: ["h"] },
    { kind: "input", x: 70, y: 470, ops: ["f", "i", "g", "o"] },
  ],
  edges: [
    { path: `M18 64H${AT.f - 17}`, value: (n) => n.b.c, at: [18, 97], name: "c0", ops: ["update"] },
    { path: `M${AT.f + 17} 64H338`, value: (n) => n.d.kept, at: [245, 52, "middle"], name: "kept", ops: ["update"] },
    { path: "M372 64H742", value: (n) => n.v.c, at: [500, 52, "middle"], name: "c", ops: ["update", "h"] },
    { path: "M640 64V113", value: (n) => n.v.c, ops: ["h"] },
    { path: "M640 151V209", value: (n) => n.d.squashed, at: [650, 188], name: "squashed", ops: ["h"] },
    { path: "M657 226H742", value: (n) => n.v.h, at: [742, 263, "end"], name: "h", ops: ["h"] },
    { path: `M${AT.f} 273V81`, value: (n) => n.v.f, at: [158, 190], name: "f", ops: ["f", "update"] },
    { path: `M${AT.i} 273V165H338`, value: (n) => n.v.i, at: [277, 252, "end"], name: "i", ops: ["i", "update"] },
    { path: `M${AT.g} 273V165H372`, value: (n) => n.v.g, at: [433, 252], name: "g", ops: ["g", "update"] },
    { path: "M355 148V81", value: (n) => n.d.written, at: [365, 122], name: "written", ops: ["update"] },
    { path: `M${AT.o} 273V226H623`, value: (n) => n.v.o, at: [557, 217, "end"], name: "o", ops: ["o", "h"] },
    { path: `M18 ${BUS}H${AT.o}`, ops: ["f", "i", "g", "o"], open: true },
    { path: `M70 446V${BUS}`, ops: ["f", "i", "g", "o"], open: true },
    ...Object.entries(AT).map(([k, x]) => ({
      path: `M${x} ${BUS}V327`,
      value: (n) => n.d.a[k],
      at: [x + 8, 385],
      name: `a_${k}`,
      ops: [k],
    })),
  ],
  operations: [
    gate("f", "σ"),
    gate("i", "σ"),
    gate("g", "tanh"),
    {
      id: "update",
      formula: "c_t = f · c_{t−1} + i · g",
      values: (n) => ({ f: n.v.f, c0: n.b.c, i: n.v.i, g: n.v.g, kept: n.d.kept, written: n.d.written, c: n.v.c }),
      ...links(
        { f: "in", c0: "in", i: "in", g: "in", kept: "mid", written: "mid", c: "out" },
        [
          (v) => ["kept", v.f * v.c0],
          (v) => ["written", v.i * v.g],
          (v) => ["c", v.f * v.c0 + v.i * v.g],
          (v) => ["c", v.kept + v.written],
        ],
        ["{f} · {c0} + {i} · {g}", "{kept} + {written}", "{c}"],
      ),
    },
    gate("o", "σ"),
    {
      id: "h",
      formula: "h_t = o · tanh(c_t)",
      values: (n) => ({ o: n.v.o, c: n.v.c, squashed: n.d.squashed, h: n.v.h }),
      ...links(
        { o: "in", c: "in", squashed: "mid", h: "out" },
        [
          (v) => ["squashed", Math.tanh(v.c)],
          (v) => ["h", v.o * Math.tanh(v.c)],
          (v) => ["h", v.o * v.squashed],
        ],
        ["{o} · tanh({c})", "{o} · {squashed}", "{h}"],
      ),
    },
  ],
};
