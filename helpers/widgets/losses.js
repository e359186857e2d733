// The loss bench: NT-Xent of a few embeddings on a circle, computed here so that it follows the hand.

const COLOURS = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"];  // an image each
const COLDEST = 0.02, HOTTEST = 5, TICKS = 120;

/** NT-Xent (mean over the anchors), its probabilities, and its gradient for every cosine and every angle. */
function ntXent(angles, temperature) {
  const size = angles.length, n = size / 2, partner = row => (row + n) % size;
  const cosine = angles.map(a => angles.map(b => Math.cos(a - b)));
  let loss = 0;
  const each = [], chances = cosine.map((row, i) => {
    const logits = row.map((value, k) => k === i ? -Infinity : value / temperature), top = Math.max(...logits);
    const powers = logits.map(value => Math.exp(value - top)), sum = powers.reduce((a, b) => a + b, 0);
    each.push(Math.log(sum) + top - logits[partner(i)]);
    loss += each[i] / size;
    return powers.map(value => value / sum);
  });
  const slope = chances.map((row, i) => row.map((p, k) => k === i ? 0 : (p - (k === partner(i) ? 1 : 0)) / temperature / size));
  const turn = angles.map((a, k) => angles.reduce((sum, b, i) => sum + (slope[i][k] + slope[k][i]) * Math.sin(b - a), 0));
  return { loss, each, cosine, chances, slope, turn, partner };
}

