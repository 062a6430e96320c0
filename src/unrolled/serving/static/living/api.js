// The page's questions, answered within the file: the same as `api.js`, which asks the server. Facts
// about the run are in the file; what depends on a text is computed here by the model in it.

import { hear, rangeOf } from "../store.js";
import { Network, logSoftmax } from "./network.js";
import { areaUnder, masksOf } from "./patterns.js";
import { tokensOf } from "./tokens.js";
import { Whole } from "./whole.js";

const NUM_CANDIDATES = 12;
const BEST_UNITS = 5;
const STEPS_OF_A_MAP = 400;
const BETWEEN_PIECES = 60; // milliseconds between pieces of a text that is written: the page reads each
const HOTTEST = 10; // temperature, as the server has it
const MILLISECONDS = 12; // of computing, after which the page gets its turn

const content = JSON.parse(document.getElementById("content").textContent);
const { run: description, model, limits } = content;

export const media = new Map();

/** What cannot be answered, by the name of its words. */
class Refused extends Error {
  constructor(code, values) {
    super(content.words[content.language].errors[code].message);
    Object.assign(this, { code, values });
  }
}

export const runs = async () => ({ runs: [{ ...description, engine: (await loaded)?.engine }], broken: [], limits });

export const words = async (language) => {
  const code = language in content.words ? language : content.language;
  return { language: code, languages: content.languages, words: content.words[code] };
};

const isWritten = description.writes; // token by token; others read a text as a whole
const loaded = model && (isWritten ? Network : Whole).load(model);
const tokens = model && isWritten && tokensOf(model.network);

const pause = () => new Promise((done) => setTimeout(done));

/** Waits for others whenever it has been at work for a while. */
function turns() {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < MILLISECONDS) return;
    await pause();
    since = performance.now();
  };
}

/** What was read last: {text, pieces, steps, ...}. Another text goes on from where the two part. */
let last = { text: null, ids: [], steps: [] };
let before = Promise.resolve(); // the reading that is on its way: one at a time

/** How the model reads a text. */
function readingOf(text) {
  before = before.catch(() => {}).then(async () => (last.text === text ? last : (last = await readAnew(text, last))));
  return before;
}

/** Reads a text, from where it parts from what was read `earlier`; `held(part, at)` says what is held at a step. */
async function readAnew(text, earlier, held) {
  const network = await loaded;
  const characters = [...text];
  const read = characters.slice(0, limits.text_characters);
  const reading = await (isWritten ? readTokens : readWhole)(network, read, earlier, held);
  return { text, leftOut: characters.length - read.length, ...reading };
}

async function readTokens(network, characters, earlier, held) {
  const { ids, pieces, unknown } = tokens.encode(characters);
  let same = 0;
  while (same < ids.length && ids[same] === earlier.ids[same]) same += 1;
  const steps = earlier.steps.slice(0, same);
  const turn = turns();
  let states = steps.at(-1)?.states ?? network.begin();
  for (const id of ids.slice(same)) {
    const step = network.read(id, states, held && ((part) => held(part, steps.length)));
    const named = step.steps.map(({ given, values }, part) => ({ given, values: namedIn(values, part) }));
    steps.push({ ...step, ...judged(logSoftmax(step.scores)), steps: named });
    ({ states } = step);
    await turn();
  }
  return { ids, pieces, unknown, steps };
}

async function readWhole(network, characters, _, held) {
  const { steps, said, ...reading } = await network.read(characters.join(""), { turn: turns(), keep: namedIn, held });
  return { ...reading, unknown: [], steps: steps.map((ofParts, at) => ({ steps: ofParts, ...judged(said[at]) })) };
}

/** Of a step what has a name: the rest is computed again where it is asked for. */
const namedIn = (values, part) => Object.fromEntries(description.parts[part].signals.map((name) => [name, values[name]]));

/** What is said after a step, and what is likeliest; nothing where nothing is. */
function judged(said) {
  if (!said) return { said: null, likeliest: [] };
  const order = [...said.keys()].sort((a, b) => said[b] - said[a]);
  const likeliest = order.slice(0, NUM_CANDIDATES).map((id) => ({ text: model.network.labels[id], probability: Math.exp(said[id]) }));
  return { said, likeliest };
}

/** Numbers, which are numbers. */
function finite(values) {
  if (values.every(Number.isFinite)) return values;
  throw new Refused("diverged");
}

const valuesOf = (reading, part, name) => reading.steps.map(({ steps }) => steps[part].values[name]);

const ofUnit = (all, unit) => all.map((values) => (unit === null ? values.reduce((a, b) => a + b, 0) / values.length : values[unit]));

/** Reads a text; which of its characters are not read is known from then on. */
export async function read(question) {
  const reading = await readingOf(question.text);
  const { pieces, steps, unknown } = reading;
  const position = steps.length ? Math.min(question.position ?? Infinity, steps.length - 1) : null;
  const { signal } = question;
  hear(question, unknown);
  return {
    version: description.version,
    pieces,
    surprise: surpriseOf(reading),
    expected: question.expected && description.says ? steps.map(({ likeliest }) => likeliest[0] ?? null) : null,
    position,
    candidates: position === null || !description.says ? [] : finiteShares(steps[position].likeliest),
    values: signal && steps.length ? finite(ofUnit(valuesOf(reading, signal.part, signal.name), signal.unit)) : null,
    unknown,
    left_out: reading.leftOut,
  };
}

