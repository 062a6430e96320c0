// The page's words. A language is a file of the server's; nothing here knows which there are.

import * as api from "./api.js";
import { grouped, setDecimal } from "./numbers.js";
import { run, state } from "./store.js";

let words = {};

/** Takes the words of a language, or of the one that the browser asks for. */
export async function loadWords(code) {
  const answer = await api.words(code);
  words = answer.words;
  state.language = answer.language;
  state.languages = answer.languages;
  setDecimal(words.decimal);
}

/** What is called `key`, such as "views.write"; undefined if there is nothing. */
function find(key) {
  return key.split(".").reduce((inner, name) => inner?.[name], words);
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}

/**
 * The words called `key`, with `values` in their places. {unit} and {units} are what a step of the
 * run `of` is called; a language may say things differently for some units.
 */
export function t(key, values = {}, of = run()) {
  let found = find(key);
  if (found?.other !== undefined) found = found[of?.unit] ?? found.other;
  if (typeof found !== "string") return found;
  const unit = words.units[of?.unit] ?? words.units.step;
  return fill(found, { unit: unit.one, units: unit.many, ...values });
}

/** What the steps of a run are called. */
export const unitsOf = (of = run()) => (words.units[of?.unit] ?? words.units.step).many;

export const capital = (text) => text.charAt(0).toLocaleUpperCase() + text.slice(1);

/** What a value of a cell is called by what it is, and by its letter where that has a word. */
export function nameOf(kind, letter) {
  return words.names[`${kind} ${letter}`] ?? words.names[kind] ?? words.names.value;
}

/** The same as a title, with its symbol where the letter alone has no word. */
export function titleOf(kind, letter, symbol) {
  const own = words.names[`${kind} ${letter}`];
  return own ? capital(own) : `${capital(nameOf(kind, letter))} ${symbol}`;
}

/** A sentence on a value of a cell, of the kind that there is for it. */
export function sentenceOn(kind, letter, values) {
  const text = words.sentences[`${kind} ${letter}`] ?? words.sentences[kind] ?? words.sentences.value;
  return fill(text, values);
}

/** What a signal is called that a text may be coloured by. */
export function signalName(name, of = run()) {
  const signal = of?.signals.find((each) => each.name === name);
  return signal ? `${name} · ${nameOf(signal.kind, name)}` : t(`signals.${name}`);
}

/** A run in a line. */
export function factsOf({ cell, num_layers: layers, hidden_size: size, num_parameters: weights }) {
  return t("facts", { cell, layers, size, weights: grouped(weights) });
}
