// A drawing as squares that wires go along: what is taken of it, and the best way through the rest.

export const GRID = 10; // the side of a square, in units of the drawing
const TURN = 60; // what a corner costs, in units of length
const CROSSING = 90;
const BESIDE = 12; // another wire next to it
const MOST_STEPS = 60000;

/** What is taken of the drawing, square by square: by signs and numbers, and by wires either way. */
export class Board {
  constructor(width, height) {
    this.columns = Math.ceil(width / GRID) + 3;
    this.rows = Math.ceil(height / GRID) + 6;
    this.blocked = new Map();
    this.taken = { h: new Map(), v: new Map() };
  }

  key(x, y) {
    return Math.round(y / GRID) * this.columns + Math.round(x / GRID);
  }

  block(left, top, right, bottom, owner) {
    for (let y = Math.ceil(top / GRID) * GRID; y <= bottom; y += GRID) {
      for (let x = Math.ceil(left / GRID) * GRID; x <= right; x += GRID) {
        const key = this.key(x, y);
        if (!this.blocked.has(key)) this.blocked.set(key, new Set());
        this.blocked.get(key).add(owner);
      }
    }
  }

  isFree(x, y) {
    return !this.blocked.has(this.key(x, y));
  }

  take(cells, net) {
    for (const { x, y, turn } of cells) {
      for (const each of turn === "both" ? ["h", "v"] : [turn]) this.taken[each].set(this.key(x, y), net);
    }
  }

  /** The cheapest way from a point, going right, to one of the entries; a straight line if there is none. */
  find([startX, startY], entries, net, target) {
    const goals = new Map(entries.map((entry) => [`${this.key(...entry.cell)}${entry.turn}`, entry]));
    const best = new Map();
    const open = [{ x: startX, y: startY, turn: "h", cost: 0, before: null }];
    const nearest = (x, y) => Math.min(...entries.map((entry) => Math.abs(entry.cell[0] - x) + Math.abs(entry.cell[1] - y)));
    const finished = [];
    for (let steps = 0; open.length && steps < MOST_STEPS; steps += 1) {
      let at = 0;
      for (let k = 1; k < open.length; k += 1) if (open[k].sum < open[at].sum) at = k;
      const here = open.splice(at, 1)[0];
      const state = `${this.key(here.x, here.y)}${here.turn}`;
      if (best.has(state)) continue;
      best.set(state, here.cost);
      const goal = goals.get(state);
      if (goal) {
        finished.push({ here, goal });
        break;
      }
      for (const [dx, dy, turn] of [[GRID, 0, "h"], [-GRID, 0, "h"], [0, GRID, "v"], [0, -GRID, "v"]]) {
        const [x, y] = [here.x + dx, here.y + dy];
        if (here.before && here.before.x === x && here.before.y === y) continue;
        if (!here.before && dx < 0) continue;
        const cost = this.stepCost(here, x, y, turn, net, target, goals);
        if (cost === null) continue;
        const entry = goals.get(`${this.key(x, y)}${turn}`);
        const sum = here.cost + cost + nearest(x, y) + (entry?.cost ?? 0);
        open.push({ x, y, turn, cost: here.cost + cost + (entry?.cost ?? 0), sum, before: here });
      }
    }
    if (!finished.length) {
      const [entry] = entries;
      return { entry: entry.name, points: [[startX, startY]], end: entry.end, cells: [] };
    }
    const [{ here, goal }] = finished;
    const points = [];
    const cells = [];
    for (let point = here; point; point = point.before) {
      points.unshift([point.x, point.y]);
      const turns = point.before && point.turn !== point.before.turn;
      cells.push({ x: point.x, y: point.y, turn: point.turn });
      if (turns) cells.push({ x: point.before.x, y: point.before.y, turn: "both" });
    }
    return { entry: goal.name, points, end: goal.end, cells };
  }

  /** What a step costs; null if it may not be made. */
  stepCost(here, x, y, turn, net, target, goals) {
    if (x < 0 || y < 20 || x > (this.columns - 1) * GRID || y > (this.rows - 1) * GRID) return null;
    const key = this.key(x, y);
    const isGoal = goals.has(`${key}${turn}`);
    const blockers = this.blocked.get(key);
    if (blockers && !isGoal && ![...blockers].every((owner) => owner === net)) return null;
    if (blockers && isGoal && [...blockers].some((owner) => owner !== net && owner !== target)) return null;
    const along = this.taken[turn].get(key);
    const across = this.taken[turn === "h" ? "v" : "h"].get(key);
    if (along !== undefined && along !== net) return null;
    let cost = along === net ? GRID * 0.3 : GRID;
    if (turn !== here.turn) {
      cost += TURN;
      const corner = this.taken[turn].get(this.key(here.x, here.y));
      const other = this.taken[here.turn].get(this.key(here.x, here.y));
      if ((corner !== undefined && corner !== net) || (other !== undefined && other !== net)) return null;
    }
    if (across !== undefined && across !== net) cost += CROSSING;
    const beside = turn === "h" ? [[0, GRID], [0, -GRID]] : [[GRID, 0], [-GRID, 0]];
    for (const [dx, dy] of beside) {
      const neighbour = this.taken[turn].get(this.key(x + dx, y + dy));
      if (neighbour !== undefined && neighbour !== net) cost += BESIDE;
    }
    return cost;
  }
}