/** The bits of each token after those before it; null where there are none. */
function surpriseOf({ ids, steps }) {
  const bits = steps.map((_, at) => (isWritten && at ? -steps[at - 1].said[ids[at]] / Math.LN2 : null));
  return bits.map((each) => (Number.isNaN(each) ? null : each));
}

function finiteShares(candidates) {
  finite(candidates.map(({ probability }) => probability));
  return candidates;
}

/** Every number of one unit at every step. */
export async function unit({ text, part, unit: which }) {
  const { stack } = await loaded;
  const { steps } = await readingOf(text);
  const answer = { version: description.version, x: {}, u: {}, values: {}, before: {}, inner: {} };
  const put = (group, name, value) => (answer[group][name] ??= []).push(value);
  const turn = turns();
  const elsewhere = new Set(["input", "recurrent", "product", "before"]);
  const named = new Set(description.parts[part].signals);
  for (const { steps: ofLayers } of steps) {
    const { given, values } = ofLayers[part];
    const all = stack.step(stack.layers[part], given, which);
    for (const { id, operation } of stack.nodes) {
      if (operation === "input") put("x", id.slice(2), all[id][0]);
      else if (operation === "recurrent" || operation === "product") put("u", id.slice(2), all[id][0]);
      else if (!elsewhere.has(operation) && !named.has(id)) put("inner", id, all[id][0]);
    }
    for (const name of named) put("values", name, values[name][which]);
    for (const name of stack.cell.states) put("before", name, given.before[name][which]);
    await turn();
  }
  Object.values(answer).flatMap((group) => (typeof group === "string" ? [] : Object.values(group))).forEach(finite);
  return answer;
}

/** A heat map of all units of a gate or state over a part of the text. */
export async function map({ text, part, name, start, stop }) {
  const reading = await readingOf(text);
  const shown = valuesOf(reading, part, name).slice(start, Math.min(stop, start + STEPS_OF_A_MAP));
  let [lowest, highest] = [Infinity, -Infinity];
  for (const values of shown) {
    for (const value of finite(values)) {
      if (value < lowest) lowest = value;
      if (value > highest) highest = value;
    }
  }
  const scale = 255 / Math.max(highest - lowest, 1e-12);
  const bytes = shown.map((values) => String.fromCharCode(...values.map((value) => Math.round((value - lowest) * scale)))).join("");
  return { version: description.version, start, steps: shown.length, units: shown[0].length, lowest, highest, data: btoa(bytes) };
}

/** The units that follow patterns of the text best. */
export async function rank({ text, part, name }) {
  const reading = await readingOf(text);
  const all = valuesOf(reading, part, name);
  const patterns = {};
  const turn = turns();
  for (const [pattern, mask] of Object.entries(all.length ? masksOf(reading.pieces) : {})) {
    const areas = [];
    for (let which = 0; which < all[0].length; which += 1) {
      areas.push({ unit: which, area: areaUnder(Float64Array.from(all, (values) => values[which]), mask) });
      await turn();
    }
    areas.sort((a, b) => Math.abs(b.area - 0.5) - Math.abs(a.area - 0.5));
    patterns[pattern] = areas.slice(0, BEST_UNITS);
  }
  return { version: description.version, patterns };
}

/** How far the loss reaches back: as it was measured, or from one place of the text. */
export async function gradient({ text, position }) {
  const network = await loaded;
  const reading = await readingOf(text);
  let reach = content.reach;
  if (position !== undefined && position !== null) {
    if (!position) throw new Refused("nothing_before");
    const { lags, lengths } = isWritten
      ? network.reach(reading.steps.slice(0, position + 1), reading.ids[position + 1])
      : await network.reach(reading, position, turns());
    reach = { lags, reach: Object.fromEntries(Object.entries(lengths).map(([name, rows]) => [name, rows.map(relative)])) };
  } else if (!reach.lags.length) throw new Refused("not_measured");
  const parts = reading.steps.length ? description.parts : [];
  return {
    version: description.version,
    lags: reach.lags,
    reach: reach.reach,
    verdict: content.reach.verdict,
    measured: content.reach.measured,
    saturation: parts.map((_, part) => saturationOf(reading, part)),
    time_constants: description.keeps ? parts.map((_, part) => constantsOf(valuesOf(reading, part, description.keeps))) : [],
  };
}

/** Lengths by the first of them; null where that is 0. */
const relative = (row) => finite(row).map((length) => (row[0] ? length / row[0] : null));

