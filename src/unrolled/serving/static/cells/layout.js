// Places for a scene that nobody has drawn by hand: columns from left to right, the states' lines on
// top, and a way for every wire that crosses no sign and no number.

import { Board, GRID } from "./board.js";
import { partingOf, pathOf, simplified } from "./paths.js";

const ROW = 80;
const TOP = 70;
const LABEL = 72; // what a number takes beside its sign
const CHANNEL = 30; // between a number and the next sign, for wires that go up and down
const BUS = 70; // where the wire goes up that carries what all gates read
const BETWEEN_PORTS = 70;
const SECOND = 40; // how much lower the second of two wires from the bus leaves it
const SIZES = { gate: [92, 54], dot: [34, 34], pill: [78, 38], port: [50, 30], input: [52, 48], joint: [8, 8] };

/** How wide and how tall a glyph is. */
export function sizeOf({ kind, text, below }) {
  const [width, height] = SIZES[kind];
  if (kind === "pill") return [Math.max(52, 30 + 10 * plainLength(text)), height];
  if (kind === "gate") return [Math.max(72, 26 + (text ? 8.5 : 10) * (below ?? "").length), height];
  return [width, height];
}

const plainLength = (text) => text.replace(/[_{}]/g, "").length;

/** Returns {width, height, glyphs: {id: [x, y]}, wires: {id: {path, at}}} for a scene. */
export function layOut({ glyphs, wires }, states) {
  const graph = new Map(glyphs.map((glyph) => [glyph.id, { ...glyph, out: [], into: [], size: sizeOf(glyph) }]));
  for (const wire of wires) {
    graph.get(wire.from).out.push(wire);
    graph.get(wire.to).into.push(wire);
  }
  const columns = columnsOf(graph);
  const rows = rowsOf(graph, columns, states);
  const xs = xOf(graph, columns);
  const places = {};
  for (const [id, glyph] of graph) places[id] = placeOf(glyph, xs[columns.get(id)], rows.get(id));
  return route(graph, wires, places, xs);
}

/** The column of each glyph: one more than the farthest that it is computed from. */
function columnsOf(graph) {
  const columns = new Map();
  const columnOf = (id) => {
    if (columns.has(id)) return columns.get(id);
    const glyph = graph.get(id);
    const given = glyph.kind === "input" || id === "bus" || (glyph.kind === "port" && glyph.side === "left");
    const column = given ? 0 : 1 + Math.max(0, ...glyph.into.map((wire) => columnOf(wire.from)));
    columns.set(id, column);
    return column;
  };
  for (const id of graph.keys()) columnOf(id);
  const last = Math.max(...columns.values());
  for (const [id, glyph] of graph) if (glyph.kind === "port" && glyph.side === "right") columns.set(id, last);
  return columns;
}

