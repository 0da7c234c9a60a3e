// Walking through the loops: output by output, or multiply-add by multiply-add.
//
// A convolution is walked in the order of its outputs and gathers; a transposed one in the order
// of its inputs and scatters. One round of the outer loops is a unit; its steps are the products,
// step 0 being the moment before the first of them. `step` null takes the unit as a whole.

import { termsOf } from "./arithmetic.js";

/** How many units there are. */
export function unitsOf(layer) {
  return layer.transposed ? layer.channels * layer.inCount : layer.outputs * layer.outCount;
}

/** The cell that a unit is about. */
export function refOf(layer, unit) {
  return { kind: layer.transposed ? "x" : "y", index: unit };
}

/** The step after this one; null at the end. */
export function next(layer, walk) {
  const { unit, step } = walk;
  if (step !== null && step < termsOf(layer, refOf(layer, unit)).length) {
    return { ...walk, step: step + 1 };
  }
  if (unit + 1 >= unitsOf(layer)) return null;
  return { ...walk, unit: unit + 1, step: step === null ? null : 0 };
}

/** The step before this one; null at the beginning. */
export function previous(layer, walk) {
  const { unit, step } = walk;
  if (step) return { ...walk, step: step - 1 };
  if (!unit) return null;
  const steps = termsOf(layer, refOf(layer, unit - 1)).length;
  return { ...walk, unit: unit - 1, step: step === null ? null : steps };
}

/** The output as it stands at this step; NaN where the loops have not been yet. */
export function sofar(layer, { x, w, b, y }, walk) {
  const terms = termsOf(layer, refOf(layer, walk.unit)).slice(0, walk.step ?? undefined);
  const now = new Float64Array(y.length);
  if (!layer.transposed) {
    now.fill(NaN);
    now.set(y.subarray(0, walk.unit));
    now[walk.unit] = b[Math.floor(walk.unit / layer.outCount)];
  } else {
    for (let i = 0; i < now.length; i++) now[i] = b[Math.floor(i / layer.outCount)];
    for (let unit = 0; unit < walk.unit; unit++) add(now, termsOf(layer, refOf(layer, unit)), x, w);
  }
  add(now, terms, x, w);
  return now;
}

function add(y, terms, x, w) {
  for (const term of terms) {
    if (term.in >= 0 && term.out >= 0) y[term.out] += w[term.weight] * x[term.in];
  }
}
