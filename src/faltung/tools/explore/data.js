// The numbers of the layer: made by a rule, typed by hand, or taken from an image.

import { product, ravel, unravel } from "./arithmetic.js";

export const FILLS = {
  x: {
    random: "random",
    counting: "counting",
    ones: "all ones",
    one: "a single one",
    disc: "a disc",
  },
  w: {
    random: "random",
    ones: "all ones",
    centre: "centre only",
    blur: "blur",
    edges: "edges",
    outline: "outline",
  },
  b: { random: "random", zeros: "zeros" },
};

const RANGE = { x: [0, 9], w: [-2, 2], b: [-2, 2] };
const SALT = { x: 11, w: 23, b: 37 };

/** A number that depends on its place only: growing a map keeps what is already there. */
function scattered(salt, seed, position) {
  let hash = Math.imul(salt + 101 * seed, 0x9e3779b1);
  for (const p of position) {
    hash = Math.imul(hash ^ (p + 1), 0x85ebca6b);
    hash ^= hash >>> 13;
    hash = Math.imul(hash, 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return (hash >>> 0) / 2 ** 32;
}

/** 1, 2, 1 and its longer kin, scaled so that its largest number is at most 8. */
function binomial(size) {
  let row = [1];
  for (let n = 1; n < size; n++) row = [1, ...row.slice(1).map((v, i) => v + row[i]), 1];
  const scale = Math.max(1, Math.max(...row) / 8);
  return row.map((v) => Math.max(1, Math.round(v / scale)));
}

const RULES = {
  counting: (position, shape) => ravel(position, shape) % 100,
  ones: () => 1,
  zeros: () => 0,
  one: (position, shape) =>
    Number(position.slice(1).every((p, a) => p === Math.floor(shape[a + 1] / 2))),
  disc(position, shape) {
    const far = position.slice(1).map((p, a) => (2 * p + 1) / shape[a + 1] - 1);
    const radius = Math.hypot(...far);
    return radius < 0.72 ? 9 : radius < 0.9 ? 4 : 0;
  },
  centre: (position, shape) =>
    Number(position.slice(2).every((p, a) => p === Math.floor((shape[a + 2] - 1) / 2))),
  blur: (position, shape) => product(position.slice(2).map((p, a) => binomial(shape[a + 2])[p])),
  edges(position, shape) {
    // a difference along the last axis, smoothed along the others
    const last = shape.length - 1;
    const side = Math.sign(position[last] - (shape[last] - 1) / 2);
    const smooth = position.slice(2, last).map((p, a) => binomial(shape[a + 2])[p]);
    return side * product(smooth);
  },
  outline: (position, shape) => (RULES.centre(position, shape) ? product(shape.slice(2)) - 1 : -1),
};

/**
 * The numbers of a tensor of that shape; hand-made ones are cut or filled up with zeros,
 * and given up where the number of axes changes.
 */
export function valuesFor(name, source, shape) {
  const values = new Float64Array(product(shape));
  if (source.values && source.shape.length === shape.length) {
    for (let i = 0; i < values.length; i++) {
      const from = ravel(unravel(i, shape), source.shape);
      values[i] = from < 0 ? 0 : source.values[from];
    }
    return values;
  }
  const [low, high] = RANGE[name];
  const random = (position) =>
    low + Math.floor(scattered(SALT[name], source.seed ?? 0, position) * (high - low + 1));
  const rule = FILLS[name][source.fill] && RULES[source.fill];
  for (let i = 0; i < values.length; i++) {
    const position = unravel(i, shape);
    values[i] = rule ? rule(position, shape) : random(position);
  }
  return values;
}

/** An image file as channels × height × width numbers from 0 to 255, cropped to fill the map. */
export async function imageValues(file, channels, [height, width]) {
  const image = await createImageBitmap(file);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  const scale = Math.max(width / image.width, height / image.height);
  const [w, h] = [image.width * scale, image.height * scale];
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
  const { data } = context.getImageData(0, 0, width, height);
  const values = [];
  for (let c = 0; c < channels; c++) {
    for (let p = 0; p < width * height; p++) {
      const [r, g, b] = data.subarray(4 * p, 4 * p + 3);
      // three channels are red, green and blue; any other number of them sees the brightness
      const grey = Math.round(0.299 * r + 0.587 * g + 0.114 * b);
      values.push(channels === 3 ? [r, g, b][c] : grey);
    }
  }
  return { values, shape: [channels, height, width] };
}