/** The row of each glyph, from the top: first the lines of the states, then gates in the order of use. */
function rowsOf(graph, columns, states) {
  const rows = new Map();
  const taken = new Map(); // by column, the rows
  const isFree = (column, row) => !taken.get(column)?.has(row);
  const put = (id, row) => {
    const column = columns.get(id);
    rows.set(id, row);
    taken.set(column, (taken.get(column) ?? new Set()).add(row));
  };
  const lanes = states.map((state) => lineOf(graph, state)).filter((line) => line.length)
    .sort((a, b) => b.length - a.length);
  lanes.forEach((line, row) => {
    for (const id of line) if (!rows.has(id)) put(id, row);
  });
  const first = lanes.length;
  const inColumn = (column) => [...graph.keys()].filter((id) => columns.get(id) === column && !rows.has(id));
  const isSource = (id) => ["bus", "from:x", "from:h"].includes(id);
  const last = Math.max(...columns.values());
  const uses = (id) => graph.get(id).out.map((wire) => [columns.get(wire.to), rows.get(wire.to) ?? first]);
  const order = (id) => {
    const [column, row] = uses(id).sort((a, b) => a[0] - b[0] || a[1] - b[1])[0] ?? [last, first];
    return 100 * column + row;
  };
  for (let column = 1; column <= last; column += 1) {
    const here = inColumn(column);
    const wanted = (id) => {
      const sources = graph.get(id).into.map((wire) => rows.get(wire.from)).filter((row) => row !== undefined && row >= first);
      const mean = sources.reduce((a, b) => a + b, 0) / sources.length;
      return sources.length ? mean : first;
    };
    const isFed = (id) => graph.get(id).into.every((wire) => isSource(wire.from));
    // what the bus feeds over other columns has a row of its own, for its wire
    const reserved = (id) => (column > 1 && graph.get(id).into.some((wire) => wire.from === "bus") ? column : 1);
    const isOpen = (id, row) => Array.from({ length: reserved(id) }, (_, k) => column - k).every((each) => isFree(each, row));
    const sorted = here.sort((a, b) => (isFed(a) && isFed(b) ? order(a) - order(b) : wanted(a) - wanted(b) || order(a) - order(b)));
    for (const id of sorted) {
      const near = isFed(id) ? first : Math.max(first, Math.floor(wanted(id)));
      let row = near;
      for (let away = 0; !isOpen(id, row); away += 1) {
        row = near + (away % 2 ? -1 : 1) * Math.ceil((away + 1) / 2);
        if (row < first) row = near + away + 1;
      }
      put(id, row);
      for (let k = 1; k < reserved(id); k += 1) {
        taken.set(column - k, (taken.get(column - k) ?? new Set()).add(row));
      }
    }
  }
  const lowest = Math.max(first, ...rows.values());
  for (const id of inColumn(0)) {
    if (id === "bus") rows.set(id, lowest + 0.55);
    else if (id === "from:x") rows.set(id, lowest + 1.15);
    else if (id === "from:h") rows.set(id, lowest + 0.55);
    else put(id, first);
  }
  return rows;
}

/** The glyphs on a state's line: from before the step to after it, the shortest way. */
function lineOf(graph, state) {
  const [begin, end] = [`before:${state}`, `after:${state}`];
  if (!graph.has(begin) || !graph.has(end)) return [];
  const ways = [[begin]];
  const seen = new Set([begin]);
  while (ways.length) {
    const way = ways.shift();
    const id = way.at(-1);
    if (id === end) return way;
    for (const wire of graph.get(id).out) {
      if (!seen.has(wire.to)) {
        seen.add(wire.to);
        ways.push([...way, wire.to]);
      }
    }
  }
  return [];
}

/** The middle of each column. */
function xOf(graph, columns) {
  const last = Math.max(...columns.values());
  const widths = Array.from({ length: last + 1 }, (_, column) =>
    Math.max(...[...graph.keys()].filter((id) => columns.get(id) === column).map((id) => graph.get(id).size[0]), 20));
  const xs = [];
  let x = 18;
  widths.forEach((width, column) => {
    if (column === 0) xs.push(BUS);
    else xs.push(round(x + width / 2));
    x = column === 0 ? BUS + LABEL + CHANNEL + 10 : x + width + LABEL + CHANNEL;
  });
  return xs;
}

const round = (value) => Math.round(value / GRID) * GRID;

function placeOf({ id, kind, side }, x, row) {
  const y = round(TOP + row * ROW);
  if (kind === "port" && side === "left") return [18, y];
  if (id === "bus") return [BUS, y];
  return [x, y];
}

