// The layer as nested loops in Python, with the line that is at work lit and its indices filled in.

import { unravel } from "../arithmetic.js";
import { el } from "../dom.js";
import { factor, written } from "../numbers.js";

const AXES = { 1: [""], 2: ["h", "w"], 3: ["d", "h", "w"] };

/** The lines [key, depth, text]; a test runs them as they stand. */
export function linesOf(layer) {
  const names = AXES[layer.dims];
  const [q, t, i] = ["q", "t", "i"].map((letter) => names.map((name) => letter + name));
  const lines = [];
  const put = (key, depth, text) => lines.push([key, depth, text]);
  const loop = (key, name, count) => {
    put(key, depth, `for ${name} in range(${count}):`);
    depth += 1;
  };
  let depth = 0;
  const { transposed, groups, groupIn, groupOut } = layer;
  const inits = layer.state.bias ? "b[o]" : "0";
  if (transposed) {
    put("all", 0, `for o in range(${layer.outputs}):`);
    put("init", 1, `y[o] = ${inits}`);
    loop("c", "c", layer.channels);
    if (groups > 1) put("g", depth, `g = c // ${groupIn}`);
  } else {
    loop("o", "o", layer.outputs);
    if (groups > 1) put("g", depth, `g = o // ${groupOut}`);
  }
  layer.axes.forEach((axis, a) => loop(`q${a}`, q[a], axis.out));
  if (!transposed) put("init", depth, `y[o, ${q.join(", ")}] = ${inits}`);
  loop(transposed ? "o" : "c", transposed ? "o" : "c", transposed ? groupOut : groupIn);
  layer.axes.forEach((axis, a) => loop(`t${a}`, t[a], axis.kernel));
  layer.axes.forEach((axis, a) => put(`i${a}`, depth, `${i[a]} = ${placeText(axis, q[a], t[a])}`));
  for (const text of insideText(layer, i)) put("fold", depth, text);
  const condition = conditionText(layer, i);
  if (condition) {
    put("if", depth, `if ${condition}:`);
    depth += 1;
  }
  const channel = (name, inner) => (groups > 1 ? `g * ${inner} + ${name}` : name);
  const at = (...indices) => `[${indices.flat().join(", ")}]`;
  const sum = transposed
    ? `y${at(channel("o", groupOut), i)} += w${at("c", "o", t)} * x${at("c", q)}`
    : `y${at("o", q)} += w${at("o", "c", t)} * x${at(channel("c", groupIn), i)}`;
  put("add", depth, sum);
  return lines;
}

/** q·s − low + t·d without what does nothing. */
function placeText(axis, q, t) {
  const window = axis.stride === 1 ? q : `${q} * ${axis.stride}`;
  const tap = axis.dilation === 1 ? t : `${t} * ${axis.dilation}`;
  return axis.low ? `${window} - ${axis.low} + ${tap}` : `${window} + ${tap}`;
}

/** Whether taps of an axis look below its first position or past its last. */
function overhang(axis) {
  const last = (axis.out - 1) * axis.stride - axis.low + axis.span - 1;
  return [axis.low > 0, last >= axis.size];
}

/** What the padding mode does with positions outside. */
function insideText(layer, i) {
  return layer.axes.flatMap((axis, a) => {
    if (!overhang(axis).some(Boolean)) return [];
    const [n, name] = [axis.size, i[a]];
    if (axis.mode === "circular") return [`${name} = ${name} % ${n}`];
    if (axis.mode === "replicate") return [`${name} = min(max(${name}, 0), ${n - 1})`];
    if (axis.mode === "reflect")
      return [`${name} = abs(${name})`, `${name} = min(${name}, ${2 * (n - 1)} - ${name})`];
    return [];
  });
}

function conditionText(layer, i) {
  return layer.axes
    .flatMap((axis, a) => {
      const [below, past] = overhang(axis);
      if (axis.mode !== "zeros" || !(below || past)) return [];
      if (below && past) return [`0 <= ${i[a]} < ${axis.size}`];
      return [below ? `${i[a]} >= 0` : `${i[a]} < ${axis.size}`];
    })
    .join(" and ");
}

export class Loops {
  constructor(host, app) {
    [this.host, this.app] = [host, app];
  }

  rebuild() {
    if (this.app.problems.length) return;
    this.lines = linesOf(this.app.layer).map(([key, depth, text]) => {
      const value = el("span", { class: "remark" });
      const line = el(
        "li",
        { "data-line": key },
        value,
        el("code", { style: `--depth:${depth}`, "data-depth": depth }, coloured(text)),
      );
      return { key, line, value };
    });
    this.host.replaceChildren(
      el(
        "div",
        { class: "scroller" },
        el(
          "ol",
          { class: "loops" },
          this.lines.map(({ line }) => line),
        ),
      ),
    );
  }

  relight() {
    const { app } = this;
    const { ref, terms, now } = app.shown();
    const values = this.values(ref, terms, now);
    const at = this.current(ref, terms, now);
    for (const { key, line, value } of this.lines) {
      value.textContent = values[key] ?? "";
      line.classList.toggle("lit", key === at);
      if (key === at) line.setAttribute("aria-current", "step");
      else line.removeAttribute("aria-current");
    }
  }

  /** The key of the line at work. */
  current(ref, terms, now) {
    const { app } = this;
    if (!ref) return null;
    if (ref.kind === "b") return "init";
    if (app.walk?.step === 0) return app.layer.transposed ? `q${app.layer.dims - 1}` : "init";
    if (now && (now.in < 0 || now.out < 0)) return "if";
    return terms.length ? "add" : "init";
  }

  /** What stands beside each line: the indices that are settled, and what is added. */
  values(ref, terms, now) {
    const { layer, walk } = this.app;
    if (!ref || ref.kind === "b" || !terms.length) return {};
    const settled = {};
    const set = (key, number) => (settled[key] = `= ${number}`);
    const term = now ?? terms[0];
    const windows = unravel(
      term.q,
      layer.axes.map((axis) => axis.out),
    );
    const taps = unravel(term.t, layer.kernel);
    const { transposed } = layer;
    if (now || ref.kind === "w" || (ref.kind === "x" && transposed))
      set("c", transposed ? term.channel : term.c);
    if (now || ref.kind !== "x") set("o", transposed ? term.o : term.output);
    set("g", term.g);
    if (now || ref.kind === (transposed ? "x" : "y")) windows.forEach((p, a) => set(`q${a}`, p));
    if (now || ref.kind === "w") taps.forEach((p, a) => set(`t${a}`, p));
    if (now) {
      layer.axes.forEach((axis, a) =>
        set(`i${a}`, windows[a] * axis.stride - axis.low + taps[a] * axis.dilation),
      );
      const outside = now.in < 0 || now.out < 0;
      settled.if = outside ? "no: skipped" : "yes";
      if (!outside)
        settled.add = `+ ${factor(this.app.w[now.weight])} · ${factor(this.app.x[now.in])}`;
    } else if (walk?.step !== 0) {
      const used = terms.filter(({ in: i, out }) => i >= 0 && out >= 0).length;
      settled.add = `${written(used)} ${used === 1 ? "time" : "times"}`;
    }
    return settled;
  }
}

/** The three tensors in their colours. */
function coloured(text) {
  const roles = { x: "input", w: "weight", b: "weight", y: "output" };
  return text
    .split(/(\b[xwby]\[[^\]]*\])/)
    .map((piece) =>
      /^[xwby]\[/.test(piece) ? el("span", { class: roles[piece[0]] }, piece) : piece,
    );
}
