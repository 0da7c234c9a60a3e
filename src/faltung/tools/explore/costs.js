// What a layer costs and what it sees: parameters, multiply-adds, bytes, receptive field.

import { foldIn, product } from "./arithmetic.js";

const ITEM = 4; // bytes of a float32

/** The counts of `faltung count`, for a batch of one in float32. */
export function costsOf(layer) {
  const bias = layer.state.bias ? layer.outputs : 0;
  const maps = layer.outputs * layer.groupIn;
  const numbers = product(layer.xShape) + product(layer.wShape) + product(layer.yShape) + bias;
  const inside = layer.source.reduce((count, i) => count + (i >= 0), 0);
  const executed = maps * inside;
  const columns = layer.transposed ? layer.outputs : layer.channels;
  return {
    parameters: product(layer.wShape) + bias,
    macs: maps * layer.windows * layer.taps,
    executed,
    bytes: numbers * ITEM,
    im2colBytes: columns * layer.taps * layer.windows * ITEM,
    intensity: (2 * executed) / (numbers * ITEM),
  };
}

/** The same layer dense, grouped, depthwise and separable: [name, parameters, multiply-adds]. */
export function relativesOf(layer) {
  const { channels, outputs, groups, taps, windows, outCount } = layer;
  const { bias } = layer.state;
  const form = (name, g) => {
    const weights = ((outputs * channels) / g) * taps;
    return [name, weights + (bias ? outputs : 0), weights * windows];
  };
  const forms = [form("dense", 1)];
  const common = divisor(channels, outputs);
  if (groups > 1 && groups < common) forms.push(form(`${groups} groups`, groups));
  if (channels > 1 && common === channels) forms.push(form("depthwise", channels));
  if (channels > 1) {
    const [depth, point] = [channels * taps, channels * outputs];
    const biases = bias ? channels + outputs : 0;
    forms.push(["separable", depth + point + biases, depth * windows + point * outCount]);
  }
  return forms;
}

function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}

/** What one output sees along each axis after `count` such layers: size, jump and start. */
export function fieldOf(layer, count) {
  return layer.axes.map((axis) => {
    const { stride: s, low } = axis;
    const { transposed } = layer;
    const middle = (axis.span - 1) / 2;
    let [jump, start] = [1, 0];
    for (let l = 0; l < count; l++) {
      start += transposed ? (jump * (low - middle)) / s : jump * (middle - low);
      jump = transposed ? jump / s : jump * s;
    }
    return { size: fieldSize(axis, count, transposed), jump, start };
  });
}

/** Counted, not computed: a transposed layer sees another stretch from each phase. */
function fieldSize(axis, count, transposed) {
  let largest = 0;
  const phases = transposed ? axis.stride ** count : 1;
  for (let phase = 0; phase < phases; phase++) {
    let seen = new Set([phase]);
    for (let l = 0; l < count; l++) seen = inputsOf(axis, seen, transposed);
    if (seen.size) largest = Math.max(largest, Math.max(...seen) - Math.min(...seen) + 1);
  }
  return largest;
}

function inputsOf(axis, outputs, transposed) {
  const inputs = new Set();
  for (const q of outputs) {
    for (let t = 0; t < axis.kernel; t++) {
      const place = q + axis.low - t * axis.dilation;
      if (!transposed) inputs.add(q * axis.stride - axis.low + t * axis.dilation);
      else if (place % axis.stride === 0) inputs.add(place / axis.stride);
    }
  }
  return inputs;
}

/** The output size of an axis: the formula, with the numbers, step by step. */
export function sizeFormula(layer, a) {
  const { size, out, kernel, stride, dilation, low, high, span, extra } = layer.axes[a];
  if (layer.transposed) {
    const least = (out - 1) * stride + span - low - high;
    return {
      before: out,
      after: size,
      lines: [
        "(n − 1)·s − low − high + d·(K−1) + 1 + extra",
        `= (${out} − 1)·${stride} − ${low} − ${high} + ${dilation}·(${kernel}−1) + 1 + ` +
          `${size - least} = ${size}`,
      ],
      remark:
        stride > 1 && layer.state.word !== "same" && layer.state.word !== "same_lower"
          ? `A convolution with these numbers maps ${least} to ${least + stride - 1} to ${out} ` +
            `alike; output padding${extra ? ` ${extra}` : ""} says which one is meant.`
          : "",
    };
  }
  const room = size + low + high - span;
  return {
    before: size,
    after: out,
    lines: [
      "⌊(n + low + high − d·(K−1) − 1) / s⌋ + 1",
      `= ⌊(${size} + ${low} + ${high} − ${dilation}·(${kernel}−1) − 1) / ${stride}⌋ + 1`,
      `= ⌊${room} / ${stride}⌋ + 1 = ${out}`,
    ],
    remark: unreadRemark(layer, a, room % stride),
  };
}

/** What the floor in the formula throws away. */
function unreadRemark(layer, a, left) {
  const unread = unreadOf(layer, a);
  if (unread.length) {
    const [are, s] = unread.length > 1 ? ["are", "s"] : ["is", ""];
    const named = unread.length > 5 ? [...unread.slice(0, 4), "…"] : unread;
    return `Position${s} ${named.join(", ")} ${are} never read.`;
  }
  if (left) return `The floor drops ${left} of the padding: nothing is lost.`;
  return "";
}

/** Positions along an axis that no tap lands on. */
export function unreadOf(layer, a) {
  const axis = layer.axes[a];
  const read = new Set();
  for (let q = 0; q < axis.out; q++) {
    for (let t = 0; t < axis.kernel; t++) {
      read.add(q * axis.stride - axis.low + t * axis.dilation);
    }
  }
  // what a padding mode copies counts as read
  const landed = new Set([...read].map((place) => foldIn(place, axis.size, axis.mode)));
  return Array.from({ length: axis.size }, (_, i) => i).filter((i) => !landed.has(i));
}
