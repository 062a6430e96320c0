// What single units may follow in a text, as `inspection/units.py` has it: masks of its characters.

const LATE = 30; // characters since the line began
const FEWEST = 0.002; // of a text that must be inside, and outside

/** Ranges [start, end) of what a pattern finds. */
const spans = (pattern, start = 0, end = 0) => (text) =>
  [...text.matchAll(pattern)].map((found) => [found.index + start, found.index + found[0].length - end]);

const PATTERNS = {
  "inside a speaker's name": (text) =>
    [...text.matchAll(/(^|\n\n)([^\n:]+):(?=\n)/g)].map((found) => [found.index + found[1].length, found.index + found[0].length - 1]),
  "inside quotes": spans(/"[^"]*"|\u201c[^\u201d]*\u201d/g, 0, 1),
  "inside brackets": spans(/\([^()]*\)|\[[^[\]]*\]|\{[^{}]*\}/g, 0, 1),
  "late in the line": (text) =>
    [...text.matchAll(/[^\n]+/g)].map((found) => [found.index + LATE, found.index + found[0].length]),
  "after a line break": spans(/\n/g),
  "inside a word": spans(/[\p{L}\p{N}_][\p{L}\p{N}_'\u2019]*/gu),
  "in capitals": spans(/[A-Z]{2,}/g),
};

/** For each pattern that occurs, whether each piece of a text ends inside of it. */
export function masksOf(pieces) {
  const text = pieces.join("");
  const masks = {};
  for (const [name, find] of Object.entries(PATTERNS)) {
    const inside = new Uint8Array(text.length);
    for (const [start, end] of find(text)) if (start < end) inside.fill(1, start, end);
    let end = 0;
    const mask = pieces.map((piece) => inside[Math.max(0, (end += piece.length) - 1)]);
    const share = mask.reduce((a, b) => a + b, 0) / mask.length;
    if (share >= FEWEST && share <= 1 - FEWEST) masks[name] = mask;
  }
  return masks;
}

/** The probability that a value inside is above one outside; equal ones count half. */
export function areaUnder(values, mask) {
  const order = [...values.keys()].sort((a, b) => values[a] - values[b]);
  const [inside, outside] = [mask.filter(Boolean).length, mask.filter((each) => !each).length];
  let ranks = 0;
  for (let k = 0; k < order.length; ) {
    let end = k;
    while (end < order.length && values[order[end]] === values[order[k]]) end += 1;
    for (let j = k; j < end; j += 1) if (mask[order[j]]) ranks += (k + end + 1) / 2;
    k = end;
  }
  return (ranks - (inside * (inside + 1)) / 2) / (inside * outside);
}
