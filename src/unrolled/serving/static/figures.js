// Draws the figures of a report from what plotly.py says of them (`inspection/figures`): lines and
// points, heat maps, texts in coloured cells. Of plotly's figures it knows what those use.

import { h, s } from "./dom.js";

const TOP = 8;
const CHARACTER = 6.6; // pixels that a character of a label is wide, about
const NEAR = 36; // pixels from the pointer, within which a point is told
const DASHES = { dash: "7 5", dot: "2 4", dashdot: "8 4 2 4", longdash: "12 5", longdashdot: "12 4 2 4" };
const MARKERS = {
  circle: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", diamond: "M0-5L5 0L0 5L-5 0z", square: "M-4-4H4V4H-4z",
  cross: "M-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z", "triangle-up": "M0-5L5 4H-5z", x: "M-4-4L4 4M4-4L-4 4",
};
const ARRAYS = { f4: Float32Array, f8: Float64Array, i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array };

/** Draws the figures of an element as they come into view, until the signal is aborted. */
export function drawFigures(element, signal) {
  const places = [...element.querySelectorAll(".drawn")];
  const redraw = (place) => {
    place.dataset.width = String(place.clientWidth);
    draw(place);
  };
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      redraw(target);
    }
  }, { rootMargin: "600px" });
  places.forEach((place) => seen.observe(place));
  addEventListener("beforeprint", () => places.forEach(redraw), { signal });
  addEventListener("resize", () => places.filter((place) => place.dataset.width && place.dataset.width !== String(place.clientWidth)).forEach(redraw), { signal });
  signal.addEventListener("abort", () => {
    seen.disconnect();
    tip.remove();
  });
}

// ---- what plotly says ----

/** Numbers as plotly.py writes them: a list, or the bytes of an array; of two dimensions as rows. */
function listOf(given) {
  if (!given?.bdata) return given ?? [];
  const bytes = Uint8Array.from(atob(given.bdata), (character) => character.charCodeAt(0));
  const flat = [...new ARRAYS[given.dtype](bytes.buffer)];
  if (!given.shape) return flat;
  const [rows, columns] = given.shape.split(",").map(Number);
  return Array.from({ length: rows }, (_, row) => flat.slice(row * columns, (row + 1) * columns));
}

const ENTITIES = { "&lt;": "<", "&gt;": ">", "&amp;": "&", "&nbsp;": "\u00a0", "&quot;": '"', "&#x27;": "'" };

/** Plotly's markup as text. */
const plain = (markup) => String(markup).replace(/<[^>]*>/g, "").replace(/&[#\w]+;/g, (name) => ENTITIES[name] ?? name);
const isBold = (markup) => String(markup).startsWith("<b>");

/** A number as d3 formats it, for the forms that our figures use. */
function formatted(value, form, decimal) {
  if (typeof value !== "number") return plain(value ?? "");
  const [, digits, kind] = /\.(\d+)([efg%])/.exec(form ?? "") ?? [];
  const count = Number(digits);
  const text = {
    e: () => value.toExponential(count), f: () => value.toFixed(count),
    g: () => String(Number(value.toPrecision(count))), "%": () => `${(100 * value).toFixed(count)}%`,
  }[kind]?.() ?? String(Number(value.toPrecision(6)));
  return text.replace("-", "−").replace(".", decimal);
}

/** What is said of a point: a template's places filled in. */
function told(template, values, decimal) {
  const [main, extra] = template.split("<extra>");
  const fill = (text) => plain(text.replace(/%\{([\w.]+)(?:\[(\d+)\])?(?::([^}]*))?\}/g, (_, name, place, form) =>
    formatted(place === undefined ? values[name] : values[name]?.[place], form, decimal)));
  const name = extra === undefined ? values["fullData.name"] : fill(extra.replace("</extra>", ""));
  return [fill(main), name].filter(Boolean).join(" · ");
}

// ---- axes ----

/** Round places between two ends, about as many as wanted. */
function roundPlaces(low, high, wanted) {
  const raw = (high - low) / Math.max(1, wanted);
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * size).find((each) => each >= raw * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const places = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k += 1) places.push(Number((k * step).toFixed(digits)));
  return places;
}

