// The page of a translator: sentences in, and their translations as they are written.

const MOST_SENTENCES = 50;
const MOST_UNKNOWN = 8; // that are named

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
  const table = make("table", { class: "looks" }, make("thead", {}, head), make("tbody", {}, ...body));
  const room = make("div", { class: "rows", tabindex: "0", role: "region", "aria-label": caption }, table);
  return make("div", { class: "looked" }, make("p", {}, caption), room);
}

/** Makes the page that of a translator; returns what translates what is typed. */
export function translationPage(page) {
  const { content: { vocabulary, search }, say, number, place, tell } = page;
  const [source, target] = [sentencesOf(vocabulary.source), sentencesOf(vocabulary.target)];
  const longest = search.max_characters, END = 2;
  const words = searching(page);
  place("label").textContent = say("translate_text");
  place("go").textContent = say("translate");

  /** A line in single blanks, as far as it is read, up to a word's end where there is any; and whether it goes on. */
  function lineOf(text) {
    const line = [...text.trim().replace(/\s+/g, " ")];
    if (line.length <= longest) return [line.join(""), false];
    const end = line.slice(0, longest + 1).lastIndexOf(" ");
    return [line.slice(0, end > 0 ? end : longest).join(""), true];
  }

  return async function translate() {
    const isEnded = words.begin();
    const lines = place("input").value.split("\n").map(lineOf)
      .map(([text, isCut]) => ({ text, isCut, ids: source.encode(text) }))
      .filter(({ ids }) => ids.length);
    place("output").replaceChildren();
    place("shown").replaceChildren();
    if (!lines.length) return tell(say("empty"));
    if (!words.isReady) return tell(say("not_a_beam"));
    const read = lines.slice(0, MOST_SENTENCES), unknown = new Set();
    tell("");
    for (const { text, ids } of read) {
      const line = document.createElement("p");
      place("output").append(line);
      const pieces = source.pieces(text);
      ids.forEach((id, n) => id || unknown.add(pieces[n]));
      const best = await words.write([...ids, END], target.text, line, isEnded);
      if (isEnded()) return;
      if (best?.looks[0]) {
        place("shown").append(lookTable({
          columns: words.names({ words: ids, complete: true }, (all) =>
            source.names(all).map((name, n) => (all[n] ? name : pieces[n]))),
          rows: words.names(best, target.names),
          looks: best.looks, caption: say("looks", { text: line.textContent }),
          share: (weight) => `${number(100 * weight, 1)} %`,
        }));
      }
    }
    const notes = [];
    if (unknown.size) {
      const shown = [...unknown].slice(0, MOST_UNKNOWN), more = unknown.size > MOST_UNKNOWN ? ["…"] : [];
      notes.push(say("unknown", { words: [...shown, ...more].join(" ") }));
    }
    if (read.some(({ isCut }) => isCut)) notes.push(say("translated_part", { count: longest }));
    if (lines.length > read.length) notes.push(say("translated", { count: read.length }));
    tell(notes.join("\n"));
  };
}
