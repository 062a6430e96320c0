// A figure as a file: SVG and PNG with the colours that it has on the page, and its numbers as CSV.

const KEPT = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "stroke-opacity", "opacity",
  "font-family", "font-size", "font-weight", "font-style", "text-anchor", "paint-order", "dominant-baseline", "visibility", "display",
];
const MARGIN = 16; // around the figure
const SCALE = 2; // dots of a PNG for a unit

/** A colour as every program reads it: what the browser has mixed is color(srgb 0.1 0.2 0.3 / 0.5) there. */
function plainColours(value) {
  return value.replace(/color\(srgb ([^)]+)\)/g, (_, inner) => {
    const [r, g, b, , alpha] = inner.split(/\s+/);
    const [red, green, blue] = [r, g, b].map((each) => Math.round(255 * Number(each)));
    return alpha === undefined ? `rgb(${red}, ${green}, ${blue})` : `rgba(${red}, ${green}, ${blue}, ${alpha})`;
  });
}

/** A copy of a drawing that looks the same without the page's style sheets. */
function standalone(svg) {
  const copy = svg.cloneNode(true);
  const [from, to] = [svg, copy].map((root) => [root, ...root.querySelectorAll("*")]);
  from.forEach((element, k) => {
    const style = getComputedStyle(element);
    for (const name of KEPT) {
      const value = style.getPropertyValue(name);
      if (value) to[k].setAttribute(name, plainColours(value));
    }
    for (const name of ["class", "style", "tabindex"]) to[k].removeAttribute(name);
  });
  return copy;
}

/** All drawings of a figure in one, below one another, on the ground that they have. */
export function pictureOf(figure) {
  const drawings = [...figure.querySelectorAll("svg")].filter((svg) => !svg.parentElement.closest("svg, button"));
  const sizes = drawings.map((svg) => svg.viewBox.baseVal);
  const width = Math.max(...sizes.map((size) => size.width)) + 2 * MARGIN;
  const height = sizes.reduce((sum, size) => sum + size.height + MARGIN, MARGIN);
  const whole = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  whole.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, width, height })) whole.setAttribute(name, value);
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const colour = getComputedStyle(figure.closest(".card")).backgroundColor;
  for (const [name, value] of Object.entries({ width, height, fill: plainColours(colour) })) ground.setAttribute(name, value);
  whole.append(ground);
  let top = MARGIN;
  drawings.forEach((svg, k) => {
    const copy = standalone(svg);
    const place = { x: (width - sizes[k].width) / 2, y: top, width: sizes[k].width, height: sizes[k].height };
    for (const [name, value] of Object.entries(place)) copy.setAttribute(name, value);
    whole.append(copy);
    top += sizes[k].height + MARGIN;
  });
  return { text: new XMLSerializer().serializeToString(whole), width, height };
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** Saves a figure as "svg" or "png". */
export async function savePicture(figure, name, kind) {
  const { text, width, height } = pictureOf(figure);
  const drawing = new Blob([text], { type: "image/svg+xml" });
  if (kind === "svg") {
    save(drawing, `${name}.svg`);
    return;
  }
  const image = new Image();
  image.src = URL.createObjectURL(drawing);
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [SCALE * width, SCALE * height];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  canvas.toBlob((picture) => save(picture, `${name}.png`), "image/png");
}

const field = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** Rows of a table as CSV, numbers with all their digits. */
export const csvOf = (rows) => `${rows.map((row) => row.map(field).join(",")).join("\n")}\n`;

/** Saves rows, a header first. */
export const saveNumbers = (rows, name) => save(new Blob([csvOf(rows)], { type: "text/csv" }), `${name}.csv`);