/** An axis over pixels [from, to]: `at(value)` is where a value lies, `ticks` are marks of it. */
function axisOf(spec, values, [from, to], { cells, padding, decimal }) {
  const isLog = spec.type === "log";
  const moments = values.some((value) => typeof value === "string") ? [...new Set(values)] : null;
  const areTimes = moments?.every((moment) => !Number.isNaN(Date.parse(moment)));
  if (areTimes) moments.sort((a, b) => Date.parse(a) - Date.parse(b));
  const order = moments && new Map(moments.map((moment, k) => [moment, areTimes ? Date.parse(moment) : k]));
  const numberOf = (value) => (order ? order.get(value) ?? value : isLog ? Math.log10(value) : value);
  let [low, high] = spec.range ?? [];
  if (cells) [low, high] = [-0.5, cells - 0.5];
  else if (!spec.range) {
    const numbers = values.filter((value) => value !== null && (!isLog || value > 0)).map(numberOf).filter(Number.isFinite);
    low = numbers.reduce((a, b) => Math.min(a, b), Infinity);
    high = numbers.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!numbers.length) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const room = padding * (high - low);
    [low, high] = [low - room, high + room];
    if (spec.rangemode === "tozero") low = Math.min(0, low + room);
  }
  if (spec.autorange === "reversed") [low, high] = [high, low];
  const at = (value) => from + ((numberOf(value) - low) / (high - low)) * (to - from);
  const isWithin = (value) => (numberOf(value) - low) * (numberOf(value) - high) <= 1e-9;

  function ticks() {
    if (spec.visible === false || spec.showticklabels === false) return [];
    const room = Math.abs(to - from);
    const given = listOf(spec.tickvals).map((value, k) => [value, spec.ticktext ? plain(spec.ticktext[k]) : formatted(value, "", decimal)]).filter(([value]) => isWithin(value));
    if (given.length > 1 || (spec.tickvals && !isLog)) return given;
    if (moments) {
      const every = Math.ceil(moments.length / Math.max(2, room / 110));
      return moments.filter((_, k) => k % every === 0).map((moment) => [moment, moment.replace(/T00:00(:00)?$/, "")]);
    }
    const name = (value) => (spec.tickformat ? formatted(value, spec.tickformat, decimal) : `${formatted(value, "", decimal)}${spec.ticksuffix ?? ""}`);
    if (!isLog) return roundPlaces(Math.min(low, high), Math.max(low, high), room / (spec.isUpright ? 56 : 84)).map((value) => [value, name(value)]);
    if (high - low < 1) return roundPlaces(10 ** low, 10 ** high, 4).map((value) => [value, name(value)]);
    return roundPlaces(Math.ceil(low), Math.floor(high), 8).filter(Number.isInteger).map((power) => [10 ** power, name(10 ** power)]);
  }

  const raised = (value) => (isLog ? 10 ** value : value); // annotations name the power
  return { at, raised, ticks: ticks() };
}

// ---- colours ----

const parse = (colour) => colour.match(/[\d.]+/g).map(Number);

/** A colour of a scale for a share of its range, as [r, g, b, a]. */
function colourOf(stops, share) {
  const k = Math.max(1, stops.findIndex(([place]) => place >= share));
  const [[low, a], [high, b]] = [stops[k - 1], stops[k]];
  const part = Math.min(1, Math.max(0, (share - low) / (high - low)));
  const [one, other] = [parse(a), parse(b)];
  return one.map((value, i) => value + (other[i] - value) * part);
}

const css = ([r, g, b, a]) => `rgb(${Math.round(r)} ${Math.round(g)} ${Math.round(b)} / ${a.toFixed(3)})`;

// ---- drawing ----

const tip = h("div", { class: "figure-tip", role: "status" });

