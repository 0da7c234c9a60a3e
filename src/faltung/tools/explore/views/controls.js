// The parameters of the layer: one stepper per number, every axis and every end of its own.

import { el } from "../dom.js";
import { FILLS, imageValues } from "../data.js";
import { axisLetters, perAxis, times } from "../numbers.js";
import { most } from "../state.js";
import { MODES } from "../arithmetic.js";

const ROWS = [
  ["input", "Input size"],
  ["kernel", "Kernel size"],
  ["stride", "Stride"],
  ["dilation", "Dilation"],
  ["extra", "Output padding"],
];
const PADDING_ROWS = [
  ["low", "before"],
  ["high", "after"],
];
const COUNTS = [
  ["channels", "Channels in"],
  ["outputs", "Channels out"],
  ["groups", "Groups"],
];
const WORDS = [
  ["", "by numbers"],
  ["valid", "valid (none)"],
  ["same", "same"],
  ["same_lower", "same, low end"],
  ["causal", "causal"],
];
const PICTURE_SIZE = 28; // an image on fewer positions is not recognised

/** Whether every axis has the same numbers, so that one column is enough. */
function alike(state) {
  return ["input", "kernel", "stride", "dilation", "low", "high", "extra"].every(
    (name) => new Set(state[name]).size === 1,
  );
}

