// Models that read a text as a whole, as they are computed in the page: a classifier, a tagger, a
// forecaster (forecaster.js).

import { encoderOf } from "./encoder.js";
import { Forecaster } from "./forecaster.js";
import { gradientOf, logSoftmax, logSum, rowOf, scoresIn, scoresOf } from "./network.js";
import { Stack } from "./stack.js";
import { addProduct, finderIn, unpacked } from "./weights.js";
import { speller, wordsOf } from "./words.js";

const MOST_READ_ANEW = 100; // steps of a text of which each beginning is read by itself

export class Whole {
  static async load({ network, weights }) {
    const find = finderIn(await unpacked(weights));
    return new Whole(network, find);
  }

  constructor(network, find) {
    this.stack = new Stack(network.stack, find);
    this.head = new HEADS[network.task](network, this.stack, find);
  }

  get engine() {
    return "script";
  }

  /**
   * Reads a text, `how` being what `Stack.readAll` takes: pieces, what the layers read (xs), made of it
   * (steps) and gave (outputs), what is said after each step, and of the whole (prediction).
   */
  async read(text, how) {
    const given = await this.head.encode(text, how.turn);
    if (!given.xs.length) return { ...given, steps: [], said: [], prediction: this.head.ofNothing() };
    const read = await this.stack.readAll(given.xs, how);
    return { ...given, steps: read.steps, ...(await this.head.say(given, read.outputs, how, read.steps)) };
  }

  /** How far what is said at a step of a reading reaches back, of the text up to there. */
  async reach({ xs, steps, outputs }, position, turn) {
    let read = { steps: steps.slice(0, position + 1).map((step) => step.steps), outputs };
    if (this.stack.directions > 1) read = await this.stack.readAll(xs.slice(0, position + 1), { turn });
    return this.stack.reach(read.steps, this.head.gradient(read.outputs[position]));
  }
}

/** What rows of numbers of tokens are read as: rows of a table, and what is made of those. */
function embeddingOf({ table, projection }, find) {
  const [rows, made] = [find(table), find(projection)];
  return (token) => {
    const row = rowOf(rows, token);
    if (!made) return row;
    const out = new Float64Array(made.shape[0]);
    addProduct(made, row, out);
    return out;
  };
}

/** One class for all: what is read so far is pooled after each step. */
class Classifier {
  constructor(network, stack, find) {
    Object.assign(this, { stack, labels: network.labels, pooling: network.pooling, direction: network.direction, maxLength: network.max_length });
    this.encoder = encoderOf({ vocabulary: network.vocabulary });
    this.isOfWords = network.vocabulary.encoder.kind === "word";
    this.embedding = embeddingOf(network.embedding, find);
    this.evidence = find(network.evidence);
    this.scores = scoresIn(network.scores, find);
    const { attention } = network;
    this.attention = attention && { inner: scoresIn(attention, find), weight: find(attention.out).values };
  }

  async encode(text) {
    const read = [...text].slice(0, this.maxLength).join("");
    const ids = [...this.encoder.encode(read)];
    return { ids, pieces: this.encoder.pieces(read), xs: ids.map(this.embedding) };
  }

  async say({ ids, pieces, xs }, outputs, how) {
    const last = xs.length - 1;
    const isShort = xs.length <= MOST_READ_ANEW;
    const total = new Float64Array(this.labels.length); // of the evidence
    const said = [];
    const pool = this.pool();
    for (let at = 0; at <= last; at += 1) {
      if (this.evidence) rowOf(this.evidence, ids[at]).forEach((value, label) => (total[label] += value));
      let pooled = null;
      if (this.stack.directions === 1) pooled = pool(outputs[at]);
      else if (at === last) pooled = this.pooled(outputs);
      else if (isShort) pooled = this.pooled((await this.stack.readAll(xs.slice(0, at + 1), { turn: how.turn, held: how.held })).outputs);
      said.push(pooled && logSoftmax(scoresOf(this.scores, pooled).map((score, label) => score + total[label])));
    }
    const opinions = said.map((each) => each && this.opinion(each));
    const running = opinions.every(Boolean)
      ? opinions.map((opinion, at) => ({ token: this.isOfWords ? pieces[at].replace(/^[\s\x1c-\x1f\x85]+/, "") : pieces[at], ...opinion }))
      : { most: MOST_READ_ANEW };
    return { said, outputs, prediction: { ...opinions[last], running } };
  }

