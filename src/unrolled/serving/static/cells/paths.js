// Lines along points that go up, down, left or right.

const CORNER = 8;

/** The points without those that stand on a straight line. */
export function simplified(points) {
  const result = [];
  for (const point of points) {
    const [a, b] = result.slice(-2);
    if (b && b[0] === point[0] && b[1] === point[1]) continue;
    const straight = a && b && ((a[0] === b[0] && b[0] === point[0]) || (a[1] === b[1] && b[1] === point[1]));
    if (straight) result.pop();
    result.push(point);
  }
  return result;
}

/** A line along points, its corners rounded. */
export function pathOf(points) {
  let path = `M${points[0].join(" ")}`;
  for (let k = 1; k < points.length - 1; k += 1) {
    const [before, here, after] = points.slice(k - 1, k + 2);
    const cut = Math.min(CORNER, length(before, here) / 2, length(here, after) / 2);
    path += `L${towards(here, before, cut).join(" ")}Q${here.join(" ")} ${towards(here, after, cut).join(" ")}`;
  }
  return `${path}L${points.at(-1).join(" ")}`;
}

const length = ([a, b], [c, d]) => Math.abs(a - c) + Math.abs(b - d);

function towards([x, y], [toX, toY], by) {
  const far = length([x, y], [toX, toY]) || 1;
  return [x + ((toX - x) / far) * by, y + ((toY - y) / far) * by];
}

/** Where two lines that begin at one point part, and how far along; null if one is all of the other. */
export function partingOf(one, other) {
  let along = 0;
  for (let k = 0; k + 1 < Math.min(one.length, other.length); k += 1) {
    const [from, a, b] = [one[k], one[k + 1], other[k + 1]];
    const [lengthA, lengthB] = [length(from, a), length(from, b)];
    const shorter = Math.min(lengthA, lengthB);
    const isSameWay = towards(from, a, shorter).every((value, i) => Math.abs(value - towards(from, b, shorter)[i]) < 0.5);
    if (!isSameWay) return along ? { at: from, along } : null;
    along += shorter;
    if (lengthA !== lengthB) return { at: lengthA < lengthB ? a : b, along };
  }
  return null;
}
