// Text to the tokens of a run and back, as the package reads it (data/vocabulary.py, data/words.py).

const UNSPACED = "\\p{sc=Han}\\p{sc=Hiragana}\\p{sc=Thai}\\p{sc=Lao}\\p{sc=Khmer}\\p{sc=Myanmar}";
const LETTER = `(?![${UNSPACED}])[\\p{L}\\p{N}_][\\p{M}\\u200c\\u200d]*`;
const INSIDE = "(?:(?![\\u200b-\\u200d\\ufeff])\\p{Cf})*";
const WORD = `${LETTER}(?:${INSIDE}${LETTER})*`;
const WORDS = `${WORD}(?:['\\u2019\\-]${WORD})*`;
const BLANK = "[\\s\\x1c-\\x1f\\x85]";
const PAIRS_OF_BYTES = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

const utf8 = new TextEncoder();
const isAscii = (text) => !/[^\x00-\x7f]/.test(text);

/** Cuts text: what stands before each piece, a word or one character as readers see it. */
function cut(text, before, word) {
  const pieces = [];
  const [start, whole] = [new RegExp(before, "uy"), new RegExp(word, "uy")];
  const clusters = new Intl.Segmenter(undefined, { granularity: "grapheme" });
  let at = 0;
  while (at < text.length) {
    start.lastIndex = at;
    const blank = start.exec(text)?.[0] ?? "";
    whole.lastIndex = at + blank.length;
    let piece = whole.exec(text)?.[0];
    if (piece === undefined) {
      const rest = text.slice(at + blank.length, at + blank.length + 64);
      const next = clusters.segment(rest).containing(0)?.segment ?? "";
      piece = new RegExp(`^${BLANK}`, "u").test(next) ? "" : next;
    }
    if (piece === "") {
      if (before !== " ?") break;
      pieces.push(text[at]); // a space by itself
      at += 1;
    } else {
      pieces.push(blank + piece);
      at += blank.length + piece.length;
    }
  }
  return pieces;
}

