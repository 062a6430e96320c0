// What the whole page knows: run, text, place, unit, language. Views are told when it changes.

const LONGEST_IN_ADDRESS = 500; // characters of a text

const isFile = document.getElementById("content") !== null; // what one remembers, another would be told

const listeners = new Set();

export const state = {
  runs: [],
  limits: {},
  languages: {}, // their own names, by code
  language: "",
  view: "write",
  run: "",
  second: "",
  text: "",
  position: null, // of a step; null is the last
  part: 0, // of the run's parts: a layer and direction
  unit: 0,
  signal: "", // what a text is coloured by: surprise, answer, a gate or a state
  mean: false, // of all units, instead of one
  operation: -1, // of the cell's equations, in Step; -1 shows all
  theme: "",
  keys: remembered("keys") !== "off", // whether single keys do something
};

/** Changes the state and tells everybody what has changed. */
export function set(changes) {
  const next = { ...changes };
  if (next.run !== undefined && next.run !== state.run) Object.assign(next, forRun(next.run), changes);
  const changed = new Set();
  for (const [name, value] of Object.entries(next)) {
    if (state[name] !== value) {
      state[name] = value;
      changed.add(name);
    }
  }
  if (!changed.size) return;
  if (changed.has("theme")) remember("theme", state.theme);
  if (changed.has("text") && changes.text !== undefined) remember(`text.${state.run}`, state.text);
  writeAddress(changed.has("view") || changed.has("run"));
  for (const listener of [...listeners]) listener(changed);
}

/** Calls `listener` with the set of names that have changed, until the signal is aborted. */
export function watch(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener("abort", () => listeners.delete(listener));
}

/** The run that is looked at; undefined until runs are known. */
export function run(name = state.run) {
  return state.runs.find((one) => one.name === name);
}

/** The name under which all runs are known that read the same kind of input. */
const kindOf = (one) => JSON.stringify([one.task, one.form]);

const has = (one, character) => one.characters === null || one.characters.includes(character);

/** Whether a run is worth a look at what another one is given: it knows as much of it. */
export function readsTheSame(one, other) {
  return kindOf(one) === kindOf(other) && [...state.text].every((each) => has(one, each) || !has(other, each));
}

const said = new Map(); // by run, what the server has said of characters: whether the run reads them
const HALF = /^[\ud800-\udfff]$/; // of a surrogate pair, which the server calls U+FFFD
const nameOf = (character) => (HALF.test(character) ? "\ufffd" : character);
const isRead = (character, name) => said.get(name)?.get(nameOf(character));

/** Takes from an answer which characters of a text a run does not read. */
export function hear({ run: name, text }, unknown) {
  if (!said.has(name)) said.set(name, new Map());
  for (const character of text) said.get(name).set(nameOf(character), !unknown.includes(nameOf(character)));
}

/** Whether the server has said of each character of a text whether a run reads it. */
export const isHeard = (text, name = state.run) => [...text].every((character) => isRead(character, name) !== undefined);

/** The characters of a text that a run does not read, each once, as far as the server has said it. */
export const unknownIn = (text, name = state.run) => [...new Set(text)].filter((character) => isRead(character, name) === false);

/** What the server reads of a text: what it was asked about, without what it does not read. */
export const readable = (text, name = state.run) => [...beginning(text)].filter((character) => isRead(character, name) !== false).join("");

/** The beginning of a text, as much of it as the server reads; of sets, whole ones. */
function beginning(text) {
  const most = state.limits.text_characters;
  if (text.length <= most) return text;
  const read = [...text].slice(0, most).join("");
  return run()?.form.kind === "sets" ? read.slice(0, Math.max(0, read.lastIndexOf("|"))) : read;
}

/** The end of a text, as much of it as the server goes on from; of sets, whole ones. */
export function ending(text) {
  const read = [...text].slice(-state.limits.text_characters).join("");
  return run().form.kind === "sets" && read.length < text.length ? read.slice(read.indexOf("|") + 1) : read;
}

/** What a text can be coloured by: what the model says, then its gates, its states last. */
export function signalsOf(one) {
  const said = { forecasts: ["surprise"], answers: ["answer"] }[one.says] ?? [];
  return [...said, ...one.signals.map((signal) => signal.name)];
}

/** The ends of a signal's range; undefined where it has none. */
export function rangeOf(name, of = run()) {
  return of?.signals.find((signal) => signal.name === name)?.range ?? undefined;
}

/** Whether a signal is recorded in the cell, and so has units. */
export const isRecorded = (name, of = run()) => Boolean(of?.signals.some((signal) => signal.name === name));

