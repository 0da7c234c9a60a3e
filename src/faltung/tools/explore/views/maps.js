// The sliding window: input ∗ weight = output, as grids of numbers that can be pointed at.
//
// Of every grid one cell is in the tab order, and arrow keys move from cell to cell.

import { countsOf, placeOf, unravel } from "../arithmetic.js";
import { el } from "../dom.js";
import { unreadOf } from "../costs.js";
import { written } from "../numbers.js";
import { beginEdit } from "./edit.js";
import { fit, fontSize } from "./fit.js";
import { Planes } from "./planes.js";
import { name } from "./words.js";

export class Maps {
  constructor(host, app) {
    [this.host, this.app] = [host, app];
    this.lit = [];
    const pointed = (event) => this.refAt(event.target);
    host.addEventListener("pointerover", (e) => e.pointerType !== "touch" && app.hover(pointed(e)));
    host.addEventListener("click", (event) => this.clicked(event));
    host.addEventListener("dblclick", (event) => this.edited(event.target));
    host.addEventListener("focusin", (event) => this.focused(event.target));
    host.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.resize()).observe(host);
  }

  rebuild() {
    const { app, host } = this;
    if (app.problems.length) return;
    const planes = new Planes(app);
    const [x, w, y] = ["x", "w", "y"].map((kind) => planes.block(kind));
    const sign = (text) => el("span", { class: "sign", "aria-hidden": "true" }, text);
    host.replaceChildren(x, sign("∗"), w, sign("="), y);
    [this.cells, this.outside, this.border] = [planes.cells, planes.outside, planes.border];
    this.written = {}; // what stands in the cells
    this.lit = [];
    this.width = 0;
    this.resize();
  }

  refill() {
    const { app } = this;
    const counts = app.counting ? countsOf(app.layer) : null;
    const all = { x: app.x, w: app.w, y: counts ?? app.y, b: app.b };
    for (const kind of ["x", "w", "y", "b"]) {
      if (!this.cells[kind].length) continue;
      // sizes and shades are those of the whole result: they stay while the loops are walked
      const shade = shadeOf(all[kind]);
      if (kind !== "b") this.dress(kind, all[kind]);
      const values = kind === "y" && !counts ? app.visible() : all[kind];
      const [before, key] = [this.written[kind], `${shade.key} ${this.size[kind] ?? ""}`];
      const stale = before?.key !== key;
      this.cells[kind].forEach((cell, i) => {
        // a walk changes one number at a time, and writing all of them would be slow
        if (stale || !Object.is(before.values[i], values[i])) {
          this.write(cell, { kind, index: i }, values[i], shade);
        }
      });
      this.written[kind] = { key, values: values.slice() };
    }
    const shade = shadeOf(app.x);
    for (const { cell, kind, copied } of this.outside.values()) {
      if (kind !== "x") continue;
      const value = copied === null ? 0 : app.x[copied];
      cell.textContent = written(value);
      paint(cell, value, shade);
    }
    this.markUnread();
  }

  /** Numbers in one size for the whole tensor, or shades of grey where they do not fit. */
  dress(kind, values) {
    const block = this.host.querySelector(`[data-block="${kind}"]`);
    const font = fontSize(values, this.size[kind]);
    block.style.setProperty("--font", `${font}px`);
    block.classList.toggle("picture", font === 0);
  }

  write(cell, ref, value, shade) {
    if (cell.firstElementChild) return; // being edited
    const text = written(value);
    cell.textContent = text;
    paint(cell, value, shade);
    cell.classList.toggle("blank", Number.isNaN(value));
    cell.setAttribute("aria-label", `${name(this.app.layer, ref)}: ${text || "not yet computed"}`);
  }

  /** Inputs that no window reads get a mark of their own. */
  markUnread() {
    const { layer } = this.app;
    if (layer.transposed) return;
    const unread = layer.axes.map((_, a) => new Set(unreadOf(layer, a)));
    if (!unread.some((positions) => positions.size)) return;
    this.cells.x.forEach((cell, i) => {
      const place = unravel(i % layer.inCount, layer.inSize);
      cell.classList.toggle(
        "unread",
        place.some((p, a) => unread[a].has(p)),
      );
    });
  }

  relight() {
    const { app } = this;
    for (const cell of this.lit) cell.classList.remove("lit", "now", "chosen", "pinned");
    this.lit = [];
    const { ref, terms, now, done } = app.shown();
    const mark = (cell, mark) => {
      if (!cell) return;
      cell.classList.add(mark);
      this.lit.push(cell);
    };
    const light = (term, how) => {
      mark(this.cells.x[term.in], how);
      mark(this.cells.w[term.weight], how);
      mark(this.cells.y[term.out], how);
      mark(this.borderCell(term), how);
    };
    // what the loops have not reached yet stays dark
    for (const term of terms.slice(0, app.walk?.step == null ? undefined : done))
      light(term, "lit");
    if (now) light(now, "now");
    if (ref?.kind === "y" && app.state.bias)
      mark(this.cells.b[Math.floor(ref.index / app.layer.outCount)], "lit");
    if (ref) mark(this.cells[ref.kind][ref.index], "chosen");
    if (app.pinned) mark(this.cells[app.pinned.kind][app.pinned.index], "pinned");
    this.rove();
  }

  /** The cell of the padding or of the cropped border that a product looks at, if it does. */
  borderCell(term) {
    const { layer } = this.app;
    const channel = layer.transposed ? term.output : term.channel;
    return this.outside.get(`${channel} ${placeOf(layer, term.q, term.t).join(" ")}`)?.cell;
  }

  /** One cell of every grid is in the tab order: the chosen one, else the first. */
  rove() {
    for (const plane of this.host.querySelectorAll(".plane")) {
      const now = plane.querySelector('[tabindex="0"]');
      const next =
        plane.querySelector(".chosen") ?? now ?? plane.querySelector("[data-kind]:not(.outside)");
      if (now !== next) now?.setAttribute("tabindex", -1);
      next?.setAttribute("tabindex", 0);
    }
  }

  resize() {
    if (this.app.problems.length || !this.cells) return;
    const width = this.host.clientWidth;
    if (width === this.width) return;
    this.width = width;
    const { wrapped, blocks } = fit(this.app, width, this.border);
    this.size = {};
    ["x", "w", "y"].forEach((kind, i) => {
      const { style } = this.host.querySelector(`[data-block="${kind}"]`);
      this.size[kind] = blocks[i].size;
      style.setProperty("--cell", `${blocks[i].size}px`);
      style.setProperty("--groups", blocks[i].groupsPerRow);
      style.setProperty("--items", blocks[i].perRow);
      style.setProperty("--planes", blocks[i].planes);
      style.setProperty("--slices", blocks[i].slices);
    });
    this.host.classList.toggle("wrapped", wrapped);
    this.refill();
  }

  refAt(target) {
    const cell = target.closest?.("[data-kind]");
    return cell ? { kind: cell.dataset.kind, index: Number(cell.dataset.index) } : null;
  }

  clicked(event) {
    const ref = this.refAt(event.target);
    if (!ref || event.target.closest("input")) return;
    // the second click of a double one must not let go of what is about to be edited
    if (event.detail === 2 && ref.kind !== "y") return;
    this.app.pin(ref);
  }

  edited(target, text) {
    const ref = this.refAt(target);
    if (ref && ref.kind !== "y") beginEdit(this.app, this.cells[ref.kind][ref.index], ref, text);
  }

  focused(target) {
    const ref = this.refAt(target);
    if (!ref) return;
    const plane = target.closest(".plane");
    plane.querySelectorAll('[tabindex="0"]').forEach((cell) => cell.setAttribute("tabindex", -1));
    target.setAttribute("tabindex", 0);
    if (target.matches(":focus-visible")) this.app.hover(ref);
  }

  key(event) {
    const ref = this.refAt(event.target);
    if (!ref || event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey)
      return;
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[
      event.key
    ];
    if (by) this.move(event.target, by);
    else if (event.key === "Enter" || event.key === " ") this.app.pin(ref);
    else if (event.key === "F2") this.edited(event.target);
    else if (/^[-−\d.]$/.test(event.key)) this.edited(event.target, event.key);
    else return;
    event.preventDefault();
  }

  /** Move the focus within a plane; from one slice or plane into the next at its edge. */
  move(cell, [down, right]) {
    const line = cell.parentElement;
    const column = [...line.children].indexOf(cell);
    const lines = [...cell.closest(".block").querySelectorAll('[role="row"]')];
    const row = down ? lines[lines.indexOf(line) + down] : line;
    let next = row?.children[Math.min(column + right, row.children.length - 1)];
    while (next?.classList.contains("outside")) {
      next = right ? next[right > 0 ? "nextElementSibling" : "previousElementSibling"] : null;
    }
    if (right && column + right < 0) next = null;
    next?.focus();
  }
}

/** How a cell is shaded: by size where there are numbers, from dark to light in pictures. */
function shadeOf(values) {
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const largest = Math.max(-low, high, 1e-9);
  const shade = (value) => ({
    strength: Math.abs(value) / largest,
    light: (value - low) / Math.max(high - low, 1e-9),
  });
  return Object.assign(shade, { key: `${low} ${high}` });
}

function paint(cell, value, shade) {
  const { strength, light } = shade(Number.isNaN(value) ? 0 : value);
  cell.style.setProperty("--v", strength.toFixed(3));
  cell.style.setProperty("--l", light.toFixed(3));
}