/** What is expected while values are held, beside what is expected as it is. */
export async function intervene({ text, holds, position }) {
  const free = await readingOf(text);
  if (!free.steps.length) throw new Refused("nothing_read");
  const held = await readAnew(text, { ids: [], steps: [] }, heldBy(holds));
  const at = Math.min(position ?? Infinity, free.steps.length - 1);
  const says = Boolean(description.says);
  const changes = free.steps.map(({ said }, k) => said && Math.max(...finite(said.map((value, id) => Math.abs(Math.exp(value) - Math.exp(held.steps[k].said[id]))))));
  return {
    version: description.version,
    position: at,
    free: says ? finiteShares(free.steps[at].likeliest) : [],
    held: says ? finiteShares(held.steps[at].likeliest) : [],
    changed: says ? changes : null,
    surprise: [free, held].map(meanSurprise),
  };
}

function meanSurprise(reading) {
  const known = surpriseOf(reading).filter((bits) => bits !== null);
  return known.length ? known.reduce((a, b) => a + b) / known.length : null;
}

/** What is held at a step of a part: what gives the values of a node in place of its own, or null. */
const heldBy = (holds) => (part, at) => {
  const here = holds.filter((hold) => part === (hold.part ?? part) && at >= (hold.start ?? 0) && at < (hold.stop ?? Infinity));
  return here.length ? (id, values) => here.filter(({ name }) => name === id).reduce(heldAt, values) : null;
};

const heldAt = (values, { value, units }) => values.map((own, unit) => (units?.includes(unit) ?? true ? value : own));

/** What is said of a whole text: its class, its tags. */
export async function predict({ text }) {
  const { prediction } = await readingOf(text);
  finite([prediction.probability ?? prediction.probabilities ?? Object.values(prediction.forecast)].flat(2));
  return { version: description.version, prediction };
}

const END = 0.9; // of its range, below which a gate is not open

/** The shares of values at the low and at the high end of each gate's range. */
function saturationOf(reading, part) {
  const bounded = description.parts[part].signals.filter((name) => rangeOf(name, description) && !description.states.includes(name));
  return Object.fromEntries(bounded.map((name) => {
    const [lowest, highest] = rangeOf(name, description);
    const far = END * (highest - lowest);
    let [count, low, high] = [0, 0, 0];
    for (const values of valuesOf(reading, part, name)) {
      for (const value of finite(values)) {
        count += 1;
        low += value < highest - far;
        high += value > lowest + far;
      }
    }
    return [name, [low / count, high / count]];
  }));
}

const constantsOf = (steps) =>
  Array.from(steps[0], (_, unit) => 1 / (1 - steps.reduce((total, values) => total + values[unit], 0) / steps.length))
    .map((steps) => (Number.isFinite(steps) ? steps : null));

/** Yields the lines of a text as it is written: {prompt}, {text}, {done, seed}. */
export async function* generate({ text, length, temperature, seed: wanted, holds = [] }, signal) {
  if (!(temperature >= 0 && temperature <= HOTTEST)) {
    throw new Refused("request", { where: "temperature", message: `0..${HOTTEST}` });
  }
  const network = await loaded;
  const held = holds.length ? heldBy(holds) : null;
  let count = 0; // of tokens that were read
  const readNext = (id, states) => {
    const at = count;
    count += 1;
    return network.read(id, states, held ? (part) => held(part, at) : undefined);
  };
  const given = tokens.encode([...text].slice(-limits.text_characters));
  const seed = wanted ?? crypto.getRandomValues(new Uint32Array(1))[0];
  const random = randomFrom(seed);
  const decoder = tokens.decoder();
  const turn = turns();
  let prompt = given.ids;
  if (!prompt.length) {
    prompt = tokens.encode([...model.network.prompt]).ids;
    yield { prompt: model.network.prompt };
  }
  let read = { states: network.begin() };
  for (const id of prompt) {
    read = readNext(id, read.states);
    await turn();
  }
  let written = "";
  let since = performance.now();
  for (let made = 0; made < length; made += 1) {
    signal.throwIfAborted();
    const id = drawn(finite(read.scores), temperature, random);
    written += decoder.push(id);
    read = readNext(id, read.states);
    await turn();
    if (performance.now() - since < BETWEEN_PIECES) continue;
    if (written) yield { text: written };
    written = "";
    since = performance.now();
  }
  written += decoder.finish();
  if (written) yield { text: written };
  yield { done: true, seed };
}

/** A label: the likeliest at temperature 0, else as likely as the scores say. */
function drawn(scores, temperature, random) {
  const best = scores.indexOf(scores.reduce((a, b) => Math.max(a, b)));
  if (!temperature) return best;
  const said = logSoftmax(scores.map((score) => score / temperature));
  let rest = random();
  for (let id = 0; id < said.length; id += 1) {
    rest -= Math.exp(said[id]);
    if (rest < 0) return id;
  }
  return best;
}

/** Random numbers in 0..1, always the same ones of a seed: splitmix of 32 bits (Steele et al., 2014). */
function randomFrom(seed) {
  let state = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

// what takes Python: views that ask for it are not among those of a file
const needsServer = async () => {
  throw new Refused("run");
};
export const caption = needsServer;
export const backtest = needsServer;
export const attribute = null; // its card is hidden
export const lecture = null; // as is the link to it
