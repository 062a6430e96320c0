// A figure as a file: SVG and PNG with the colours that it has on the page, and its numbers as CSV.

import { s } from "../dom.js";

const KEPT = [
  "fill-opacity", "stroke-opacity", "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity",
  "font-family", "font-size", "font-weight", "font-style", "text-anchor", "paint-order", "dominant-baseline", "visibility", "display",
];
const MARGIN = 16; // around the figure
const SCALE = 2; // dots of a PNG for a unit

/**
 * A colour as every program reads it, and its opacity: what the browser has mixed is color(srgb 0.1 0.2 0.3 / 0.5)
 * there, and what is transparent is rgba(…), which SVG 1.1 does not have. Null where it is no colour.
 */
function colourIn(value) {
  const [, kind, inner] = /^(rgba?|color)\((?:srgb )?([^)]+)\)$/.exec(value) ?? [];
  if (!inner) return null;
  const [r, g, b, alpha = 1] = inner.split(/[\s,/]+/).map(Number);
  const [red, green, blue] = [r, g, b].map((each) => (kind === "color" ? Math.round(255 * each) : each));
  return { rgb: `rgb(${red}, ${green}, ${blue})`, alpha };
}

/** A copy of a drawing that looks the same without the page's style sheets. */
function standalone(svg) {
  const copy = svg.cloneNode(true);
  const [from, to] = [svg, copy].map((root) => [root, ...root.querySelectorAll("*")]);
  from.forEach((element, k) => {
    const style = getComputedStyle(element);
    for (const name of KEPT) {
      const value = style.getPropertyValue(name);
      const colour = colourIn(value);
      if (value) to[k].setAttribute(name, colour?.rgb ?? value);
      if (colour && colour.alpha < 1) to[k].setAttribute(`${name}-opacity`, String(colour.alpha * Number(style.getPropertyValue(`${name}-opacity`))));
    }
    for (const name of ["class", "style", "tabindex"]) to[k].removeAttribute(name);
  });
  return copy;
}

/** Where the drawings of a figure go in one picture: beside one another as on the page, without what is between the rows. */
function places(drawings) {
  const boxes = drawings.map((svg) => svg.getBoundingClientRect());
  const left = Math.min(...boxes.map((box) => box.left));
  let bottom = -Infinity; // of the row, on the page
  let shift = 0; // from the page to the picture
  return boxes.map((box) => {
    if (box.top >= bottom) {
      const end = bottom === -Infinity ? 0 : bottom - shift;
      shift = box.top - end - MARGIN;
    }
    bottom = Math.max(bottom, box.bottom);
    return { x: MARGIN + box.left - left, y: box.top - shift, width: box.width, height: box.height };
  });
}

/** All drawings of a figure in one, on the ground that they have. */
function pictureOf(figure) {
  const drawings = [...figure.querySelectorAll("svg")].filter((svg) => !svg.parentElement.closest("svg, button"));
  const where = places(drawings);
  const width = Math.ceil(Math.max(...where.map((place) => place.x + place.width)) + MARGIN);
  const height = Math.ceil(Math.max(...where.map((place) => place.y + place.height)) + MARGIN);
  const { rgb } = colourIn(getComputedStyle(figure.closest(".card")).backgroundColor);
  const whole = s("svg", { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height }, s("rect", { width, height, fill: rgb }));
  drawings.forEach((svg, k) => {
    const copy = standalone(svg);
    for (const [name, value] of Object.entries(where[k])) copy.setAttribute(name, value);
    whole.append(copy);
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
const csvOf = (rows) => `${rows.map((row) => row.map(field).join(",")).join("\n")}\n`;

/** Saves rows, a header first. */
export const saveNumbers = (rows, name) => save(new Blob([csvOf(rows)], { type: "text/csv" }), `${name}.csv`);