function render({ model, el }) {
  let angles = [...model.get("angles")], temperature = model.get("temperature"), anchor = model.get("anchor");
  const size = angles.length, n = size / 2, chance = Math.log(size - 1);
  const names = angles.map((_, at) => `${at < n ? "a" : "b"}${at % n}`);
  const toTick = value => Math.round(TICKS * Math.log(value / COLDEST) / Math.log(HOTTEST / COLDEST));
  const toTau = tick => COLDEST * (HOTTEST / COLDEST) ** (tick / TICKS);
  const signed = (value, digits = 2) => value.toFixed(digits).replace(/^-(0\.0+)$/, "$1").replace("-", "−");
  const short = value => Number(value.toPrecision(2)).toString();

  const circle = h("svg:svg", { viewBox: "-150 -150 300 300", style: "width:100%;max-width:360px;touch-action:none", role: "group", "aria-label": "Embeddings on a circle" });
  const marker = uid();
  const arrows = h("svg:g", {}), dots = h("svg:g", {});
  circle.append(
    h("svg:defs", {}, h("svg:marker", { id: marker, viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto" },
      h("svg:path", { d: "M0 0L8 4L0 8Z", fill: "var(--ink)" }))),
    h("svg:circle", { r: 110, fill: "none", stroke: "var(--line)" }), arrows, dots);
  function mark(at, r) {  // a circle for z_a, a diamond for z_b, in the colour of the image
    const look = { fill: COLOURS[at % n], stroke: "var(--ink)" }, side = 1.78 * r;
    return at < n ? h("svg:circle", { r, ...look }) : h("svg:rect", { x: -side / 2, y: -side / 2, width: side, height: side, transform: "rotate(45)", ...look });
  }
  const handles = angles.map((_, at) => {
    const shape = mark(at, 9);
    const ring = h("svg:circle", { r: 15, fill: "none", stroke: "var(--ink)", "stroke-width": 2, "stroke-dasharray": "3 3" });
    const text = h("svg:text", { "text-anchor": "middle", "font-size": 13, fill: "var(--ink)" }, names[at]);
    const handle = h("svg:g", { tabindex: 0, role: "slider", "aria-label": `angle of ${names[at]}`, "aria-valuemin": 0, "aria-valuemax": 359,
      style: "cursor:grab", onfocus: () => choose(at), onpointerdown: event => { choose(at); circle.setPointerCapture(event.pointerId); dragged = at; event.preventDefault(); handle.focus(); },
      onkeydown: event => {
        const step = { ArrowLeft: 5, ArrowUp: 5, ArrowRight: -5, ArrowDown: -5, PageUp: 30, PageDown: -30 }[event.key];
        if (!step) return;
        event.preventDefault(); event.stopPropagation();
        angles[at] = (angles[at] + step * Math.PI / 180 + 2 * Math.PI) % (2 * Math.PI);
        draw();
      } }, shape, ring, text);
    dots.append(handle);
    return { handle, ring, text };
  });
  let dragged = -1;
  circle.addEventListener("pointermove", event => {
    if (dragged < 0) return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(circle.getScreenCTM().inverse());
    angles[dragged] = (Math.atan2(-at.y, at.x) + 2 * Math.PI) % (2 * Math.PI);
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) circle.addEventListener(end, () => { dragged = -1; });

  const tau = slider({ label: "Temperature τ", min: 0, max: TICKS, value: toTick(temperature), say: tick => short(toTau(tick)),
    oninput: tick => { temperature = toTau(tick); draw(); } });
  const anchorChoice = choice({ label: "Anchor", names, value: names[anchor], onchange: name => choose(names.indexOf(name)) });
  const number = h("span", { class: "tv-big" }), own = h("span", {}), says = h("p", { class: "tv-note", role: "status", "aria-live": "polite" });
  const table = h("table", { class: `tv-matrix${size > 6 ? " tv-many" : ""}` });
  const bars = h("svg:svg", { role: "img", viewBox: `0 0 ${size * 46 + 58} 142`, style: `width:100%;max-width:${size * 52 + 64}px` });

  const stepBy = rate => {
    const { turn } = ntXent(angles, temperature);
    angles = angles.map((angle, at) => (angle - rate * size * turn[at] + 2 * Math.PI) % (2 * Math.PI));
    draw();
  };
  let running = 0;
  const once = h("button", { type: "button", onclick: () => stepBy(0.1) }, "One step of gradient descent");
  const run = h("button", { type: "button", onclick: () => running ? stop() : go() }, "Let it run");
  function stop() { cancelAnimationFrame(running); running = 0; run.textContent = "Let it run"; share(); }
  function go() {
    run.textContent = "Stop";
    let left = 600;
    const next = () => { stepBy(0.02); running = --left && el.isConnected ? requestAnimationFrame(next) : (run.textContent = "Let it run", 0); };
    running = requestAnimationFrame(next);
  }
  const begin = [...angles];
  const back = h("button", { type: "button", onclick: () => { stop(); angles = [...begin]; draw(); } }, "Back to the start");

  el.replaceChildren(h("section", { class: "two-views tv-bench", "aria-label": "Loss bench" },
    h("div", { class: "tv-controls" }, h("div", { style: "flex:1 1 200px;max-width:340px" }, tau.box), anchorChoice.box,
      h("span", {}, "loss ", number, ` (chance ${chance.toFixed(2)})`)),
    h("div", { class: "tv-row" },
      h("div", { style: "flex:1 1 300px" }, circle,
        h("p", { class: "tv-note" }, "Circles are z", h("sub", {}, "a"), ", diamonds z", h("sub", {}, "b"), "; a colour is an image. Drag a point, or focus it and use the arrow keys. Arrows: where gradient descent pushes, the longer the harder."),
        h("div", { class: "tv-controls" }, once, run, back)),
      h("div", { style: "flex:1 1 360px;min-width:min(100%,280px)" },
        h("p", { class: "tv-heading" }, "Cosines"), h("p", { class: "tv-note" }, h("b", {}, "+"), " before a number: the row's positive; ", h("b", {}, "×"), ": itself, left out."), h("div", { style: "overflow:auto", tabindex: 0, role: "region", "aria-label": "matrix of cosines" }, table),
        h("p", { class: "tv-heading", style: "margin-top:10px" }, own), bars, says,
        h("p", { class: "tv-note" }, "The filled bar, marked +, is the positive; the others are negatives. Gradient: of this anchor's loss for that cosine. Descent raises a cosine where it is below 0.")))));

  function choose(at) { anchor = at; anchorChoice.select.value = names[at]; draw(); }

  let sharing = 0;
  function share() {  // the kernel hears about it, a few times a second at most
    clearTimeout(sharing);
    sharing = setTimeout(() => {
      model.set("angles", angles); model.set("temperature", temperature); model.set("anchor", anchor);
      model.set("loss", ntXent(angles, temperature).loss); model.save_changes();
    }, 150);
  }

  function colourOf(value) {  // blue, white, red, as in the course's other pictures of cosines
    const end = value < 0 ? [33, 102, 172] : [178, 24, 43];
    const rgb = end.map(channel => Math.round(255 + (channel - 255) * Math.abs(value)));
    const light = rgb.map(channel => (channel / 255) ** 2.2).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    return `background:rgb(${rgb});color:${light > 0.19 ? "#000000" : "#ffffff"}`;
  }

  function draw() {
    const { loss, each, cosine, chances, slope, turn, partner } = ntXent(angles, temperature), positive = partner(anchor);
    number.textContent = loss.toFixed(3);
    arrows.replaceChildren();
    angles.forEach((angle, at) => {
      const x = 110 * Math.cos(angle), y = -110 * Math.sin(angle), { handle, ring, text } = handles[at];
      handle.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)})`);
      const degrees = Math.round(angle * 180 / Math.PI) % 360;
      handle.setAttribute("aria-valuenow", degrees);
      handle.setAttribute("aria-valuetext", `${degrees} degrees`);
      text.setAttribute("transform", `translate(${(27 * Math.cos(angle)).toFixed(1)} ${(-27 * Math.sin(angle) + 4).toFixed(1)})`);
      ring.setAttribute("visibility", at === anchor ? "visible" : "hidden");
      const force = -turn[at] * size, length = 48 * Math.tanh(Math.abs(force)) * Math.sign(force);
      if (Math.abs(length) > 1.5) arrows.append(h("svg:path", { "marker-end": `url(#${marker})`, stroke: "var(--ink)", "stroke-width": 2.5, fill: "none",
        d: `M${(x * 0.86).toFixed(1)} ${(y * 0.86).toFixed(1)}l${(-Math.sin(angle) * length).toFixed(1)} ${(-Math.cos(angle) * length).toFixed(1)}` }));
    });
    table.replaceChildren(
      h("tr", {}, h("td", {}), ...names.map(name => h("th", { scope: "col" }, name))),
      ...cosine.map((row, i) => h("tr", {}, h("th", { scope: "row", style: i === anchor ? "outline:2px solid var(--ink);outline-offset:-2px" : null }, names[i]), ...row.map((value, k) => {
        const role = i === k ? "×" : k === partner(i) ? "+" : "";
        return h("td", { style: i === k ? "background:#5b5b5b;color:#ffffff" : colourOf(value) }, role ? h("b", {}, role) : "", signed(value));
      }))));
    own.textContent = `What anchor ${names[anchor]} believes: its loss is ${each[anchor].toFixed(3)}`;
    bars.replaceChildren(h("svg:text", { x: 0, y: 84, "font-size": 11, fill: "var(--ink)" }, "softmax"), h("svg:text", { x: 0, y: 134, "font-size": 11, fill: "var(--ink)" }, "gradient"));
    const parts = [];
    chances[anchor].forEach((p, k) => {
      const x = 46 * k + 56, tall = 84 * p, middle = { x: x + 15, "text-anchor": "middle", fill: "var(--ink)" }, sign = mark(k, 5);
      sign.setAttribute("transform", `translate(${x + 15} 98)${k < n ? "" : " rotate(45)"}`);
      bars.append(sign, h("svg:text", { ...middle, y: 117, "font-size": 12 }, `${names[k]}${k === positive ? " +" : ""}`));
      if (k === anchor) { bars.append(h("svg:text", { ...middle, y: 86, "font-size": 12 }, "×")); return; }
      bars.append(
        h("svg:rect", { x, y: 88 - tall, width: 30, height: Math.max(0.5, tall), fill: k === positive ? "var(--accent)" : "var(--soft)", stroke: "var(--ink)" }),
        h("svg:text", { ...middle, y: 84 - tall, "font-size": 11 }, percent(p, 0)),
        h("svg:text", { ...middle, y: 134, "font-size": 11 }, signed(slope[anchor][k] * size)));
      parts.push(`${names[k]}${k === positive ? " (positive)" : ""} ${percent(p, 0)}`);
    });
    bars.setAttribute("aria-label", `Softmax over the row of ${names[anchor]}: ${parts.join(", ")}.`);
    says.textContent = `Bars: softmax of the row at τ = ${short(temperature)}.`;
    share();
  }

  draw();
  return () => { clearTimeout(sharing); cancelAnimationFrame(running); };
}

export default { render };
