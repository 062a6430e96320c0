// Elements from plain calls. Text is always text, never markup: what a visitor types cannot run.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

/** An HTML element: h("button", {class: "quiet", onclick: f}, "text"). */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An SVG element. */
export function s(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** What a token is called where it stands alone. */
export function visible(token) {
  if (token === "\n") return "↵";
  if (token === " ") return "␣";
  if (token === "\t") return "⇥";
  return token === "" ? "·" : token.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ /, "␣");
}

/** The same without the blank that words begin with. */
export const spoken = (token) => visible(token).replace(/^␣(?=.)/, "");

/** A formula: letters slanted, what follows _ below the line, such as "c_{t−1}" or "x_f". */
export function math(formula) {
  const parts = [];
  const pattern = /([A-Za-zσα-ω]+)(?:_(?:\{([^}]*)\}|(\w)))?|[^A-Za-zσα-ω]+/gu;
  for (const [whole, word, braced, single] of formula.matchAll(pattern)) {
    if (word === undefined) {
      parts.push(whole);
      continue;
    }
    const upright = word.length > 1 || word === "σ";
    parts.push(upright ? word : h("i", null, word));
    const below = braced ?? single;
    if (below !== undefined) parts.push(h("sub", null, below));
  }
  return parts;
}

/** A sentence with formulas between asterisks. */
export function prose(text) {
  return text.split("*").flatMap((part, k) => (k % 2 ? math(part) : part));
}

/** Runs `work` once things have been quiet for `milliseconds`. */
export function later(milliseconds, work) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

/** Runs an asynchronous `work` one call at a time; of the calls that wait, only the last is made. */
export function oneAtATime(work) {
  let running = false;
  let waiting = null;
  return async function call(...given) {
    if (running) {
      waiting = given;
      return;
    }
    running = true;
    try {
      await work(...given);
    } finally {
      running = false;
      if (waiting) {
        const next = waiting;
        waiting = null;
        call(...next);
      }
    }
  };
}