function draw(place) {
  const { data, layout } = JSON.parse(place.querySelector("script").textContent);
  const target = place.querySelector(".plot");
  const width = layout.width ?? Math.max(260, target.clientWidth);
  const decimal = layout.separators?.[0] ?? ".";
  const traces = data.map((trace) => ({ ...trace, x: trace.x && listOf(trace.x), y: trace.y && listOf(trace.y), z: trace.z && listOf(trace.z) }));
  const panels = [...new Set(traces.map((trace) => trace.yaxis ?? "y"))].map((name) => {
    const own = traces.filter((trace) => (trace.yaxis ?? "y") === name);
    return { traces: own, x: layout[`xaxis${(own[0].xaxis ?? "x").slice(1)}`] ?? {}, y: layout[`yaxis${name.slice(1)}`] ?? {} };
  });
  const isText = traces.some((trace) => trace.texttemplate);
  const named = panels.map(({ y }) => plain(y.title?.text ?? ""));
  const isAbove = named.some((name) => name.length > 3);
  const rough = axisOf({ ...panels[0].y, isUpright: true }, valuesOf(panels[0], "y"), [200, 0], { padding: 0.05, decimal }).ticks;
  const left = isText ? 4 : Math.max(30, 14 + CHARACTER * Math.max(0, ...rough.map(([, text]) => text.length)));
  const hasBar = traces.some((trace) => trace.z && trace.showscale !== false);
  const right = isText ? 4 : hasBar ? 52 : 14;
  const top = TOP + (isAbove ? 22 : 0);
  const bottom = isText ? 4 : 26 + (panels.some(({ x }) => x.title?.text) ? 22 : 0);
  const height = layout.height + (isAbove ? 22 : 0);
  const room = height - top - bottom;
  const parts = [];
  const points = [];
  if (isAbove) parts.push(s("text", { x: 4, y: TOP + 8, class: "axis" }, named[0]));
  panels.forEach((panel, k) => {
    const [under, over] = panel.y.domain ?? [0, 1];
    const box = { left, right: width - right, top: top + room * (1 - over), bottom: top + room * (1 - under) };
    parts.push(...drawPanel(panel, box, { decimal, points, layout: k ? {} : layout, isText }));
    if (!isAbove && named[k]) parts.push(s("text", { x: 6, y: (box.top + box.bottom) / 2 + 5, class: "axis strong" }, named[k]));
  });
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "plotted", "aria-hidden": "true" }, parts);
  const move = (event) => tell(event, svg, points);
  svg.addEventListener("pointermove", move);
  svg.addEventListener("pointerdown", move);
  svg.addEventListener("pointerleave", () => tip.remove());
  target.style.width = layout.width ? `${width}px` : "";
  target.replaceChildren(...(layout.showlegend ? [legendOf(traces)] : []), svg);
}

const valuesOf = ({ traces }, axis) => traces.flatMap((trace) => (trace.z ? [] : trace[axis] ?? []));

function drawPanel({ traces, x: xSpec, y: ySpec }, box, { decimal, points, layout, isText }) {
  const map = traces.find((trace) => trace.z);
  const hasMarkers = traces.some((trace) => trace.mode?.includes("markers"));
  const x = axisOf(xSpec, valuesOf({ traces }, "x"), [box.left, box.right], { cells: map?.z[0].length, padding: hasMarkers ? 0.03 : 0, decimal });
  const marked = (layout.shapes ?? []).filter(({ yref }) => !/domain|paper/.test(yref ?? "")).map((shape) => shape.y0);
  const y = axisOf({ ...ySpec, isUpright: true }, [...valuesOf({ traces }, "y"), ...marked], [box.bottom, box.top], { cells: map?.z.length, padding: 0.05, decimal });
  const parts = [];
  const line = (x1, y1, x2, y2, properties) => s("line", { x1, y1, x2, y2, ...properties });
  for (const [value, text] of y.ticks) {
    if (ySpec.showgrid !== false) parts.push(line(box.left, y.at(value), box.right, y.at(value), { class: "grid-line" }));
    parts.push(s("text", { x: box.left - 6, y: y.at(value) + 4, class: "tick", "text-anchor": "end" }, text));
  }
  for (const [value, text] of x.ticks) {
    if (xSpec.showgrid !== false) parts.push(line(x.at(value), box.top, x.at(value), box.bottom, { class: "grid-line" }));
    const isSmall = xSpec.tickfont?.size < 10;
    parts.push(s("text", { x: x.at(value), y: box.bottom + 16, class: isSmall ? "tick small" : "tick", "text-anchor": "middle" }, text));
  }
  if (!isText && !map) parts.push(line(box.left, box.bottom, box.right, box.bottom, { class: "grid-line" }));
  if (xSpec.title?.text) parts.push(s("text", { x: (box.left + box.right) / 2, y: box.bottom + 38, class: "axis", "text-anchor": "middle" }, plain(xSpec.title.text)));
  for (const trace of traces) parts.push(...(trace.z ? heatMap(trace, x, y, box, { decimal, points }) : curve(trace, x, y, box, { decimal, points })));
  for (const shape of layout.shapes ?? []) {
    const isPlace = (ref) => !/domain|paper/.test(ref ?? "");
    if (isPlace(shape.xref)) parts.push(line(x.at(shape.x0), box.top, x.at(shape.x0), box.bottom, { class: "mark" }));
    else parts.push(line(box.left, y.at(shape.y0), box.right, y.at(shape.y0), { class: "mark" }));
  }
  for (const { text, xref, yref, xanchor, yanchor, x: xPlace, y: yPlace } of layout.annotations ?? []) {
    const place = xref === "paper" ? box.left + xPlace * (box.right - box.left) : x.at(x.raised(xPlace));
    const level = /paper|domain/.test(yref ?? "") ? box.top : y.at(y.raised(yPlace));
    const anchor = { right: "end", left: "start" }[xanchor] ?? "middle";
    parts.push(s("text", { x: place, y: level + (yanchor === "top" ? 14 : -5), class: "tick note", "text-anchor": anchor }, plain(text)));
  }
  return parts;
}

