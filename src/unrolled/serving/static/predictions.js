// What a prediction looks like: running opinions, tags, attention, forecasts, a picture and its words.

import { DASHES, chartWidth } from "./charts.js";
import { h, s } from "./dom.js";
import { forecastView } from "./forecast.js";
import { t } from "./i18n.js";
import { fixed, percent } from "./numbers.js";
import { hue, paint, scaleOf } from "./scales.js";
import { candidateList } from "./text.js";

/** What a prediction looks like, by what is in it; `given` holds the text, or the address of a medium. */
export function viewOf(prediction, given) {
  if (prediction.caption !== undefined) return captionView(prediction, given);
  if (prediction.translation !== undefined) return translateView(prediction);
  if (prediction.tags !== undefined) return tagView(prediction);
  if (prediction.class !== undefined) return classifyView(prediction);
  if (prediction.times !== undefined) return forecastView(prediction, given.text);
  return rawView(prediction);
}


const card = (title, ...inside) => h("section", { class: "card" }, title && h("h2", null, title), ...inside);

/** An answer that has no picture of its own: its values by their names. */
function rawView({ answer, ...others }) {
  if (answer === undefined) return card(t("answer"), h("pre", null, JSON.stringify(others, null, 1)));
  return card(t("answer"), h("p", { class: "figure" }, h("strong", null, typeof answer === "number" ? fixed(answer) : String(answer))));
}

function bars(probabilities) {
  const sorted = Object.entries(probabilities)
    .map(([text, probability]) => ({ text, probability }))
    .sort((a, b) => b.probability - a.probability);
  return candidateList(sorted, { most: 10 });
}

/** The class, and how the opinion came about token by token. */
function classifyView(prediction) {
  const parts = [card(t("answer"),
    h("p", { class: "figure" }, h("strong", null, prediction.class), ` ${percent(prediction.probability)}`),
    bars(prediction.probabilities))];
  const running = prediction.running ?? [];
  if (running.most) parts.push(h("p", { class: "soft hint" }, t("running_most", running)));
  if (running.length) {
    // the likeliest, but in an order that does not change with the answer: a class keeps its colour
    const all = Object.keys(prediction.probabilities);
    const likeliest = [...all].sort((a, b) => prediction.probabilities[b] - prediction.probabilities[a]).slice(0, DASHES.length);
    const classes = all.filter((name) => likeliest.includes(name));
    parts.unshift(card(t("running"), opinions(running, classes), opinionChart(running, classes)));
  }
  return h("div", { class: "column" }, parts);
}

/**
 * Each token, coloured by how sure the network was after it, its class below. Of two classes the
 * first is blue and the other orange, as in the chart.
 */
function opinions(running, classes) {
  const two = classes.length === 2;
  const scale = scaleOf("", [], two ? [-1, 1] : [0, 1]);
  const value = ({ probability, class: name }) =>
    two ? (name === classes[0] ? 1 : -1) * (2 * probability - 1) : probability;
  return h("div", { class: "words" }, running.map((step) => {
    const token = h("span", { class: "word-token" }, String(step.token));
    paint(token, scale.rgb(value(step)));
    return h("span", { class: "word" }, token,
      h("span", { class: "word-tag" }, step.class),
      h("span", { class: "word-sure" }, percent(step.probability)));
  }));
}

function opinionChart(running, classes) {
  const width = chartWidth();
  const height = 220;
  const [left, right, top, bottom] = [width < 700 ? 52 : 84, 30 + 9 * Math.max(...classes.map((name) => name.length)), 18, 34];
  const x = (k) => left + (running.length < 2 ? 0.5 : k / (running.length - 1)) * (width - left - right);
  const y = (p) => top + (1 - p) * (height - top - bottom);
  const parts = [0, 0.5, 1].flatMap((p) => [
    s("line", { x1: left, x2: width - right, y1: y(p), y2: y(p), class: "rule" }),
    s("text", { x: left - 8, y: y(p) + 5, class: "tick", "text-anchor": "end" }, percent(p)),
  ]);
  const every = Math.ceil(running.length / (width < 700 ? 3 : 6));
  running.forEach((step, k) => {
    if (k % every === 0) parts.push(s("text", { x: x(k), y: height - 10, class: "tick", "text-anchor": "middle" }, cut(String(step.token))));
  });
  const ends = classes.map((name, i) => ({ name, i, y: y(running.at(-1).probabilities[name]) })).sort((a, b) => a.y - b.y);
  ends.forEach((end, k) => {
    end.at = k ? Math.max(end.y, ends[k - 1].at + 18) : end.y;
  });
  for (const { name, i, at } of ends) {
    const points = running.map((step, k) => `${x(k).toFixed(1)} ${y(step.probabilities[name]).toFixed(1)}`);
    parts.push(s("path", { d: `M${points.join("L")}`, class: `line series-${i}`, "stroke-dasharray": DASHES[i] }));
    running.forEach((step, k) => parts.push(s("circle", { cx: x(k), cy: y(step.probabilities[name]), r: 3, class: `point series-${i}` })));
    parts.push(s("text", { x: width - right + 10, y: at + 5, class: `line-label series-${i}` }, name));
  }
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": t("running") }, parts);
}

