// The gated recurrent unit whose reset gate acts after the product. Equations: cells/gru.py.

import { gate, links } from "./equations.js";

const Z = 125;
const R = 275;
const TIMES = 415;
const N = 590;
const Y = 305;
const BUS = 430;

export default {
  memory: "h",
  summary: ["z", "update"],
  derive(n) {
    const { r, z } = n.v;
    const a = { r: n.x.r + n.u.r, z: n.x.z + n.u.z, n: n.x.n + r * n.u.n };
    return { a, allowed: r * n.u.n, open: 1 - z, kept: z * n.b.h, written: (1 - z) * n.v.n };
  },
  width: 760,
  height: 505,
  nodes: [
    { kind: "port", x: 18, y: 40, text: "h_{t−1}", anchor: "start", ops: ["update"] },
    { kind: "port", x: 742, y: 40, text: "h_{t}", anchor: "end", ops: ["update"] },
    { kind: "port", x: 18, y: 406, text: "h_{t−1}", anchor: "start", ops: ["r", "z", "n"] },
    { kind: "joint", x: 60, y: BUS, ops: ["r", "z", "n"] },
    { kind: "joint", x: Z, y: 190, ops: ["update"] },
    { kind: "gate", x: Z, y: Y, text: "z", below: "σ", ops: ["z"] },
    { kind: "gate", x: R, y: Y, text: "r", below: "σ", ops: ["r"] },
    { kind: "dot", x: TIMES, y: Y, text: "×", ops: ["n"] },
    { kind: "gate", x: N, y: Y, text: "n", below: "tanh", ops: ["n"] },
    { kind: "dot", x: Z, y: 64, text: "×", ops: ["update"] },
    { kind: "pill", x: 345, y: 190, text: "1 −", w: 62, ops: ["update"] },
    { kind: "dot", x: N, y: 190, text: "×", ops: ["update"] },
    { kind: "dot", x: N, y: 64, text: "+", ops: ["update"] },
    { kind: "input", x: 60, y: 475, ops: ["r", "z", "n"] },
  ],
  edges: [
    { path: `M18 64H${Z - 17}`, value: (n) => n.b.h, at: [18, 97], name: "h0", ops: ["update"] },
    { path: `M${Z + 17} 64H${N - 17}`, value: (n) => n.d.kept, at: [355, 52, "middle"], name: "kept", ops: ["update"] },
    { path: `M${N + 17} 64H742`, value: (n) => n.v.h, at: [742, 92, "end"], name: "h", ops: ["update"] },
    { path: `M${Z} 278V81`, value: (n) => n.v.z, at: [Z + 9, 245], name: "z", ops: ["z", "update"] },
    { path: `M${Z} 190H314`, value: (n) => n.v.z, ops: ["update"] },
    { path: `M376 190H${N - 17}`, value: (n) => n.d.open, at: [474, 179, "middle"], name: "open", ops: ["update"] },
    { path: `M${N} 278V207`, value: (n) => n.v.n, at: [N + 10, 250], name: "n", ops: ["n", "update"] },
    { path: `M${N} 173V81`, value: (n) => n.d.written, at: [N + 10, 135], name: "written", ops: ["update"] },
    { path: `M${R + 46} ${Y}H${TIMES - 17}`, value: (n) => n.v.r, at: [R + 84, Y - 14, "middle"], name: "r", ops: ["r", "n"] },
    { path: `M${TIMES + 17} ${Y}H${N - 46}`, value: (n) => n.d.allowed, at: [TIMES + 66, Y - 14, "middle"], name: "allowed", ops: ["n"] },
    { path: `M18 ${BUS}H${N}`, ops: ["r", "z", "n"], open: true },
    { path: `M60 451V${BUS}`, ops: ["r", "z", "n"], open: true },
    { path: `M${Z} ${BUS}V332`, value: (n) => n.d.a.z, at: [Z + 8, 390], name: "a_z", ops: ["z"] },
    { path: `M${R} ${BUS}V332`, value: (n) => n.d.a.r, at: [R + 8, 390], name: "a_r", ops: ["r"] },
    { path: `M${TIMES} ${BUS}V322`, value: (n) => n.u.n, at: [TIMES + 8, 390], name: "u_n", ops: ["n"] },
    { path: `M${N} ${BUS}V332`, value: (n) => n.x.n, at: [N + 8, 390], name: "x_n", ops: ["n"] },
  ],
  operations: [
    gate("r", "σ"),
    gate("z", "σ"),
    {
      id: "n",
      formula: "n = tanh(x_n + r · u_n)",
      values: (n) => ({ x: n.x.n, r: n.v.r, u: n.u.n, a: n.d.a.n, n: n.v.n }),
      ...links(
        { x: "in", r: "in", u: "in", a: "mid", n: "out" },
        [
          (v) => ["a", v.x + v.r * v.u],
          (v) => ["n", Math.tanh(v.x + v.r * v.u)],
          (v) => ["n", Math.tanh(v.a)],
        ],
        ["tanh({x} + {r} · {u})", "tanh({a})", "{n}"],
      ),
    },
    {
      id: "update",
      formula: "h_t = (1 − z) · n + z · h_{t−1}",
      values: (n) => ({ z: n.v.z, n: n.v.n, h0: n.b.h, kept: n.d.kept, written: n.d.written, h: n.v.h }),
      ...links(
        { z: "in", n: "in", h0: "in", kept: "mid", written: "mid", h: "out" },
        [
          (v) => ["kept", v.z * v.h0],
          (v) => ["written", (1 - v.z) * v.n],
          (v) => ["h", (1 - v.z) * v.n + v.z * v.h0],
          (v) => ["h", v.written + v.kept],
        ],
        ["(1 − {z}) · {n} + {z} · {h0}", "{written} + {kept}", "{h}"],
      ),
    },
  ],
};
