// The arithmetic of the page: which input each tap of each output reads, and what follows from it.
//
//   convolution   y[o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[c, i]     i = q·s − low + t·d
//   transposed    y[o, i] = b[o] + Σ_{c, t} w[c, o, t] · x[c, q]     the same, backwards
//
// One table, `source[q, t] -> i`, says everything; −1 stands for zero padding. It is the table of
// faltung/ops/geometry.py, and a test compares the two on random layers. Positions are flat
// indices; a tensor's index is channel · positions + position. The batch is always one.

export const MODES = ["zeros", "reflect", "replicate", "circular"];

export function product(sizes) {
  return sizes.reduce((all, size) => all * size, 1);
}

/** The position along every axis of a flat index; the last axis runs fastest. */
export function unravel(index, sizes) {
  const position = new Array(sizes.length);
  for (let a = sizes.length - 1; a >= 0; a--) {
    position[a] = index % sizes[a];
    index = Math.floor(index / sizes[a]);
  }
  return position;
}

/** The flat index of a position, or −1 where it lies outside. */
export function ravel(position, sizes) {
  let index = 0;
  for (let a = 0; a < sizes.length; a++) {
    if (position[a] < 0 || position[a] >= sizes[a]) return -1;
    index = index * sizes[a] + position[a];
  }
  return index;
}

/** Input positions from a window's first tap to its last: d·(K−1) + 1. */
export function windowSpan(kernel, dilation) {
  return dilation * (kernel - 1) + 1;
}

/** A position counted from the first input, brought inside by the padding mode; −1 for a zero. */
export function foldIn(position, size, mode) {
  if (position >= 0 && position < size) return position;
  if (mode === "reflect") return position < 0 ? -position : 2 * (size - 1) - position;
  if (mode === "replicate") return position < 0 ? 0 : size - 1;
  if (mode === "circular") return ((position % size) + size) % size;
  return -1;
}

/** The [low, high] padding that makes the output ⌈n/s⌉ long. */
function samePadding(n, k, s, d, lower) {
  const total = Math.max((Math.ceil(n / s) - 1) * s + windowSpan(k, d) - n, 0);
  const small = Math.floor(total / 2);
  return lower ? [total - small, small] : [small, total - small];
}

/** One spatial axis of the underlying convolution: `size` is where taps land, `out` the windows. */
function axisOf(state, a) {
  const [n, k, s, d] = [state.input[a], state.kernel[a], state.stride[a], state.dilation[a]];
  const span = windowSpan(k, d);
  const extra = state.transposed ? state.extra[a] : 0;
  const same = state.word === "same" || state.word === "same_lower";
  let [low, high] = [state.low[a], state.high[a]];
  if (same) {
    [low, high] = samePadding(state.transposed ? n * s : n, k, s, d, state.word === "same_lower");
  } else if (state.word === "valid") {
    [low, high] = [0, 0];
  } else if (state.word === "causal") {
    [low, high] = [span - 1, 0];
  }
  const axis = { kernel: k, stride: s, dilation: d, low, high, span, extra, mode: state.mode };
  if (!state.transposed) {
    return { ...axis, size: n, out: Math.floor((n + low + high - span) / s) + 1 };
  }
  const size = same ? n * s + extra : (n - 1) * s + span - low - high + extra;
  return { ...axis, size, out: n };
}

