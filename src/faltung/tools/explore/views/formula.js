// The sum behind the cell that is pointed at, with the numbers put in.

import { el } from "../dom.js";
import { factor, read, written } from "../numbers.js";
import { name, symbol } from "./words.js";

const LISTED = 32; // products that are written out

const GENERAL = {
  false: "y[o, q] = b[o] + Σ w[o, c, t] · x[c, i]     with  i = q·s − low + t·d",
  true: "y[o, i] = b[o] + Σ w[c, o, t] · x[c, q]     with  i = q·s − low + t·d",
};

export class Formula {
  constructor(host, announcement, app) {
    [this.host, this.announcement, this.app] = [host, announcement, app];
    host.addEventListener("pointerover", (event) => {
      const product = event.target.closest("[data-term]");
      app.point(product ? Number(product.dataset.term) : null);
    });
    host.addEventListener("pointerleave", () => app.point(null));
  }

  relight() {
    const { app } = this;
    const { ref, terms, now, done } = app.shown();
    this.terms = terms;
    const key =
      ref && `${ref.kind}${ref.index} ${done} ${Boolean(app.walk)} ${Boolean(app.pinned)}`;
    if (ref && key === this.key && !this.stale) return this.mark(now, terms);
    this.key = key;
    this.stale = false;
    if (!ref) {
      this.host.replaceChildren(
        el("p", { class: "general" }, GENERAL[app.layer.transposed]),
        el("p", { class: "hint" }, "Point at any cell; click it to keep it."),
      );
      this.announcement.textContent = "Nothing is pointed at.";
      return undefined;
    }
    const typing = this.host.contains(document.activeElement);
    const write = { y: "output", x: "input", w: "weight", b: "bias" }[ref.kind];
    this.host.replaceChildren(
      el("p", { class: "general" }, GENERAL[app.layer.transposed]),
      ...this[write](ref, terms, done).filter(Boolean),
    );
    if (typing) this.host.querySelector(".value")?.focus();
    this.announcement.textContent = this.spoken(ref, terms, done);
    return this.mark(now, terms);
  }

  refill() {
    this.stale = true;
  }

  mark(now, terms) {
    const number = now ? terms.indexOf(now) : -1;
    for (const product of this.host.querySelectorAll("[data-term]")) {
      product.classList.toggle("now", Number(product.dataset.term) === number);
    }
  }

  output(ref, terms, done) {
    const { app } = this;
    const { layer } = app;
    const walking = app.walk?.step != null;
    const bias = app.state.bias ? [app.b[Math.floor(ref.index / layer.outCount)]] : [];
    const listed = terms.slice(0, LISTED);
    const sum = this.sumOf(ref, terms.slice(0, done));
    const products = listed.flatMap((term, i) => [
      i || bias.length ? " + " : "",
      this.product(term, i, walking && i >= done),
    ]);
    return [
      this.head(ref, [
        " = ",
        el("strong", { class: "result" }, written(sum)),
        walking && done < terms.length
          ? this.soft(`  after ${done} of ${terms.length} products`)
          : null,
      ]),
      el(
        "p",
        { class: "sum" },
        this.soft("= "),
        bias.map((b) => el("span", { class: "weight", title: "bias" }, written(b))),
        products,
        terms.length > LISTED && this.soft(` + … ${terms.length - LISTED} more`),
        !terms.length && !bias.length && "0",
      ),
      !terms.length &&
        el("p", { class: "hint" }, "No input reaches this output: only the bias is there."),
    ];
  }

  input(ref, terms, done) {
    const uses = terms.filter((term) => term.out >= 0);
    const cropped = terms.length - uses.length;
    const walking = this.app.walk?.step != null;
    const how = this.app.layer.transposed ? "is stamped onto" : "feeds";
    return [
      this.head(ref, [
        " = ",
        this.field(ref),
        this.soft(`  ${how} ${counted(uses.length, "output")}`),
        cropped ? this.soft(`; ${cropped} of its products are cropped`) : null,
      ]),
      this.list(terms, walking ? done : terms.length),
      !terms.length && el("p", { class: "hint" }, "No window reads this input."),
    ];
  }

  weight(ref, terms) {
    const used = terms.filter((term) => term.in >= 0 && term.out >= 0);
    const unused = terms.length - used.length;
    const where = this.app.layer.transposed ? "what is cropped" : "zero padding";
    return [
      this.head(ref, [
        " = ",
        this.field(ref),
        this.soft(`  is used ${counted(used.length, "time")}`),
        unused ? this.soft(`; ${unused} more on ${where}`) : null,
      ]),
      this.list(used, terms.length),
    ];
  }

