// Questions to the server. A session that has ended is begun again, unseen; too many are spaced out.

import { hear } from "./store.js";

const REMEMBERED = "unrolled.session"; // for as long as the tab is open: a reload is no new visitor

let session = remembered();

/** The picture or recording that each run was given last: {data, address, prediction}. */
export const media = new Map();

function remembered() {
  try {
    const id = sessionStorage.getItem(REMEMBERED);
    return id && Promise.resolve(id);
  } catch {
    return null;
  }
}

/** What the server refused, with its code and its words. */
class Refused extends Error {
  constructor(status, { code, message, hint, values }) {
    super(message);
    this.status = status;
    this.values = values;
    this.code = code;
    this.hint = hint;
  }
}

const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function refusal(answer) {
  const content = await answer.json().catch(() => null);
  return new Refused(answer.status, content?.error ?? { code: "http", message: answer.statusText });
}

async function newSession() {
  const answer = await fetch("/api/session", { method: "POST" });
  if (!answer.ok) throw await refusal(answer);
  const { session: id } = await answer.json();
  try {
    sessionStorage.setItem(REMEMBERED, id);
  } catch {
    // a browser that remembers nothing
  }
  return id;
}

async function post(path, question, options, attempt = 0) {
  session ??= newSession();
  const using = session;
  let id;
  try {
    id = await using;
  } catch (error) {
    if (session === using) session = null;
    throw error;
  }
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Session": id },
    body: JSON.stringify(question),
    ...options,
  });
  if (answer.ok) return answer;
  const refused = await refusal(answer);
  if (attempt < 3 && refused.code === "session") {
    if (session === using) session = null;
    return post(path, question, options, attempt + 1);
  }
  if (attempt < 3 && refused.code === "medium" && media.has(question.run)) {
    const { data, options: asked } = media.get(question.run); // the server has forgotten it
    await post("/api/caption", { run: question.run, data, options: asked }, {}, attempt + 1);
    return post(path, question, options, attempt + 1);
  }
  if (attempt < 3 && (answer.status === 429 || refused.code === "busy")) {
    await wait(Number(answer.headers.get("Retry-After") ?? 1));
    return post(path, question, options, attempt + 1);
  }
  throw refused;
}

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

export const runs = () => get("/api/runs");

/** All that the page says, in a language or in the one that the browser asks for. */
export const words = (language) => get(`/api/words${language ? `?language=${encodeURIComponent(language)}` : ""}`);

/** The cells of the lecture. */
export const lecture = () => get("/api/lecture");

const ask = (path) => async (question, options) => (await post(path, question, options)).json();

const readText = ask("/api/read");

/** Reads a text; which of its characters are not read is known from then on. */
export async function read(question, options) {
  const answer = await readText(question, options);
  hear(question, answer.unknown);
  return answer;
}

export const unit = ask("/api/unit");
export const map = ask("/api/map");
export const rank = ask("/api/rank");
export const gradient = ask("/api/gradient");
export const intervene = ask("/api/intervene");
export const attribute = ask("/api/attribute");
export const caption = ask("/api/caption");
export const predict = ask("/api/predict");
export const backtest = ask("/api/backtest");

/** Yields the lines of a text as it is written: {prompt}, {text}, {done, seed}. */
export async function* generate(question, signal) {
  const answer = await post("/api/generate", question, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      signal.throwIfAborted(); // many lines may have come at once
      yield JSON.parse(line);
    }
  }
}