/** Finds a way for each wire, one after the other: around signs and numbers, with few corners. */
function route(graph, wires, places, xs) {
  const isRight = (id) => graph.get(id).kind === "port" && graph.get(id).side === "right";
  const rights = [...graph.keys()].filter(isRight);
  const width = round(xs.at(-1) + 40);
  for (const id of rights) {
    const [wire] = graph.get(id).into;
    const column = Object.entries(places).filter(([other]) => !rights.includes(other));
    const sourceY = places[wire.from][1];
    const isFree = column.every(([other, [x, y]]) => x <= places[wire.from][0] || Math.abs(y - sourceY) > 30 || other === "bus");
    places[id] = [width, isFree ? sourceY : places[id][1]];
  }
  spread(rights, places);
  const bottom = Math.max(...Object.values(places).map(([, y]) => y)) + 40;
  const board = new Board(width, bottom);
  for (const [id, glyph] of graph) {
    if (id === "bus" || glyph.kind === "port") continue;
    const [w, h] = glyph.size;
    const [x, y] = places[id];
    board.block(x - w / 2 - 8, y - h / 2 - 8, x + w / 2 + 8, y + h / 2 + 8, id);
    if (glyph.name) board.block(x - w / 2 - 20, y - h / 2 - 26, x + w / 2 + 20, y - h / 2, id);
  }
  for (const [id, glyph] of graph) {
    if (glyph.kind !== "port" || id.startsWith("from:")) continue;
    const [x, y] = places[id];
    if (glyph.side === "left") board.block(0, y - 40, 90, y + 30, id);
    else board.block(x - 60, y - 40, x + 20, y + 30, id);
  }
  const out = {};
  // the bus: up from the place where both sources meet, as far as it is wanted
  const busX = BUS;
  const exits = wires.filter((wire) => wire.from === "bus");
  const used = {};
  const lines = [];
  const order = [...wires].filter((wire) => wire.ids.length)
    .sort((a, b) => isSlanted(places, a) - isSlanted(places, b) || distance(places, a) - distance(places, b));
  for (const wire of order) for (const piece of labelOf(graph, places, wire)) board.block(...piece, wire.from);
  const taps = tapsOf(graph, places, exits, board, busX);
  for (const wire of order) {
    const source = wire.from === "bus" ? taps[wire.id] : exitOf(graph, places, wire.from);
    const entries = entriesOf(graph, places, wire.to, used[wire.to] ??= new Set());
    const net = wire.from === "bus" ? wire.id : wire.from;
    const way = board.find(source, entries, net, wire.to);
    used[wire.to].add(way.entry);
    board.take(way.cells, net);
    const start = wire.from === "bus" ? [busX, source[1]] : startOf(graph, places, wire.from);
    const points = simplified([start, ...way.points, way.end]);
    lines.push({ id: wire.id, from: wire.from, points });
    out[wire.id] = { path: pathOf(points), at: labelAt(graph, places, wire, source) };
  }
  const ys = Object.values(taps).map(([, y]) => y);
  const [, meet] = places.bus;
  const top = Math.min(...ys, meet);
  if (places["from:x"]) {
    places["from:x"] = [busX, Math.max(places["from:x"][1], Math.max(...ys, meet) + 50)];
    out["from:x>bus"] = { path: `M${busX} ${places["from:x"][1] - 24}V${top}`, open: true };
  }
  if (places["from:h"]) {
    places["from:h"] = [18, meet];
    out["from:h>bus"] = { path: `M18 ${meet}H${busX}`, open: true };
  }
  places.bus = [busX, meet];
  const lowest = Math.max(...Object.values(places).map(([, y]) => y), ...lines.flatMap(({ points }) => points.map(([, y]) => y)));
  return { width: width + 20, height: lowest + 40, glyphs: places, wires: out, joints: jointsOf(lines, busX, taps, meet) };
}

/** Ports on the right that would stand on each other are moved apart. */
function spread(rights, places) {
  const sorted = rights.sort((a, b) => places[a][1] - places[b][1]);
  sorted.forEach((id, k) => {
    if (k && places[id][1] - places[sorted[k - 1]][1] < BETWEEN_PORTS) places[id] = [places[id][0], places[sorted[k - 1]][1] + BETWEEN_PORTS];
  });
}

const distance = (places, wire) => {
  const [a, b] = [places[wire.from], places[wire.to]];
  return Math.abs(a[0] - b[0]) + 2 * Math.abs(a[1] - b[1]);
};

const isSlanted = (places, { from, to }) => Number(places[from][1] !== places[to][1]);

/** Where a wire leaves a glyph, and where it is past its number. */
function startOf(graph, places, id) {
  const glyph = graph.get(id);
  const [x, y] = places[id];
  return glyph.kind === "port" ? [x, y] : [x + glyph.size[0] / 2, y];
}

function exitOf(graph, places, id) {
  const [x, y] = startOf(graph, places, id);
  return [Math.ceil((x + (graph.get(id).kind === "port" ? 82 : LABEL)) / GRID) * GRID, y];
}

