// What the equations of all cells have in common: gates, and chains of equal terms.

import { addUp, sigmoid } from "../numbers.js";

const FUNCTIONS = { σ: sigmoid, tanh: Math.tanh };

/** The three parts of an operation that say how its numbers are shown. */
export function links(levels, checks, terms) {
  return { levels, checks, terms };
}

/** A gate or candidate: `name` = function(x_name + u_name). */
export function gate(name, fn, formula) {
  const apply = FUNCTIONS[fn];
  return {
    id: name,
    formula: formula ?? `${name} = ${fn}(x_${name} + u_${name})`,
    values: (n) => ({ x: n.x[name], u: n.u[name], a: n.d.a[name], [name]: n.v[name] }),
    ...links(
      { x: "in", u: "in", a: "mid", [name]: "out" },
      [
        (v) => ["a", v.x + v.u],
        (v) => [name, apply(v.x + v.u)],
        (v) => [name, apply(v.a)],
      ],
      [`${fn}({x} + {u})`, `${fn}({a})`, `{${name}}`],
    ),
  };
}

/** The numbers of an operation as they are shown, by name. */
export function shownNumbers(operation, numbers) {
  return addUp(operation.values(numbers), operation.levels, operation.checks);
}
