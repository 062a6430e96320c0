// GRU against LSTM on a text of the reader's own: both learn in the page, with as many weights as they
// can share, and are measured on the end of the text, which they do not learn from.

import { h, s } from "../dom.js";
import { fixed, grouped } from "../numbers.js";
import { button, choice } from "./controls.js";
import { Network, randomFrom } from "./network.js";
import { trainInPage } from "./training.js";
import { figureWidth } from "./unrolled.js";

const HIDDEN = 20; // of the LSTM
const WINDOW = 20; // characters that a gradient goes back over
const WINDOWS = 4; // in an update
const UPDATES = 160;
const EVERY = 8; // updates, the held-out part is read
const RATE = 0.015;
const LONGEST = 3000; // characters
const MEASURED = 160; // of the held-out part
const LEAST = 200;

let ownText = ""; // of the reader, as long as the page is open: in another language, after another scene

/** Two networks with nearly as many weights, for texts of so many different characters. */
export function contestants(cells, size, seed = 1) {
  const make = (name, hidden) => new Network({ cell: cells[name], input: size, hidden, output: size, seed });
  const lstm = make("lstm", HIDDEN);
  const lack = (network) => Math.abs(network.numWeights - lstm.numWeights);
  let hidden = HIDDEN;
  while (lack(make("gru", hidden + 1)) < lack(make("gru", hidden))) hidden += 1;
  const rows = { lstm, gru: make("gru", hidden) };
  const bias = rows.lstm.weights.bias_ih; // the forget gate begins open, as is usual
  const at = cells.lstm.gates.indexOf("f") * HIDDEN;
  bias.fill(1, at, at + HIDDEN);
  return rows;
}

/** A text as places of its characters, cut in what is learned from and what is kept aside. */
function lessonOf(text) {
  const characters = [...text];
  const known = [...new Set(characters)].sort();
  const places = characters.map((each) => known.indexOf(each));
  const cut = Math.floor(0.85 * places.length);
  return { known, learned: places.slice(0, cut), aside: places.slice(cut, cut + MEASURED + 1), numCharacters: characters.length };
}

const stepsOf = (places) => places.slice(0, -1).map((x, k) => ({ x, target: places[k + 1] }));

/** Bits per character on the part kept aside. */
function bitsOf(network, aside) {
  const tape = network.read(stepsOf(aside));
  return tape.reduce((sum, { shares, target }) => sum - Math.log2(shares[target]), 0) / tape.length;
}

function curves(bits, size, t) {
  const width = figureWidth();
  const [left, right, top, bottom, tall] = [48, 62, 30, 44, 300];
  const chance = Math.log2(Math.max(1, size));
  const most = Math.ceil(Math.max(chance + 0.3, ...Object.values(bits).flat()));
  const x = (k) => left + (k / UPDATES) * (width - left - right);
  const y = (value) => top + ((most - value) / most) * (tall - top - bottom);
  const ends = Object.entries(bits).flatMap(([name, values], series) => (values.length ? [{ name: name.toUpperCase(), series, x: x((values.length - 1) * EVERY), y: y(values.at(-1)) }] : []));
  if (ends.length === 2 && Math.abs(ends[0].y - ends[1].y) < 17) {
    const [upper, lower] = ends[0].y <= ends[1].y ? ends : ends.toReversed();
    const middle = (upper.y + lower.y) / 2;
    [upper.y, lower.y] = [middle - 8.5, middle + 8.5];
  }
  return s("svg", { viewBox: `0 0 ${width} ${tall}`, class: "chart", role: "img", "aria-label": t("label") },
    s("text", { x: 4, y: 16, class: "axis" }, t("y")),
    Array.from({ length: most + 1 }, (_, k) => [s("line", { x1: left, x2: width - right, y1: y(k), y2: y(k), class: "rule" }), s("text", { x: left - 8, y: y(k) + 5, class: "tick", "text-anchor": "end" }, String(k))]),
    s("line", { x1: left, x2: width - right, y1: y(chance), y2: y(chance), class: "threshold" }),
    s("text", { x: width - right, y: y(chance) - 6, class: "tick", "text-anchor": "end" }, t("chance")),
    Object.values(bits).map((values, series) => s("path", { d: values.map((value, k) => `${k ? "L" : "M"}${x(k * EVERY).toFixed(1)} ${y(value).toFixed(1)}`).join(""), class: `line series-${series}`, "stroke-dasharray": series ? "7 4" : null })),
    ends.map((end) => s("text", { x: end.x + 8, y: end.y + 5, class: `line-label series-${end.series}` }, end.name)),
    [0, 40, 80, 120, 160].map((k) => s("text", { x: x(k), y: tall - 24, class: "tick", "text-anchor": "middle" }, String(k))),
    s("text", { x: (left + width - right) / 2, y: tall - 4, class: "axis", "text-anchor": "middle" }, t("x")));
}