function heatMap(trace, x, y, box, { decimal, points }) {
  const { z, zmin, zmax, colorscale } = trace;
  const [rows, columns] = [z.length, z[0].length];
  const colour = (value) => colourOf(colorscale, (value - zmin) / (zmax - zmin || 1));
  const wide = (box.right - box.left) / columns;
  const tall = (box.bottom - box.top) / rows;
  points.push({
    box,
    find(at, level) {
      const column = Math.round((at - x.at(0)) / wide);
      const row = Math.round((level - y.at(0)) / (y.at(1) - y.at(0) || 1));
      const value = z[row]?.[column];
      if (value === undefined || value === null) return null;
      const values = { x: trace.x?.[column] ?? column, y: trace.y?.[row] ?? row, z: value, text: trace.text?.[row]?.[column] };
      return told(trace.hovertemplate ?? "%{z}<extra></extra>", values, decimal);
    },
  });
  if (trace.texttemplate) {
    return z.flatMap((row, i) => row.flatMap((value, j) => {
      const text = trace.text[i][j];
      const at = x.at(j);
      const level = y.at(i);
      return [
        value === null ? null : s("rect", { x: at - wide / 2, y: level - tall / 2, width: wide, height: tall, fill: css(colour(value)) }),
        text ? s("text", { x: at, y: level + 5, class: isBold(text) ? "cell strong" : "cell", style: `font-size: ${trace.textfont?.size ?? 13}px` }, plain(text)) : null,
      ].filter(Boolean);
    }));
  }
  const canvas = h("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const isDownwards = y.at(1) > y.at(0);
  z.forEach((row, i) => row.forEach((value, j) => {
    if (value === null) return;
    const [r, g, b, a] = colour(value);
    image.data.set([r, g, b, 255 * a], 4 * ((isDownwards ? i : rows - 1 - i) * columns + j));
  }));
  context.putImageData(image, 0, 0);
  const drawn = [s("image", { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top, href: canvas.toDataURL(), preserveAspectRatio: "none", class: "cells" })];
  if (trace.showscale === false) return drawn;
  const bar = 0.86 * Math.min(box.bottom - box.top, 240);
  const from = (box.top + box.bottom + bar) / 2;
  const steps = 24;
  for (let k = 0; k < steps; k += 1) {
    drawn.push(s("rect", { x: box.right + 8, y: from - ((k + 1) * bar) / steps, width: 8, height: bar / steps + 0.5, fill: css(colourOf(colorscale, (k + 0.5) / steps)) }));
  }
  listOf(trace.colorbar?.tickvals).forEach((value, k) => {
    const text = trace.colorbar.ticktext?.[k] ?? formatted(value, "", decimal);
    drawn.push(s("text", { x: box.right + 20, y: from - ((value - zmin) / (zmax - zmin)) * bar + 4, class: "tick small" }, text));
  });
  return drawn;
}

function curve(trace, x, y, box, { decimal, points }) {
  const { mode = "lines", line = {}, marker = {}, fill, fillcolor } = trace;
  const places = trace.x.map((value, k) => {
    const level = trace.y[k];
    return level === null || !Number.isFinite(y.at(level)) ? null : [x.at(value), y.at(level), k];
  });
  const pieces = [];
  let path = "";
  for (const place of places) {
    path += place ? `${path ? "L" : "M"}${place[0].toFixed(1)} ${Math.min(box.bottom, Math.max(box.top, place[1])).toFixed(1)}` : "";
    if (!place && path) {
      pieces.push(path);
      path = "";
    }
  }
  if (path) pieces.push(path);
  const known = places.filter(Boolean);
  const drawn = [];
  if (fill === "toself") drawn.push(...pieces.map((piece) => s("path", { d: `${piece}z`, fill: fillcolor })));
  if (fill === "tozeroy" && known.length) drawn.push(s("path", { d: `${pieces.join("")}V${box.bottom}H${known[0][0]}z`, fill: fillcolor }));
  if (mode.includes("lines") && line.width !== 0) {
    drawn.push(...pieces.map((d) => s("path", { d, fill: "none", stroke: line.color, "stroke-width": line.width, "stroke-dasharray": DASHES[line.dash], "stroke-linejoin": "round" })));
  }
  if (mode.includes("markers")) {
    drawn.push(...known.map(([at, level, k]) => markerAt(at, level, marker, line, k)));
  }
  if (trace.hoverinfo !== "skip") {
    points.push({
      box,
      find(pointer, level) {
        let best = null;
        for (const place of known) {
          const distance = Math.hypot(place[0] - pointer, (place[1] - level) * (mode === "lines" ? 0.25 : 1));
          if (distance < (best?.distance ?? NEAR)) best = { distance, place };
        }
        if (!best) return null;
        const k = best.place[2];
        const values = { x: trace.x[k], y: trace.y[k], customdata: listOf(trace.customdata)[k], "fullData.name": trace.name };
        return { distance: best.distance, text: told(trace.hovertemplate ?? "%{x}: %{y:.4g}", values, decimal) };
      },
    });
  }
  return drawn;
}

/** The sign of a trace at a place; each of its points may have one of its own, "-open" where it is hollow. */
function markerAt(at, level, { symbol = "circle", color, size = 8, opacity }, line, k = 0) {
  const [shape, open] = (Array.isArray(symbol) ? symbol[k] : symbol).split("-open");
  const colour = color ?? line.color;
  const isHollow = shape === "x" || open !== undefined;
  return s("path", {
    d: MARKERS[shape], transform: `translate(${at.toFixed(1)} ${level.toFixed(1)}) scale(${size / 8})`, opacity: opacity ?? null,
    fill: isHollow ? "none" : colour, stroke: isHollow ? colour : null, "stroke-width": 1.5,
  });
}

function legendOf(traces) {
  const shown = traces.filter((trace) => trace.name && trace.showlegend !== false);
  return h("ul", { class: "figure-legend" }, shown.map(({ name, mode = "lines", line = {}, marker = {}, fill, fillcolor }) =>
    h("li", null,
      s("svg", { width: 30, height: 12, "aria-hidden": "true" },
        fill === "toself" ? s("rect", { width: 30, height: 12, fill: fillcolor }) : null,
        mode.includes("lines") && line.width !== 0 ? s("line", { x1: 1, x2: 29, y1: 6, y2: 6, stroke: line.color, "stroke-width": line.width, "stroke-dasharray": DASHES[line.dash] }) : null,
        mode.includes("markers") ? markerAt(15, 6, marker, line) : null),
      plain(name))));
}

/** Says what is beneath the pointer. */
function tell(event, svg, points) {
  const frame = svg.getBoundingClientRect();
  const [at, level] = [event.clientX - frame.left, event.clientY - frame.top];
  let best = null;
  for (const { box, find } of points) {
    if (at < box.left - NEAR || at > box.right + NEAR || level < box.top || level > box.bottom) continue;
    const found = find(at, level);
    const one = typeof found === "string" ? { distance: 0, text: found } : found;
    if (one && one.distance < (best?.distance ?? Infinity)) best = one;
  }
  if (!best) {
    tip.remove();
    return;
  }
  tip.textContent = best.text;
  document.body.append(tip);
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${Math.max(8, Math.min(room, event.clientX + 12))}px`;
  tip.style.top = `${Math.max(8, event.clientY - tip.offsetHeight - 12)}px`;
}
