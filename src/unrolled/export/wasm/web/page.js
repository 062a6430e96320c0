// The example page: a model that writes text goes on with one, a forecaster with a series, a
// translator and a captioner write of what they read, others say their scores.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const described = read("model");
const languages = read("words");
const place = (id) => document.getElementById(id);
const code = Object.keys(languages).find((each) =>
  each.split("-")[0] === navigator.language.split("-")[0]) ?? "en";
const words = languages[code];
document.documentElement.lang = code;
const say = (name, values = {}) =>
  words[name].replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
const number = (value, digits) => value.toLocaleString(code, { maximumFractionDigits: digits });

const content = described.content;
const encoder = encoderOf(content);
const isWriter = Boolean(content?.writes_text);
const { classes, tags, labels, encoder: reader } = content?.vocabulary ?? {};
const names = classes ?? tags ?? labels ?? [];
const series = reader?.kind === "number" ? reader : null;
const inputs = series ? series.names.length : described.inputs;

place("title").textContent = document.title = content?.run ?? say("model");
const kind = encoder ? "text" : series ? "series" : described.tokens === null ? "numbers" : "tokens";
place("label").textContent = say(kind, { inputs });
place("go").textContent = say(isWriter ? "write" : "read");
place("stop").textContent = say("stop");
place("temperature-label").textContent = say("temperature");
place("writing").hidden = !isWriter;

const tell = (text) => (place("told").textContent = text);
let model;
try {
  model = await Model.load(described);
} catch (error) {
  tell(say("cannot", { error: error.message }));
  throw error;
}
place("facts").textContent = say("facts", {
  bytes: number(described.bytes / 1000, 0),
  weights: described.weights,
  unrolled: content?.unrolled ?? "",
}) + (model.simd ? "" : ` ${say("scalar")}`);
const its = content?.typed ? forecastPage
  : content?.task === "translate" ? translationPage
  : described.side && content ? picturePage : null;
const act = its?.({ content, model, say, code, number, place, tell, showScores: scores });
place("go").disabled = false;

/** Numbers of a series as the network reads them (`NumberEncoder` of the package). */
function scaled(numbers, { means, spreads, scale }) {
  const one = numbers.map((x, n) => (x - means[n % inputs]) / spreads[n % inputs]);
  if (scale === "training") return one;
  const steps = numbers.length / inputs, other = [...one];
  for (let k = 0; k < inputs; k++) {
    const column = one.filter((_, n) => n % inputs === k);
    const mean = column.reduce((sum, x) => sum + x, 0) / steps;
    const spread = Math.sqrt(column.reduce((sum, x) => sum + (x - mean) ** 2, 0) / steps);
    column.forEach((x, t) => (other[t * inputs + k] = (x - mean) / (spread > 1e-9 ? spread : 1)));
  }
  if (scale === "series") return other;
  const row = (from, t) => from.slice(t * inputs, (t + 1) * inputs);
  return Array.from({ length: steps }, (_, t) => [...row(one, t), ...row(other, t)]).flat();
}

/** What was typed, as the model reads it; throws what to say where that cannot be. */
function typed() {
  const text = place("input").value;
  if (encoder) {
    const missing = encoder.missing(text);
    if (missing.length) throw new Error(say("missing", { symbols: missing.slice(0, 5).join(" ") }));
    return encoder.encode(text);
  }
  const numbers = text.split(/[\s,;]+/).filter(Boolean).map(Number);
  if (numbers.some(Number.isNaN)) throw new Error(say("not_numbers"));
  const { tokens } = described;
  if (numbers.length % inputs) throw new Error(say("step", { inputs }));
  const last = tokens - 1;
  if (tokens && numbers.some((k) => k < 0 || k > last || k % 1)) throw new Error(say("range", { last }));
  return series ? scaled(numbers, series) : numbers;
}

let stopped = true;
place("stop").onclick = () => (stopped = true);

async function write(tokens) {
  const decoder = new TextDecoder();
  const temperature = place("temperature").valueAsNumber;
  if (!(temperature >= 0)) throw new Error(say("not_a_temperature"));
  place("output").textContent = "";
  model.reset();
  model.seed = crypto.getRandomValues(new Uint32Array(1))[0] | 1;
  if (!tokens.length) tokens = encoder.encode("\n").filter((token) => token !== undefined);
  model.run(tokens.length ? tokens : [0]);
  stopped = false;
  place("stop").disabled = false;
  let count = 0;
  const begun = performance.now();
  while (!stopped && count < 2000) {
    let text = "";
    for (const until = performance.now() + 20; performance.now() < until && count < 2000; count++) {
      const token = model.draw(temperature);
      text += decoder.decode(Uint8Array.from(encoder.bytes(token)), { stream: true });
      model.step(token);
    }
    place("output").textContent += text;
    const seconds = (performance.now() - begun) / 1000;
    tell(say("speed", { speed: number(count / seconds, 0) }));
    await new Promise(requestAnimationFrame);
  }
  stopped = true;
  place("stop").disabled = true;
}

function scores(read) {
  model.reset();
  const { mean = 0, spread = 1 } = content?.vocabulary ?? {};
  const said = Array.from(model.run(read)).slice(-described.outputs).map((each) =>
    mean + spread * each);
  const isClass = classes?.length === said.length && said.length > 1;
  const most = Math.max(...said);
  const powers = said.map((each) => Math.exp(each - most));
  const total = powers.reduce((sum, each) => sum + each, 0);
  const rows = said.map((each, n) => ({
    name: names[n] ?? String(n), value: isClass ? powers[n] / total : each,
  }));
  if (isClass) rows.sort((a, b) => b.value - a.value);
  place("scores").replaceChildren(...rows.map(({ name, value }) => {
    const row = document.createElement("tr");
    row.append(Object.assign(document.createElement("th"), { textContent: name, scope: "row" }));
    const figure = isClass ? `${number(100 * value, 1)} %` : number(value, 4);
    row.append(Object.assign(document.createElement("td"), { textContent: figure }));
    return row;
  }));
  tell("");
}

place("form").onsubmit = async (event) => {
  event.preventDefault();
  if (act) return act();
  if (!stopped) return;
  try {
    const read = typed();
    if (!read.length && !isWriter) throw new Error(say("empty"));
    if (isWriter) await write(read);
    else scores(read);
  } catch (error) {
    stopped = true;
    tell(error.message);
  }
};
