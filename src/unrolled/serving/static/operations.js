// What the operations of a cell's step do to numbers, by the names that torch has for them. Nothing
// is computed with these that is shown: they check that the numbers shown add up.

const erf = (x) => {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 300; n += 1) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
};

const clamp = (x, low, high) => {
  const raised = low === null || low === undefined ? x : Math.max(x, low);
  return high === null || high === undefined ? raised : Math.min(raised, high);
};

const elu = (x, alpha = 1, scale = 1, inputScale = 1) =>
  x > 0 ? scale * x : scale * alpha * Math.expm1(inputScale * x);

/** To the nearest whole number, halves to the even one. */
const round = (x) => {
  const near = Math.round(x);
  return Math.abs(near - x) === 0.5 && near % 2 ? near - 1 : near;
};

export const OPERATIONS = {
  add: (a, b, alpha = 1) => a + alpha * b,
  sub: (a, b, alpha = 1) => a - alpha * b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  neg: (a) => -a,
  copy: (a) => a,
  constant: (a) => Number(a),
  reciprocal: (a) => 1 / a,
  pow: (a, b) => a ** b,
  sigmoid: (a) => 1 / (1 + Math.exp(-a)),
  relu: (a) => Math.max(0, a),
  rsqrt: (a) => 1 / Math.sqrt(a),
  exp2: (a) => 2 ** a,
  maximum: Math.max,
  minimum: Math.min,
  clamp,
  hardtanh: (x, low = -1, high = 1) => clamp(x, low, high),
  elu,
  leaky_relu: (x, slope = 0.01) => (x > 0 ? x : slope * x),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  erf,
  erfc: (x) => 1 - erf(x),
  round,
  where: (mask, a, b) => (mask ? a : b),
  gt: (a, b) => Number(a > b),
  ge: (a, b) => Number(a >= b),
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  isnan: (a) => Number(Number.isNaN(a)),
  logical_and: (a, b) => Number(a && b),
  logical_or: (a, b) => Number(a || b),
  logical_xor: (a, b) => Number(!a !== !b),
  logical_not: (a) => Number(!a),
  ...Object.fromEntries(
    ["tanh", "exp", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan",
      "atan2", "sinh", "cosh", "asinh", "acosh", "atanh", "hypot", "floor", "ceil", "trunc", "abs", "sign",
    ].map((name) => [name, Math[name]]),
  ),
};
for (const name of ["and", "or", "xor", "not"]) OPERATIONS[`bitwise_${name}`] = OPERATIONS[`logical_${name}`];
