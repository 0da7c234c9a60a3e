// The layer as code to copy: what PyTorch calls it, what faltung calls it, and the command.

const AXES = { 1: "1d", 2: "2d", 3: "3d" };

/** A Python value for numbers per axis: 2 where all are the same, else (2, 1). */
function perAxis(values) {
  return new Set(values).size === 1 ? `${values[0]}` : `(${values.join(", ")})`;
}

function call(name, args) {
  return `${name}(${args.join(", ")})`;
}

/** Arguments that both libraries spell alike; only what is not the default. */
function shared(layer) {
  const { state } = layer;
  const given = [];
  if (state.stride.some((s) => s !== 1)) given.push(`stride=${perAxis(state.stride)}`);
  if (state.extra.some(Boolean)) given.push(`output_padding=${perAxis(state.extra)}`);
  if (state.groups !== 1) given.push(`groups=${state.groups}`);
  if (state.dilation.some((d) => d !== 1)) given.push(`dilation=${perAxis(state.dilation)}`);
  return given;
}

function operands(layer, x = "x") {
  return layer.state.bias ? [x, "w", "b"] : [x, "w"];
}

/** The line with faltung. */
export function faltungLine(layer) {
  const { state, axes, dims, transposed } = layer;
  const name = `faltung.functional.conv${transposed ? "_transpose" : ""}${AXES[dims]}`;
  const args = [...operands(layer), ...shared(layer)];
  if (state.word && state.word !== "valid") args.push(`padding="${state.word}"`);
  else if (axes.some((axis) => axis.low || axis.high)) {
    const even = axes.every((axis) => axis.low === axis.high);
    const pairs = axes.map((axis) => `(${axis.low}, ${axis.high})`).join(", ");
    const all = `(${pairs}${dims === 1 ? "," : ""})`;
    args.push(`padding=${even ? perAxis(axes.map((axis) => axis.low)) : all}`);
  }
  if (state.mode !== "zeros") args.push(`padding_mode="${state.mode}"`);
  return call(name, args);
}

/** The line with PyTorch alone, or why there is none. */
export function torchLine(layer) {
  const { state, axes, dims } = layer;
  if (layer.transposed) return torchTransposed(layer);
  const even = axes.every((axis) => axis.low === axis.high);
  if (axes.every((axis) => !axis.low && !axis.high)) {
    return call(`F.conv${AXES[dims]}`, [...operands(layer), ...shared(layer)]);
  }
  if (state.mode === "zeros" && even) {
    const padding = `padding=${perAxis(axes.map((axis) => axis.low))}`;
    return call(`F.conv${AXES[dims]}`, [...operands(layer), ...shared(layer), padding]);
  }
  const tooFar = axes.some((axis) => Math.max(axis.low, axis.high) > axis.size);
  if (state.mode === "circular" && tooFar) return "# PyTorch pads at most once around";
  const ends = [...axes].reverse().flatMap((axis) => [axis.low, axis.high]);
  const mode = state.mode === "zeros" ? [] : [`mode="${state.mode}"`];
  const padded = call("F.pad", ["x", `(${ends.join(", ")})`, ...mode]);
  return call(`F.conv${AXES[dims]}`, [...operands(layer, padded), ...shared(layer)]);
}

function torchTransposed(layer) {
  const { state, axes, dims } = layer;
  const name = `F.conv_transpose${AXES[dims]}`;
  if (state.mode !== "zeros" && axes.some((axis) => axis.low || axis.high)) {
    return "# PyTorch has no transposed convolution with a padding mode";
  }
  const plain = axes.every((axis) => {
    const size = (axis.out - 1) * axis.stride + axis.span - axis.low - axis.high + axis.extra;
    return axis.low === axis.high && size === axis.size;
  });
  if (plain) {
    const padded = axes.some((axis) => axis.low);
    const padding = padded ? [`padding=${perAxis(axes.map((axis) => axis.low))}`] : [];
    return call(name, [...operands(layer), ...shared(layer), ...padding]);
  }
  // without padding PyTorch keeps everything: cut the padding off afterwards
  const short = axes.some((axis) => axis.low + axis.size > reach(axis));
  if (short)
    return "# PyTorch cannot: the stride leaves gaps that its output padding does not fill";
  const cut = axes.map((axis) => `${axis.low}:${axis.low + axis.size}`).join(", ");
  return `${call(name, [...operands(layer), ...shared(layer)])}[:, :, ${cut}]`;
}

function reach(axis) {
  return (axis.out - 1) * axis.stride + axis.span + axis.extra;
}

/** The command that opens this page again. */
export function commandLine(layer) {
  const { state, axes } = layer;
  const times = (values) => (new Set(values).size === 1 ? `${values[0]}` : values.join("x"));
  const words = ["faltung explore", `--input ${state.input.join("x")}`];
  words.push(`--kernel ${times(state.kernel)}`);
  if (state.stride.some((s) => s !== 1)) words.push(`--stride ${times(state.stride)}`);
  const ends = axes.map(({ low, high }) => (low === high ? `${low}` : `${low}+${high}`));
  if (state.word) words.push(`--padding ${state.word}`);
  else if (ends.some((end) => end !== "0")) words.push(`--padding ${times(ends)}`);
  if (state.dilation.some((d) => d !== 1)) words.push(`--dilation ${times(state.dilation)}`);
  if (state.transposed) words.push("--transposed");
  if (state.extra.some(Boolean)) words.push(`--output-padding ${times(state.extra)}`);
  if (state.channels !== 1) words.push(`--channels ${state.channels}`);
  if (state.outputs !== 1) words.push(`--out-channels ${state.outputs}`);
  if (state.groups !== 1) words.push(`--groups ${state.groups}`);
  if (state.mode !== "zeros") words.push(`--padding-mode ${state.mode}`);
  if (!state.bias) words.push("--no-bias");
  return words.join(" ");
}

/** A program that computes exactly what is on the page, three times. */
export function program(layer, { x, w, b }) {
  const tensor = (values, shape) => {
    const list = Array.from(values).join(", ");
    return `torch.tensor([${list}], dtype=torch.float64).view(${shape.join(", ")})`;
  };
  const lines = ["import torch", "import torch.nn.functional as F", "import faltung", ""];
  lines.push(`x = ${tensor(x, [1, ...layer.xShape])}`);
  lines.push(`w = ${tensor(w, layer.wShape)}`);
  if (layer.state.bias) lines.push(`b = ${tensor(b, [layer.outputs])}`);
  lines.push("", `y = ${faltungLine(layer)}`);
  const torch = torchLine(layer);
  lines.push(torch.startsWith("#") ? torch : `assert torch.allclose(y, ${torch})`);
  return [...lines, "print(y)", ""].join("\n");
}
