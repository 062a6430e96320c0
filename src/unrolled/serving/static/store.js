// What the whole page knows: run, text, place, unit, language. Views are told when it changes.

const VIEWS = ["write", "step", "unroll", "gradient", "compare", "task"];
const FIRST_TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n";

const listeners = new Set();

export const state = {
  runs: [],
  limits: {},
  view: "write",
  run: "",
  second: "",
  text: FIRST_TEXT,
  position: null, // of a token; null is the last
  layer: 0,
  unit: 0,
  signal: "surprise", // or the name of a gate or state
  mean: false, // of all units, instead of one
  operation: -1, // of the cell's, in Step; -1 shows all
  language: "en",
  theme: "",
};

/** Changes the state and tells everybody what has changed. */
export function set(changes) {
  const changed = new Set();
  for (const [name, value] of Object.entries(changes)) {
    if (state[name] !== value) {
      state[name] = value;
      changed.add(name);
    }
  }
  if (!changed.size) return;
  for (const name of ["language", "theme", "text"]) {
    if (changed.has(name)) remember(name, state[name]);
  }
  writeAddress();
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

/** The place that is looked at, in a text of `length` tokens. */
export function place(length) {
  return state.position === null ? length - 1 : Math.min(state.position, length - 1);
}

/** Moves the place as an arrow key says, in a text of `length` tokens; whether it was such a key. */
export function walk(key, length) {
  if (!length) return false;
  const at = place(length);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: length - 1 }[key];
  if (to === undefined) return false;
  set({ position: Math.max(0, Math.min(length - 1, to)) });
  return true;
}

function remember(name, value) {
  try {
    localStorage.setItem(`unrolled.${name}`, value);
  } catch {
    // a browser that remembers nothing
  }
}

function remembered(name) {
  try {
    return localStorage.getItem(`unrolled.${name}`);
  } catch {
    return null;
  }
}

/** Takes what was remembered, and what the address says: #view=step&run=gru&unit=3. */
export function restore() {
  const language = remembered("language") ?? navigator.language?.slice(0, 2);
  state.language = language === "pt" ? "pt" : "en";
  state.theme = remembered("theme") ?? "";
  state.text = remembered("text") ?? state.text;
  readAddress();
}

export function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (VIEWS.includes(given.get("view"))) state.view = given.get("view");
  for (const name of ["run", "second", "signal"]) {
    if (given.has(name)) state[name] = given.get(name);
  }
  for (const name of ["unit", "layer", "position"]) {
    if (/^\d{1,6}$/.test(given.get(name) ?? "")) state[name] = Number(given.get(name));
  }
}

const writeAddress = () => {
  const { view, run, second, signal, unit, layer } = state;
  const shown = new URLSearchParams({ view, run, second, signal, unit, layer });
  history.replaceState(null, "", `#${shown}`);
};
