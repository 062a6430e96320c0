// The page of a translator: sentences in, and their translations as they are written.

const MOST_SENTENCES = 50;

/** A word without the blank before it. */
const bare = (name) => name.replace(/^␣(?=.)/u, "");

/** What was looked at for each word that was written, as a table of shares. */
export function lookTable({ columns, rows, looks, caption, share }) {
  const make = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const head = make("tr", {}, make("td"), ...columns.map((each) => make("th", { scope: "col" }, each)));
  const body = rows.map((name, n) => make("tr", {},
    make("th", { scope: "row" }, name),
    ...Array.from(looks[n], (weight, place) => {
      const said = make("span", { class: "hidden" }, share(weight));
      const title = `${name} ← ${columns[place]}: ${share(weight)}`;
      const cell = make("td", { title }, said);
      cell.style.setProperty("--weight", weight.toFixed(3));
      return cell;
    })));
  const table = make("table", { class: "looks" },
    make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { class: "rows", tabindex: "0", role: "region", "aria-label": caption }, table);
}

/** Makes the page that of a translator; returns what translates what is typed. */
export function translationPage({ content, model, say, number, place, tell }) {
  const { vocabulary, model: { delay } } = content;
  const [source, target] = [sentencesOf(vocabulary.source), sentencesOf(vocabulary.target)];
  const { beam: usual, length_penalty: alpha, max_length: most, max_characters: longest } = content.search;
  const END = 2;
  const writer = delay === null || delay === undefined ? new Writer(model) : null;
  place("label").textContent = say("translate_text");
  place("go").textContent = say("translate");
  place("beam-label").textContent = say("beam");
  place("searching").hidden = !writer;
  place("output").classList.add("prose");
  if (writer) place("beam").value = usual;
  let running = 0;

  /** A line in single blanks, as far as it is read: up to a word's end, where there is any. */
  function lineOf(text) {
    const line = [...text.trim().replace(/\s+/g, " ")];
    if (line.length <= longest) return line.join("");
    const end = line.slice(0, longest + 1).lastIndexOf(" ");
    return line.slice(0, end > 0 ? end : longest).join("");
  }

  /** Yields what is found of a sentence, step by step. */
  function* found(tokens) {
    if (!writer) return yield* delayed(model, tokens, { delay, most });
    writer.read(tokens);
    yield* writer.search({ beam: place("beam").valueAsNumber, alpha, most });
  }

  return async function translate() {
    const own = ++running, beam = place("beam").valueAsNumber;
    const lines = place("input").value.split("\n");
    const sentences = lines.map(lineOf).filter((line) => source.encode(line).length);
    place("output").replaceChildren();
    place("shown").replaceChildren();
    if (!sentences.length) return tell(say("empty"));
    if (writer && !(beam >= 1 && beam <= 16 && beam % 1 === 0)) return tell(say("not_a_beam"));
    const unknown = new Set();
    for (const sentence of sentences.slice(0, MOST_SENTENCES)) {
      const line = document.createElement("p");
      place("output").append(line);
      const tokens = [...source.encode(sentence), END];
      tokens.forEach((id, n) => id || unknown.add(source.pieces(sentence)[n]));
      let best;
      for ([best] of found(tokens)) {
        line.textContent = target.text(best.words);
        await new Promise(requestAnimationFrame);
        if (own !== running) return;
      }
      if (best?.looks[0]) {
        const rows = [...target.names(best.words), ...(best.complete ? [say("end_mark")] : [])].map(bare);
        place("shown").append(lookTable({
          columns: [...source.names(tokens.slice(0, -1)), say("end_mark")].map(bare),
          rows, looks: best.looks, caption: say("looks", { text: line.textContent }),
          share: (weight) => `${number(100 * weight, 1)} %`,
        }));
      }
    }
    const notes = [];
    if (unknown.size) notes.push(say("unknown", { words: [...unknown].slice(0, 8).join(" ") }));
    if (lines.some((line) => [...line.trim().replace(/\s+/g, " ")].length > longest)) {
      notes.push(say("translated_part", { count: longest }));
    }
    if (sentences.length > MOST_SENTENCES) notes.push(say("translated", { count: MOST_SENTENCES }));
    tell(notes.join(" "));
  };
}
