// The augmentation studio: native sliders here, pictures from the kernel.

const LARGE = 250;  // width of the original on the page, in pixels
const GRID = 560;   // width of the grid of views

function render({ model, el }) {
  const get = name => model.get(name);
  const urls = {};
  function put(img, name, view) {
    const old = urls[name];
    urls[name] = address(view, new Uint8Array(view.buffer, view.byteOffset, 1)[0] === 137 ? "image/png" : "image/jpeg");
    img.src = urls[name];
    if (old) URL.revokeObjectURL(old);
  }
  function send(changes) {
    model.set("settings", { ...get("settings"), ...changes });
    model.save_changes();
  }

  const sliders = {};
  const boxes = get("sliders").map(([name, label, min, max, unit]) => {
    sliders[name] = slider({ label, min, max, value: get("settings")[name], say: value => unit.includes("#") ? unit.replace("#", value) : `${value} ${unit}`.trim(),
      oninput: value => send({ [name]: value }) });
    return sliders[name].box;
  });
  const again = h("button", { type: "button", onclick: () => {
    const seed = (get("settings").seed + 1) % 101;
    sliders.seed.set(seed); send({ seed });
  } }, "Draw again");
  const pictureBox = h("span", {});
  function offerPictures() {
    const offered = choice({ label: "Picture", names: get("names"), value: get("picture"), onchange: name => {
      model.set("picture", name); model.save_changes();
    } });
    pictureBox.replaceChildren(offered.box);
  }
  const file = uid();
  const problem = h("p", { class: "tv-note tv-warn", role: "alert" });
  const upload = h("input", { id: file, type: "file", accept: "image/*", onchange: async event => {
    const chosen = event.target.files[0];
    if (!chosen) return;
    problem.textContent = "";
    try {
      const bitmap = await createImageBitmap(chosen), scale = Math.min(1, 576 / Math.max(bitmap.width, bitmap.height));
      const canvas = h("canvas", { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
      canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise(done => canvas.toBlob(done, "image/png"));
      model.set("upload", new DataView(await blob.arrayBuffer())); model.save_changes();
    } catch { problem.textContent = "That file could not be read as a picture."; }
  } });

  const original = h("img", { width: LARGE }), frames = h("svg:svg", { "aria-hidden": "true", style: "position:absolute;inset:0;width:100%;height:100%;overflow:visible" });
  const whole = h("div", { style: `position:relative;width:${LARGE}px;max-width:100%` }, original, frames);
  const views = h("img", { class: "tv-views", width: GRID });
  const plot = h("svg:svg", { role: "img", viewBox: "0 0 330 96", style: "width:100%;max-width:520px" });
  const alike = h("p", { class: "tv-note", role: "status", "aria-live": "polite" });
  const code = h("pre", { tabindex: 0, "aria-label": "code of this transform" });
  const copied = h("span", { role: "status" });
  const copy = h("button", { type: "button", onclick: async () => {
    try { await navigator.clipboard.writeText(get("code")); copied.textContent = " copied"; }
    catch { getSelection().selectAllChildren(code); copied.textContent = " selected: press Ctrl+C"; }
  } }, "Copy the code");
  const rows = h("img", { width: GRID, alt: "" }), names = h("div", {});
  const side = h("details", { ontoggle: () => { model.set("compare", side.open ? 1 : 0); model.save_changes(); } },
    h("summary", {}, "Policies side by side: SimCLR, AutoAugment, RandAugment, SimAugment"),
    h("div", { style: "display:flex;gap:8px;align-items:stretch;max-width:100%" }, names, h("div", { style: "min-width:0" }, rows)),
    h("p", { class: "tv-note" }, "The same picture and seed through each policy, with SimCLR's crop and flip first. The sliders above do not act on them."));
  side.open = get("compare") === 1;

  const root = h("section", { class: "two-views tv-studio", "aria-label": "Augmentation studio" },
    h("div", { class: "tv-controls" }, pictureBox, h("span", {}, h("label", { for: file }, "or your own "), upload), again), problem,
    h("div", { class: "tv-row" },
      h("div", { style: "flex:1 1 230px;display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:2px 16px" }, ...boxes),
      h("div", { style: `flex:1 1 ${GRID}px;min-width:min(100%,280px)` },
        h("p", { class: "tv-heading" }, "Views; the first two are x", h("sub", {}, "a"), " and x", h("sub", {}, "b")), views,
        h("div", { class: "tv-row", style: "margin-top:10px" },
          h("div", {}, h("p", { class: "tv-heading" }, "Crops of x", h("sub", {}, "a"), " (whole line), x", h("sub", {}, "b"), " (dashed)"), whole),
          h("div", { style: "flex:1 1 280px" }, h("p", { class: "tv-heading" }, "Colours of x", h("sub", {}, "a"), " (filled), x", h("sub", {}, "b"), " (line)"), plot,
            h("p", { class: "tv-note" }, "Across: a pixel's value, dark to bright. Up: how many pixels have it."), alike)))),
    side,
    h("details", {}, h("summary", {}, "The code of this transform"), code, copy, copied));
  el.replaceChildren(root);

  function steps(shares, x, width, height, top) {
    const dx = width / shares.length;
    return shares.map((share, at) => `${at ? "L" : "M"}${(x + dx * at).toFixed(1)} ${(height - height * share / top + 14).toFixed(1)}h${dx.toFixed(1)}`).join("");
  }

  function drawHistograms() {
    const [a, b] = get("histograms");
    plot.replaceChildren();
    ["red", "green", "blue"].forEach((name, at) => {
      const x = 112 * at, width = 100, height = 64, top = Math.max(...a[at], ...b[at], 0.05);
      plot.append(
        h("svg:path", { d: `${steps(a[at], x, width, height, top)}V78H${x}Z`, fill: "var(--accent)", opacity: 0.45 }),
        h("svg:path", { d: steps(b[at], x, width, height, top), fill: "none", stroke: "var(--warn)", "stroke-width": 1.5 }),
        h("svg:path", { d: `M${x} 78h${width}`, stroke: "var(--line)" }),
        h("svg:text", { x, y: 10, "font-size": 10, fill: "var(--ink)" }, name),
        h("svg:text", { x, y: 90, "font-size": 9, fill: "var(--ink)" }, "0"),
        h("svg:text", { x: x + width, y: 90, "font-size": 9, fill: "var(--ink)", "text-anchor": "end" }, "1"));
    });
    const number = get("similarity").toFixed(2);
    plot.setAttribute("aria-label", `Histograms of red, green and blue of two views; similarity ${number} of 1.`);
    alike.replaceChildren("similarity ", h("span", { class: "tv-big" }, number), " (1: the same colours, 0: none in common)");
  }

  function draw() {
    const [height, width] = get("shape"), small = get("side") === 32;
    for (const img of [original, views, rows]) img.style.imageRendering = small ? "pixelated" : "auto";
    put(original, "original", get("original"));
    original.alt = `${get("picture")}, with the boxes that views a and b were cut from`;
    put(views, "views", get("views"));
    views.alt = get("words");
    frames.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const line = 3 * width / LARGE;
    frames.replaceChildren(...get("boxes").slice(0, 2).flatMap(([top, left, tall, wide], at) => {
      const box = { x: left, y: top, width: wide, height: tall, fill: "none" };
      return [h("svg:rect", { ...box, stroke: "#000000", "stroke-width": 1.7 * line }),
        h("svg:rect", { ...box, stroke: at ? "#ffa90e" : "#ffffff", "stroke-width": line, "stroke-dasharray": at ? `${3 * line} ${2 * line}` : null })];
    }));
    drawHistograms();
    code.textContent = get("code");
    copied.textContent = "";
    if (get("compare") && get("rows").byteLength) {
      put(rows, "rows", get("rows"));
      rows.alt = `Four rows of ${get("columns")} views of ${get("picture")}: SimCLR, AutoAugment, RandAugment, SimAugment.`;
      names.style.cssText = "display:grid;grid-template-rows:repeat(4,1fr);align-items:center;font-size:13px";
      names.replaceChildren(...["SimCLR", "AutoAugment", "RandAugment", "SimAugment"].map(name => h("span", {}, name)));
    }
  }

  model.on("change:drawn", draw);
  model.on("change:names", offerPictures);
  model.on("change:picture", offerPictures);
  model.on("change:problem", () => { problem.textContent = get("problem"); });
  offerPictures();
  draw();
  return () => Object.values(urls).forEach(URL.revokeObjectURL);
}

export default { render };
