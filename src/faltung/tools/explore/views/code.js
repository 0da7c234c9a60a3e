// The layer as code to copy.

import { commandLine, faltungLine, program, torchLine } from "../code.js";
import { copyButton, el } from "../dom.js";

const LINES = [
  ["PyTorch", torchLine],
  ["faltung", faltungLine],
  ["Command", commandLine],
];

export class Code {
  constructor(host, app) {
    [this.host, this.app] = [host, app];
  }

  rebuild() {
    const { app } = this;
    if (app.problems.length) return;
    this.host.replaceChildren(
      ...LINES.map(([label, line]) => {
        const text = line(app.layer);
        return el(
          "div",
          { class: "line-of-code", "data-code": label.toLowerCase() },
          el(
            "div",
            { class: "code-head" },
            el("span", {}, label),
            copyButton("Copy", () => text),
          ),
          el("pre", { tabindex: 0, "aria-label": label }, el("code", {}, text)),
        );
      }),
      copyButton("Copy a program with these numbers", () => program(app.layer, app)),
    );
  }
}
