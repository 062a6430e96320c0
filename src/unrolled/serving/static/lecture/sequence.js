// Data without and with an order: what shuffling does to a table, to a series and to a sentence.

import { h, s } from "../dom.js";
import { fixed } from "../numbers.js";
import { button } from "./controls.js";
import { randomFrom } from "./network.js";
import { figureWidth, fitted } from "./unrolled.js";

const HOUSES = [[48, 210], [62, 265], [75, 290], [80, 350], [96, 370], [110, 455], [125, 470], [140, 560], [155, 590], [170, 655]]; // m², thousands
const DAYS = [14.2, 15.1, 16.8, 18.3, 19.1, 18.8, 17.2, 15.9, 14.6, 14.1]; // °C

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

/** Pearson's correlation of two rows of numbers. */
function correlation(a, b) {
  const [meanA, meanB] = [mean(a), mean(b)];
  const sum = (f) => a.reduce((total, _, k) => total + f(a[k] - meanA, b[k] - meanB), 0);
  return sum((x, y) => x * y) / Math.sqrt(sum((x) => x * x) * sum((_, y) => y * y));
}

const withTheDayBefore = (series) => correlation(series.slice(0, -1), series.slice(1));

function shuffled(values, random) {
  const result = [...values];
  for (let k = result.length - 1; k > 0; k -= 1) {
    const other = Math.floor(random() * (k + 1));
    [result[k], result[other]] = [result[other], result[k]];
  }
  return result;
}

export function sequence({ figure, controls, tell, t }) {
  const random = randomFrom(5);
  const sentence = t("sentence").split(" ");
  const begun = { houses: HOUSES, days: DAYS, words: sentence };
  let now = begun;

  function scatter(width, tall) {
    const x = (area) => 46 + ((area - 40) / 140) * (width - 62);
    const y = (price) => 34 + ((700 - price) / 560) * (tall - 74);
    return s("svg", { viewBox: `0 0 ${width} ${tall}`, class: "chart", role: "img", "aria-label": t("table_label") },
      s("text", { x: 4, y: 16, class: "axis" }, t("table_title")),
      [200, 400, 600].map((price) => [s("line", { x1: 46, x2: width - 14, y1: y(price), y2: y(price), class: "rule" }), s("text", { x: 38, y: y(price) + 5, class: "tick", "text-anchor": "end" }, String(price))]),
      [60, 100, 140].map((area) => s("text", { x: x(area), y: tall - 22, class: "tick", "text-anchor": "middle" }, String(area))),
      s("text", { x: (46 + width) / 2, y: tall - 3, class: "tick", "text-anchor": "middle" }, t("table_x")),
      now.houses.map(([area, price], k) => [s("circle", { cx: x(area), cy: y(price), r: 11, class: "numbered" }), fitted(String(k + 1), x(area), y(price), 20, { most: 12, class: "numbered-text" })]));
  }

  function series(width, tall) {
    const x = (k) => 46 + (k / (DAYS.length - 1)) * (width - 70);
    const y = (degrees) => 34 + ((20 - degrees) / 7) * (tall - 74);
    const path = now.days.map((degrees, k) => `${k ? "L" : "M"}${x(k).toFixed(1)} ${y(degrees).toFixed(1)}`).join("");
    return s("svg", { viewBox: `0 0 ${width} ${tall}`, class: "chart", role: "img", "aria-label": t("series_label") },
      s("text", { x: 4, y: 16, class: "axis" }, t("series_title")),
      [14, 16, 18, 20].map((degrees) => [s("line", { x1: 46, x2: width - 14, y1: y(degrees), y2: y(degrees), class: "rule" }), s("text", { x: 38, y: y(degrees) + 5, class: "tick", "text-anchor": "end" }, String(degrees))]),
      DAYS.map((_, k) => s("text", { x: x(k), y: tall - 22, class: "tick", "text-anchor": "middle" }, String(k + 1))),
      s("text", { x: (46 + width) / 2, y: tall - 3, class: "tick", "text-anchor": "middle" }, t("series_x")),
      s("path", { d: path, class: "line series-1" }),
      now.days.map((degrees, k) => s("circle", { cx: x(k), cy: y(degrees), r: 4.5, class: "point series-1" })));
  }

  function tiles(width) {
    const sizes = now.words.map((word) => 22 + 10.4 * word.length);
    const perLine = [[]];
    let used = 0;
    now.words.forEach((word, k) => {
      if (used + sizes[k] + 8 > width && perLine.at(-1).length) {
        perLine.push([]);
        used = 0;
      }
      perLine.at(-1).push([word, used, sizes[k]]);
      used += sizes[k] + 8;
    });
    return s("svg", { viewBox: `0 0 ${width} ${24 + 46 * perLine.length}`, class: "chart", role: "img", "aria-label": now.words.join(" ") },
      s("text", { x: 4, y: 16, class: "axis" }, t("sentence_title")),
      perLine.map((line, row) => line.map(([word, at, wide]) => [
        s("rect", { x: at + 2, y: 28 + 46 * row, width: wide - 4, height: 36, rx: 8, class: "tile" }),
        fitted(word, at + wide / 2, 46 + 46 * row, wide - 10, { most: 17, class: "tile-text" }),
      ])));
  }

  function draw() {
    const isNarrow = figureWidth() < 700;
    const half = isNarrow ? 380 : 366;
    figure.replaceChildren(h("div", { class: "figure-pair" }, scatter(half, 220), series(half, 220)), tiles(figureWidth()));
    const table = correlation(now.houses.map(([area]) => area), now.houses.map(([, price]) => price));
    tell(t("readout", { table: fixed(table, 2), series: fixed(withTheDayBefore(now.days), 2) }));
  }

  controls.replaceChildren(
    button(t("shuffle"), () => {
      now = { houses: shuffled(now.houses, random), days: shuffled(now.days, random), words: shuffled(now.words, random) };
      draw();
    }, { id: "shuffle", class: "primary" }),
    button(t("restore"), () => {
      now = begun;
      draw();
    }, { id: "restore" }));
  draw();
  return {
    numbers: () => [["place", "area_m2", "price_thousands", "temperature_celsius", "word"],
      ...now.houses.map(([area, price], k) => [k + 1, area, price, now.days[k], now.words[k] ?? ""])],
    checks: [{ choice: 2 }, { number: 24 }],
    redraw: draw,
  };
}