  bias(ref) {
    return [
      this.head(ref, [
        " = ",
        this.field(ref),
        this.soft(`  is added to all ${this.app.layer.outCount} outputs of channel ${ref.index}`),
      ]),
    ];
  }

  /** The cell and its value, and whether it stays. */
  head(ref, rest) {
    const role = { x: "input", w: "weight", b: "weight", y: "output" }[ref.kind];
    return el(
      "p",
      { class: "head" },
      el("strong", { class: role }, symbol(this.app.layer, ref)),
      rest.filter(Boolean),
      !this.app.walk && this.pin(ref),
    );
  }

  /** Keeps the cell, or lets go of it: the same as a click on it. */
  pin(ref) {
    const pinned = Boolean(this.app.pinned);
    return el(
      "button",
      {
        type: "button",
        class: "pin",
        "aria-pressed": String(pinned),
        onclick: () => this.app.pin(ref),
      },
      pinned ? "Unpin" : "Pin",
    );
  }

  /** The number itself, to be changed here too: easier than a cell on a phone. */
  field(ref) {
    const field = el("input", {
      type: "text",
      inputmode: "decimal",
      class: "value",
      "aria-label": `Value of ${name(this.app.layer, ref)}`,
      onchange: () => this.app.edit(ref.kind, ref.index, read(field.value)),
    });
    field.value = written(this.app[ref.kind][ref.index]);
    return field;
  }

  product(term, number, waiting) {
    const { x, w } = this.app;
    const outside = term.in < 0;
    return el(
      "span",
      {
        class: `product${outside ? " padding" : ""}${waiting ? " waiting" : ""}`,
        "data-term": number,
        title: outside ? "zero padding" : null,
      },
      el("span", { class: "weight" }, factor(w[term.weight])),
      "·",
      el("span", { class: "input" }, outside ? "0" : factor(x[term.in])),
    );
  }

  /** Products as what they add to; their numbers are those among all that are shown. */
  list(terms, done) {
    const item = (term) => {
      const number = this.terms.indexOf(term);
      const waiting = number >= done ? "waiting" : null;
      return el("li", { "data-term": number, class: waiting }, this.use(term));
    };
    const more = terms.length - LISTED;
    return el(
      "ul",
      { class: "uses" },
      terms.slice(0, LISTED).map(item),
      more > 0 && el("li", {}, this.soft(`… ${more} more`)),
    );
  }

  /** y[…] ← w·x. */
  use(term) {
    const { layer, x, w } = this.app;
    const target = { kind: "y", index: term.out };
    return [
      term.out < 0 ? this.soft("cropped") : el("span", { class: "output" }, symbol(layer, target)),
      " ← ",
      el("span", { class: "weight" }, factor(w[term.weight])),
      "·",
      el("span", { class: "input" }, factor(x[term.in])),
    ];
  }

  sumOf(ref, terms) {
    const { app } = this;
    const first = app.b[Math.floor(ref.index / app.layer.outCount)];
    return terms.reduce((sum, t) => (t.in < 0 ? sum : sum + app.w[t.weight] * app.x[t.in]), first);
  }

  soft(text) {
    return el("span", { class: "soft" }, text);
  }

  /** The same for those who listen: a sentence, with the products while they are few. */
  spoken(ref, terms, done) {
    const { app } = this;
    const what = name(app.layer, ref);
    if (ref.kind === "b") return `${what} is ${written(app.b[ref.index])}`;
    if (ref.kind !== "y") {
      const used = terms.filter((term) => term.in >= 0 && term.out >= 0).length;
      const verb =
        ref.kind === "x" ? `feeds ${counted(used, "output")}` : `is used ${counted(used, "time")}`;
      return `${what} is ${written(app[ref.kind][ref.index])} and ${verb}`;
    }
    const made = terms.slice(0, done);
    const listed = made
      .slice(0, 12)
      .map(
        (t) =>
          `${written(app.w[t.weight])} times ${t.in < 0 ? "zero padding" : written(app.x[t.in])}`,
      );
    const more = made.length > 12 ? [`${made.length - 12} more products`] : [];
    const bias = app.state.bias
      ? [`bias ${written(app.b[Math.floor(ref.index / app.layer.outCount)])}`]
      : [];
    const parts = [...bias, ...listed, ...more].join(", plus ");
    return `${what} is ${written(this.sumOf(ref, made))}: ${parts}`;
  }
}

function counted(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}
