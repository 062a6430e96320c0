// The vanilla recurrent cell. Equations: cells/elman.py.

import { links } from "./equations.js";

export default {
  memory: "h",
  summary: ["a", "h"],
  derive(n) {
    return { a: { a: n.x.a + n.u.a } };
  },
  width: 760,
  height: 325,
  nodes: [
    { kind: "port", x: 18, y: 56, text: "h_{t−1}", anchor: "start", ops: ["a"] },
    { kind: "port", x: 742, y: 56, text: "h_{t}", anchor: "end", ops: ["h"] },
    { kind: "pill", x: 150, y: 80, text: "W_{h}", w: 84, ops: ["a"] },
    { kind: "dot", x: 330, y: 80, text: "+", ops: ["a"] },
    { kind: "gate", x: 520, y: 80, text: "h", below: "tanh", ops: ["h"] },
    { kind: "pill", x: 330, y: 190, text: "W_{x}", w: 84, ops: ["a"] },
    { kind: "input", x: 330, y: 285, ops: ["a"] },
  ],
  edges: [
    { path: "M18 80H108", value: (n) => n.b.h, at: [18, 108], name: "h0", ops: ["a"] },
    { path: "M192 80H313", value: (n) => n.u.a, at: [258, 68, "middle"], name: "u_a", ops: ["a"] },
    { path: "M330 261V209", ops: ["a"] },
    { path: "M330 171V97", value: (n) => n.x.a, at: [340, 142], name: "x_a", ops: ["a"] },
    { path: "M347 80H474", value: (n) => n.d.a.a, at: [410, 68, "middle"], name: "a_a", ops: ["a", "h"] },
    { path: "M566 80H742", value: (n) => n.v.h, at: [742, 108, "end"], name: "h", ops: ["h"] },
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
