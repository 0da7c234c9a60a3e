// The layer as one matrix product: every window written out as a row (im2col).
//
//   convolution   regions [windows, C/G·taps] · weight [O/G, C/G·taps]ᵀ = y − b
//   transposed    x [windows, C/G] · weight [C/G, O/G·taps] = stamps, added up where they land
//
// With groups each group multiplies its own; shown is the group of what is pointed at.

import { el } from "../dom.js";
import { Blocks } from "./blocks.js";
import { Kept } from "./kept.js";

export class Columns {
  constructor(host, app) {
    this.app = app;
    this.kept = new Kept();
    this.group = 0;
    this.text = el("p", { class: "lead" });
    host.append(this.text);
    this.blocks = new Blocks(host, app, "Columns");
  }

  rebuild() {
    this.group = 0;
  }

  refill() {
    const { app } = this;
    const { layer } = app;
    if (this.group >= layer.groups) this.group = 0;
    const [g, many] = [this.group, layer.groups > 1];
    this.text.replaceChildren(
      layer.transposed
        ? "Each input makes one stamp per output channel; stamps are added where they land. "
        : "Windows and filters are written out as rows: one matrix product gives all outputs. ",
      many ? el("b", {}, `Group ${g} of ${layer.groups}. `) : "",
    );
    this.blocks.show(layer.transposed ? this.stamps(g) : this.regions(g));
  }

  regions(g) {
    const { layer, x, w } = this.app;
    const { windows, taps, groupIn, groupOut } = layer;
    const across = groupIn * taps;
    const source = (q, k) => {
      const i = layer.source[q * taps + (k % taps)];
      return i < 0 ? -1 : (g * groupIn + Math.floor(k / taps)) * layer.inCount + i;
    };
    const weight = (k, o) => (g * groupOut + o) * across + k;
    const out = (q, o) => (g * groupOut + o) * layer.outCount + q;
    const { app, kept } = this;
    const { b } = app;
    const results = () => {
      const y = app.visible();
      return table(windows, groupOut, (q, o) => y[out(q, o)] - b[g * groupOut + o]);
    };
    return [
      {
        title: `regions ${windows}×${across}`,
        role: "input",
        gx: 0,
        gy: 1,
        rows: windows,
        columns: across,
        blank: "0",
        values: kept.get("regions", [layer, x, g], () =>
          table(windows, across, (q, k) => (source(q, k) < 0 ? NaN : x[source(q, k)])),
        ),
        ref: (q, k) => (source(q, k) < 0 ? null : { kind: "x", index: source(q, k) }),
      },
      {
        title: `w ${groupOut}×${across}`,
        role: "weight",
        gx: 0,
        gy: 0,
        rows: groupOut,
        columns: across,
        values: kept.get("w", [layer, w, g], () =>
          table(groupOut, across, (o, k) => w[weight(k, o)]),
        ),
        ref: (o, k) => ({ kind: "w", index: weight(k, o) }),
      },
      {
        title: this.app.state.bias ? "y − b" : "y",
        role: "output",
        gx: 1,
        gy: 1,
        rows: windows,
        columns: groupOut,
        values: kept.get("y", [layer, app.y, app.walk, g], results),
        ref: (q, o) => ({ kind: "y", index: out(q, o) }),
      },
    ];
  }

  stamps(g) {
    const { layer, x, w } = this.app;
    const { windows, taps, groupIn, groupOut } = layer;
    const across = groupOut * taps;
    const input = (q, c) => (g * groupIn + c) * layer.inCount + q;
    const weight = (c, k) => (g * groupIn + c) * across + k;
    const landing = (q, k) => {
      const i = layer.source[q * taps + (k % taps)];
      return i < 0 ? -1 : (g * groupOut + Math.floor(k / taps)) * layer.outCount + i;
    };
    const sum = (q, k) => {
      let total = 0;
      for (let c = 0; c < groupIn; c++) total += x[input(q, c)] * w[weight(c, k)];
      return total;
    };
    const { kept } = this;
    return [
      {
        title: "x",
        role: "input",
        gx: 0,
        gy: 1,
        rows: windows,
        columns: groupIn,
        values: kept.get("x", [layer, x, g], () =>
          table(windows, groupIn, (q, c) => x[input(q, c)]),
        ),
        ref: (q, c) => ({ kind: "x", index: input(q, c) }),
      },
      {
        title: `w ${groupIn}×${across}`,
        role: "weight",
        gx: 1,
        gy: 0,
        rows: groupIn,
        columns: across,
        values: kept.get("w", [layer, w, g], () =>
          table(groupIn, across, (c, k) => w[weight(c, k)]),
        ),
        ref: (c, k) => ({ kind: "w", index: weight(c, k) }),
      },
      {
        title: `stamps ${windows}×${across}`,
        role: "output",
        gx: 1,
        gy: 1,
        rows: windows,
        columns: across,
        blank: "",
        values: kept.get("stamps", [layer, x, w, g], () =>
          table(windows, across, (q, k) => (landing(q, k) < 0 ? NaN : sum(q, k))),
        ),
        ref: (q, k) => (landing(q, k) < 0 ? null : { kind: "y", index: landing(q, k) }),
      },
    ];
  }

  relight() {
    const { app } = this;
    const { layer } = app;
    const { ref, terms, now, done } = app.shown();
    const group = terms[0]?.g ?? this.group;
    if (group !== this.group) {
      this.group = group;
      this.refill();
    }
    const marks = [];
    const mark = ({ q, t, o, c }, how) => {
      const rows = layer.transposed
        ? [
            [0, q, c],
            [1, c, o * layer.taps + t],
            [2, q, o * layer.taps + t],
          ]
        : [
            [0, q, c * layer.taps + t],
            [1, o, c * layer.taps + t],
            [2, q, o],
          ];
      for (const [block, row, column] of rows) marks.push({ block, row, column, how });
    };
    for (const term of terms.slice(0, app.walk?.step == null ? undefined : done)) mark(term, "lit");
    if (now) mark(now, "now");
    this.blocks.light(marks, this.bands(ref, terms));
  }

  /** The row of the window and the row of the filter that meet in an output. */
  bands(ref, terms) {
    const { layer } = this.app;
    if (!terms.length) return [];
    const { q, o, c } = terms[0];
    if (ref.kind === "y" && !layer.transposed) {
      return [
        { block: 0, row: q },
        { block: 1, row: o },
      ];
    }
    if (ref.kind === "x" && layer.transposed)
      return [
        { block: 2, row: q },
        { block: 1, row: c },
      ];
    return [];
  }
}

function table(rows, columns, value) {
  const values = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) values[r * columns + c] = value(r, c);
  }
  return values;
}
