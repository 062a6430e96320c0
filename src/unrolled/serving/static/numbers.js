// Numbers as they are shown. In an equation they add up: what is shown satisfies it to the digits
// shown, because the numbers that go in get as many digits as it takes.

const MINUS = "−";
const MOST_DIGITS = 8; // float32 has no more

export const sigmoid = (x) => 1 / (1 + Math.exp(-x));

function digitsOf(value, digits) {
  const text = value.toFixed(digits);
  return /^-0\.?0*$/.test(text) ? text.slice(1) : text;
}

/** A number with `digits` after the point and a true minus sign. */
export function fixed(value, digits = 3) {
  return digitsOf(value, digits).replace("-", MINUS);
}

/** A whole number with thin spaces between its thousands, the same in all languages. */
export function grouped(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** A share in percent, with as many digits as it deserves, or with `digits`. */
export function percent(share, digits) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "<0.1\u202f%";
  if (digits !== undefined) return `${value.toFixed(digits)}\u202f%`;
  return `${value >= 10 || value === 0 ? Math.round(value) : value.toFixed(1)}\u202f%`;
}

/**
 * Chooses how many digits each number of an equation is shown with.
 *
 * values: numbers by name. levels: for each name "in", "mid" or "out". checks: functions of the
 * numbers as shown that return [name, what it should be]. Returns the numbers as shown.
 */
export function addUp(values, levels, checks, outDigits = 3) {
  for (let out = outDigits; out <= MOST_DIGITS; out += 1) {
    for (let mid = out; mid <= Math.min(out + 2, MOST_DIGITS); mid += 1) {
      for (let input = mid; input <= MOST_DIGITS; input += 1) {
        const digits = { in: input, mid, out };
        const shown = {};
        for (const [name, value] of Object.entries(values)) {
          shown[name] = digitsOf(value, digits[levels[name]]);
        }
        const numbers = Object.fromEntries(
          Object.entries(shown).map(([name, text]) => [name, Number(text)]),
        );
        const holds = checks.every((check) => {
          const [name, value] = check(numbers);
          return digitsOf(value, digits[levels[name]]) === shown[name];
        });
        if (holds) return shown;
      }
    }
  }
  // numbers that do not fit each other: shown as they are, for that would be ours to find
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, digitsOf(value, MOST_DIGITS)]),
  );
}

/**
 * A term such as "{f} · {c0} + {x}" with its numbers filled in, as parts {text} or {name, text}.
 * A negative number after + becomes a difference, and after · it is put in brackets.
 */
export function filledTerm(term, shown) {
  const parts = [];
  for (const part of term.split(/(\{\w+\})/).filter(Boolean)) {
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (!name) {
      parts.push({ text: part });
      continue;
    }
    const before = parts.at(-1)?.text ?? "";
    const number = shown[name];
    if (!number.startsWith("-")) parts.push({ name, text: number });
    else if (before.endsWith("+ ")) {
      parts.at(-1).text = `${before.slice(0, -2)}${MINUS} `;
      parts.push({ name, text: number.slice(1) });
    } else {
      const alone = MINUS + number.slice(1);
      parts.push({ name, text: /[·−] $/.test(before) ? `(${alone})` : alone });
    }
  }
  return parts;
}