const ASCII_TOKENS = / ?(?:<\w+>|\w+(?:['-]\w+)*|[^\w\s])|[\s\x1c-\x1f]/g;
const ASCII_WORDS = /[\s\x1c-\x1f]*(?:\w+(?:['\u2019-]\w+)*|[^\w\s\x1c-\x1f])/g;

/** Words and marks with the one blank before each, and other spaces: of a text that is written. */
export function cutTokens(text) {
  if (isAscii(text)) return text.match(ASCII_TOKENS) ?? [];
  return cut(text, " ?", `<[\\p{L}\\p{N}\\p{M}_]+>|${WORDS}`);
}

/** Words and marks with the blanks before them: of a text that is classified. */
export function cutPieces(text) {
  return isAscii(text) ? text.match(ASCII_WORDS) ?? [] : cut(text, `${BLANK}*`, WORDS);
}

/** The same without blanks. */
export const cutWords = (text) => cutPieces(text).map((piece) => piece.replace(/^[\s\x1c-\x1f\x85]+/, ""));

function bytesOf(text) {
  return Array.from(utf8.encode(text));
}

/** Byte pairs of a tokenizer of the library `tokenizers`. */
function pairEncoder({ model: { vocab, merges } }) {
  const order = new Map(merges.map((pair, n) => [[].concat(pair).join(" "), n]));
  const own = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  const others = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !own(byte));
  const letters = Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(own(byte) ? byte : 256 + others.indexOf(byte)));
  const byteOf = new Map(letters.map((letter, byte) => [letter, byte]));
  const names = [];
  for (const [name, id] of Object.entries(vocab)) names[id] = name;
  const merged = (piece) => {
    const parts = bytesOf(piece).map((byte) => letters[byte]);
    for (;;) {
      let best = Infinity;
      for (let n = 0; n + 1 < parts.length; n++) {
        best = Math.min(best, order.get(`${parts[n]} ${parts[n + 1]}`) ?? Infinity);
      }
      if (best === Infinity) return parts;
      for (let n = 0; n + 1 < parts.length; n++) {
        if (order.get(`${parts[n]} ${parts[n + 1]}`) === best) parts.splice(n, 2, parts[n] + parts[n + 1]);
      }
    }
  };
  const lines = (text) => text.match(/[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]*(?:\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])|[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+/g) ?? [];
  return {
    encode: (text) => lines(text).flatMap((line) =>
      (line.match(PAIRS_OF_BYTES) ?? []).flatMap(merged).map((name) => vocab[name])),
    bytes: (id) => Array.from(names[id], (letter) => byteOf.get(letter)),
  };
}

/**
 * What text becomes tokens by: { encode(text) -> numbers, bytes(number) -> its bytes in UTF-8,
 * missing(text) -> characters that it lacks }, of a text that is classified also pieces(text) -> the
 * text of each token; or null where a run reads no text.
 */
export function encoderOf(content) {
  const vocabulary = content?.vocabulary ?? {};
  if (content?.writes_text) return written(vocabulary);
  const { encoder } = vocabulary;
  if (!encoder || !["word", "char", "bpe"].includes(encoder.kind)) return null;
  const read = (text) => {
    const composed = encoder.text_version > 1 ? text.normalize("NFC") : text;
    return encoder.lowercase ? composed.toLowerCase() : composed;
  };
  if (encoder.kind === "bpe") {
    const pairs = pairEncoder(encoder.tokenizer);
    const encode = (text) => pairs.encode(read(text));
    return { ...pairs, encode, pieces: (text) => encode(text).map((id) => shown(pairs.bytes(id))), missing: () => [] };
  }
  const words = ["<unk>", "<s>", "</s>", ...encoder.words];
  const ids = new Map(words.map((word, id) => [word, id]));
  const pieces = encoder.kind === "char" ? (text) => [...text] : cutWords;
  return {
    encode: (text) => pieces(read(text)).map((word) => ids.get(word) ?? 0),
    pieces: (text) => (encoder.kind === "char" ? pieces : cutPieces)(read(text)),
    bytes: (id) => bytesOf(words[id]),
    missing: () => [],
  };
}

/** Bytes as text, those that are no UTF-8 as \\xNN. */
function shown(bytes) {
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  for (let at = 0; at < bytes.length;) {
    let length = 4;
    for (; length; length -= 1) {
      try {
        text += strict.decode(Uint8Array.from(bytes.slice(at, at + length)));
        break;
      } catch {
        // fewer of them, perhaps
      }
    }
    if (!length) text += `\\x${bytes[at].toString(16).padStart(2, "0")}`;
    at += Math.max(1, Math.min(length, bytes.length - at));
  }
  return text;
}

function written({ kind, symbols, words, tokenizer }) {
  if (kind === "bpe") return { ...pairEncoder(tokenizer), missing: () => [] };
  if (kind === "byte") return { encode: bytesOf, bytes: (id) => [id], missing: () => [] };
  if (kind === "char") {
    const ids = new Map(symbols.map((symbol, id) => [symbol, id]));
    return {
      encode: (text) => Array.from(text, (symbol) => ids.get(symbol)),
      bytes: (id) => bytesOf(symbols[id]),
      missing: (text) => [...new Set(text)].filter((symbol) => !ids.has(symbol)),
    };
  }
  const ids = new Map(words.map((word, n) => [word, 256 + n]));
  return {
    encode: (text) => cutTokens(text).flatMap((word) => ids.get(word) ?? bytesOf(word)),
    bytes: (id) => (id < 256 ? [id] : bytesOf(words[id - 256])),
    missing: () => [],
  };
}

const SHOWN_BLANK = "␣";
const ASCII_SENTENCE = /[\s\x1c-\x1f]*(?:\w+|[^\w\s\x1c-\x1f])/g;

/** Words and marks with the blanks before them, apostrophes and hyphens for themselves. */
function cutSentence(text, version) {
  const blank = version > 1 && new RegExp(`^[${UNSPACED}]`, "u").test(text) ? "" : " ";
  const whole = blank + text;
  return isAscii(whole) ? whole.match(ASCII_SENTENCE) ?? [] : cut(whole, `${BLANK}*`, WORD);
}

/**
 * Sentences to the tokens of a translator and back, of `vocabulary.source` or `vocabulary.target`:
 * { encode(text) -> numbers without marks, pieces(text) -> what each is of, names(numbers) -> each as it is shown, text(numbers) }.
 */
export function sentencesOf({ tokens, vocabulary, text_version: version = 1 }) {
  const read = (text) => (version > 1 ? text.normalize("NFC") : text)
    .split(new RegExp(`(?:(?!\\ufeff)${BLANK})+`, "u")).filter(Boolean).join(" ");
  if (tokens === "bpe") {
    const pairs = pairEncoder(vocabulary.tokenizer);
    const bytes = (ids) => ids.filter((id) => id > 2).flatMap((id) => pairs.bytes(id - 3));
    return {
      encode: (text) => (read(text) ? pairs.encode(` ${read(text)}`).map((id) => id + 3) : []),
      pieces: () => [],
      names: (ids) => ids.map((id) => shown(bytes([id])).replaceAll(" ", SHOWN_BLANK)),
      text: (ids) => new TextDecoder().decode(Uint8Array.from(bytes(ids))).trim(),
    };
  }
  return wordsOf(vocabulary, (text) =>
    (tokens === "char" ? [...read(text)] : cutSentence(read(text), version)));
}

/** The same of words from 3 on, as `cut` has them. */
export function wordsOf({ words }, cut = () => []) {
  const all = ["<unk>", "", "", ...words];
  const ids = new Map(words.map((word, n) => [word, n + 3]));
  return {
    encode: (text) => cut(text).map((word) => ids.get(word) ?? 0),
    pieces: (text) => cut(text).map((word) => word.trim()),
    names: (numbers) => numbers.map((id) => all[id].replaceAll(" ", SHOWN_BLANK)),
    text: (numbers) => numbers.map((id) => all[id]).join("").trim(),
  };
}
