// The vanilla recurrent cell. Equations: cells/elman.py.

import { links } from "./equations.js";

export default {
  memory: "h",
  derive(n) {
    return { a: { a: n.x.a + n.u.a } };
  },
  width: 760,
  height: 400,
  nodes: [
    { kind: "port", x: 18, y: 126, text: "h_{t−1}", anchor: "start", ops: ["a"] },
    { kind: "port", x: 742, y: 126, text: "h_{t}", anchor: "end", ops: ["h"] },
    { kind: "pill", x: 150, y: 150, text: "W_{h}· + b", w: 108, ops: ["a"] },
    { kind: "dot", x: 330, y: 150, text: "+", ops: ["a"] },
    { kind: "gate", x: 520, y: 150, text: "tanh", ops: ["h"] },
    { kind: "pill", x: 330, y: 260, text: "W_{x}· + b", w: 108, ops: ["a"] },
    { kind: "input", x: 330, y: 355, ops: ["a"] },
  ],
  edges: [
    { path: "M18 150H96", value: (n) => n.b.h, at: [18, 178], name: "h0", ops: ["a"] },
    { path: "M204 150H313", value: (n) => n.u.a, at: [258, 138, "middle"], name: "u_a", ops: ["a"] },
    { path: "M330 331V279", ops: ["a"] },
    { path: "M330 241V167", value: (n) => n.x.a, at: [340, 212], name: "x_a", ops: ["a"] },
    { path: "M347 150H474", value: (n) => n.d.a.a, at: [410, 138, "middle"], name: "a_a", ops: ["a", "h"] },
    { path: "M566 150H742", value: (n) => n.v.h, at: [742, 178, "end"], name: "h", ops: ["h"] },
  ],
  operations: [
    {
      id: "a",
      formula: "a = x_a + u_a",
      values: (n) => ({ x: n.x.a, u: n.u.a, a: n.d.a.a }),
      ...links({ x: "in", u: "in", a: "out" }, [(v) => ["a", v.x + v.u]], ["{x} + {u}", "{a}"]),
    },
    {
      id: "h",
      formula: "h_t = tanh(a)",
      values: (n) => ({ a: n.d.a.a, h: n.v.h }),
      ...links({ a: "in", h: "out" }, [(v) => ["h", Math.tanh(v.a)]], ["tanh({a})", "{h}"]),
    },
  ],
};
