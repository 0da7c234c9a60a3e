// Play, step and scrub through the loops.

import { el } from "../dom.js";

const SPEEDS = [
  ["1", "slow"],
  ["3", "normal"],
  ["10", "fast"],
  ["40", "very fast"],
]; // steps a second

const ICONS = {
  back: "M10.5 3 5 8l5.5 5z",
  forward: "M5.5 3 11 8l-5.5 5z",
  play: "M4 2.5 13 8l-9 5.5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  stop: "M3.5 3.5h9v9h-9z",
};

export class Transport {
  constructor(host, app) {
    this.app = app;
    this.timer = null;
    const button = (name, label, act) =>
      el(
        "button",
        { type: "button", "aria-label": label, title: label, onclick: act, id: `walk-${name}` },
        icon(name),
      );
    this.play = button("play", "Play", () => this.toggle());
    this.stop = button("stop", "Show the whole result", () => this.reset());
    this.range = el("input", {
      type: "range",
      min: 0,
      step: 1,
      value: 0,
      "aria-label": "Place in the loops",
      oninput: () => this.scrub(Number(this.range.value)),
    });
    this.count = el("output", { class: "count" });
    this.by = select("Step by", [
      ["unit", "by output"],
      ["term", "by product"],
    ]);
    this.speed = select("Speed", SPEEDS);
    this.speed.value = "3";
    host.append(
      el(
        "span",
        { class: "buttons" },
        button("back", "Step back", () => this.manual(-1)),
        this.play,
        button("forward", "Step on", () => this.manual(1)),
        this.stop,
      ),
      this.range,
      this.count,
      el("span", { class: "choices" }, this.by, this.speed),
    );
  }

  get byTerm() {
    return this.by.value === "term";
  }

  rebuild() {
    this.pause();
    this.by.options[0].textContent = this.app.layer?.transposed ? "by input" : "by output";
  }

  refill() {
    const { app } = this;
    const { walk } = app;
    this.range.max = app.units - 1;
    this.range.value = walk ? walk.unit : app.units - 1;
    const what = app.layer.transposed ? "input" : "output";
    this.range.setAttribute(
      "aria-valuetext",
      walk ? `${what} ${walk.unit + 1} of ${app.units}` : "whole result",
    );
    this.count.textContent = walk
      ? `${walk.unit + 1} / ${app.units}`
      : `${app.units} ${what}${app.units === 1 ? "" : "s"}`;
    this.stop.disabled = !walk;
    // whatever ended the walk ends the playing
    if (!walk) this.pause();
  }

  toggle() {
    if (this.timer) return this.pause();
    const { app } = this;
    if (!app.walk) app.walkTo({ unit: 0, step: this.byTerm ? 0 : null });
    this.show("pause", "Pause");
    const tick = () => {
      this.timer = setTimeout(
        () => {
          if (app.step(1, this.byTerm)) tick();
          else this.pause();
        },
        1000 / Number(this.speed.value),
      );
    };
    return tick();
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = null;
    this.show("play", "Play");
  }

  manual(direction) {
    this.pause();
    this.app.step(direction, this.byTerm);
  }

  scrub(unit) {
    this.pause();
    this.app.walkTo({ unit, step: this.byTerm ? 0 : null });
  }

  reset() {
    this.pause();
    this.app.walkTo(null);
  }

  show(name, label) {
    this.play.replaceChildren(icon(name));
    this.play.setAttribute("aria-label", label);
    this.play.title = label;
  }
}

function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

function select(label, options) {
  return el(
    "select",
    { "aria-label": label },
    options.map(([value, text]) => el("option", { value }, text)),
  );
}