const COMMANDS = {
  text: "unrolled compare lm book.txt --cells lstm,gru --seeds 3",
  classes: "unrolled compare classify reviews.csv --input text --target stars --cells lstm,gru --seeds 3",
  numbers: "unrolled compare forecast days.csv --target sales --cells lstm,gru --seeds 3",
};

export function compare({ figure, controls, readout, tell, t, cells, signal }) {
  let bits = { lstm: [], gru: [] };
  let networks = null;
  let ending = null;
  const holder = h("div");
  const field = h("textarea", {
    class: "typing plain lecture-text", id: "own-text", rows: "4", maxlength: String(LONGEST), "aria-label": t("your_text"), spellcheck: "false", value: ownText || t("example"),
    oninput: () => {
      ownText = field.value;
      draw();
    },
  });
  let lesson = lessonOf(field.value);
  const command = h("code", { class: "command", tabindex: "0" }, COMMANDS.text);
  figure.replaceChildren(field, holder);
  readout.after(h("div", { class: "command-block" },
    h("p", null, t("command")),
    choice({ label: t("data"), options: { text: t("data_text"), classes: t("data_classes"), numbers: t("data_numbers") }, value: "text", onchange: (value) => {
      command.textContent = COMMANDS[value];
    } }), command));

  function draw() {
    holder.replaceChildren(curves(bits, lesson.known.length, t));
    const isFull = field.value.length >= LONGEST - 1; // an emoji counts twice, and is not halved
    const cut = isFull ? t("cut", { most: grouped(LONGEST) }) : "";
    const [lstm, gru] = [bits.lstm.at(-1), bits.gru.at(-1)];
    if (lstm === undefined || gru === undefined) {
      tell(`${t("untrained")} ${cut}`);
      return;
    }
    const counts = { weights_lstm: grouped(networks.lstm.numWeights), weights_gru: grouped(networks.gru.numWeights) };
    tell(`${t("told", { lstm: fixed(lstm, 2), gru: fixed(gru, 2), updates: EVERY * (bits.gru.length - 1), ...counts })} ${cut}`);
  }

  async function train() {
    ending?.abort();
    ending = new AbortController();
    lesson = lessonOf(field.value);
    bits = { lstm: [], gru: [] };
    if (lesson.numCharacters < LEAST) {
      draw();
      tell(t("too_short", { least: LEAST }));
      return;
    }
    networks = contestants(cells, lesson.known.length);
    const random = randomFrom(7);
    const measure = () => Object.entries(networks).forEach(([name, network]) => bits[name].push(bitsOf(network, lesson.aside)));
    measure();
    const took = await trainInPage({
      update: () => {
        const windows = Array.from({ length: WINDOWS }, () => {
          const from = Math.floor(random() * (lesson.learned.length - WINDOW - 1));
          return stepsOf(lesson.learned.slice(from, from + WINDOW + 1));
        });
        for (const network of Object.values(networks)) network.train(windows, RATE);
        if (networks.gru.updates % EVERY === 0) measure();
        return networks.gru.updates >= UPDATES;
      },
      frame: draw,
      signal: AbortSignal.any([signal, ending.signal]),
    });
    if (took !== null) figure.dataset.done = "true";
  }

  controls.replaceChildren(button(t("train"), train, { id: "train", class: "primary" }));
  draw();
  return {
    numbers: () => [["update", "lstm_bits_per_character", "gru_bits_per_character"], ...bits.lstm.map((value, k) => [k * EVERY, value, bits.gru[k]])],
    checks: [{ number: 3 }, { choice: 2 }],
    redraw: draw,
  };
}