/** The places where a wire may enter a glyph: the cell before it, the point, and the direction. */
function entriesOf(graph, places, id, used) {
  const { kind, size: [w, h] } = graph.get(id);
  const [x, y] = places[id];
  const left = (dy, cost) => ({ name: `left${dy}`, cell: [Math.floor((x - w / 2 - 9) / GRID) * GRID, y + dy], end: [x - w / 2, y + dy], turn: "h", cost });
  if (kind === "port") return [{ name: "left", cell: [x - 60, y], end: [x, y], turn: "h", cost: 0 }].filter((each) => !used.has(each.name));
  const dy = kind === "dot" ? 10 : 20;
  const below = { name: "below", cell: [x, Math.ceil((y + h / 2 + 9) / GRID) * GRID], end: [x, y + h / 2], turn: "v", cost: kind === "dot" ? 0 : 20 };
  const above = { name: "above", cell: [x, Math.floor((y - h / 2 - 9) / GRID) * GRID], end: [x, y - h / 2], turn: "v", cost: kind === "dot" ? 10 : 40 };
  const sides = kind === "dot" ? [left(0, 0), below, above] : [left(0, 0), below, above, left(dy, 30), left(-dy, 30)];
  const free = sides.filter((each) => !used.has(each.name));
  return free.length ? free : [left(0, 0)];
}

/** The box of a number beside the glyph that it comes from: above the line. */
function labelOf(graph, places, wire) {
  if (wire.from === "bus") return [];
  const [x, y] = startOf(graph, places, wire.from);
  return [[x, y - 27, x + LABEL - 4, y - 4]];
}

function labelAt(graph, places, wire, source) {
  if (wire.from === "bus") return [source[0] - LABEL + 6, source[1] - 8];
  const [x, y] = startOf(graph, places, wire.from);
  if (graph.get(wire.from).kind === "port") return [x + 1, y + 26];
  return [x + 7, y - 8];
}

/** Where each wire from the bus leaves it: at the height of its target, or at one that is free. */
function tapsOf(graph, places, exits, board, busX) {
  const taps = {};
  const x = busX + LABEL + 6;
  const taken = [];
  const direct = exits.filter((wire) => isNext(graph, wire));
  for (const wire of direct) {
    const [, y] = places[wire.to];
    const parts = direct.filter((other) => other.to === wire.to);
    const place = parts.indexOf(wire);
    const at = y + (place ? SECOND : 0);
    taps[wire.id] = [round(x), round(at)];
    taken.push(at);
  }
  for (const wire of exits.filter((each) => !direct.includes(each))) {
    let at = places[wire.to][1];
    const isFree = (y) => taken.every((other) => Math.abs(other - y) >= 30) && board.isFree(round(x), round(y));
    for (let away = 0; !isFree(at) && away < 200; away += 1) at = places[wire.to][1] + (away % 2 ? -1 : 1) * GRID * Math.ceil((away + 1) / 2);
    taps[wire.id] = [round(x), round(at)];
    taken.push(at);
  }
  for (const wire of exits) {
    const [tapX, y] = taps[wire.id];
    board.block(busX + 4, y - 27, tapX - 2, y - 4, wire.id);
  }
  return taps;
}

/** Whether a glyph stands in the first column, fed by the bus alone. */
function isNext(graph, wire) {
  return graph.get(wire.to).into.every((other) => other.from === "bus");
}

/** Where wires of one source part, and where the bus is left: {at, wires}. */
function jointsOf(lines, busX, taps, meet) {
  const exits = Object.entries(taps);
  const top = Math.min(...exits.map(([, [, y]]) => y), meet);
  const joints = exits.filter(([, [, y]]) => y > top).map(([id, [, y]]) => ({ at: [busX, y], wires: [id] }));
  const bySource = Map.groupBy(lines, ({ from }) => from);
  for (const ways of bySource.values()) {
    if (ways[0].from === "bus") continue;
    ways.slice(1).forEach((way, k) => {
      // the first of those before it with which it goes farthest
      const partings = ways.slice(0, k + 1).map((other) => partingOf(other.points, way.points)).filter(Boolean);
      const farthest = partings.sort((a, b) => b.along - a.along)[0];
      if (farthest) joints.push({ at: farthest.at, wires: [way.id, ways[0].id] });
    });
  }
  return joints;
}
