// The elements of the three tensors: blocks of groups of planes of cells.
//
// Padding is drawn where it lies: around the input, or, transposed, as what is cropped from the
// output. A plane is an ARIA grid; a 3-D plane is a row of slices.

import { foldIn, product, ravel } from "../arithmetic.js";
import { el } from "../dom.js";
import { times } from "../numbers.js";

const ROLES = { x: "input", w: "weight", b: "weight", y: "output" };

export class Planes {
  constructor(app) {
    this.app = app;
    this.cells = { x: [], w: [], y: [], b: [] };
    this.outside = new Map(); // cells of the padding or the cropped border, by place
    this.border = this.border.bind(this);
  }

  /** A heading and the planes of one tensor, group by group. */
  block(kind) {
    const { layer } = this.app;
    const shape = this.app.shapeOf(kind);
    const heading = { x: "Input", w: "Weight", y: "Output" }[kind];
    const outer = kind === "w" ? (layer.transposed ? layer.channels : layer.outputs) : shape[0];
    const perGroup = outer / layer.groups;
    const groups = Array.from({ length: layer.groups }, (_, g) =>
      el(
        "div",
        { class: "group" },
        layer.groups > 1 && el("p", { class: "group-name" }, `group ${g}`),
        el(
          "div",
          { class: "items" },
          Array.from({ length: perGroup }, (_, i) => this.planes(kind, g * perGroup + i)),
        ),
      ),
    );
    return el(
      "section",
      { class: `block ${ROLES[kind]}`, "data-block": kind },
      el("h3", {}, heading, el("small", {}, times(shape))),
      el("div", { class: "groups" }, groups),
      kind === "y" && this.counter(),
    );
  }

  /** Shows how many products make each output instead of their sum. */
  counter() {
    const box = el("input", {
      type: "checkbox",
      id: "counting",
      onchange: () => this.app.count(box.checked),
    });
    box.checked = this.app.counting;
    return el("label", { class: "check soft" }, box, el("span", {}, "count products"));
  }

  /** One channel of a map, or one filter of the weight with a plane per channel. */
  planes(kind, outer) {
    const { layer } = this.app;
    const inner = kind === "w" ? layer.wShape[1] : 1;
    const planes = Array.from({ length: inner }, (_, i) =>
      this.plane(kind, outer * inner + i, outer, i),
    );
    const biased = kind === "w" && this.app.state.bias && !layer.transposed;
    const label = kind === "w" ? this.filterName(outer) : `channel ${outer}`;
    const many = kind === "w" ? layer.channels * layer.outputs > 1 : this.app.shapeOf(kind)[0] > 1;
    return el(
      "div",
      { class: "planes" },
      many && el("p", { class: "plane-name" }, label),
      el(
        "div",
        { class: "row-of-planes" },
        el("div", { class: "grid-of-planes" }, planes),
        biased && this.biasCell([outer]),
      ),
      kind === "w" &&
        layer.transposed &&
        this.app.state.bias &&
        outer === layer.channels - 1 &&
        this.biasRow(),
    );
  }

  filterName(outer) {
    return this.app.layer.transposed ? `from channel ${outer}` : `to channel ${outer}`;
  }

  biasCell(outputs) {
    return el(
      "div",
      { class: "bias" },
      el("span", { class: "plane-name" }, "+ b"),
      el(
        "div",
        { class: "plane", role: "grid", "aria-label": `Bias of channel ${outputs[0]}` },
        el(
          "div",
          { class: "cells", role: "row", style: "--columns:1" },
          outputs.map((o) => this.cell("b", o)),
        ),
      ),
    );
  }

  biasRow() {
    const all = Array.from({ length: this.app.layer.outputs }, (_, o) => o);
    return el(
      "div",
      { class: "bias below" },
      el("span", { class: "plane-name" }, "+ b"),
      el(
        "div",
        { class: "plane", role: "grid", "aria-label": "Bias of every output channel" },
        el(
          "div",
          { class: "cells", role: "row", style: `--columns:${all.length}` },
          all.map((o) => this.cell("b", o)),
        ),
      ),
    );
  }

  /** One grid; a 3-D plane is a row of slices. */
  plane(kind, number, outer, inner) {
    const { layer } = this.app;
    const size = kind === "w" ? layer.kernel : kind === "x" ? layer.inSize : layer.outSize;
    const border = this.border(kind);
    const count = product(size);
    const full = size.map((n, a) => n + border[a][0] + border[a][1]);
    const flat = [1, 1, 1, ...full].slice(-3); // slices, rows, columns
    const slices = [];
    for (let z = 0; z < flat[0]; z++) {
      const rows = Array.from({ length: flat[1] }, (_, r) =>
        el(
          "div",
          { class: "line", role: "row" },
          Array.from({ length: flat[2] }, (_, c) => {
            const place = [z, r, c].slice(-size.length).map((p, a) => p - border[a][0]);
            const index = ravel(place, size);
            return index < 0
              ? this.outsideCell(kind, number, place)
              : this.cell(kind, number * count + index);
          }),
        ),
      );
      slices.push(el("div", { class: "cells", style: `--columns:${flat[2]}` }, rows));
    }
    const label =
      kind === "w"
        ? `Weight, ${this.filterName(outer)}, plane ${inner}`
        : `${kind === "x" ? "Input" : "Output"} channel ${outer}`;
    return el(
      "div",
      { class: "plane", role: "grid", "aria-label": label, "data-plane": kind },
      slices,
    );
  }

  /** Cells around a map: padding around the input, cropped ones around a transposed output. */
  border(kind) {
    const { layer } = this.app;
    const around = layer.transposed ? "y" : "x";
    return layer.axes.map((axis) => {
      if (kind !== around) return [0, 0];
      if (!layer.transposed) return [axis.low, axis.high];
      const reach = (axis.out - 1) * axis.stride + axis.span - axis.low;
      return [axis.low, Math.max(0, reach - axis.size)];
    });
  }

  cell(kind, index) {
    const cell = el("div", {
      class: "cell",
      role: "gridcell",
      tabindex: -1,
      "data-kind": kind,
      "data-index": index,
    });
    this.cells[kind][index] = cell;
    return cell;
  }

  outsideCell(kind, channel, place) {
    const cell = el("div", { class: "cell outside", role: "gridcell", "aria-hidden": "true" });
    const { layer } = this.app;
    const size = layer.axes.map((axis) => axis.size);
    const inside = ravel(
      place.map((p, a) => foldIn(p, size[a], layer.axes[a].mode)),
      size,
    );
    const copied = inside < 0 ? null : channel * product(size) + inside;
    this.outside.set(`${channel} ${place.join(" ")}`, { cell, kind, copied });
    if (copied !== null) Object.assign(cell.dataset, { kind, index: copied });
    return cell;
  }
}
