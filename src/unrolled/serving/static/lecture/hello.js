// The next character of "hello": a network of eight units, trained in the page from random weights.

import { h, s } from "../dom.js";
import { fixed } from "../numbers.js";
import { button } from "./controls.js";
import { best, countRight, Network } from "./network.js";
import { trainInPage } from "./training.js";
import { figureWidth, unrolledFigure } from "./unrolled.js";

const LETTERS = ["h", "e", "l", "o"];
const WORD = "hello";
const RATE = 0.03;
const ENOUGH = 0.05; // nats per character
const MOST = 400; // updates

/** What is to be learned: after each character of the word the next one. */
export const LESSON = [...WORD].slice(0, -1).map((letter, k) => ({ x: LETTERS.indexOf(letter), target: LETTERS.indexOf(WORD[k + 1]) }));

/** Nats per character of a sequence that was read. */
const lossOf = (tape) => tape.reduce((sum, { shares, target }) => sum - Math.log(shares[target]), 0) / tape.length;

/** A network that knows nothing of it. */
const newNetwork = (cells, seed) => new Network({ cell: cells.rnn, input: 4, hidden: 8, output: 4, seed });

function lossChart(losses, { label, title }) {
  const width = figureWidth();
  const [left, right, top, bottom, tall] = [46, 14, 30, 30, 170];
  const most = Math.max(1.5, ...losses);
  const count = Math.max(30, losses.length - 1);
  const x = (k) => left + (k / count) * (width - left - right);
  const y = (loss) => top + ((most - loss) / most) * (tall - top - bottom);
  const chance = Math.log(LETTERS.length);
  return s("svg", { viewBox: `0 0 ${width} ${tall}`, class: "chart", role: "img", "aria-label": label },
    s("text", { x: 4, y: 16, class: "axis" }, title),
    [0, 0.5, 1, 1.5].map((loss) => [s("line", { x1: left, x2: width - right, y1: y(loss), y2: y(loss), class: "rule" }), s("text", { x: left - 8, y: y(loss) + 5, class: "tick", "text-anchor": "end" }, fixed(loss, 1))]),
    s("line", { x1: left, x2: width - right, y1: y(chance), y2: y(chance), class: "threshold" }),
    s("text", { x: width - right, y: y(chance) - 6, class: "tick", "text-anchor": "end" }, "ln 4"),
    s("path", { d: losses.map((loss, k) => `${k ? "L" : "M"}${x(k).toFixed(1)} ${y(loss).toFixed(1)}`).join(""), class: "line series-1" }),
    s("circle", { cx: x(losses.length - 1), cy: y(losses.at(-1)), r: 5, class: "point series-1" }),
    s("text", { x: left, y: tall - 6, class: "tick", "text-anchor": "middle" }, "0"),
    s("text", { x: width - right, y: tall - 6, class: "tick", "text-anchor": "end" }, String(count)));
}

export function hello({ figure, controls, tell, t, cells, signal }) {
  let seed = 1;
  let network = newNetwork(cells, seed);
  let losses = []; // before each update
  let ending = null; // of a training that goes on
  const holder = h("div");
  const curve = h("div");
  figure.replaceChildren(holder, curve);

  function draw() {
    const tape = network.read(LESSON);
    holder.replaceChildren(unrolledFigure(tape.map(({ x, target, values, shares }) => ({
      input: LETTERS[x],
      state: values.h,
      output: { text: LETTERS[best(shares)], share: Math.max(...shares), right: best(shares) === target },
      shares: LETTERS.map((text, k) => ({ text, share: shares[k], right: k === target })),
    })), { label: t("label"), stateTall: 84 }));
    const loss = lossOf(tape);
    curve.replaceChildren(lossChart([...losses, loss], { label: t("loss_label"), title: t("loss_title") }));
    const { right } = countRight([tape]);
    figure.dataset.right = String(right);
    return { right, loss };
  }

  function say(more = "") {
    const { right, loss } = draw();
    tell(`${t("told", { updates: network.updates, loss: fixed(loss, 3), right })} ${more}`);
  }

  function update() {
    const { loss } = network.train([LESSON], RATE);
    losses.push(loss);
    return loss < ENOUGH || network.updates >= MOST;
  }

  async function train() {
    ending?.abort();
    ending = new AbortController();
    network = newNetwork(cells, seed);
    losses = [];
    const took = await trainInPage({ update, frame: say, signal: AbortSignal.any([signal, ending.signal]), pause: 30 });
    if (took !== null) {
      say(t("took", { seconds: fixed(took / 1000, 1) }));
      figure.dataset.took = String(took);
    }
  }

  const stop = () => ending?.abort();
  controls.replaceChildren(
    button(t("train"), train, { id: "train", class: "primary" }),
    button(t("one"), () => {
      stop();
      update();
      say();
    }, { id: "one-update" }),
    button(t("again"), () => {
      stop();
      seed += 1;
      network = newNetwork(cells, seed);
      losses = [];
      say();
    }, { id: "again" }));
  say();
  return {
    numbers: () => [["updates", "loss_nats_per_character"], ...[...losses, lossOf(network.read(LESSON))].map((loss, k) => [k, loss])],
    checks: [{ number: Math.log(4), within: 0.006 }, { choice: 2 }],
    redraw: draw,
  };
}
