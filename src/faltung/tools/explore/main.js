// Puts the page together: the model, its views, the link, the colours and the shortcuts.

import { App } from "./app.js";
import { faltungLine, program, torchLine } from "./code.js";
import { costsOf, fieldOf, relativesOf } from "./costs.js";
import { byId, copied, el } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { times } from "./numbers.js";
import { cleaned, spelled, unspelled } from "./state.js";
import { Code } from "./views/code.js";
import { Columns } from "./views/columns.js";
import { Controls } from "./views/controls.js";
import { Facts } from "./views/facts.js";
import { Formula } from "./views/formula.js";
import { Loops, linesOf } from "./views/loops.js";
import { Maps } from "./views/maps.js";
import { Matrix } from "./views/matrix.js";
import { Transport } from "./views/transport.js";

const NARROW = matchMedia("(max-width: 900px)");
const DARK = matchMedia("(prefers-color-scheme: dark)");
const SETTLED = 150; // ms; browsers refuse addresses that change too often
const THEMES = { "": ["◐", "as the system"], light: ["○", "light"], dark: ["●", "dark"] };

/** The state to begin with: the link's, else what Python put into the page, else the usual one. */
function initial() {
  if (location.hash.length > 1) return unspelled(location.hash);
  return cleaned(JSON.parse(byId("initial").textContent) ?? {});
}

/** Heading, and what is wrong with a layer that cannot be. */
class Summary {
  constructor(app) {
    this.app = app;
  }

  rebuild() {
    const { problems, layer, state } = this.app;
    byId("problem").hidden = !problems.length;
    byId("problem").textContent = problems.map((p) => p[0].toUpperCase() + p.slice(1)).join(". ");
    document.body.classList.toggle("impossible", problems.length > 0);
    const call = `conv${state.transposed ? "_transpose" : ""}${state.dims}d`;
    const before = times([state.channels, ...state.input]);
    const after = problems.length ? "?" : times(layer.yShape);
    byId("title").replaceChildren(
      el("span", { class: "call" }, call),
      " ",
      el("span", { class: "input" }, before),
      " → ",
      el("span", { class: "output" }, after),
    );
    document.title = `${call} ${before} → ${after} · faltung explorer`;
  }
}

/** Keeps the address equal to what is on the page, once nothing has changed for a moment. */
class Permalink {
  constructor(app) {
    this.app = app;
    // a page that was just opened keeps the address it was opened with
    this.written = spelled(app.state);
  }

  relight() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.write(), SETTLED);
  }

  write() {
    const link = spelled(this.app.state);
    if (link === this.written) return;
    this.written = link;
    try {
      history.replaceState(null, "", `#${link}`);
    } catch {
      // a frame without an address of its own; "Copy link" still works
    }
  }
}

function theme(app) {
  const names = Object.keys(THEMES);
  const button = byId("theme");
  const apply = (name) => {
    document.documentElement.dataset.theme = name;
    const [sign, words] = THEMES[name];
    button.textContent = sign;
    button.setAttribute("aria-label", `Colours: ${words}`);
    button.title = `Colours: ${words}`;
    app.tell("refill");
  };
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? "";
    const name = names[(names.indexOf(now) + 1) % names.length];
    apply(name);
    remember("faltung-theme", name);
  });
  DARK.addEventListener("change", () => app.tell("refill"));
  const kept = remember("faltung-theme");
  apply(kept in THEMES ? kept : "");
}

/** Keep a value for the next visit, or say what was kept; frames may be refused. */
function remember(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(name) ?? "";
    localStorage.setItem(name, value);
  } catch {
    return "";
  }
  return value;
}

function examples(app) {
  const button = ([label, link, output]) => {
    const show = () => {
      app.adopt(unspelled(link));
      if (output !== undefined) app.hover({ kind: "y", index: output });
    };
    return el("li", {}, el("button", { type: "button", onclick: show }, label));
  };
  byId("examples").append(...EXAMPLES.map(button));
}

function shortcuts(app, transport) {
  document.addEventListener("keydown", (event) => {
    if (
      event.target.matches("input, select, textarea") ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey
    )
      return;
    if (event.key === "Escape") app.release();
    else if (event.key === "p") transport.toggle();
    else if (event.key === ",") transport.manual(-1);
    else if (event.key === "." && !event.target.matches(".cell")) transport.manual(1);
    else return;
    event.preventDefault();
  });
}

const app = new App(initial());
app.complain = (text) => {
  byId("problem").hidden = false;
  byId("problem").textContent = text;
};
theme(app);
byId("controls").open = !NARROW.matches;
const views = {
  summary: new Summary(app),
  controls: new Controls(byId("parameters"), byId("controls-brief"), app),
  maps: new Maps(byId("maps"), app),
  transport: new Transport(byId("transport"), app),
  formula: new Formula(byId("formula"), byId("announcement"), app),
  columns: new Columns(byId("columns"), app),
  matrix: new Matrix(byId("matrix"), app),
  loops: new Loops(byId("loops"), app),
  code: new Code(byId("code"), app),
  facts: new Facts(byId("facts"), app),
  permalink: new Permalink(app),
};
for (const view of Object.values(views)) app.subscribe(view);
examples(app);
shortcuts(app, views.transport);

byId("link").addEventListener("click", (event) => {
  const page = location.protocol === "about:" ? "" : location.href.replace(/#.*/, "");
  copied(event.currentTarget, `${page}#${spelled(app.state)}`);
});
addEventListener("hashchange", () => {
  const text = location.hash.slice(1);
  if (text !== spelled(app.state)) app.adopt(unspelled(text));
});

// for scripts and tests: the model, its views, and the arithmetic that they use
window.faltung = {
  app,
  views,
  App,
  cleaned,
  spelled,
  unspelled,
  costsOf,
  fieldOf,
  relativesOf,
  linesOf,
  torchLine,
  faltungLine,
  program,
  examples: EXAMPLES,
  ready: performance.now(),
};
