// The numbers about the layer: output size, costs beside its relatives, receptive field.

import { costsOf, fieldOf, relativesOf, sizeFormula } from "../costs.js";
import { el } from "../dom.js";
import { axisNames, bytesWritten, grouped, perAxis, written } from "../numbers.js";

const DEPTHS = [1, 2, 3, 4]; // layers of a stack whose field is shown

export class Facts {
  constructor(host, app) {
    [this.host, this.app] = [host, app];
  }

  rebuild() {
    if (this.app.problems.length) return;
    this.host.replaceChildren(this.sizes(), this.costs(), this.relatives(), this.field());
  }

  sizes() {
    const { layer } = this.app;
    const formulas = layer.axes.map((_, a) => sizeFormula(layer, a));
    const alike = new Set(formulas.map((f) => JSON.stringify(f))).size === 1;
    const shown = alike ? formulas.slice(0, 1) : formulas;
    const names = axisNames(layer.dims);
    return card(
      "Output size",
      shown.map((formula, a) =>
        el(
          "div",
          { class: "size" },
          el(
            "p",
            {},
            el("b", {}, `${formula.before} → ${formula.after}`),
            layer.dims > 1 && soft(alike ? "  on every axis" : `  ${names[a]}s`),
          ),
          formula.lines.map((line) => el("p", { class: "working" }, line)),
          formula.remark && el("p", { class: "hint" }, formula.remark),
        ),
      ),
    );
  }

  costs() {
    const { layer } = this.app;
    const costs = costsOf(layer);
    const share = Math.round((100 * costs.executed) / costs.macs);
    return card(
      "Cost",
      pairs([
        ["parameters", grouped(costs.parameters)],
        ["multiply-adds", grouped(costs.macs)],
        [
          layer.transposed ? "… not cropped" : "… not on padding",
          `${grouped(costs.executed)}  (${share} %)`,
        ],
        ["… both gradients", grouped(2 * costs.macs)],
        ["bytes moved at least", bytesWritten(costs.bytes)],
        ["bytes of the columns", bytesWritten(costs.im2colBytes)],
        ["operations a byte", costs.intensity.toFixed(1)],
      ]),
    );
  }

  relatives() {
    const { layer } = this.app;
    const forms = relativesOf(layer);
    const most = forms[0][2];
    const current =
      layer.groups === 1
        ? "dense"
        : layer.groups === layer.channels
          ? "depthwise"
          : `${layer.groups} groups`;
    return card(
      "The same layer as …",
      table(
        ["", "parameters", "multiply-adds", "of dense"],
        forms.map(([name, parameters, macs]) => [
          name,
          grouped(parameters),
          grouped(macs),
          `${Math.round((100 * macs) / most)} %`,
        ]),
        (row) => row[0] === current,
      ),
    );
  }

  field() {
    const { layer } = this.app;
    const rows = DEPTHS.filter(
      (depth) => !layer.transposed || Math.max(...layer.state.stride) ** depth <= 512,
    ).map((depth) => {
      const axes = fieldOf(layer, depth);
      return [
        depth,
        perAxis(axes.map((f) => f.size)),
        perAxis(axes.map((f) => fraction(f.jump))),
        perAxis(axes.map((f) => written(f.start))),
      ];
    });
    return card(
      "Receptive field",
      table(["such layers", "sees", "jump", "centre of output 0"], rows, (row) => row[0] === 1),
    );
  }
}

function card(title, ...content) {
  return el("div", { class: "card" }, el("h3", {}, title), content);
}

function soft(text) {
  return el("span", { class: "soft" }, text);
}

function pairs(rows) {
  return el(
    "dl",
    {},
    rows.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))),
  );
}

function table(head, rows, strong) {
  return el(
    "table",
    {},
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        head.map((text) => el("th", { scope: "col" }, text)),
      ),
    ),
    el(
      "tbody",
      {},
      rows.map((row) =>
        el(
          "tr",
          { class: strong(row) ? "strong" : null },
          row.map((text, i) => el(i ? "td" : "th", i ? {} : { scope: "row" }, String(text))),
        ),
      ),
    ),
  );
}

function fraction(value) {
  return value > 0 && value < 1 && Number.isInteger(1 / value) ? `1/${1 / value}` : written(value);
}
