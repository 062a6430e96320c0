// Pictures from files as a run reads them (data/pictures.py of the package): [3][side][side] bytes.

const MOST_PIXELS = 16_000_000;
const PRECISION = 22; // bits behind the point of the weights by which Pillow scales 8 bits
const LIGHT = 255;

/** What each place of one axis is made of, as Pillow's bicubic filter has it: [first, weights]. */
function weightsOf(from, to) {
  const scale = from / to, wide = Math.max(1, scale), reach = 2 * wide;
  const cubic = (x) => {
    const t = Math.abs(x), a = -0.5;
    if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
  };
  return Array.from({ length: to }, (_, place) => {
    const center = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(from, Math.trunc(center + reach + 0.5));
    const all = Array.from({ length: end - first }, (_, n) => cubic((n + first - center + 0.5) / wide));
    const total = all.reduce((sum, each) => sum + each, 0);
    const whole = all.map((each) => (each / total) * 2 ** PRECISION);
    return [first, whole.map((each) => Math.trunc(each < 0 ? each - 0.5 : each + 0.5))];
  });
}

/** Lines of pixels scaled along: `lines` of them, each `from` long, whose steps lie so far apart. */
function scaledLines(pixels, { lines, from, to, step, line }) {
  const weights = weightsOf(from, to);
  const scaled = new Uint8ClampedArray(lines * to * 3);
  const [stepTo, lineTo] = step < line ? [3, 3 * to] : [3 * lines, 3];
  for (let n = 0; n < lines; n++) {
    weights.forEach(([first, all], place) => {
      for (let c = 0; c < 3; c++) {
        let sum = 1 << (PRECISION - 1), at = n * line + first * step + c;
        for (const weight of all) {
          sum += pixels[at] * weight;
          at += step;
        }
        scaled[n * lineTo + place * stepTo + c] = sum >> PRECISION;
      }
    });
  }
  return scaled;
}

/** Whole numbers as Python rounds them: a half to the even one. */
function rounded(x) {
  const below = Math.floor(x);
  return x - below === 0.5 ? below + (below % 2) : Math.round(x);
}

/**
 * A picture, [height][width][4] of red, green, blue and how opaque, as a model reads it: on white,
 * its longer side scaled to `side` and in the middle; [3][side][side].
 */
export function squareOf({ data, width, height }, side) {
  let pixels = new Uint8ClampedArray(3 * width * height);
  for (let n = 0; n < width * height; n++) {
    for (let c = 0; c < 3; c++) {
      const opaque = data[4 * n + 3], sum = (data[4 * n + c] * opaque + LIGHT * (LIGHT - opaque)) * 128 + (128 << 7);
      pixels[3 * n + c] = opaque === LIGHT ? data[4 * n + c] : ((sum >> 8) + sum) >> 15;
    }
  }
  const longer = Math.max(width, height);
  const [wide, high] = [width, height].map((each) => Math.max(1, rounded((each * side) / longer)));
  if (wide !== width) {
    pixels = scaledLines(pixels, { lines: height, from: width, to: wide, step: 3, line: 3 * width });
  }
  if (high !== height) {
    pixels = scaledLines(pixels, { lines: wide, from: height, to: high, step: 3 * wide, line: 3 });
  }
  const square = new Uint8Array(3 * side * side).fill(LIGHT);
  const [left, top] = [wide, high].map((each) => Math.floor((side - each) / 2));
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      for (let c = 0; c < 3; c++) {
        square[(c * side + top + y) * side + left + x] = pixels[3 * (y * wide + x) + c];
      }
    }
  }
  return square;
}

/** A picture's bytes as `Model.run` and `Writer.read` take them: with what its last rows lack. */
export function pictureOf(model, square) {
  const { inputs, grid } = model.model;
  const padded = new Uint8Array(inputs * grid);
  padded.set(square);
  return padded;
}

/** The picture in a file; or what is wrong with it: the name of the words. */
async function pictureIn(file) {
  const options = { colorSpaceConversion: "none" };
  const image = await createImageBitmap(file, options).catch(() => null);
  if (!image) return "picture_not";
  const { width, height } = image;
  if (width * height > MOST_PIXELS) {
    image.close();
    return "picture_large";
  }
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0);
  image.close();
  return context.getImageData(0, 0, width, height);
}

/** Draws what a model reads; where it did not look, if that is told, darker: most pictures are bright. */
function draw(canvas, square, side, looks) {
  Object.assign(canvas, { width: side, height: side });
  const context = canvas.getContext("2d"), image = context.createImageData(side, side);
  for (let n = 0; n < side * side; n++) {
    for (let c = 0; c < 3; c++) image.data[4 * n + c] = square[c * side * side + n];
    image.data[4 * n + 3] = LIGHT;
  }
  context.putImageData(image, 0, 0);
  if (!looks) return;
  const grid = Math.sqrt(looks.length), most = Math.max(...looks), size = side / grid;
  looks.forEach((weight, n) => {
    context.fillStyle = `rgb(20 24 32 / ${0.8 * (1 - weight / most)})`;
    context.fillRect((n % grid) * size, Math.floor(n / grid) * size, size, size);
  });
}

/** Makes the page that of what reads pictures; returns what reads the picture that was chosen. */
export function picturePage(page) {
  const { content, model, say, place, tell, showScores } = page;
  const { side, writes } = model.model, file = place("file");
  const words = writes && searching(page), vocabulary = writes && wordsOf(content.vocabulary);
  place("picture-label").textContent = say("picture");
  place("seen-label").textContent = say("picture_seen", { side });
  place("picture").hidden = false;
  place("typing").hidden = place("go").hidden = true;
  let square = null, newest = null;

  /** What the network looked at for a word, drawn. */
  function lookedAt(name, looks) {
    const canvas = document.createElement("canvas");
    draw(canvas, square, side, looks);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", say("picture_looks", { text: name }));
    const caption = Object.assign(document.createElement("figcaption"), { textContent: name });
    const figure = document.createElement("figure");
    figure.append(canvas, caption);
    return figure;
  }

  async function read() {
    if (!square) return tell(say("picture_none"));
    if (!writes) return showScores(pictureOf(model, square));
    const isEnded = words.begin();
    place("shown").replaceChildren();
    if (!words.isReady) return tell(say("not_a_beam"));
    tell("");
    const best = await words.write(pictureOf(model, square), vocabulary.text, place("output"), isEnded);
    if (isEnded()) return;
    if (best.looks[0]) {
      const names = words.names(best, vocabulary.names), title = document.createElement("p");
      title.textContent = say("looks", { text: place("output").textContent });
      place("shown").replaceChildren(title, ...names.map((name, n) => lookedAt(name, best.looks[n])));
    }
    tell(content.search.alone ? "" : say("caption_alone"));
  }

  async function take(chosen) {
    if (!chosen) return;
    newest = chosen;
    words?.begin();
    for (const id of ["output", "shown", "scores"]) place(id).replaceChildren();
    square = null;
    place("picture-seen").hidden = true;
    tell("");
    const picture = await pictureIn(chosen);
    if (newest !== chosen) return;
    if (typeof picture === "string") return tell(say(picture));
    square = squareOf(picture, side);
    draw(place("seen"), square, side);
    place("picture-seen").hidden = false;
    await read();
  }
  file.onchange = () => take(file.files[0]);
  place("beam").onchange = () => square && read();
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  };
  document.onpaste = (event) => take(event.clipboardData.files[0]);
  return read;
}
