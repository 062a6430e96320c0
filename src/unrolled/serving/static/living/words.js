// Words of a sentence that is tagged as numbers: the word, its letters, affixes and shape, as
// `tasks/tag/letters.py` has them.

const BLANKS = /(?:(?!\ufeff)[\s\x1c-\x1f\x85])+/u; // as of Python
const KEPT_AT_EACH_END = 16;
const SIZES = [1, 2, 3, 4]; // of affixes
const LONGEST_SHAPE = 8;
const SPECIAL = ["<unk>", "<s>", "</s>"];

export const wordsOf = (text) => text.split(BLANKS).filter(Boolean);

const withoutCase = (word) => word.toLowerCase().replace(/\p{Nd}/gu, "0");

// digits that are no decimal ones, such as those in circles, are digits to Python
const KINDS = [
  ["X", /\p{Uppercase}/u],
  ["x", /\p{Lowercase}/u],
  ["0", /[\p{Nd}\xb2\xb3\xb9\u1369-\u1371\u19da\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u2488-\u2490\u24ea\u24f5-\u24fd\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792\u{10a40}-\u{10a43}\u{10e60}-\u{10e68}\u{11052}-\u{1105a}\u{1f100}-\u{1f10a}]/u],
  ["c", /\p{L}/u],
];

function shapeOf(word) {
  const kinds = [...word].slice(0, 4 * LONGEST_SHAPE).map((c) => KINDS.find(([, is]) => is.test(c))?.[0] ?? c);
  return kinds.filter((kind, k) => kind !== kinds[k - 1]).slice(0, LONGEST_SHAPE).join("");
}

function affixesOf(word) {
  const plain = [...withoutCase(word)];
  const part = (name, size, from, to) => (size < plain.length ? `${name}:${plain.slice(from, to).join("")}` : "");
  return [...SIZES.map((size) => part("p", size, 0, size)), ...SIZES.map((size) => part("s", size, -size)), `=${shapeOf(word)}`];
}

/** What gives the numbers of a word by the vocabulary of a run: {id, letters, affixes}. */
export function speller({ words, letters, affixes, text_version: version }) {
  const numbers = (names, first) => new Map(names.map((name, k) => [name, k + first]));
  const ids = numbers([...SPECIAL, ...words], 0);
  const ofLetters = numbers([...letters], 1);
  const ofAffixes = numbers(affixes, 1);
  return (written) => {
    const word = version > 1 ? written.normalize("NFC") : written;
    let spelled = [...word];
    if (spelled.length > 2 * KEPT_AT_EACH_END) spelled = [...spelled.slice(0, KEPT_AT_EACH_END), ...spelled.slice(-KEPT_AT_EACH_END)];
    return {
      id: ids.get(withoutCase(word)) ?? 0,
      letters: spelled.map((letter) => ofLetters.get(letter) ?? 0),
      affixes: affixesOf(word).map((name) => ofAffixes.get(name) ?? 0),
    };
  };
}