/** What changes with the run: what it cannot read, and parts and units that it has not. */
function forRun(name) {
  const next = run(name);
  const old = run();
  if (!next) return {};
  const changes = {
    part: Math.min(state.part, next.parts.length - 1),
    unit: Math.min(state.unit, next.hidden_size - 1),
    operation: -1,
  };
  if (!signalsOf(next).includes(state.signal)) [changes.signal] = signalsOf(next);
  const keeps = old && state.text.trim() && readsTheSame(next, old);
  if (!keeps) Object.assign(changes, { text: firstText(next), position: null });
  return changes;
}

/** What was typed for a run last time, or what it gives to begin with. */
const firstText = (one) => remembered(`text.${one.name}`) ?? (isWhole(one.example) ? one.example : "");

/** Whether the server would read all of an example. */
const isWhole = (example) => example !== null && example.length <= state.limits.text_characters;

/** What a run is asked about; a line is read without its line breaks. */
export function question(name = state.run) {
  const one = run(name);
  const text = one.form.kind === "text" ? state.text : state.text.replaceAll("\n", " ");
  return { run: name, text: beginning(text) };
}

/** Whether a run reads nothing but what can be typed or chosen here. */
export const isTyped = (one = run()) => !one.backtests || one.example !== null;

/** Whether a text is wanted, and there is none. */
export function nothingToRead(one = run()) {
  const isMedium = one.reads !== "text" && one.reads !== "numbers";
  return !isMedium && (!isTyped(one) || !readable(state.text, one.name).trim());
}

/** The place that is looked at, in a text of `length` steps. */
export function place(length) {
  return state.position === null ? length - 1 : Math.min(state.position, length - 1);
}

/** Moves the place as an arrow key says, in a text of `length` steps; whether it was such a key. */
export function walk(key, length) {
  if (!length) return false;
  const at = place(length);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: length - 1 }[key];
  if (to === undefined) return false;
  set({ position: Math.max(0, Math.min(length - 1, to)) });
  return true;
}

function remember(name, value) {
  if (isFile) return;
  try {
    localStorage.setItem(`unrolled.${name}`, value);
  } catch {
    // a browser that remembers nothing
  }
}

function remembered(name) {
  if (isFile) return null;
  try {
    return localStorage.getItem(`unrolled.${name}`);
  } catch {
    return null;
  }
}

/** Whether single keys do something: who speaks to a computer may not want it. */
export function chooseKeys(keys) {
  state.keys = keys;
  remember("keys", keys ? "" : "off");
}

/** What the visitor chose another time. */
export const chosen = { language: remembered("language") ?? "", theme: remembered("theme") ?? "" };

/** Keeps the language for the next time. */
export const rememberLanguage = (code) => remember("language", code);

/** Takes what the address says: #view=step&run=gru&unit=3&text=hello. Runs are known by now. */
export function readAddress() {
  const shown = new URLSearchParams(location.hash.slice(1));
  const first = run(shown.get("run")) ?? run() ?? state.runs[0];
  if (first.name !== state.run) {
    const changes = forRun(first.name);
    Object.assign(state, { run: first.name }, changes);
  }
  if (first.views) [state.view] = first.views;
  for (const name of ["view", "second", "text"]) {
    if (shown.has(name)) state[name] = shown.get(name);
  }
  Object.assign(state, { position: null, operation: -1 });
  for (const name of ["unit", "part", "position", "operation"]) {
    if (/^\d{1,6}$/.test(shown.get(name) ?? "")) state[name] = Number(shown.get(name));
  }
  if (signalsOf(first).includes(shown.get("signal"))) state.signal = shown.get("signal");
  state.mean = shown.get("mean") === "true";
  state.part = Math.min(state.part, first.parts.length - 1);
  state.unit = Math.min(state.unit, first.hidden_size - 1);
}

/** The address of what is shown, which can be kept or sent to somebody. */
function address() {
  const { view, run: name, second, signal, unit, part, mean, position, operation, text } = state;
  const shown = new URLSearchParams({ view, run: name });
  if (view === "compare") shown.set("second", second);
  if (text && text.length <= LONGEST_IN_ADDRESS) shown.set("text", text);
  if (position !== null) shown.set("position", position);
  shown.set("signal", signal);
  shown.set("unit", unit);
  if (part) shown.set("part", part);
  if (mean) shown.set("mean", "true");
  if (operation >= 0) shown.set("operation", operation);
  return `#${shown}`;
}

let pending = 0;

/** Writes the address: at once with a step in the history, or soon, for it changes with every key. */
function writeAddress(isStep) {
  clearTimeout(pending);
  if (isStep) history.pushState(null, "", address());
  else pending = setTimeout(() => history.replaceState(null, "", address()), 250);
}
