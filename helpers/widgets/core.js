// What the widgets share. Each widget's own script follows in the same module.

const FOCUSED = ["input", "select", "button", "summary"];

/** An element: h("button", { type: "button", onclick: f }, "text", child, ...). What can have the focus keeps its keys:
 *  without the mark, JupyterLab takes arrows and Enter, to walk from cell to cell. */
function h(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  if (FOCUSED.includes(tag) || "tabindex" in attributes) element.setAttribute("data-lm-suppress-shortcuts", "true");
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

let lastId = 0;
/** A number for ids, different in every widget of a page. */
const uid = () => `tv-${Date.now().toString(36)}-${++lastId}`;

/** A labelled slider; `say` turns its number into words, which are shown and spoken. */
function slider({ label, min, max, step = 1, value, say = String, oninput }) {
  const id = uid();
  const output = h("output", { for: id }, say(value));
  const input = h("input", { id, type: "range", min, max, step, value, "aria-valuetext": say(value) });
  const show = () => {
    output.textContent = say(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => { show(); oninput(Number(input.value)); });
  const box = h("div", { class: "tv-slider" }, h("label", { for: id }, label), output, input);
  return { box, input, set: number => { input.value = number; show(); } };
}

/** A labelled choice among names. */
function choice({ label, names, value, onchange }) {
  const id = uid();
  const select = h("select", { id, onchange: () => onchange(select.value) },
    ...names.map(name => h("option", { value: name, selected: name === value }, name)));
  return { box: h("span", {}, h("label", { for: id }, label), " ", select), select };
}

/** The colours of the theme that surrounds an element, as #rrggbb texts. */
function themeOf(element) {
  const style = getComputedStyle(element);
  return Object.fromEntries(["ink", "paper", "soft", "line", "accent", "warn"].map(
    name => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Call `redraw` when light turns dark or dark light; returns what ends it. */
function onTheme(redraw) {
  const watcher = new MutationObserver(redraw);
  watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", redraw);
  return () => { watcher.disconnect(); dark.removeEventListener("change", redraw); };
}

/** Bytes from the kernel as numbers of a kind. */
function numbers(view, Kind) {
  const buffer = view.buffer ?? view;
  const start = view.byteOffset ?? 0;
  return new Kind(buffer.slice(start, start + view.byteLength));
}

/** Bytes of a picture as an address that <img> and CSS understand. */
const address = (view, kind = "image/jpeg") => URL.createObjectURL(new Blob([view], { type: kind }));

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

