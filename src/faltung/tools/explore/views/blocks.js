// Matrices side by side on a canvas: hundreds of thousands of entries, still pointed at one by one.
//
// A block is {title, role, gx, gy, rows, columns, values, blank, ref(row, column)}; gx and gy say
// in which column and band of the picture it stands. NaN entries are drawn as `blank`. Every band
// is two canvases over each other, numbers below, what is lit above; the upper one of two bands
// stays in sight while the lower one is scrolled.

import { el } from "../dom.js";
import { written } from "../numbers.js";
import { fontSize } from "./fit.js";
import { name } from "./words.js";

const LARGEST = 30;
const GAP = 26; // px between blocks
const LAST_TITLE = 26; // px that the last block's title may stand over
const TITLE = 20; // px above a block
const MOST_ENTRIES = 2_000_000; // beyond it a browser's canvas gives up
const MOST_PIXELS = 12_000_000;
const STICKY = 150; // px that may stay in sight
const GRID_FROM = 7; // px of a cell from which lines between cells help

export class Blocks {
  constructor(host, app, label) {
    [this.host, this.app, this.label] = [host, app, label];
    this.spoken = el("span", { class: "spoken", role: "status" });
    this.paper = el("div", {
      class: "paper",
      role: "application",
      tabindex: 0,
      "aria-label": label,
      "aria-roledescription": "matrix, arrow keys move, Enter pins",
    });
    this.scroller = el("div", { class: "scroller" }, this.paper);
    this.note = el("p", { class: "hint" });
    host.append(this.scroller, this.note, this.spoken);
    this.blocks = [];
    this.paper.addEventListener("pointermove", (e) => e.pointerType !== "touch" && this.pointed(e));
    this.paper.addEventListener("click", (event) => this.clicked(event));
    this.paper.addEventListener("keydown", (event) => this.key(event));
    this.paper.addEventListener("blur", () => this.leave());
    new ResizeObserver(() => this.resized()).observe(host);
  }

  /** Take other blocks and draw them, or only those whose numbers are others than before. */
  show(blocks) {
    const shape = blocks.map((b) => `${b.title} ${b.rows} ${b.columns}`).join();
    const theme = JSON.stringify(coloursOf(this.host));
    if (
      shape === this.shape &&
      theme === this.theme &&
      this.host.clientWidth === this.width &&
      !this.tooLarge
    ) {
      return this.redraw(blocks);
    }
    if (shape !== this.shape) this.cursor = null;
    [this.shape, this.theme] = [shape, theme];
    const entries = Math.max(0, ...blocks.map((b) => b.rows * b.columns));
    this.tooLarge = entries > MOST_ENTRIES;
    this.scroller.hidden = this.tooLarge;
    this.note.hidden = !this.tooLarge;
    this.note.textContent = this.tooLarge
      ? `Too large to draw: ${entries.toLocaleString("en-US")} entries. Make the layer smaller.`
      : "";
    this.blocks = blocks;
    return this.draw();
  }

  redraw(blocks) {
    blocks.forEach((b, i) => {
      const before = this.blocks[i];
      [b.left, b.top, b.font] = [before.left, before.top, before.font];
      if (b.values === before.values) return;
      const context = this.bandsShown[b.gy].base.getContext("2d");
      context.clearRect(
        b.left - 1,
        b.top - TITLE,
        b.columns * this.cell + 3,
        b.rows * this.cell + TITLE + 3,
      );
      this.drawBlock(context, b);
    });
    this.blocks = blocks;
    this.drawMarks();
  }

  resized() {
    if (this.host.clientWidth !== this.width) this.draw();
  }

