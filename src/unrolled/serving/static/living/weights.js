// The weights that lie in the file: unpacked once, and what is multiplied by them.

/** The bytes that base64 of gzip stands for. */
export async function unpacked(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length); // by a loop, 20 times as fast as Uint8Array.from
  for (let n = 0; n < bytes.length; n += 1) bytes[n] = characters.charCodeAt(n);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** What finds weights in their store: `find(place)` gives numbers, a matrix row by row. */
export function finderIn(all) {
  const size = (shape) => shape.reduce((product, each) => product * each, 1);

  function find(place) {
    if (!place) return null;
    const { at, shape, scales } = place;
    if (!scales) return { shape, values: new Float32Array(all, at, size(shape)) };
    const [rows, columns] = shape;
    const whole = new Int8Array(all, at, rows * columns);
    const scale = find(scales).values;
    return { shape, values: Float32Array.from(whole, (value, k) => value * scale[Math.floor(k / columns)]) };
  }

  return find;
}

/** Adds rows `first` ... `first + count` of W x to `out`, four of them at a time. */
export function addProduct({ shape, values }, x, out, first = 0, count = shape[0]) {
  const columns = shape[1];
  let row = 0;
  for (; row + 4 <= count; row += 4) {
    let at = (first + row) * columns;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let k = 0; k < columns; k += 1, at += 1) {
      const read = x[k];
      a += values[at] * read;
      b += values[at + columns] * read;
      c += values[at + 2 * columns] * read;
      d += values[at + 3 * columns] * read;
    }
    out[row] += a;
    out[row + 1] += b;
    out[row + 2] += c;
    out[row + 3] += d;
  }
  for (; row < count; row += 1) {
    const at = (first + row) * columns;
    let sum = 0;
    for (let k = 0; k < columns; k += 1) sum += values[at + k] * x[k];
    out[row] += sum;
  }
}

/** Adds the rows of W, each times a number of y, to `out`: W transposed, times y. */
export function addTransposed({ shape, values }, y, out, first = 0) {
  const columns = shape[1];
  for (let row = 0; row < y.length; row += 1) {
    if (y[row] === 0) continue;
    const at = (first + row) * columns;
    for (let k = 0; k < columns; k += 1) out[k] += values[at + k] * y[row];
  }
}
