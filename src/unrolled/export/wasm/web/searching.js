// What the pages that write words have in common: the beam, and words as they are found.

const MOST_BEAM = 16;

/** A word as it is shown: without the blank before it. */
const bare = (name) => name.replace(/^␣(?=.)/u, "");

/** Sets up the page of a model that writes words; returns what runs its search. */
export function searching({ content, model, say, place }) {
  const { beam: usual, length_penalty: alpha, max_length: most } = content.search;
  const { delay } = content.model;
  const writer = model.model.writes ? new Writer(model) : null;
  place("beam-label").textContent = say("beam");
  place("searching").hidden = !writer;
  place("output").classList.add("prose");
  if (writer) place("beam").value = usual;
  let running = 0;

  return {
    /** Ends what was begun before; returns what says whether that has happened to this. */
    begin() {
      const own = ++running;
      return () => own !== running;
    },

    /** Whether the beam is one. */
    get isReady() {
      const beam = place("beam").valueAsNumber;
      return !writer || (beam >= 1 && beam <= MOST_BEAM && beam % 1 === 0);
    },

    /**
     * Writes into an element what is found of x, as it is found; returns the best at last, and
     * nothing where that was ended.
     */
    async write(x, text, element, isEnded) {
      if (writer) writer.read(x);
      const found = writer
        ? writer.search({ beam: place("beam").valueAsNumber, alpha, most })
        : delayed(model, x, { delay, most });
      let best;
      for ([best] of found) {
        element.textContent = text(best.words);
        await new Promise(requestAnimationFrame);
        if (isEnded()) return null;
      }
      return best;
    },

    /** What each of a search's looks was for. */
    names: ({ words, complete }, names) =>
      [...names(words).map(bare), ...(complete ? [say("end_mark")] : [])],
  };
}
