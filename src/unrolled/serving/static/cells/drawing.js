// Draws a cell's scene at its places: signs, wires that carry numbers, and which equations each of
// them belongs to.

import { s, spoken } from "../dom.js";
import { fixed, local } from "../numbers.js";
import { sizeOf } from "./layout.js";

/** Arrow heads in the colours of the wires. */
function heads() {
  return s("defs", null, ["plain", "positive", "negative"].map((colour) =>
    s("marker", {
      id: `arrow-${colour}`, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 11, markerHeight: 11,
      markerUnits: "userSpaceOnUse", orient: "auto",
    }, s("path", { d: "M0 0.6L10 5L0 9.4z", class: `arrow ${colour}` }))));
}

/** A symbol such as "c_{t−1}", its letters slanted and what follows _ below the line. */
function label(text, x, y, properties) {
  const parts = [];
  for (const [, word, below] of text.matchAll(/([^_]+)(?:_\{([^}]*)\})?/g)) {
    parts.push(s("tspan", { class: /^[a-zα-ω]′*$/u.test(word) ? "letter" : null }, word));
    if (below) parts.push(s("tspan", { dy: "0.3em", class: "below" }, below));
    if (below) parts.push(s("tspan", { dy: "-0.2em" }, "\u200b"));
  }
  return s("text", { x, y, ...properties }, parts);
}

const DRAW = {
  gate({ text, below, size: [width, height] }, [x, y]) {
    return [
      s("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 10, class: "box" }),
      label(text || below, x, text && below ? y - 2 : y + 7, { class: text ? "name" : "name small" }),
      text && below ? s("text", { x, y: y + 18, class: "function" }, below) : null,
    ];
  },
  dot({ text, size: [width] }, [x, y]) {
    return [s("circle", { cx: x, cy: y, r: width / 2, class: "dot" }), s("text", { x, y: y + 8, class: "sign" }, text)];
  },
  pill({ text, size: [width, height] }, [x, y]) {
    return [
      s("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: height / 2, class: "dot" }),
      label(text, x, y + 6, { class: "name small" }),
    ];
  },
  port({ text, side }, [x, y]) {
    return [label(text, x, y - 14, { class: "port", "text-anchor": side === "left" ? "start" : "end" })];
  },
  input({ text }, [x, y]) {
    return [
      s("rect", { x: x - 26, y: y - 24, width: 52, height: 48, rx: 8, class: "token" }),
      s("text", { x, y: y + 9, class: "token-text" }),
      label(text, x + 36, y + 8, { class: "port" }),
    ];
  },
  joint: () => [],
};

const LONGEST_TOKEN = 44; // what fits into its square, in units of the drawing

/** A cell as it is drawn. `show` gives it the numbers of a step, `highlight` the equation that is on. */
export class Drawing {
  /** scene: as `sceneOf` gives it. layout: {width, height, glyphs, wires, joints}. isReverse: of a direction. */
  constructor(scene, { width, height, glyphs, wires, joints }, isReverse) {
    this.groups = [];
    this.wires = [];
    this.ids = new Set(scene.wires.flatMap(({ ids }) => (ids.length === 1 ? ids : []))); // whose numbers are shown
    this.numbers = new Map(); // by place, the equations that each belongs to
    const under = s("g", { class: "edges" });
    const over = s("g", { class: "nodes" });
    for (const wire of scene.wires) this.#addWire(wire, wires[wire.id], under, over);
    for (const { at: [cx, cy], wires: ids } of joints) {
      const equations = scene.wires.filter(({ id }) => ids.includes(id)).flatMap((wire) => wire.equations);
      this.#add(over, s("g", { class: "part" }, s("circle", { cx, cy, r: 4, class: "joint" })), equations);
    }
    for (const glyph of scene.glyphs) {
      const text = isReverse ? glyph.text?.replaceAll("t−1", "t+1") : glyph.text;
      const drawn = DRAW[glyph.kind]({ ...glyph, text, size: sizeOf(glyph) }, glyphs[glyph.id]);
      const named = glyph.name ? label(glyph.name, glyphs[glyph.id][0], glyphs[glyph.id][1] - sizeOf(glyph)[1] / 2 - 7, { class: "name small" }) : null;
      const group = s("g", { class: "part", "data-glyph": glyph.id }, drawn, named);
      this.#add(over, group, glyph.equations);
      if (glyph.kind === "input") this.token = group.querySelector(".token-text");
    }
    this.title = s("title");
    this.svg = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "diagram", role: "img" }, this.title, heads(), under, over);
    this.svg.style.setProperty("--natural", `${width}px`);
  }

  #add(parent, group, equations) {
    parent.append(group);
    this.groups.push([group, equations]);
  }

  #addWire(wire, { path, at, open }, under, over) {
    const line = s("path", { d: path, class: "edge", "stroke-width": 2, "marker-end": open ? null : "url(#arrow-plain)" });
    const flow = s("path", { d: path, class: "flow" });
    this.#add(under, s("g", { class: "part", "data-wire": wire.id }, line, flow), wire.equations);
    let number = null;
    if (at && !this.numbers.has(String(at))) { // wires of one source share its number
      const [x, y] = at;
      number = s("text", { x, y, class: "number", "data-name": wire.ids.join("+") });
      const equations = [...wire.equations];
      this.numbers.set(String(at), equations);
      this.#add(over, s("g", { class: "part" }, number), equations);
    } else this.numbers.get(String(at))?.push(...wire.equations);
    if (wire.ids.length) this.wires.push({ wire, line, flow, number, open });
  }

  /** numbers: of a step, by id. shown: the same as they are written. token: what is read. name: of the whole, for who does not see it. */
  show(numbers, shown, token, name) {
    for (const { wire: { ids }, line, flow, number, open } of this.wires) {
      const value = ids.reduce((sum, id) => sum + numbers[id], 0);
      const size = 1.4 + 3.4 * Math.min(1, Math.abs(value));
      for (const path of [line, flow]) path.setAttribute("stroke-width", size.toFixed(2));
      const colour = value < 0 ? "negative" : "positive";
      line.setAttribute("class", `edge ${colour}`);
      if (!open) line.setAttribute("marker-end", `url(#arrow-${colour})`);
      if (number) number.textContent = ids.length === 1 ? local(shown[ids[0]]) : fixed(value);
    }
    this.svg.setAttribute("aria-label", name);
    this.title.textContent = name;
    if (!this.token) return;
    const text = spoken(token);
    this.token.textContent = text.length > 7 ? `${text.slice(0, 6)}…` : text;
    this.token.style.fontSize = `${Math.min(24, LONGEST_TOKEN / (0.61 * Math.min(7, text.length)))}px`;
  }

  highlight(equation) {
    this.svg.classList.toggle("one", equation !== null);
    for (const [group, equations] of this.groups) {
      group.classList.toggle("on", equation !== null && equations.includes(equation));
    }
  }
}