  /** What is said of a text without tokens. */
  ofNothing() {
    const pooled = new Float64Array(this.scores.weight.shape[1]);
    return this.opinion(logSoftmax(scoresOf(this.scores, pooled)));
  }

  opinion(said) {
    const probabilities = said.map(Math.exp);
    const best = probabilities.indexOf(Math.max(...probabilities));
    return {
      class: this.labels[best],
      probability: probabilities[best],
      probabilities: Object.fromEntries(this.labels.map((label, k) => [label, probabilities[k]])),
    };
  }

  /** What is classified of all outputs. */
  pooled(outputs) {
    if (this.pooling === "last") {
      const { size } = this.stack;
      const last = outputs.at(-1).slice();
      last.set(outputs[0].subarray(size), size); // what reads backwards ends at the first
      return last;
    }
    const pool = this.pool();
    return outputs.map(pool).at(-1);
  }

  /** What takes one output after the other and gives what is classified of them all. */
  pool() {
    let [sum, weight, most] = [null, 0, -Infinity];
    const add = (output, share) => {
      sum ??= new Float64Array(output.length);
      output.forEach((value, i) => (sum[i] += share * value));
      weight += share;
      return sum.map((value) => value / weight);
    };
    if (this.pooling === "mean") return (output) => add(output, 1);
    if (this.pooling === "max") return (output) => (sum = sum ? sum.map((value, i) => Math.max(value, output[i])) : output.slice());
    if (this.pooling === "last") return (output) => output;
    return (output) => {
      const inner = scoresOf(this.attention.inner, output).map(Math.tanh);
      const score = inner.reduce((total, value, i) => total + value * this.attention.weight[i], 0);
      const rescale = Math.exp(most - Math.max(most, score)); // none overflows
      most = Math.max(most, score);
      sum = sum && sum.map((value) => value * rescale);
      weight *= rescale;
      return add(output, Math.exp(score - most));
    };
  }

  gradient() {
    return Float64Array.from(this.direction);
  }
}

/** A tag for each word, with a delay some steps after it. */
class Tagger {
  constructor(network, stack, find) {
    const { vocabulary, delay, blank, transitions } = network;
    Object.assign(this, { labels: network.labels, delay });
    this.numbersOf = speller(vocabulary);
    this.embedding = embeddingOf(network.embedding, find);
    this.affixes = find(network.affixes);
    this.blank = find(blank)?.values;
    this.scores = scoresIn(network.scores, find);
    this.transitions = find(transitions);
    this.isIob2 = vocabulary.is_iob2;
    this.hasEntities = network.has_entities;
    this.letters = network.letters && { table: find(network.letters.table), stack: new Stack(network.letters.stack, find) };
  }

  async encode(text, turn) {
    const words = wordsOf(text);
    const known = new Map(); // features, by the word
    for (const word of words) if (!known.has(word)) known.set(word, await this.features(word, turn));
    const xs = words.map((word) => known.get(word));
    const pieces = words.map((word, at) => (at ? ` ${word}` : word));
    for (let k = 0; words.length && k < this.delay; k += 1) {
      xs.push(Float64Array.from(this.blank));
      pieces.push(" ·");
    }
    return { words, pieces, xs };
  }

  /** What is read of a word: the word, its letters from both ends, its beginnings, ends and shape. */
  async features(word, turn) {
    const { id, letters, affixes } = this.numbersOf(word);
    const features = [...this.embedding(id)];
    if (this.letters) {
      const { table, stack } = this.letters;
      const { outputs } = await stack.readAll(letters.map((letter) => rowOf(table, letter)), { turn });
      features.push(...outputs.at(-1).subarray(0, stack.size), ...outputs[0].subarray(stack.size));
    }
    if (this.affixes) {
      const total = new Float64Array(this.affixes.shape[1]);
      for (const affix of affixes) if (affix) rowOf(this.affixes, affix).forEach((value, i) => (total[i] += value));
      features.push(...total);
    }
    return Float64Array.from(features);
  }

