// The gradient that vanishes: how much of it is left k steps back, by the recurrent weight and by the
// forget gate's bias. Each is the product of the derivatives of one step.

import { lagChart } from "../charts.js";
import { fixed, readable } from "../numbers.js";
import { slider } from "./controls.js";

const STEPS = 50;

/** The input that the vanilla unit reads at step t. */
const inputAt = (t) => 0.3 * Math.sin(t);

/**
 * |dh_T / dh_{T−k}| for k = 0..steps of h_t = tanh(w h_{t−1} + x_t), from h_0 = 0: the product of
 * w (1 − h_t²) over the last k steps.
 */
export function vanillaReach(w, steps = STEPS, input = inputAt) {
  const factors = [];
  let h = 0;
  for (let t = 1; t <= steps; t += 1) {
    h = Math.tanh(w * h + input(t));
    factors.push(Math.abs(w * (1 - h * h)));
  }
  return products(factors.reverse());
}

/** |dc_T / dc_{T−k}| for k = 0..steps along an LSTM's cell state, whose forget gate is σ(bias) at each step. */
export const lstmReach = (bias, steps = STEPS) => products(new Array(steps).fill(1 / (1 + Math.exp(-bias))));

const products = (factors) => factors.reduce((all, factor) => [...all, all.at(-1) * factor], [1]);

export function gradient({ figure, controls, tell, t }) {
  let [w, bias] = [0.9, 1];

  const lines = () => [
    { label: t("line_bound"), values: vanillaReach(w, STEPS, () => 0), series: 4 },
    { label: t("line_vanilla"), values: vanillaReach(w), series: 1 },
    { label: t("line_lstm"), values: lstmReach(bias), series: 0 },
  ];

  function draw() {
    const all = lines();
    figure.replaceChildren(lagChart({ lines: all, cut: null, xTitle: t("x"), yTitle: t("y"), label: t("label") }));
    const [, vanilla, lstm] = all.map(({ values }) => values);
    const short = (value) => (value >= 0.001 && value < 1000 ? fixed(value, 3) : readable(value, Math.max(1, 1 - Math.floor(Math.log10(value || 1)))));
    tell(t("told", { vanilla: short(vanilla[20]), lstm: short(lstm[20]), f: fixed(1 / (1 + Math.exp(-bias)), 3) }));
  }

  controls.replaceChildren(
    slider({ label: t("w"), id: "w", min: 0, max: 1.5, step: 0.05, value: w, onchange: (value) => {
      w = value;
      draw();
    } }),
    slider({ label: t("bias"), id: "bias", min: -3, max: 7, step: 0.25, value: bias, onchange: (value) => {
      bias = value;
      draw();
    } }));
  draw();
  return {
    numbers: () => {
      const [bound, vanilla, lstm] = lines().map(({ values }) => values);
      return [["steps_back", "vanilla_at_zero", "vanilla_reading", "lstm"], ...bound.map((value, k) => [k, value, vanilla[k], lstm[k]])];
    },
    checks: [{ number: 0.5 ** 10, within: 0.0005 }, { choice: 2 }, { number: () => Math.log(0.99 / 0.01), within: 0.06 }],
    redraw: draw,
  };
}
