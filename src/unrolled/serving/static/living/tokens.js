// Text to token numbers and back, as `data/vocabulary.py` has it: characters or bytes.

const isHalf = (character) => /^[\ud800-\udfff]$/.test(character); // of a surrogate pair
const nameOf = (character) => (isHalf(character) ? "\ufffd" : character);

/** How a model of `kind` "char" or "byte" reads and writes text. */
export function tokensOf({ tokens: kind, labels }) {
  const byCharacter = new Map(labels.map((label, id) => [label, id]));
  const isRead = (character) => !isHalf(character) && (kind === "byte" || byCharacter.has(character));

  /** A decoder gives the text that each token completes. */
  function decoder() {
    if (kind === "char") return { push: (id) => labels[id], finish: () => "" };
    const bytes = new TextDecoder("utf-8", { ignoreBOM: true });
    return { push: (id) => bytes.decode(Uint8Array.of(id), { stream: true }), finish: () => bytes.decode() };
  }

  /** The tokens of characters, the text that each of them completes, and what is not read. */
  function encode(characters) {
    const known = characters.filter(isRead);
    const unknown = [...new Set(characters.filter((each) => !isRead(each)).map(nameOf))];
    const ids = kind === "char" ? known.map((each) => byCharacter.get(each)) : [...new TextEncoder().encode(known.join(""))];
    const decode = decoder();
    const pieces = ids.map(decode.push);
    if (pieces.length) pieces[pieces.length - 1] += decode.finish();
    return { ids, pieces, unknown };
  }

  return { encode, decoder };
}