  async say({ words }, outputs) {
    const scores = outputs.slice(this.delay).map((output) => scoresOf(this.scores, output));
    const said = this.transitions ? this.marginals(scores) : scores.map(logSoftmax);
    const best = this.bestPath(scores);
    const tags = best.map((id) => this.labels[id]);
    const probabilities = best.map((id, at) => Math.exp(said[at][id]));
    const entities = this.hasEntities ? { entities: entitiesOf(tags) } : {};
    return { said, outputs, prediction: { words, tags, probabilities, ...entities } };
  }

  ofNothing() {
    return { words: [], tags: [], probabilities: [] };
  }

  /** What a tag counts after another one; `before` is the number of tags at the begin. */
  follows(before, tag) {
    return this.transitions ? this.transitions.values[before * this.labels.length + tag] : 0;
  }

  /** How likely each tag is by itself, summed over the tags of all other words: logarithms. */
  marginals(scores) {
    const all = [...this.labels.keys()];
    const from = [];
    scores.forEach((own, at) => from.push(own.map((score, tag) =>
      score + (at ? logSum(all.map((before) => from[at - 1][before] + this.follows(before, tag))) : this.follows(all.length, tag)))));
    let after = new Float64Array(all.length);
    const said = [];
    for (let at = scores.length - 1; at >= 0; at -= 1) {
      said.unshift(logSoftmax(from[at].map((value, tag) => value + after[tag])));
      const following = after.map((value, tag) => value + scores[at][tag]);
      after = after.map((_, before) => logSum(all.map((tag) => following[tag] + this.follows(before, tag))));
    }
    return said;
  }

  /** The tags with the greatest sum of scores, among those that the scheme allows. */
  bestPath(scores) {
    const all = [...this.labels.keys()];
    const step = (before, tag) => (this.isIob2 && !mayFollow(this.labels[before] ?? "O", this.labels[tag]) ? -Infinity : this.follows(before, tag));
    const cameFrom = [];
    let best = [];
    scores.forEach((own, at) => {
      const ways = all.map((tag) => (at ? all : [all.length]).map((before) => (at ? best[before] : 0) + step(before, tag)));
      cameFrom.push(ways.map((sums) => sums.indexOf(Math.max(...sums))));
      best = ways.map((sums, tag) => Math.max(...sums) + own[tag]);
    });
    const path = [best.indexOf(Math.max(...best))];
    for (let at = scores.length - 1; at > 0; at -= 1) path.unshift(cameFrom[at][path[0]]);
    return path;
  }

  gradient(output) {
    return gradientOf(this.scores, scoresOf(this.scores, output));
  }
}

const HEADS = { classify: Classifier, tag: Tagger, forecast: Forecaster };

/** Whether a tag may follow another one in IOB2, as `tasks/tag/scheme.py` has it. */
const mayFollow = (before, tag) => !tag.startsWith("I") || before === tag || before === `B${tag.slice(1)}`;

const SAME = { L: "E", U: "S", W: "S", M: "I" };

/** The entities that tags mark, as `tasks/tag/spans.py` reads them. */
export function entitiesOf(tags) {
  const found = [];
  let [start, before, typeBefore] = [0, "O", ""];
  [...tags, "O"].forEach((tag, index) => {
    const [, first, rest] = /^([^-_]*)[-_]?(.*)$/s.exec(tag);
    const prefix = SAME[first] ?? first;
    const goesOn = ["I", "E"].includes(prefix) && ["B", "I"].includes(before) && rest === typeBefore;
    if (!goesOn) {
      if (before !== "O") found.push({ type: typeBefore, start, stop: index });
      start = index;
    }
    [before, typeBefore] = [prefix, rest];
  });
  return found;
}
