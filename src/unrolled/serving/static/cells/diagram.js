// Draws a cell from its description: nodes, edges that carry numbers, and which operation each
// belongs to. What a cell looks like is in the cell's own file.

import { s, visible } from "../dom.js";
import { fixed } from "../numbers.js";

/** Arrow heads in the colours of the edges. */
function heads() {
  return s("defs", null, ["plain", "positive", "negative"].map((colour) =>
    s("marker", {
      id: `arrow-${colour}`, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 11, markerHeight: 11,
      markerUnits: "userSpaceOnUse", orient: "auto",
    }, s("path", { d: "M0 0.6L10 5L0 9.4z", class: `arrow ${colour}` }))));
}

function label(text, x, y, properties) {
  const parts = [];
  for (const [, plain, below] of text.matchAll(/([^_]+)(?:_\{([^}]*)\})?/g)) {
    parts.push(s("tspan", { class: plain.length === 1 && /[a-z]/.test(plain) ? "letter" : null }, plain));
    if (below) parts.push(s("tspan", { dy: "0.3em", class: "below" }, below));
  }
  return s("text", { x, y, ...properties }, parts);
}

const DRAW = {
  gate({ x, y, w = 92, h: height = 54, text, below }) {
    return [
      s("rect", { x: x - w / 2, y: y - height / 2, width: w, height, rx: 10, class: "box" }),
      label(text, x, below ? y - 2 : y + 7, { class: "name" }),
      below ? s("text", { x, y: y + 18, class: "function" }, below) : null,
    ];
  },
  dot({ x, y, text }) {
    return [
      s("circle", { cx: x, cy: y, r: 17, class: "dot" }),
      s("text", { x, y: y + 8, class: "sign" }, text),
    ];
  },
  pill({ x, y, w = 78, text }) {
    return [
      s("rect", { x: x - w / 2, y: y - 19, width: w, height: 38, rx: 19, class: "dot" }),
      label(text, x, y + 6, { class: "name small" }),
    ];
  },
  port({ x, y, text, anchor = "middle" }) {
    return [label(text, x, y, { class: "port", "text-anchor": anchor })];
  },
  input({ x, y }) {
    return [
      s("rect", { x: x - 26, y: y - 24, width: 52, height: 48, rx: 8, class: "token" }),
      s("text", { x, y: y + 9, class: "token-text" }, ""),
      label("x_{t}", x + 36, y + 8, { class: "port" }),
    ];
  },
  joint({ x, y }) {
    return [s("circle", { cx: x, cy: y, r: 4, class: "joint" })];
  },
};

/** A drawn cell. `show` gives it the numbers of a step, `highlight` the operation that is on. */
export class Diagram {
  constructor(description, title) {
    const { width, height, nodes, edges } = description;
    this.groups = [];
    this.edges = [];
    const under = s("g", { class: "edges" });
    const over = s("g", { class: "nodes" });
    for (const edge of edges) {
      const head = edge.open ? null : "url(#arrow-plain)";
      const line = s("path", { d: edge.path, class: "edge", "stroke-width": 2, "marker-end": head });
      const flow = s("path", { d: edge.path, class: "flow" });
      const group = s("g", { class: "part" }, line, flow);
      let number = null;
      if (edge.value && edge.at) {
        const [x, y, anchor = "start"] = edge.at;
        number = s("text", { x, y, class: "number", "text-anchor": anchor });
        if (edge.name) number.setAttribute("data-name", edge.name);
      }
      under.append(group);
      if (number) {
        const holder = s("g", { class: "part" }, number);
        over.append(holder);
        this.groups.push([holder, edge.ops]);
      }
      this.groups.push([group, edge.ops]);
      this.edges.push({ edge, line, flow, number });
    }
    for (const node of nodes) {
      const group = s("g", { class: `part ${node.kind}` }, DRAW[node.kind](node));
      over.append(group);
      this.groups.push([group, node.ops ?? []]);
      if (node.kind === "input") this.token = group.querySelector("text");
    }
    this.title = s("title", null, title);
    this.svg = s(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, class: "diagram", role: "img", "aria-label": title },
      this.title,
      heads(),
      under,
      over,
    );
  }

  show(numbers, token) {
    for (const { edge, line, flow, number } of this.edges) {
      if (!edge.value) continue;
      const value = edge.value(numbers);
      const size = 1.4 + 3.4 * Math.min(1, Math.abs(value));
      for (const path of [line, flow]) path.setAttribute("stroke-width", size.toFixed(2));
      const colour = value < 0 ? "negative" : "positive";
      line.setAttribute("class", `edge ${colour}`);
      if (!edge.open) line.setAttribute("marker-end", `url(#arrow-${colour})`);
      if (number) number.textContent = fixed(value);
    }
    if (this.token) this.token.textContent = visible(token);
  }

  highlight(operation) {
    this.svg.classList.toggle("one", operation !== null);
    for (const [group, ops] of this.groups) {
      group.classList.toggle("on", operation !== null && ops.includes(operation));
    }
  }
}

