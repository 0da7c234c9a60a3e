// Small helpers for making elements; the page uses no framework.

/** An element with attributes and children: el("td", {class: "cell"}, "3"). */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** A button that copies a text, and says so. */
export function copyButton(label, text) {
  const button = el("button", { type: "button", class: "copy" }, label);
  button.addEventListener("click", () => copied(button, text()));
  return button;
}

/** Copy a text and let the button say so for a moment. */
export async function copied(button, text) {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  button.textContent = (await copy(text)) ? "Copied" : "Not allowed here";
  setTimeout(() => (button.textContent = label), 1400);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // pages from a file or in a frame may be refused: copy from a field, as in the old days
    const field = el("textarea", { class: "spoken", readonly: true });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