export class Controls {
  constructor(form, brief, app) {
    [this.form, this.brief, this.app] = [form, brief, app];
    this.together = alike(app.state);
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  rebuild() {
    const { state } = this.app;
    if (!alike(state)) this.together = false;
    const key = `${state.dims} ${state.transposed} ${this.together}`;
    if (key !== this.key) {
      const focused = document.activeElement?.dataset?.key;
      this.key = key;
      this.form.replaceChildren(...this.parts());
      if (focused) this.form.querySelector(`[data-key="${focused}"]`)?.focus();
    }
    this.sync();
  }

  /** Put the state's values into the fields. */
  sync() {
    const { state, layer, problems } = this.app;
    for (const field of this.form.querySelectorAll("[data-key]")) {
      const [name, a] = field.dataset.key.split(".");
      if (field.type === "radio") field.checked = String(state[name]) === field.value;
      else if (field.type === "checkbox")
        field.checked = name === "together" ? this.together : state[name];
      else if (name in FILLS) field.value = state[name].fill ?? "hand";
      else if (field !== document.activeElement || field.type !== "number") {
        field.value = a === undefined ? state[name] : this.number(name, Number(a));
      } else if (Number(field.value) !== this.number(name, Number(a))) {
        field.dataset.stale = "";
      }
    }
    for (const [name] of PADDING_ROWS) {
      for (const field of this.form.querySelectorAll(`[data-key^="${name}."]`)) {
        field.disabled = Boolean(state.word);
        for (const button of field.parentElement.querySelectorAll("button")) {
          button.disabled = field.disabled;
        }
      }
    }
    const causal = this.form.querySelector('option[value="causal"]');
    causal.disabled = state.transposed || state.dims !== 1;
    const { kernel, stride } = state;
    this.brief.textContent =
      `${state.transposed ? "transposed " : ""}${times(kernel)} on ${times(state.input)}` +
      (stride.some((s) => s > 1) ? `, stride ${perAxis(stride)}` : "");
    this.form.classList.toggle("wrong", problems.length > 0 || !layer);
  }

  /** A number as shown: padding that a word stands for is shown as what it comes to. */
  number(name, a) {
    const { state, layer, problems } = this.app;
    if (state.word && !problems.length && (name === "low" || name === "high")) {
      return layer.axes[a][name];
    }
    return Array.isArray(state[name]) ? state[name][a] : state[name];
  }

  refill() {
    for (const name of Object.keys(FILLS)) {
      const select = this.form.querySelector(`[data-key="${name}"]`);
      select.value = this.app.state[name].fill ?? "hand";
    }
  }

  parts() {
    const { state } = this.app;
    const { dims, transposed } = state;
    return [
      this.choice(
        "Kind",
        "transposed",
        [
          ["false", "Convolution"],
          ["true", "Transposed"],
        ],
        (v) => ({
          transposed: v === "true",
          word: state.word === "causal" ? "" : state.word,
        }),
      ),
      this.choice(
        "Axes",
        "dims",
        [
          ["1", "1-D"],
          ["2", "2-D"],
          ["3", "3-D"],
        ],
        (v) => this.withAxes(Number(v)),
      ),
      this.sizes(
        ROWS.filter(([name]) => transposed || name !== "extra"),
        dims,
      ),
      this.padding(dims),
      el(
        "fieldset",
        { class: "grid" },
        el("legend", {}, "Channels"),
        COUNTS.map(([name, label]) => this.row(label, [this.stepper(name, null, label)])),
        this.check("bias", "Bias", () => this.app.change({ bias: !this.app.state.bias })),
      ),
      el(
        "fieldset",
        { class: "grid" },
        el("legend", {}, "Numbers"),
        this.fillRow("x", "Input"),
        this.fillRow("w", "Weight"),
        this.fillRow("b", "Bias"),
        this.imageRow(),
      ),
    ];
  }

  choice(legend, name, options, patch) {
    return el(
      "fieldset",
      { class: "choice" },
      el("legend", { class: "spoken" }, legend),
      options.map(([value, label]) =>
        el(
          "label",
          {},
          el("input", {
            type: "radio",
            name,
            value,
            "data-key": name,
            onchange: () => this.app.change(patch(value)),
          }),
          el("span", {}, label),
        ),
      ),
    );
  }

  /** Other numbers of axes want other sizes: what was one row is not a cube. */
  withAxes(dims) {
    const { state } = this.app;
    const input = { 1: 12, 2: 6, 3: 4 }[dims];
    const kernel = Math.min(state.kernel[0], { 1: 5, 2: 3, 3: 2 }[dims]);
    return {
      dims,
      input: [input],
      kernel: [kernel],
      word: state.word === "causal" ? "" : state.word,
      x: state.x.fill ? state.x : { fill: "random", seed: 1 },
      w: state.w.fill ? state.w : { fill: "random", seed: 1 },
    };
  }

  sizes(rows, dims) {
    const columns = this.columns();
    return el(
      "fieldset",
      { class: "grid" },
      el("legend", { class: "spoken" }, "Sizes"),
      dims > 1 && this.check("together", "All axes alike", () => this.tie()),
      columns > 1 && this.heads(dims),
      rows.map(([name, label]) => this.row(label, this.steppers(name, label))),
    );
  }

  padding() {
    const { app } = this;
    return el(
      "fieldset",
      { class: "grid" },
      el("legend", {}, "Padding"),
      this.row("Amount", [
        this.select("word", WORDS, (word) => app.change({ word, ...this.amounts() })),
      ]),
      PADDING_ROWS.map(([name, label]) =>
        this.row(`… ${label}`, this.steppers(name, `Padding ${label}`)),
      ),
      this.row("Filled with", [
        this.select(
          "mode",
          MODES.map((mode) => [mode, mode]),
          (mode) => app.change({ mode }),
        ),
      ]),
    );
  }

  /** The padding as it is now, so that going from a word to numbers changes nothing. */
  amounts() {
    const { axes } = this.app.layer;
    return { low: axes.map((axis) => axis.low), high: axes.map((axis) => axis.high) };
  }

  columns() {
    return this.together ? 1 : this.app.state.dims;
  }

  heads(dims) {
    return el(
      "div",
      { class: "row heads", "aria-hidden": "true" },
      el("span"),
      el(
        "span",
        { class: "fields" },
        axisLetters(dims).map((letter) => el("span", {}, letter)),
      ),
    );
  }

  row(label, fields) {
    const single = fields.length === 1 && fields[0].querySelector("input, select");
    const id = single?.id || (single && (single.id = `field-${single.dataset.key}`));
    return el(
      "div",
      { class: "row" },
      single ? el("label", { for: id }, label) : el("span", {}, label),
      el("span", { class: "fields" }, fields),
    );
  }

  steppers(name, label) {
    const letters = axisLetters(this.app.state.dims);
    const columns = this.columns();
    return Array.from({ length: columns }, (_, a) =>
      this.stepper(name, a, columns > 1 ? `${label}, ${letters[a]}` : label),
    );
  }

  /** A number with − and +; the buttons are for pointers, the field has the arrow keys. */
  stepper(name, a, label) {
    const field = el("input", {
      type: "number",
      inputmode: "numeric",
      "data-key": a === null ? name : `${name}.${a}`,
      min: ["low", "high", "extra"].includes(name) ? 0 : 1,
      max: most(name, this.app.state.dims),
      step: 1,
      "aria-label": label,
      oninput: () => field.value !== "" && this.set(name, a, Number(field.value)),
      onblur: () => this.sync(),
    });
    const button = (sign, by) =>
      el(
        "button",
        {
          type: "button",
          tabindex: -1,
          "aria-label": `${label}: ${by > 0 ? "more" : "less"}`,
          onclick: () => this.set(name, a, this.number(name, a ?? 0) + by),
        },
        sign,
      );
    return el("span", { class: "stepper" }, button("−", -1), field, button("+", 1));
  }

  set(name, a, value) {
    const { state } = this.app;
    if (a === null) return this.app.change({ [name]: value });
    const values = state[name].map((old, i) => (this.together || i === a ? value : old));
    return this.app.change({ [name]: values });
  }

  tie() {
    this.together = !this.together;
    if (this.together) {
      const names = ["input", "kernel", "stride", "dilation", "low", "high", "extra"];
      const first = Object.fromEntries(names.map((name) => [name, [this.app.state[name][0]]]));
      this.app.change(first);
    } else this.rebuild();
  }

  check(name, label, onchange) {
    return el(
      "label",
      { class: "check" },
      el("input", { type: "checkbox", "data-key": name, onchange }),
      el("span", {}, label),
    );
  }

  select(name, options, pick) {
    const select = el(
      "select",
      { "data-key": name, onchange: () => pick(select.value) },
      options.map(([value, label]) => el("option", { value }, label)),
    );
    return el("span", { class: "wide" }, select);
  }

  fillRow(name, label) {
    const { app } = this;
    const options = [...Object.entries(FILLS[name]), ["hand", "as edited"]];
    const pick = (fill) => fill !== "hand" && app.change({ [name]: { fill, seed: 1 } });
    const again = el(
      "button",
      {
        type: "button",
        class: "small",
        title: "Other random numbers",
        "aria-label": `${label}: other random numbers`,
        onclick: () =>
          app.change({
            [name]: { fill: "random", seed: ((app.state[name].seed ?? 0) + 1) % 1000 },
          }),
      },
      "↻",
    );
    const field = this.select(name, options, pick);
    field.querySelector('option[value="hand"]').hidden = true;
    const row = this.row(label, [field]);
    row.lastChild.append(again);
    return row;
  }

  imageRow() {
    const file = el("input", {
      type: "file",
      accept: "image/*",
      id: "image",
      class: "spoken",
      onchange: () => file.files[0] && this.takeImage(file.files[0]),
    });
    return el(
      "div",
      { class: "row" },
      el("span", {}, "From a file"),
      el(
        "span",
        { class: "fields" },
        el("label", { class: "button", for: "image" }, "Image …"),
        file,
      ),
    );
  }

  /** An image becomes the input, scaled to the map; a map too small for it grows. */
  async takeImage(file) {
    const { state } = this.app;
    const large = state.dims === 2 && Math.min(...state.input) >= PICTURE_SIZE / 2;
    const input = large ? state.input : [PICTURE_SIZE, PICTURE_SIZE];
    const more = state.dims === 2 ? {} : { ...this.withAxes(2), kernel: [3] };
    try {
      const x = await imageValues(file, state.channels, input);
      this.app.change({ ...more, dims: 2, input, x });
    } catch {
      this.app.complain("This file is no image that the browser can read.");
    }
  }
}