/** Everything wrong with a layer, in sentences; empty if it can be computed. */
function problemsOf(state, axes) {
  const problems = [];
  const { channels, outputs, groups } = state;
  if (channels % groups || outputs % groups) {
    problems.push(
      `groups ${groups} must divide both the ${channels} input channels and the ` +
        `${outputs} output channels`,
    );
  }
  if (state.word === "causal" && (state.transposed || state.dims !== 1)) {
    problems.push("causal padding needs a time axis: it is for 1-D convolutions");
  }
  for (const axis of axes) {
    if (state.transposed && axis.extra >= Math.max(axis.stride, axis.dilation)) {
      problems.push(
        `output padding ${axis.extra} must be smaller than stride ${axis.stride} or dilation ` +
          `${axis.dilation}: at most ${Math.max(axis.stride, axis.dilation) - 1}`,
      );
    } else if (state.transposed && axis.size < 1) {
      problems.push(
        `padding ${axis.low} + ${axis.high} crops all of the output: its size would be ` +
          `${axis.size}`,
      );
    } else if (axis.out < 1) {
      problems.push(
        `kernel size ${axis.kernel} with dilation ${axis.dilation} spans ${axis.span}, larger ` +
          `than the padded input ${axis.size} + ${axis.low} + ${axis.high}`,
      );
    } else if (axis.mode === "reflect" && Math.max(axis.low, axis.high) >= axis.size) {
      problems.push(
        `reflect padding (${axis.low}, ${axis.high}) must be smaller than the size ` +
          `${axis.size} that it mirrors`,
      );
    }
  }
  return [...new Set(problems)];
}

/** The layer that a state describes: sizes, shapes and the index map, or its problems. */
export function layerOf(state) {
  const axes = state.input.map((_, a) => axisOf(state, a));
  const problems = problemsOf(state, axes);
  const { channels, outputs, groups, transposed } = state;
  const layer = { state, axes, problems, dims: state.dims, transposed, channels, outputs, groups };
  if (problems.length) return layer;
  const sizes = axes.map((axis) => axis.size);
  const windows = axes.map((axis) => axis.out);
  const kernel = axes.map((axis) => axis.kernel);
  Object.assign(layer, {
    kernel,
    taps: product(kernel),
    inSize: transposed ? windows : sizes,
    outSize: transposed ? sizes : windows,
    groupIn: channels / groups,
    groupOut: outputs / groups,
    landings: product(sizes), // positions that taps land on
    windows: product(windows), // positions that a window stands on
  });
  layer.inCount = product(layer.inSize);
  layer.outCount = product(layer.outSize);
  layer.xShape = [channels, ...layer.inSize];
  layer.wShape = [
    ...(transposed ? [channels, layer.groupOut] : [outputs, layer.groupIn]),
    ...kernel,
  ];
  layer.yShape = [outputs, ...layer.outSize];
  layer.source = indexMap(layer, sizes, windows);
  layer.readers = readersOf(layer);
  return layer;
}

/** source[q · taps + t]: where that tap of that window lands, −1 on zero padding. */
function indexMap(layer, sizes, windows) {
  const source = new Int32Array(layer.windows * layer.taps);
  const landing = new Array(layer.dims);
  for (let q = 0; q < layer.windows; q++) {
    const window = unravel(q, windows);
    for (let t = 0; t < layer.taps; t++) {
      const tap = unravel(t, layer.kernel);
      layer.axes.forEach((axis, a) => {
        const place = window[a] * axis.stride - axis.low + tap[a] * axis.dilation;
        landing[a] = foldIn(place, axis.size, axis.mode);
      });
      source[q * layer.taps + t] = ravel(landing, sizes);
    }
  }
  return source;
}

/** The index map backwards: for every landing place, the pairs q · taps + t that reach it. */
function readersOf(layer) {
  const readers = Array.from({ length: layer.landings }, () => []);
  layer.source.forEach((i, pair) => {
    if (i >= 0) readers[i].push(pair);
  });
  return readers;
}

/** Where a tap of a window looks, per axis, before the padding mode folds it inside. */
export function placeOf(layer, q, t) {
  const window = unravel(
    q,
    layer.axes.map((axis) => axis.out),
  );
  const tap = unravel(t, layer.kernel);
  return layer.axes.map((axis, a) => window[a] * axis.stride - axis.low + tap[a] * axis.dilation);
}

