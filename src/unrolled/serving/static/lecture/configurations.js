// The three configurations, unrolled and trained in the page: a picture gets a name, a sentence a sentiment,
// a phrase its translation some steps later.

import { h, s } from "../dom.js";
import { fixed } from "../numbers.js";
import { button, choice } from "./controls.js";
import { captions, dotsOf, PICTURES, reviews, translations } from "./lessons.js";
import { best, countRight, Network } from "./network.js";
import { trainInPage } from "./training.js";
import { figureWidth, unrolledFigure } from "./unrolled.js";

const ENOUGH = 0.04; // nats per target
const MOST = 200; // updates
const SIDE = 7; // dots of a picture
const MOST_WORDS = 7; // of a sentence, that are drawn

/** The words of a sentence, without what stands between them. */
const wordsOf = (sentence) => sentence.toLowerCase().match(/[\p{L}\p{N}'’-]+/gu) ?? [];

export function configurations({ figure, controls, tell, t, cells, signal }) {
  const models = {}; // by configuration and delay, those that have been trained
  let kind = "one";
  let delay = 2;
  let ending = null;
  let dots = dotsOf(PICTURES.house[0]);
  let dotAt = 0; // the one that keys change
  let sentence = t("sentence");
  let phrase = "the old door";
  const inputs = h("div", { class: "controls" });
  const holder = h("div");
  figure.replaceChildren(inputs, holder);

  const nameOf = () => (kind === "delayed" ? `delayed-${delay}` : kind);

  function begin() {
    const lesson = { one: () => captions(t("pictures")), many: () => reviews(t("reviews")), delayed: () => translations(delay) }[kind]();
    const [hidden, rate] = { one: [16, 0.01], many: [16, 0.03], delayed: [40, 0.01] }[kind];
    const network = new Network({ cell: cells.rnn, input: lesson.input, hidden, output: lesson.outputs.length, seed: 2 });
    return { lesson, network, rate, losses: [], isDone: false };
  }

  const model = () => (models[nameOf()] ??= begin());

  /** The columns of what is shown now. */
  function columns() {
    const { lesson, network, isDone } = model();
    const { outputs } = lesson;
    const shown = (tape, words, isSaid, textOf) => tape.map(({ values, shares }, k) => {
      const place = best(shares);
      const said = isSaid(k) ? { text: textOf(place), share: shares[place] } : null;
      return { input: words[k] ?? null, state: values.h, output: said };
    });
    if (kind === "one") {
      const tape = network.read(lesson.steps(dots));
      return shown(tape, [], () => true, (place) => outputs[place]);
    }
    if (kind === "many") {
      const words = wordsOf(sentence).filter((word) => lesson.inputs.includes(word));
      const tape = network.read(lesson.steps(words));
      const opinions = shown(tape, words, () => true, (place) => t(place ? "positive" : "negative"));
      tape.forEach(({ shares }, k) => {
        opinions[k].output.tone = `${best(shares) ? "for-it" : "against-it"}${k === tape.length - 1 ? "" : " not-asked"}`;
      });
      return opinions.slice(-MOST_WORDS);
    }
    const from = phrase.split(" ");
    const tape = network.read(lesson.steps(from));
    const result = shown(tape, tape.map((_, k) => from[k] ?? "·"), (k) => k >= delay, (place) => outputs[place]);
    const right = translationOf(phrase);
    if (isDone) result.forEach(({ output }, k) => output && right[k - delay] && (output.right = output.text === right[k - delay]));
    return result;
  }

  const translationOf = (text) => {
    const { lesson } = model();
    const tape = [...lesson.learned, ...lesson.aside].find((steps) => steps.map(({ x }) => lesson.inputs[x]).filter((word) => word !== "·").join(" ") === text);
    return tape.flatMap(({ target }) => (target === null ? [] : [lesson.outputs[target]]));
  };

  function draw() {
    const picture = kind === "one" ? { width: figureWidth() < 700 ? 130 : 190, height: figureWidth() < 700 ? 120 : 174, draw: dotsFigure } : null;
    const isDrawing = document.activeElement.matches("[data-dot]");
    holder.replaceChildren(unrolledFigure(columns(), { label: t(`label_${kind}`), picture, stateTall: 96 }));
    if (isDrawing) holder.querySelector(`[data-dot="${dotAt}"]`)?.focus();
    figure.dataset.done = String(model().isDone);
    const { lesson, network, losses, isDone } = model();
    const [learned, aside] = [lesson.learned, lesson.aside].map((list) => countRight(list.map((steps) => network.read(steps))));
    figure.dataset.learned = String(learned.right / learned.of);
    const begun = losses.length ? t("told", { updates: network.updates, loss: fixed(losses.at(-1), 2), right: learned.right, of: learned.of }) : t("untrained");
    const unseen = isDone && aside.of ? t("told_aside", { right: aside.right, of: aside.of }) : "";
    const words = kind === "many" ? wordsOf(sentence) : [];
    const unknown = [...new Set(words)].filter((word) => !lesson.inputs.includes(word));
    const isLong = words.filter((word) => lesson.inputs.includes(word)).length > MOST_WORDS;
    tell([begun, unseen, isDone && kind === "delayed" ? t(`told_delay_${delay}`) : "", unknown.length ? t("unknown", { words: unknown.join(", ") }) : "",
      isLong ? t("long", { most: MOST_WORDS }) : ""].filter(Boolean).join(" "));
  }

  /** The picture as dots that can be changed, with its middle at a height. */
  function dotsFigure(left, middle) {
    const width = figureWidth() < 700 ? 112 : 168;
    const each = width / SIDE;
    const flip = (k) => {
      dots = dots.map((other, place) => (place === k ? 1 - other : other));
      dotAt = k;
      draw();
    };
    const onkeydown = (event) => {
      const [row, column] = [Math.floor(dotAt / SIDE), dotAt % SIDE];
      const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [0, 0];
      if (event.key === " " || event.key === "Enter") flip(dotAt);
      else if (down || right) {
        dotAt = SIDE * ((row + down + SIDE) % SIDE) + ((column + right + SIDE) % SIDE);
        draw();
      } else return;
      event.preventDefault();
      event.stopPropagation();
    };
    return s("g", { onkeydown }, [...dots].map((dot, k) => {
      const [row, column] = [Math.floor(k / SIDE), k % SIDE];
      return s("rect", {
        x: left + column * each + 1, y: middle - width / 2 + row * each + 1, width: each - 2, height: each - 2, rx: 3, class: `pick pixel${dot ? " on" : ""}`,
        role: "checkbox", "aria-checked": String(Boolean(dot)), "aria-label": t("dot", { row: row + 1, column: column + 1 }), tabindex: k === dotAt ? "0" : "-1",
        "data-dot": k, onclick: () => flip(k),
      });
    }));
  }

  function choices() {
    if (kind === "one") {
      const names = t("pictures");
      inputs.replaceChildren(h("div", { class: "chips", role: "group", "aria-label": t("choose_picture") }, Object.entries(PICTURES).flatMap(([name, sizes]) => sizes.map((rows, size) =>
        button(names[name][size], () => {
          dots = dotsOf(rows);
          draw();
        }, { class: "chip" })))));
    } else if (kind === "many") {
      const field = h("input", { type: "text", id: "sentence", class: "wide-field", value: sentence, "aria-label": t("your_sentence"), maxlength: "120", oninput: () => {
        sentence = field.value;
        draw();
      } });
      const { subjects, plain, negated, good, bad } = t("reviews");
      const words = [...new Set([...subjects, ...plain, ...negated, ...good, ...bad].flatMap((text) => text.split(" ")))];
      inputs.replaceChildren(field, h("p", { class: "soft hint" }, t("known_words", { words: words.join(" · ") })));
    } else {
      const phrases = ["the door", "the old door", "the old boat", "the white chair", "the white hat"];
      inputs.replaceChildren(
        choice({ label: t("delay"), options: Object.fromEntries([0, 1, 2].map((k) => [k, t("delay_of", { k })])), value: delay, onchange: (value) => {
          delay = Number(value);
          restart();
        } }),
        choice({ label: t("phrase"), options: Object.fromEntries(phrases.map((each) => [each, each])), value: phrase, onchange: (value) => {
          phrase = value;
          draw();
        } }));
    }
  }

  async function train() {
    ending?.abort();
    ending = new AbortController();
    const mine = nameOf();
    models[mine] = begin();
    const { lesson, network, losses, rate } = models[mine];
    const took = await trainInPage({
      update: () => {
        losses.push(network.train(lesson.batch(), rate).loss);
        return losses.at(-1) < ENOUGH || losses.length >= MOST;
      },
      frame: draw,
      signal: AbortSignal.any([signal, ending.signal]),
    });
    if (took === null) return;
    models[mine].isDone = true;
    draw();
  }

  /** Shows what is chosen; what has not been trained begins to be. */
  function restart() {
    ending?.abort();
    draw();
    if (!model().isDone) train();
  }

  controls.replaceChildren(
    choice({ label: t("kind"), options: { one: t("one"), many: t("many"), delayed: t("delayed") }, value: kind, onchange: (value) => {
      kind = value;
      choices();
      restart();
    } }),
    button(t("train"), train, { id: "train" }));
  choices();
  restart();
  return {
    numbers: () => [["step", "reads", "says", "share", ...Array.from({ length: model().network.hidden }, (_, k) => `h${k}`)],
      ...columns().map(({ input, state, output }, k) => [k + 1, input ?? "", output?.text ?? "", output?.share ?? "", ...state])],
    checks: [{ choice: 1 }, { choice: 2 }, { number: 11 }],
    redraw: draw,
  };
}
