// The one model that all views look at: the layer, its numbers, and what is pointed at.
//
// Views subscribe with three functions: `rebuild` when sizes change, `refill` when numbers do,
// and `relight` when something else is pointed at. A view never changes another view.

import { layerOf, ravel, resultOf, termsOf, unravel } from "./arithmetic.js";
import { valuesFor } from "./data.js";
import { cleaned } from "./state.js";
import { next, previous, refOf, sofar, unitsOf } from "./walk.js";

export class App {
  constructor(state) {
    this.views = [];
    this.hovered = null; // what the pointer or the keyboard's cursor is on, or was last
    this.pinned = null; // what was clicked and stays
    this.spot = null; // one product, pointed at in the formula
    this.walk = null; // {unit, step} while the loops are being walked
    this.counting = false; // whether outputs show how many products they are made of
    this.adopt(cleaned(state));
    if (this.layer) return;
    // views need some layer to look at while the first one is impossible
    const impossible = this.state;
    this.adopt(cleaned({}));
    this.adopt(impossible);
  }

  /** Take over a whole state, and point at the middle of its output. */
  adopt(state) {
    this.take(state, () => [this.fitting(state.pin), this.middle()]);
  }

  /** Change some parameters; what is pointed at stays where it is. */
  change(patch) {
    const { layer, pinned, hovered } = this;
    this.take(cleaned({ ...this.state, ...patch }), () => [
      this.moved(pinned, layer),
      this.moved(hovered, layer) ?? (hovered && this.middle()),
    ]);
  }

  take(state, point) {
    this.state = state;
    const layer = layerOf(state);
    this.problems = layer.problems;
    if (!this.problems.length) {
      this.layer = layer;
      this.walk = null;
      this.spot = null;
      this.fill();
      [this.pinned, this.hovered] = point();
      state.pin = this.pinned;
    }
    this.tell("rebuild");
  }

  /** Read the numbers from where the state says and compute the result. */
  fill() {
    const { layer, state } = this;
    this.x = valuesFor("x", state.x, layer.xShape);
    this.w = valuesFor("w", state.w, layer.wShape);
    this.b = valuesFor("b", state.bias ? state.b : { fill: "zeros" }, [layer.outputs]);
    this.y = resultOf(layer, this.x, this.w, this.b);
  }

  /** Write one number of x, w or b. */
  edit(kind, index, value) {
    if (!Number.isFinite(value)) return;
    const values = Array.from(this[kind]);
    values[index] = value;
    const shape = { x: this.layer.xShape, w: this.layer.wShape, b: [this.layer.outputs] }[kind];
    this.state[kind] = { values, shape };
    this.fill();
    this.tell("refill");
  }

  /** Point at a cell. It stays until another is pointed at: a picture that flickers is no help. */
  hover(ref) {
    if (!ref || same(ref, this.hovered)) return;
    this.hovered = ref;
    if (!this.pinned) this.tell("relight");
  }

  /** Pin a cell; pinning it again lets go. */
  pin(ref) {
    this.hold(same(ref, this.pinned) ? null : ref);
  }

  /** Pin a cell or none, and end the walk: then the whole result is to be seen again. */
  hold(ref) {
    const walked = this.walk;
    this.walk = null;
    this.spot = null;
    this.pinned = ref;
    this.state.pin = ref;
    this.tell(walked ? "refill" : "relight");
  }

  /** Let go of everything that is pinned or walked. */
  release() {
    this.hovered = null;
    this.hold(null);
  }

  /** Point at one product of the formula, or at none. */
  point(number) {
    if (this.spot === number || this.walk?.step != null) return;
    this.spot = number;
    this.tell("relight");
  }

  /** Show how many products each output is made of, or what they come to. */
  count(on) {
    this.counting = on;
    this.tell("refill");
  }

  /** Go to a place in the walk. */
  walkTo(walk) {
    this.walk = walk;
    this.spot = null;
    if (walk) {
      this.pinned = refOf(this.layer, walk.unit);
      this.state.pin = this.pinned;
    }
    this.tell("refill");
  }

  /** One step on or back; false at the end of the loops. */
  step(direction, byTerm) {
    const start = { unit: 0, step: byTerm ? 0 : null };
    const here = this.walk && { ...this.walk, step: byTerm ? (this.walk.step ?? 0) : null };
    const there = !here ? start : (direction > 0 ? next : previous)(this.layer, here);
    if (there) this.walkTo(there);
    return Boolean(there);
  }

  get units() {
    return unitsOf(this.layer);
  }

  /** What is to be shown: the cell, its products, which of them is the one, and the running sum. */
  shown() {
    const ref = this.pinned ?? this.hovered;
    if (!ref) return { ref: null, terms: [], now: null, done: 0 };
    const terms = ref.kind === "b" ? [] : termsOf(this.layer, ref);
    const step = this.walk?.step ?? null;
    const number = step === null ? this.spot : step - 1;
    return { ref, terms, now: terms[number ?? -1] ?? null, done: step ?? terms.length };
  }

  /** The output as it is to be shown: all of it, or as far as the loops have come. */
  visible() {
    return this.walk ? sofar(this.layer, this, this.walk) : this.y;
  }

  shapeOf(kind) {
    const { xShape, wShape, yShape, outputs } = this.layer;
    return { x: xShape, w: wShape, y: yShape, b: [outputs] }[kind];
  }

  /** The middle of the first output channel. */
  middle() {
    const { yShape } = this.layer;
    const place = yShape.map((n, a) => (a ? Math.floor((n - 1) / 2) : 0));
    return { kind: "y", index: ravel(place, yShape) };
  }

  /** The same place in a layer of other sizes, or null where there is none. */
  moved(ref, before) {
    if (!ref) return null;
    const shapes = { x: before.xShape, w: before.wShape, y: before.yShape, b: [before.outputs] };
    const place = unravel(ref.index, shapes[ref.kind]);
    const shape = this.shapeOf(ref.kind);
    if (shape.length !== place.length) return null;
    const nearest = place.map((p, a) => Math.min(p, shape[a] - 1));
    return { kind: ref.kind, index: ravel(nearest, shape) };
  }

  fitting(ref) {
    if (!ref) return null;
    const count = this.shapeOf(ref.kind).reduce((all, n) => all * n, 1);
    return ref.index < count ? ref : null;
  }

  subscribe(view) {
    this.views.push(view);
    this.show(view, "rebuild");
  }

  tell(what) {
    for (const view of this.views) this.show(view, what);
  }

  /** After new sizes come new numbers, and after those the lights. */
  show(view, what) {
    if (what === "rebuild") view.rebuild?.();
    if (this.problems.length) return;
    if (what !== "relight") view.refill?.();
    view.relight?.();
  }
}

export function same(a, b) {
  return a === b || (a && b && a.kind === b.kind && a.index === b.index);
}