/** One product of the sum: flat indices of output, input and weight, and what they stand for. */
function term(layer, g, o, c, pair) {
  const t = pair % layer.taps;
  const q = (pair - t) / layer.taps;
  const landing = layer.source[pair];
  const channel = g * layer.groupIn + c;
  const output = g * layer.groupOut + o;
  const [inside, out] = layer.transposed ? [q, landing] : [landing, q];
  const row = layer.transposed ? channel * layer.groupOut + o : output * layer.groupIn + c;
  return {
    in: inside < 0 ? -1 : channel * layer.inCount + inside,
    out: out < 0 ? -1 : output * layer.outCount + out,
    weight: row * layer.taps + t,
    g,
    o,
    c,
    q,
    t,
    channel,
    output,
  };
}

function range(count) {
  return Array.from({ length: count }, (_, i) => i);
}

/** Every product that makes up an output, in the order of the loops. */
export function termsOfOutput(layer, index) {
  const output = Math.floor(index / layer.outCount);
  const at = index % layer.outCount;
  const g = Math.floor(output / layer.groupOut);
  const pairs = layer.transposed
    ? layer.readers[at]
    : range(layer.taps).map((t) => at * layer.taps + t);
  const o = output % layer.groupOut;
  return range(layer.groupIn).flatMap((c) => pairs.map((pair) => term(layer, g, o, c, pair)));
}

/** Every product that an input takes part in: the outputs it feeds, and its path of gradients. */
export function termsOfInput(layer, index) {
  const channel = Math.floor(index / layer.inCount);
  const at = index % layer.inCount;
  const g = Math.floor(channel / layer.groupIn);
  const pairs = layer.transposed
    ? range(layer.taps).map((t) => at * layer.taps + t)
    : layer.readers[at];
  const c = channel % layer.groupIn;
  return range(layer.groupOut).flatMap((o) => pairs.map((pair) => term(layer, g, o, c, pair)));
}

/** Every use of a weight: once for each window. */
export function termsOfWeight(layer, index) {
  const t = index % layer.taps;
  const row = Math.floor(index / layer.taps);
  const inner = layer.transposed ? layer.groupOut : layer.groupIn;
  const [outer, within] = [Math.floor(row / inner), row % inner];
  const g = Math.floor(outer / (layer.transposed ? layer.groupIn : layer.groupOut));
  const [o, c] = layer.transposed
    ? [within, outer % layer.groupIn]
    : [outer % layer.groupOut, within];
  return range(layer.windows).map((q) => term(layer, g, o, c, q * layer.taps + t));
}

export function termsOf(layer, ref) {
  if (ref.kind === "y") return termsOfOutput(layer, ref.index);
  return ref.kind === "x" ? termsOfInput(layer, ref.index) : termsOfWeight(layer, ref.index);
}

/** The whole result, products added in the order of the loops, bias first. */
export function resultOf(layer, x, w, b) {
  const y = new Float64Array(layer.outputs * layer.outCount);
  for (let o = 0; o < layer.outputs; o++)
    y.fill(b[o], o * layer.outCount, (o + 1) * layer.outCount);
  for (let g = 0; g < layer.groups; g++) {
    for (let o = 0; o < layer.groupOut; o++) {
      for (let c = 0; c < layer.groupIn; c++) addMap(layer, x, w, y, g, o, c);
    }
  }
  return y;
}

function addMap(layer, x, w, y, g, o, c) {
  const { taps, source, transposed } = layer;
  const first = term(layer, g, o, c, 0);
  const [from, to] = [first.channel * layer.inCount, first.output * layer.outCount];
  for (let pair = 0; pair < source.length; pair++) {
    const i = source[pair];
    if (i < 0) continue;
    const t = pair % taps;
    const q = (pair - t) / taps;
    if (transposed) y[to + i] += w[first.weight + t] * x[from + q];
    else y[to + q] += w[first.weight + t] * x[from + i];
  }
}

/** How many products make up each output, those on zero padding left out. */
export function countsOf(layer) {
  const one = new Float64Array(layer.outCount);
  layer.source.forEach((i, pair) => {
    if (i >= 0) one[layer.transposed ? i : Math.floor(pair / layer.taps)] += layer.groupIn;
  });
  const all = new Float64Array(layer.outputs * layer.outCount);
  for (let o = 0; o < layer.outputs; o++) all.set(one, o * layer.outCount);
  return all;
}
