// What the three configurations learn: pictures with their names, sentences with a sentiment, and phrases
// with their translation. Each is a list of sequences for a network, with what its places stand for.

import { randomFrom } from "./network.js";

/** Pictures of 7 by 7 dots, in two sizes. */
export const PICTURES = {
  house: [
    ["...#...", "..###..", ".#####.", "#######", ".##.##.", ".##.##.", ".##.##."],
    [".......", ".......", "...#...", "..###..", "..###..", ".......", "......."],
  ],
  cross: [
    ["..###..", "..###..", "#######", "#######", "#######", "..###..", "..###.."],
    [".......", "...#...", "...#...", ".#####.", "...#...", "...#...", "......."],
  ],
  heart: [
    [".##.##.", "#######", "#######", "#######", ".#####.", "..###..", "...#..."],
    [".......", ".......", "..#.#..", "..###..", "...#...", ".......", "......."],
  ],
};

export const dotsOf = (rows) => Float64Array.from(rows.join(""), (sign) => Number(sign === "#"));

const END = "■";

/** Splits examples in those to learn from and some that are kept aside, by chance but always the same. */
function split(examples, numAside, seed) {
  const random = randomFrom(seed);
  const order = examples.map((example) => [random(), example]).sort(([a], [b]) => a - b).map(([, example]) => example);
  return { learned: order.slice(numAside), aside: order.slice(0, numAside) };
}

/** One to many. names: by picture, what the large and the small one are called. */
export function captions(names) {
  const examples = Object.entries(PICTURES).flatMap(([name, sizes]) => sizes.map((rows, size) => ({ dots: dotsOf(rows), words: [...names[name][size].split(" "), END] })));
  const outputs = [...new Set(examples.flatMap(({ words }) => words))];
  const most = Math.max(...examples.map(({ words }) => words.length));
  const steps = (dots, words = []) => Array.from({ length: most }, (_, k) => ({ x: k ? null : dots, target: words[k] === undefined ? null : outputs.indexOf(words[k]) }));
  const random = randomFrom(3);
  /** The pictures, each with a few dots changed, so that it is not each dot that counts. */
  const noisy = () => examples.map(({ dots, words }) => steps(dots.map((dot) => (random() < 0.04 ? 1 - dot : dot)), words));
  return { input: 49, outputs, steps, batch: noisy, learned: examples.map(({ dots, words }) => steps(dots, words)), aside: [] };
}

/** Many to one. words: {subjects, plain, negated, good, bad}, lists of words. */
export function reviews({ subjects, plain, negated, good, bad }) {
  const examples = subjects.flatMap((subject) => [[plain, 0], [negated, 1]].flatMap(([links, turns]) => links.flatMap((link) =>
    [[good, 1], [bad, 0]].flatMap(([adjectives, positive]) => adjectives.map((adjective) => ({ words: `${subject} ${link} ${adjective}`.split(" "), positive: positive ^ turns }))))));
  const inputs = [...new Set(examples.flatMap(({ words }) => words))];
  const steps = (words, positive = null) => words.map((word, k) => ({ x: inputs.indexOf(word), target: k === words.length - 1 ? positive : null }));
  const { learned, aside } = split(examples, 10, 11);
  const of = (list) => list.map(({ words, positive }) => steps(words, positive));
  return { inputs, input: inputs.length, outputs: [0, 1], steps, learned: of(learned), aside: of(aside), batch: () => of(learned) };
}

const NOUNS = { house: ["casa", "f"], table: ["mesa", "f"], door: ["porta", "f"], car: ["carro", "m"], book: ["livro", "m"], boat: ["barco", "m"], chair: ["cadeira", "f"], hat: ["chapéu", "m"] };
const ADJECTIVES = { red: ["vermelho", "vermelha"], old: ["velho", "velha"], new: ["novo", "nova"], white: ["branco", "branca"], black: ["preto", "preta"] };
const NOTHING = "·";

/** English phrases and their Portuguese translations. */
const PHRASES = Object.entries(NOUNS).flatMap(([noun, [name, gender]]) => [
  { from: ["the", noun], to: [gender === "f" ? "a" : "o", name] },
  ...Object.entries(ADJECTIVES).map(([adjective, forms]) => ({ from: ["the", adjective, noun], to: [gender === "f" ? "a" : "o", name, forms[Number(gender === "f")]] })),
]);

/** Many to many, the translation `delay` steps late. */
export function translations(delay) {
  const inputs = [...new Set(PHRASES.flatMap(({ from }) => from)), NOTHING];
  const outputs = [...new Set(PHRASES.flatMap(({ to }) => to))];
  const steps = (from, to = []) => Array.from({ length: from.length + delay }, (_, k) => ({
    x: inputs.indexOf(from[k] ?? NOTHING), target: k < delay || to[k - delay] === undefined ? null : outputs.indexOf(to[k - delay]),
  }));
  const { learned, aside } = split(PHRASES, 5, 4);
  const of = (list) => list.map(({ from, to }) => steps(from, to));
  return { inputs, input: inputs.length, outputs, steps, learned: of(learned), aside: of(aside), batch: () => of(learned) };
}