const LONGEST_TICK = 10; // letters beneath a chart

const cut = (text) => (text.length > LONGEST_TICK ? `${text.slice(0, LONGEST_TICK - 1)}…` : text);

/** Words with their tags; the paler, the less sure. */
function tagView({ words, tags, probabilities, entities }) {
  const plain = (tag) => tag === "O";
  const kindOf = (tag) => tag.replace(/^[A-Z]-/, ""); // B-PER and I-PER are one kind
  const kinds = [...new Set(tags.filter((tag) => !plain(tag)).map(kindOf))].sort();
  const parts = [card(t("answer"), h("div", { class: "words" }, words.map((word, k) => {
    const tag = h("span", { class: `word-tag filled-tag${plain(tags[k]) ? " outside" : ""}` }, tags[k]);
    if (!plain(tags[k])) paint(tag, hue(kinds.indexOf(kindOf(tags[k])), probabilities[k]));
    return h("span", { class: "word" }, h("span", { class: "word-plain" }, word), tag,
      h("span", { class: "word-sure", title: t("sure") }, percent(probabilities[k])));
  })))];
  if (entities?.length) {
    parts.push(card(t("entities"), h("ul", { class: "entities" }, entities.map(({ type, start, stop }) =>
      h("li", null, h("strong", null, words.slice(start, stop).join(" ")), " ", h("span", { class: "soft" }, type))))));
  }
  return h("div", { class: "column" }, parts);
}

/** The translation, and for each of its tokens where the network looked. */
function translateView(prediction) {
  const parts = [card(t("answer"), h("p", { class: "said-big", lang: "" }, prediction.translation),
    others(prediction.alternatives, "translation"))];
  if (prediction.attention) {
    parts.push(card(t("attention"), h("p", { class: "soft hint" }, t("attention_hint")),
      attentionMap(prediction.source_tokens, prediction.tokens, prediction.attention)));
  }
  return h("div", { class: "column" }, parts);
}

function others(alternatives, key) {
  if (!alternatives || alternatives.length < 2) return null;
  return h("details", null, h("summary", null, t("alternatives")), h("ol", { start: 2 },
    alternatives.slice(1).map((one) => h("li", null, one[key]))));
}

function attentionMap(columns, rows, shares) {
  const scale = scaleOf("", [], [0, 1]);
  const clean = (token) => token.replace(/^␣(?=.)/, "");
  return h("div", { class: "scrolls", tabindex: "0" }, h("table", { class: "attention" },
    h("thead", null, h("tr", null, h("td"), columns.map((token) => h("th", { scope: "col" }, h("span", null, clean(token)))))),
    h("tbody", null, rows.map((token, row) => h("tr", null,
      h("th", { scope: "row" }, clean(token)),
      columns.map((_, column) => {
        const share = shares[row]?.[column] ?? 0;
        const cell = h("td", { title: `${clean(token)} ← ${clean(columns[column])}: ${percent(share)}` }, share >= 0.1 ? String(Math.round(100 * share)) : "");
        paint(cell, scale.rgb(share));
        return cell;
      }))))));
}

/** A picture or a recording, its words, and where the network looked for each. */
function captionView(prediction, { address, reads }) {
  const attention = prediction.attention ?? null;
  const overlay = h("div", { class: "overlay", "aria-hidden": "true" });
  const shown = reads === "picture"
    ? h("div", { class: "picture" }, h("img", { src: address, alt: prediction.caption }), overlay)
    : h("div", { class: "recording" }, h("audio", { src: address, controls: true }), overlay);
  const look = (k) => {
    for (const button of words.children) button.setAttribute("aria-pressed", String(Number(button.dataset.word) === k));
    overlay.replaceChildren(...cells(attention[k], reads));
  };
  const words = h("div", { class: "chips" }, prediction.words.map((word, k) =>
    h("button", { type: "button", class: "chip", "data-word": k, "aria-pressed": "false", disabled: !attention, onclick: () => look(k) }, word)));
  if (attention) look(0);
  return card(null, shown, h("p", { class: "said-big" }, prediction.caption), words,
    attention ? h("p", { class: "soft hint" }, t("look_hint")) : null,
    prediction.from === "network" ? null : h("p", { class: "soft hint" }, t(`caption_from_${prediction.from}`)), others(prediction.alternatives, "caption"));
}

function cells(shares, reads) {
  const most = Math.max(...shares, 1e-9);
  const side = Math.round(Math.sqrt(shares.length));
  const square = reads === "picture" && side * side === shares.length;
  return shares.map((share, k) => {
    const cell = h("span", { title: percent(share) });
    if (square) {
      cell.style.left = `${(100 * (k % side)) / side}%`;
      cell.style.top = `${(100 * Math.floor(k / side)) / side}%`;
      cell.style.width = cell.style.height = `${100 / side}%`;
      cell.style.opacity = (0.72 * (1 - share / most)).toFixed(3); // what it did not look at is veiled
    } else {
      cell.style.left = `${(100 * k) / shares.length}%`;
      cell.style.width = `${100 / shares.length}%`;
      cell.style.bottom = "0";
      cell.style.height = `${(100 * share) / most}%`;
    }
    return cell;
  });
}
