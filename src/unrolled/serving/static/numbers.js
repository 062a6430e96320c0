// Numbers as they are shown. In an equation they add up: what is shown satisfies it to the digits
// shown, because the numbers that go in get as many digits as it takes.

const MINUS = "−";
const MOST_DIGITS = 8; // float32 has no more

let decimal = ".";

/** Takes the sign that the page's language has between a number and its fraction. */
export function setDecimal(sign) {
  decimal = sign;
}

/** A number with `digits` after the point, as a program writes it: without a negative zero. */
export function plain(value, digits) {
  const text = value.toFixed(digits);
  return /^-0\.?0*$/.test(text) ? text.slice(1) : text;
}

/** What a program wrote as it is written in the page's language: 0,5 and −1, f(0,5; 1). */
export function local(text) {
  const signed = text.replaceAll("-", MINUS);
  if (decimal === ".") return signed;
  return signed.replaceAll(", ", "; ").replace(/(\d)\.(\d)/g, `$1${decimal}$2`);
}

/** A number with `digits` after the point. */
export function fixed(value, digits = 3) {
  return local(plain(value, digits));
}

/** Ten to a power: 10⁻³. */
export function powerOfTen(power) {
  const raised = [...String(Math.abs(power))].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
  return `10${power < 0 ? "⁻" : ""}${raised}`;
}

/** A number to `digits` after the point, or before it where they are negative; a long one as 4.2·10⁻⁷. */
export function readable(value, digits) {
  if (value === 0) return "0";
  const isLong = Math.abs(value) >= 1e9 || (Math.abs(value) < 1e-4 && digits > 6);
  if (!isLong) return fixed(value, Math.max(0, Math.min(digits, 12)));
  const size = Math.floor(Math.log10(Math.abs(value)));
  const [front, power] = value.toExponential(Math.max(0, Math.min(size + digits, 16))).split("e");
  return `${local(front)}·${powerOfTen(Number(power))}`;
}

/** A whole number with thin spaces between its thousands, the same in all languages. */
export function grouped(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** A share in percent, with as many digits as it deserves, or with `digits`. */
export function percent(share, digits) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return `<${local("0.1")}\u202f%`;
  if (digits !== undefined) return `${fixed(value, digits)}\u202f%`;
  return `${value >= 10 || value === 0 ? Math.round(value) : fixed(value, 1)}\u202f%`;
}

/**
 * Chooses how many digits each number of an equation is shown with.
 *
 * values: numbers by name. levels: for each name "in", "mid" or "out". checks: functions of the
 * numbers as shown that return [name, what it should be], NaN where nobody knows. Returns the
 * numbers as a program writes them.
 */
export function addUp(values, levels, checks, outDigits = 3) {
  for (let out = outDigits; out <= MOST_DIGITS; out += 1) {
    for (let mid = out; mid <= Math.min(out + 2, MOST_DIGITS); mid += 1) {
      for (let input = mid; input <= MOST_DIGITS; input += 1) {
        const digits = { in: input, mid, out };
        const shown = {};
        for (const [name, value] of Object.entries(values)) {
          shown[name] = plain(value, digits[levels[name]]);
        }
        const numbers = Object.fromEntries(
          Object.entries(shown).map(([name, text]) => [name, Number(text)]),
        );
        const holds = checks.every((check) => {
          const [name, value] = check(numbers);
          return Number.isNaN(value) || plain(value, digits[levels[name]]) === shown[name];
        });
        if (holds) return shown;
      }
    }
  }
  // numbers that do not fit each other: shown as they are, for that would be ours to find
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, plain(value, MOST_DIGITS)]),
  );
}

/**
 * Numbers by name, each with `digits` after the point, or more where it goes into a sum: the sums of
 * what is shown are what is shown. sums: {result, operands, value}; value(written) is the sum of what
 * written(name) returns, a number for a name and a number for itself.
 */
export function agreeing(values, sums, digits) {
  const places = Object.fromEntries(Object.keys(values).map((name) => [name, digits]));
  const written = (name) => plain(values[name], places[name]);
  const holds = ({ result, value }) => {
    const sum = value((source) => (typeof source === "string" ? Number(written(source)) : source));
    return Number.isNaN(sum) || plain(sum, places[result]) === written(result);
  };
  const canGrow = ({ operands }) => operands.some((name) => places[name] < MOST_DIGITS);
  for (;;) {
    const wrong = sums.find((sum) => canGrow(sum) && !holds(sum));
    if (!wrong) return Object.fromEntries(Object.keys(values).map((name) => [name, written(name)]));
    for (const name of wrong.operands) places[name] = Math.min(places[name] + 1, MOST_DIGITS);
  }
}

/**
 * A term such as "{f} · {before:c} + {x:f}" with its numbers filled in, as parts {text} or {name, text}.
 * A negative number after + becomes a difference, and where a sign would be misread it is bracketed.
 */
export function filledTerm(term, shown) {
  const pieces = term.split(/(\{[^}]+\})/).filter(Boolean);
  const parts = [];
  pieces.forEach((piece, place) => {
    const name = /^\{(.+)\}$/.exec(piece)?.[1];
    if (!name) {
      parts.push({ text: local(piece) });
      return;
    }
    const number = shown[name];
    if (!number.startsWith("-")) {
      parts.push({ name, text: local(number) });
      return;
    }
    const before = parts.at(-1)?.text ?? "";
    const raised = /^[²³]/.test(pieces[place + 1] ?? "");
    if (before.endsWith("+ ") && !raised) {
      parts.at(-1).text = `${before.slice(0, -2)}${MINUS} `;
      parts.push({ name, text: local(number.slice(1)) });
    } else {
      const signed = local(number);
      parts.push({ name, text: raised || /[·−/] ?$/.test(before) ? `(${signed})` : signed });
    }
  });
  return parts;
}
