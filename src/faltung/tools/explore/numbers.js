// How numbers and places are written, everywhere on the page.

/** A number for people: few digits, a real minus sign. */
export function written(value) {
  if (Number.isNaN(value)) return "";
  const short = Number.isInteger(value) ? value : Number(value.toPrecision(4));
  const text = Math.abs(short) >= 1e6 ? short.toExponential(2) : String(short);
  return text.replaceAll("-", "−");
}

/** A number as a factor or a later term: brackets around what begins with a minus. */
export function factor(value) {
  return value < 0 ? `(${written(value)})` : written(value);
}

/** A number that the user typed: a comma and a real minus sign will do; NaN if it is none. */
export function read(text) {
  const plain = text.trim().replace("−", "-").replace(",", ".");
  return plain === "" ? NaN : Number(plain);
}

/** 1,234,567. */
export function grouped(count) {
  return Math.round(count).toLocaleString("en-US");
}

/** 1.5 kB. */
export function bytesWritten(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  const [unit, size] = bytes < 1e6 ? ["kB", 1e3] : ["MB", 1e6];
  return `${(bytes / size).toFixed(1)} ${unit}`;
}

/** 3×3, or 3 where there is one axis. */
export function times(sizes) {
  return sizes.join("×");
}

/** One word for values that are the same on every axis: 2, else 2×1. */
export function perAxis(values) {
  return new Set(values).size === 1 ? String(values[0]) : times(values);
}

const AXES = { 1: ["position"], 2: ["row", "column"], 3: ["slice", "row", "column"] };

/** The names of the spatial axes. */
export function axisNames(dims) {
  return AXES[dims];
}

/** The letters of the spatial axes, as PyTorch uses them. */
export function axisLetters(dims) {
  return { 1: ["L"], 2: ["H", "W"], 3: ["D", "H", "W"] }[dims];
}
