// The whole layer as one matrix: y = K x + b, one row per output and one column per input.

import { el } from "../dom.js";
import { Blocks } from "./blocks.js";
import { Kept } from "./kept.js";

export class Matrix {
  constructor(host, app) {
    this.app = app;
    this.kept = new Kept();
    this.text = el("p", { class: "lead" });
    host.append(this.text);
    this.blocks = new Blocks(host, app, "Kernel matrix");
  }

  refill() {
    const { app } = this;
    const { layer, w } = app;
    const rows = layer.outputs * layer.outCount;
    const columns = layer.channels * layer.inCount;
    this.text.replaceChildren(
      layer.transposed
        ? "The kernel matrix of the convolution, transposed: a column for every input, "
        : "Every output is a row, every input a column: ",
      el("b", {}, `${rows} × ${columns}`),
      ", ",
      `${share(app)} of it zero. Point at an entry to see its weight everywhere.`,
    );
    const count = rows * columns <= 2e6 ? rows * columns : 0;
    const entries = this.kept.get("K", [layer, w], () => this.entries(count, columns, w));
    this.blocks.show([
      {
        title: "K",
        role: "weight",
        gx: 0,
        gy: 1,
        rows,
        columns,
        values: entries,
        blank: "",
        ref: (r, c) => {
          const index = this.weights[r * columns + c];
          return index > 0 ? { kind: "w", index: index - 1 } : null;
        },
      },
      {
        title: "x, flattened",
        role: "input",
        gx: 0,
        gy: 0,
        rows: 1,
        columns,
        values: app.x,
        ref: (_, c) => ({ kind: "x", index: c }),
      },
      {
        title: app.state.bias ? "y − b" : "y",
        role: "output",
        gx: 1,
        gy: 1,
        rows,
        columns: 1,
        values: this.kept.get("y", [layer, app.b, app.walk, app.y], () =>
          this.products(app.visible()),
        ),
        ref: (r) => ({ kind: "y", index: r }),
      },
    ]);
  }

  /** The entries, NaN where no weight is; with a padding mode several weights may meet in one. */
  entries(count, columns, w) {
    const { layer } = this.app;
    const values = new Float64Array(count).fill(NaN);
    // which weight an entry holds, plus one; where several meet, the last of them
    this.weights = new Int32Array(count);
    if (!count) return values;
    for (let o = 0; o < layer.outputs; o++) {
      const g = Math.floor(o / layer.groupOut);
      for (let c = 0; c < layer.groupIn; c++) this.map(values, columns, w, g, o, c);
    }
    return values;
  }

  map(values, columns, w, g, o, c) {
    const { layer } = this.app;
    const channel = g * layer.groupIn + c;
    const row = layer.transposed
      ? channel * layer.groupOut + (o % layer.groupOut)
      : o * layer.groupIn + c;
    layer.source.forEach((i, pair) => {
      if (i < 0) return;
      const t = pair % layer.taps;
      const q = (pair - t) / layer.taps;
      const [out, inside] = layer.transposed ? [i, q] : [q, i];
      const at = (o * layer.outCount + out) * columns + channel * layer.inCount + inside;
      const weight = row * layer.taps + t;
      values[at] = (Number.isNaN(values[at]) ? 0 : values[at]) + w[weight];
      this.weights[at] = weight + 1;
    });
  }

  products(y) {
    const { app } = this;
    return y.map((v, i) => v - app.b[Math.floor(i / app.layer.outCount)]);
  }

  relight() {
    const { ref, terms, now, done } = this.app.shown();
    const marks = [];
    const mark = (term, how) => {
      if (term.in < 0 || term.out < 0) return;
      marks.push({ block: 0, row: term.out, column: term.in, how });
      marks.push({ block: 1, row: 0, column: term.in, how });
      marks.push({ block: 2, row: term.out, column: 0, how });
    };
    for (const term of terms.slice(0, this.app.walk?.step == null ? undefined : done))
      mark(term, "lit");
    if (now) mark(now, "now");
    const bands = [];
    if (ref?.kind === "y") bands.push({ block: 0, row: ref.index }, { block: 2, row: ref.index });
    if (ref?.kind === "x")
      bands.push({ block: 0, column: ref.index }, { block: 1, column: ref.index });
    this.blocks.light(marks, bands);
  }
}

function share(app) {
  const { layer } = app;
  const inside = layer.source.reduce((count, i) => count + (i >= 0), 0);
  const used = layer.outputs * layer.groupIn * inside;
  const all = layer.outputs * layer.outCount * layer.channels * layer.inCount;
  const zero = 100 * Math.max(0, 1 - used / all);
  return `${zero >= 99.5 && used < all ? zero.toFixed(1) : Math.round(zero)} %`;
}
