// Colours of numbers. One hue from paper to full for what has a zero end, blue and orange from
// paper for what has two signs: both can be told apart with any colour vision, and in grey by
// lightness. The numbers themselves are always to be had beside the colour.

const cache = { theme: null };

function parse(colour) {
  const hex = colour.trim().slice(1);
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function colours() {
  const theme = document.documentElement.dataset.theme;
  if (cache.theme !== theme) {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["panel", "positive", "negative", "amount", "surprise", "back"]) {
      cache[name] = parse(style.getPropertyValue(`--${name}`));
    }
    cache.hues = [0, 1, 2, 3, 4].map((k) => parse(style.getPropertyValue(`--series-${k}`)));
    cache.theme = theme;
  }
  return cache;
}

function between(low, high, share) {
  return low.map((value, i) => Math.round(value + (high[i] - value) * share));
}

const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

function luminance(rgb) {
  const [r, g, b] = rgb.map((v) => {
    const c = v / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

const ENDS = [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024];

const roundUp = (most) => ENDS.find((end) => end >= most) ?? most;

/** The size that all but one in a hundred values keep within: an outlier shall not pale the rest. */
function nearlyMost(values) {
  const sizes = Float64Array.from(values, Math.abs).sort();
  return sizes[Math.ceil(0.99 * sizes.length) - 1] ?? 1;
}

/** The ends of what is not recorded but computed of what a model says. */
const RANGES = { surprise: [0, 8], answer: [0, 1] };

/**
 * The scale of a signal: its ends, and the colour [r, g, b] of a value. `range` holds the ends of what
 * has such; without, they are those of the values.
 */
export function scaleOf(name, values, range = RANGES[name]) {
  const { panel, positive, negative, amount, surprise } = colours();
  if (range && range[0] === 0) {
    const most = range[1];
    const [full, share] = name === "surprise" ? [surprise, 0.9] : [amount, 1];
    return { low: 0, high: most, rgb: (v) => between(panel, full, Math.min(1, Math.max(0, v / most)) * share) };
  }
  const most = range ? Math.max(-range[0], range[1]) : roundUp(nearlyMost(values));
  return {
    low: -most,
    high: most,
    rgb: (v) =>
      between(panel, v < 0 ? negative : positive, Math.min(1, Math.abs(v) / most) ** 0.85),
  };
}

/** Colour number `k` of those that kinds are told apart by, the paler the smaller the share. */
export const hue = (k, share) => between(colours().panel, colours().hues[k % colours().hues.length], 0.25 + 0.6 * share);

/** The colour of a share of a gradient, [r, g, b]. */
export const shareColour = (share) => between(colours().panel, colours().back, 0.9 * Math.sqrt(Math.min(1, share)));

/** Colours an element's ground by a value, its text so that it can be read. */
export function paint(element, rgb) {
  element.style.backgroundColor = css(rgb);
  element.style.color = inkOn(rgb);
}

/** Black or white, whichever can be read on a colour: at least 4.5 : 1 on any. */
export function inkOn(rgb) {
  return luminance(rgb) > 0.179 ? "#000000" : "#ffffff";
}

export function forget() {
  cache.theme = null;
}

/** A small bar of a scale with its ends. */
export function gradientStops(scale, steps = 24) {
  return Array.from({ length: steps + 1 }, (_, i) =>
    css(scale.rgb(scale.low + ((scale.high - scale.low) * i) / steps)),
  );
}