  /** Sizes and places of all blocks at the largest size of a cell that fits. */
  arrange() {
    this.width = this.host.clientWidth;
    const most = (axis, count) => {
      const largest = [];
      for (const b of this.blocks) largest[b[axis]] = Math.max(largest[b[axis]] ?? 0, b[count]);
      return largest;
    };
    const [across, down] = [most("gx", "columns"), most("gy", "rows")];
    const all = across.reduce((total, n) => total + n, 0);
    const gaps = GAP * (across.length - 1);
    const least = all > 500 ? 1 : all > 60 ? 4 : 12;
    this.cell = Math.floor(
      Math.max(Math.min((this.width - LAST_TITLE - gaps) / all, LARGEST), least),
    );
    let left = 1;
    const lefts = across.map((n) => [left, (left += n * this.cell + GAP)][0]);
    for (const b of this.blocks) [b.left, b.top] = [lefts[b.gx], TITLE];
    const titles = this.blocks.map((b) => b.left + 7 * b.title.length);
    const width = Math.max(left - GAP + 1, Math.min(Math.max(...titles), this.width - 2));
    return [width, down.map((n) => n * this.cell + TITLE + 6)];
  }

  draw() {
    if (this.tooLarge || !this.blocks.length) return;
    const [width, heights] = this.arrange();
    const area = width * heights.reduce((sum, h) => sum + h, 0) * devicePixelRatio ** 2;
    const scale = area > MOST_PIXELS ? 1 : devicePixelRatio;
    const wide = heights.length !== this.bandsShown?.length;
    if (wide) this.bandsShown = heights.map(() => newBand());
    heights.forEach((height, gy) => {
      const { box, base, over } = this.bandsShown[gy];
      for (const canvas of [base, over]) {
        [canvas.width, canvas.height] = [Math.ceil(width * scale), Math.ceil(height * scale)];
        [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
        canvas.getContext("2d").scale(scale, scale);
      }
      box.classList.toggle("sticky", gy === 0 && heights.length > 1 && height <= STICKY);
    });
    if (wide) this.paper.replaceChildren(...this.bandsShown.map(({ box }) => box));
    this.paper.style.width = `${width}px`;
    this.above = this.bandsShown[0].box.matches(".sticky") ? heights[0] : 0;
    this.colours = coloursOf(this.host);
    for (const block of this.blocks) {
      this.drawBlock(this.bandsShown[block.gy].base.getContext("2d"), block);
    }
    this.drawMarks();
  }

  drawBlock(context, b) {
    const { cell } = this;
    const { soft, rule, card } = this.colours;
    const colour = this.colours[b.role];
    context.fillStyle = soft;
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    context.fillText(b.title, b.left, b.top - 7);
    context.fillStyle = card;
    context.fillRect(b.left, b.top, b.columns * cell, b.rows * cell);
    this.shade(context, b, colour);
    if (cell >= GRID_FROM) {
      context.fillStyle = rule;
      for (let r = 0; r <= b.rows; r++)
        context.fillRect(b.left, b.top + r * cell, b.columns * cell + 1, 1);
      for (let c = 0; c <= b.columns; c++)
        context.fillRect(b.left + c * cell, b.top, 1, b.rows * cell + 1);
    } else {
      context.strokeStyle = rule;
      context.strokeRect(b.left - 0.5, b.top - 0.5, b.columns * cell + 1, b.rows * cell + 1);
    }
    b.font = fontSize(b.values.filter(Number.isFinite), cell);
    if (b.font) b.values.forEach((_, i) => this.write(context, b, i));
  }

  /** The number of an entry. */
  write(context, b, i) {
    const blank = Number.isNaN(b.values[i]);
    const word = blank ? b.blank : written(b.values[i]);
    if (!word) return;
    const [r, c] = [Math.floor(i / b.columns), i % b.columns];
    context.font = `${b.font}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = blank ? this.colours.soft : this.colours.text;
    context.globalAlpha = blank ? 0.55 : 1;
    const { cell } = this;
    context.fillText(word, b.left + (c + 0.5) * cell + 0.5, b.top + (r + 0.54) * cell + 0.5);
    context.globalAlpha = 1;
  }

  /** Entries in their block's colour, the stronger the larger; one pixel each, then enlarged. */
  shade(context, b, colour) {
    const [red, green, blue] = rgb(colour);
    const image = new ImageData(b.columns, b.rows);
    let largest = 1e-9;
    for (const v of b.values) if (Math.abs(v) > largest) largest = Math.abs(v);
    b.values.forEach((value, i) => {
      if (Number.isNaN(value)) return;
      const strength =
        this.cell < GRID_FROM
          ? 0.18 + 0.75 * (Math.abs(value) / largest)
          : 0.08 + 0.3 * (Math.abs(value) / largest);
      image.data.set([red, green, blue, Math.round(255 * strength)], 4 * i);
    });
    const small = new OffscreenCanvas(b.columns, b.rows);
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, b.left, b.top, b.columns * this.cell, b.rows * this.cell);
  }

  /** Light entries: marks are {block, row, column, how}, bands {block, row} or {block, column}. */
  light(marks, bands) {
    // several products share an input or an output: light it once
    const seen = new Map(marks.map((m) => [`${m.block} ${m.row} ${m.column} ${m.how}`, m]));
    [this.marks, this.bands] = [[...seen.values()], bands];
    if (!this.tooLarge && this.blocks.length) this.drawMarks();
    this.follow();
  }

  drawMarks() {
    for (const { over } of this.bandsShown) {
      over.getContext("2d").clearRect(0, 0, over.width, over.height);
    }
    for (const band of this.bands ?? []) this.drawBand(band);
    for (const mark of this.marks ?? []) this.drawMark(mark);
    if (this.cursor) this.drawMark({ ...this.cursor, how: "cursor" });
  }

  contextOf(block) {
    return this.bandsShown[block.gy].over.getContext("2d");
  }

  /** A whole row or column of a block. */
  drawBand({ block, row, column }) {
    const b = this.blocks[block];
    if (!b) return;
    const { cell } = this;
    const context = this.contextOf(b);
    const [left, top, width, height] =
      row === undefined
        ? [b.left + column * cell, b.top, cell, b.rows * cell]
        : [b.left, b.top + row * cell, b.columns * cell, cell];
    context.fillStyle = context.strokeStyle = this.colours.text;
    context.globalAlpha = 0.08;
    context.fillRect(left, top, width, height);
    context.globalAlpha = 0.8;
    context.lineWidth = 1;
    context.strokeRect(left + 0.5, top + 0.5, width, height);
    context.globalAlpha = 1;
  }

  drawMark({ block, row, column, how }) {
    const b = this.blocks[block];
    if (!b || row >= b.rows || column >= b.columns) return;
    const { cell } = this;
    const context = this.contextOf(b);
    const [x, y] = [b.left + column * cell, b.top + row * cell];
    const grow = cell < 5 ? 1 : 0;
    context.fillStyle = context.strokeStyle =
      how === "now" || how === "cursor" ? this.colours.text : this.colours[b.role];
    context.globalAlpha = cell < GRID_FROM ? 1 : how === "lit" ? 0.5 : 0;
    context.fillRect(x - grow, y - grow, cell + 2 * grow, cell + 2 * grow);
    context.globalAlpha = 1;
    if (b.font && how === "lit") this.write(context, b, row * b.columns + column);
    context.fillStyle = context.strokeStyle;
    context.lineWidth = how === "lit" ? 1 : 2;
    if (cell >= GRID_FROM || how !== "lit") context.strokeRect(x + 0.5, y + 0.5, cell, cell);
  }

  /** Scroll what is lit into sight, inside this box only. */
  follow() {
    const last = this.bandsShown?.length - 1;
    const marks = [...(this.bands ?? []), ...(this.marks ?? [])];
    const mark = marks.find((m) => m.row !== undefined && this.blocks[m.block]?.gy === last);
    if (!mark || this.tooLarge || this.paper.matches(":hover, :focus")) return;
    const { scroller, cell } = this;
    const b = this.blocks[mark.block];
    const into = (start, size, view, place) =>
      place < start || place > start + size - 2 * cell ? Math.max(0, place - view / 2) : start;
    const room = scroller.clientHeight - this.above;
    scroller.scrollTop = into(scroller.scrollTop, room, room, b.top + mark.row * cell);
    const first = (this.marks ?? []).find((m) => m.block === mark.block);
    if (!first) return;
    const { scrollLeft, clientWidth } = scroller;
    scroller.scrollLeft = into(scrollLeft, clientWidth, clientWidth, b.left + first.column * cell);
  }

  at(event) {
    // the sticky band lies over the other one
    for (const [gy, { box }] of this.bandsShown.entries()) {
      const { left, top } = box.getBoundingClientRect();
      const [x, y] = [event.clientX - left, event.clientY - top];
      for (const [block, b] of this.blocks.entries()) {
        if (b.gy !== gy) continue;
        const [row, column] = [
          Math.floor((y - b.top) / this.cell),
          Math.floor((x - b.left) / this.cell),
        ];
        if (row >= 0 && row < b.rows && column >= 0 && column < b.columns)
          return { block, row, column };
      }
    }
    return null;
  }

  refOf(spot) {
    return spot ? this.blocks[spot.block].ref(spot.row, spot.column) : null;
  }

  pointed(event) {
    const ref = this.refOf(this.at(event));
    this.paper.title = ref ? this.words(ref) : "";
    this.paper.style.cursor = ref ? "pointer" : "";
    this.app.hover(ref);
  }

  clicked(event) {
    this.cursor = this.at(event) ?? this.cursor;
    const ref = this.refOf(this.at(event));
    if (ref) this.app.pin(ref);
    else this.drawMarks();
  }

  words(ref) {
    const value = { x: this.app.x, w: this.app.w, y: this.app.y, b: this.app.b }[ref.kind][
      ref.index
    ];
    return `${name(this.app.layer, ref)}: ${written(value)}`;
  }

  key(event) {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[
      event.key
    ];
    if (by) this.move(by);
    else if (event.key === "Enter" || event.key === " ") {
      const ref = this.refOf(this.cursor);
      if (ref) this.app.pin(ref);
    } else return;
    event.preventDefault();
  }

  /** Move the cursor; over a block's edge into the next one. */
  move([down, right]) {
    if (this.tooLarge || !this.blocks.length) return;
    if (!this.cursor) this.cursor = { block: 0, row: 0, column: 0 };
    else {
      const { block, row, column } = this.cursor;
      const b = this.blocks[block];
      const there = { block, row: row + down, column: column + right };
      if (there.row >= 0 && there.row < b.rows && there.column >= 0 && there.column < b.columns)
        this.cursor = there;
      else this.cursor = this.beyond(b, there, down, right) ?? this.cursor;
    }
    const ref = this.refOf(this.cursor);
    const { row, column } = this.cursor;
    const { title } = this.blocks[this.cursor.block];
    const what = ref ? this.words(ref) : "zero";
    this.spoken.textContent = `${title}, row ${row}, column ${column}: ${what}`;
    this.app.hover(ref);
    this.drawMarks();
  }

  beyond(b, spot, down, right) {
    const block = this.blocks.findIndex((other) =>
      right
        ? other.gy === b.gy && other.gx === b.gx + right
        : other.gx === b.gx && other.gy === b.gy + down,
    );
    if (block < 0) return null;
    const { rows, columns } = this.blocks[block];
    return {
      block,
      row: down ? (down > 0 ? 0 : rows - 1) : Math.min(spot.row, rows - 1),
      column: right ? (right > 0 ? 0 : columns - 1) : Math.min(spot.column, columns - 1),
    };
  }

  leave() {
    this.cursor = null;
    if (!this.tooLarge && this.blocks.length) this.drawMarks();
  }
}

function newBand() {
  const [base, over] = [el("canvas"), el("canvas", { class: "over" })];
  return { base, over, box: el("div", { class: "band" }, base, over) };
}

function coloursOf(host) {
  const style = getComputedStyle(host);
  const names = ["input", "weight", "output", "text", "soft", "rule", "card"];
  return Object.fromEntries(names.map((key) => [key, style.getPropertyValue(`--${key}`).trim()]));
}

function rgb(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}
