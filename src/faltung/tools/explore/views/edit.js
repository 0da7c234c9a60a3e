// Typing another number into a cell, where it stands.

import { el } from "../dom.js";
import { read, written } from "../numbers.js";

/** Turn a cell into a field until Enter, Escape or the focus going elsewhere. */
export function beginEdit(app, cell, ref, text) {
  const value = app[ref.kind][ref.index];
  const field = el("input", {
    type: "text",
    inputmode: "decimal",
    class: "edit",
    "aria-label": `New value, now ${written(value)}`,
  });
  field.value = text ?? String(value);
  let open = true;
  const close = (accept, refocus) => {
    if (!open) return;
    open = false;
    cell.replaceChildren(written(value));
    app.edit(ref.kind, ref.index, accept ? read(field.value) : value);
    if (refocus) cell.focus();
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") close(true, true);
    if (event.key === "Escape") close(false, true);
    event.stopPropagation();
  });
  field.addEventListener("blur", () => close(true, false));
  cell.replaceChildren(field);
  field.focus();
  if (text === undefined) field.select();
}
