// Text to the tokens of a language model and back, with what of a text is not read.

import { encoderOf } from "./encoder.js";

const isHalf = (character) => /^[\ud800-\udfff]$/.test(character); // of a surrogate pair
const nameOf = (character) => (isHalf(character) ? "\ufffd" : character);

/** How a model reads and writes text. */
export function tokensOf({ vocabulary }) {
  const encoder = encoderOf({ writes_text: true, vocabulary });

  /** What gives the text that each token completes. */
  function decoder() {
    const bytes = new TextDecoder("utf-8", { ignoreBOM: true });
    return { push: (id) => bytes.decode(Uint8Array.from(encoder.bytes(id)), { stream: true }), finish: () => bytes.decode() };
  }

  /** The tokens of characters, the text that each of them completes, and what is not read. */
  function encode(characters) {
    const missing = new Set([...characters.filter(isHalf), ...encoder.missing(characters.join(""))]);
    const ids = [...encoder.encode(characters.filter((each) => !missing.has(each)).join(""))];
    const { push, finish } = decoder();
    const pieces = ids.map(push);
    if (pieces.length) pieces[pieces.length - 1] += finish();
    return { ids, pieces, unknown: [...new Set([...missing].map(nameOf))] };
  }

  return { encode, decoder };
}
