// What cells are called: in words for those who listen, in symbols for formulas.

import { axisNames } from "../numbers.js";
import { unravel } from "../arithmetic.js";

function shapeOf(layer, kind) {
  return { x: layer.xShape, w: layer.wShape, y: layer.yShape, b: [layer.outputs] }[kind];
}

/** "output channel 0, row 2, column 1". */
export function name(layer, { kind, index }) {
  const [first, ...rest] = unravel(index, shapeOf(layer, kind));
  if (kind === "b") return `bias of channel ${first}`;
  const what = { x: "input", y: "output", w: "weight" }[kind];
  const place = kind === "w" ? rest.slice(1) : rest;
  const spots = place.map((p, a) => `${axisNames(layer.dims)[a]} ${p}`).join(", ");
  if (kind !== "w") return `${what} channel ${first}, ${spots}`;
  const [from, to] = layer.transposed ? [first, rest[0]] : [rest[0], first];
  const within = layer.groups > 1 ? " of its group" : "";
  const channels = layer.transposed
    ? `from channel ${from} to channel ${to}${within}`
    : `to channel ${to} from channel ${from}${within}`;
  return `${what} ${channels}, ${spots}`;
}

/** y[0, 2, 1]. */
export function symbol(layer, { kind, index }) {
  return `${kind}[${unravel(index, shapeOf(layer, kind)).join(", ")}]`;
}
