// What the page is about: the parameters of a layer and its numbers, and their spelling in a link.
//
// A state is plain data. Lists have one entry per spatial axis. `word` is a word for the padding
// ("same", …) or empty, and then `low` and `high` count. `x`, `w` and `b` say where numbers come
// from: {fill: "random", seed: 3}, or {values: […], shape: […]} once someone has edited them.

import { MODES } from "./arithmetic.js";

export const WORDS = ["", "valid", "same", "same_lower", "causal"];

// large enough for every idea, small enough to be drawn at once and to be read
export const MOST = {
  input: { 1: 64, 2: 48, 3: 8 },
  kernel: { 1: 32, 2: 11, 3: 4 },
  stride: 8,
  dilation: 8,
  low: 16,
  high: 16,
  extra: 7,
  channels: 8,
  outputs: 8,
  groups: 8,
};

const LEAST = { input: 1, kernel: 1, stride: 1, dilation: 1, low: 0, high: 0, extra: 0 };
const PER_AXIS = Object.keys(LEAST);
const LETTERS = { input: "i", kernel: "k", stride: "s", dilation: "d", extra: "e" };
const COUNTS = { channels: "c", outputs: "o", groups: "g" };
const NAMES = { x: "x", w: "w", b: "b" };

export function defaults() {
  return {
    dims: 2,
    transposed: false,
    input: [5, 5],
    kernel: [3, 3],
    stride: [1, 1],
    dilation: [1, 1],
    low: [0, 0],
    high: [0, 0],
    extra: [0, 0],
    word: "",
    mode: "zeros",
    channels: 1,
    outputs: 1,
    groups: 1,
    bias: true,
    x: { fill: "random", seed: 1 },
    w: { fill: "random", seed: 1 },
    b: { fill: "random", seed: 1 },
    pin: null, // {kind: "x" | "w" | "y", index}
  };
}

/** The largest value that a parameter takes. */
export function most(name, dims) {
  return typeof MOST[name] === "number" ? MOST[name] : MOST[name][dims];
}

function whole(value, least, largest, otherwise) {
  const number = Math.round(Number(value));
  return Number.isFinite(number) ? Math.min(Math.max(number, least), largest) : otherwise;
}

/** A state with everything missing filled in and every number within its limits. */
export function cleaned(given) {
  const state = { ...defaults(), ...given };
  state.dims = whole(state.dims, 1, 3, 2);
  for (const name of PER_AXIS) {
    const values = [state[name]].flat();
    const otherwise = LEAST[name];
    state[name] = Array.from({ length: state.dims }, (_, a) =>
      whole(values[a] ?? values.at(-1), otherwise, most(name, state.dims), otherwise),
    );
  }
  for (const name of Object.keys(COUNTS)) state[name] = whole(state[name], 1, MOST[name], 1);
  if (!state.transposed) state.extra = state.extra.map(() => 0);
  if (!WORDS.includes(state.word)) state.word = "";
  if (state.word) state.low = state.high = state.low.map(() => 0);
  if (!MODES.includes(state.mode)) state.mode = "zeros";
  state.transposed = Boolean(state.transposed);
  state.bias = Boolean(state.bias);
  return state;
}

/** The state as the part of a link behind the #: letters as in the library's spelled problems. */
export function spelled(state) {
  const plain = defaults();
  const parts = [];
  const put = (name, value) => parts.push(`${name}=${value}`);
  for (const [name, letter] of Object.entries(LETTERS)) {
    const usual = ["input", "kernel"].includes(name) ? null : LEAST[name];
    if (state[name].some((value) => value !== usual)) put(letter, state[name].join("x"));
  }
  if (state.word) put("p", state.word);
  else if ([...state.low, ...state.high].some(Boolean)) put("p", spelledPadding(state));
  for (const [name, letter] of Object.entries(COUNTS)) {
    if (state[name] !== 1) put(letter, state[name]);
  }
  if (state.transposed) put("t", 1);
  if (state.mode !== plain.mode) put("mode", state.mode);
  if (!state.bias) put("bias", 0);
  for (const name of Object.keys(NAMES)) {
    const text = spelledValues(state[name]);
    if (text !== spelledValues(plain[name])) put(name, text);
  }
  if (state.pin) put("pin", `${state.pin.kind}${state.pin.index}`);
  return parts.join("&");
}

function spelledPadding(state) {
  return state.low
    .map((low, a) => (low === state.high[a] ? `${low}` : `${low}+${state.high[a]}`))
    .join("x");
}

function spelledValues(source) {
  if (source.fill) return `${source.fill}${source.seed ?? ""}`;
  return `${source.shape.join("x")}:${Array.from(source.values).join(",")}`;
}

/** The state that a link spells; what it does not name is as usual, what is nonsense is ignored. */
export function unspelled(text) {
  const given = {};
  const entries = text
    .replace(/^#/, "")
    .split("&")
    .filter((part) => part.includes("="));
  const words = Object.fromEntries(
    entries.map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]),
  );
  const numbers = (word) => word.split("x").map(Number);
  for (const [name, letter] of Object.entries(LETTERS)) {
    if (words[letter]) given[name] = numbers(words[letter]);
  }
  given.dims = Math.max(...Object.keys(LETTERS).map((name) => given[name]?.length ?? 1));
  if (!given.input) given.dims = Math.max(given.dims, 2);
  if (words.p) Object.assign(given, paddingOf(words.p));
  for (const [name, letter] of Object.entries(COUNTS)) {
    if (words[letter]) given[name] = Number(words[letter]);
  }
  given.transposed = words.t === "1";
  if (words.mode) given.mode = words.mode;
  given.bias = words.bias !== "0";
  for (const name of Object.keys(NAMES)) {
    const source = words[name] && valuesOf(words[name]);
    if (source) given[name] = source;
  }
  const pin = /^([xwy])(\d+)$/.exec(words.pin ?? "");
  if (pin) given.pin = { kind: pin[1], index: Number(pin[2]) };
  return cleaned(given);
}

function paddingOf(word) {
  if (WORDS.includes(word)) return { word };
  const ends = word.split("x").map((axis) => axis.split("+").map(Number));
  return { low: ends.map(([low]) => low), high: ends.map(([low, high]) => high ?? low) };
}

function valuesOf(word) {
  const fill = /^([a-z]+)(\d*)$/.exec(word);
  if (fill) return { fill: fill[1], ...(fill[2] && { seed: Number(fill[2]) }) };
  const [shape, list] = word.split(":");
  const source = {
    shape: shape.split("x").map(Number),
    values: (list ?? "").split(",").map(Number),
  };
  const count = source.shape.reduce((all, n) => all * n, 1);
  const sound = source.values.length === count && source.values.every(Number.isFinite);
  return sound ? source : null;
}
