// The embedding explorer: points on a canvas, everything computed here.

const SHAPES = [  // signed distance to an outline, below 0 inside; x and y from -1 to 1
  (x, y) => Math.hypot(x, y) - 0.85,
  (x, y) => Math.max(Math.abs(x), Math.abs(y)) - 0.72,
  (x, y) => Math.abs(x) + Math.abs(y) - 1,
  (x, y) => Math.max(Math.abs(x) * 1.7 + y * 0.9 - 0.75, -y - 0.8),
  (x, y) => Math.max(Math.abs(x) * 1.7 - y * 0.9 - 0.75, y - 0.8),
  (x, y) => Math.max(Math.min(Math.abs(x), Math.abs(y)) - 0.32, Math.max(Math.abs(x), Math.abs(y)) - 0.95),
  (x, y) => Math.max(Math.min(Math.abs(x + y), Math.abs(x - y)) - 0.45, Math.max(Math.abs(x), Math.abs(y)) - 0.85),
  (x, y) => Math.max(Math.abs(x) - 0.35, Math.abs(y) - 0.95),
  (x, y) => Math.max(Math.abs(x) - 0.95, Math.abs(y) - 0.35),
  (x, y) => Math.abs(Math.hypot(x, y) - 0.68) - 0.25,
];
const SHOWN = 48;  // pictures of a selection, at most
const MARGIN = 14;

/** [r, g, b] of "#rrggbb". */
const channels = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
const mixed = (one, other, share) => one.map((value, at) => Math.round(value + (other[at] - value) * share));
const packed = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;

/** A marker as offsets and colours of its pixels: a filled outline with a thin edge in the ink's colour. */
function stamp(shape, colour, edge, radius) {
  const reach = Math.ceil(radius) + 1, pixels = [];
  for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++) {
    const distance = SHAPES[shape](x / radius, y / radius) * radius;
    if (distance < 0.5) pixels.push([x, y, packed(distance > -0.6 ? mixed(colour, edge, radius < 3.5 ? 0.12 : 0.4) : colour)]);
  }
  return pixels;
}

function render({ model, el }) {
  const get = name => model.get(name);
  const count = get("count"), side = get("side"), columns = get("columns"), each = get("each");
  const maps = get("maps"), classes = get("classes"), colourings = get("colourings");
  const places = numbers(get("places"), Uint16Array), near = numbers(get("neighbours"), Uint16Array);
  const labels = numbers(get("labels"), Uint8Array), values = numbers(get("values"), Uint8Array);
  const atlas = address(get("sprites")), moments = maps.map((map, at) => map.training ? at : -1).filter(at => at >= 0);
  const named = maps.map((map, at) => map.training ? -1 : at).filter(at => at >= 0), LONG = "h during training";
  const home = named[named.length - 1];

  let map = Math.max(0, maps.findIndex(one => one.name === get("options").map)), colouring = 0;
  let from = null, to = position(map), share = 1, theme, stamps, frame = 0;
  let pointed = -1, clicked = -1, around = 0, lasso = null, zoom = 1, middle = [0.5, 0.5];
  const hidden = new Set(), selected = new Uint8Array(count);
  let chosen = 0, width = 0, height = 0, ratio = 1, image, pixels;
  for (const index of get("selection")) if (!selected[index]) { selected[index] = 1; chosen++; }

  function position(at) { return places.subarray(2 * count * at, 2 * count * (at + 1)); }
  const x01 = index => (from && share < 1 ? from[2 * index] + (to[2 * index] - from[2 * index]) * share : to[2 * index]) / 65535;
  const y01 = index => (from && share < 1 ? from[2 * index + 1] + (to[2 * index + 1] - from[2 * index + 1]) * share : to[2 * index + 1]) / 65535;
  const screenX = index => MARGIN + ((x01(index) - middle[0]) * zoom + 0.5) * (width - 2 * MARGIN);
  const screenY = index => MARGIN + ((middle[1] - y01(index)) * zoom + 0.5) * (height - 2 * MARGIN);
  const visible = index => !hidden.has(labels[index]);
  const nameOf = index => classes.length ? classes[labels[index]] : `image ${index}`;
  function about(index) {
    const look = colourings[colouring];
    if (look.kind === "class") return `${nameOf(index)}, image ${index}`;
    const value = look.low + (look.high - look.low) * values[count * colouring + index] / 255;
    return `${nameOf(index)}, image ${index}, ${look.name} ${value.toFixed(2)}`;
  }

  // What is on the page ------------------------------------------------------------------------------------------

  const under = h("canvas", { "aria-hidden": "true" });
  const keys = uid();
  const over = h("canvas", { class: "tv-over", tabindex: 0, role: "application", "aria-describedby": keys,
    "aria-label": `Map of ${count} images. Arrow keys go from point to point.` });
  const tip = h("div", { class: "tv-tip", hidden: true, "aria-hidden": "true" });
  const plot = h("div", { class: "tv-plot" }, under, over, tip);
  const knn = h("span", { class: "tv-big" }), score = h("span", {}), says = h("p", { class: "tv-note", role: "status", "aria-live": "polite" });
  const legend = h("div", { class: "tv-legend", role: "group", "aria-label": "Legend" });
  const lens = h("div", {}), nearest = h("div", {}), bag = h("div", {});

  const mapChoice = choice({ label: "Map of", names: [...named.map(at => maps[at].name), ...(moments.length ? [LONG] : [])],
    value: maps[map].name, onchange: name => name === LONG ? goTo(moments[moment.input.value]) : goTo(maps.findIndex(one => one.name === name)) });
  const colourChoice = choice({ label: "Colour by", names: colourings.map(one => one.name), value: colourings[0].name,
    onchange: name => { colouring = colourings.findIndex(one => one.name === name); restyle(); drawLegend(); } });
  const moment = slider({ label: "Moment of training", min: 0, max: Math.max(0, moments.length - 1), value: Math.max(0, moments.length - 1),
    say: at => moments.length ? maps[moments[at]].name : "", oninput: at => { mapChoice.select.value = LONG; goTo(moments[at]); } });
  let playing = 0;
  const play = h("button", { type: "button", onclick: () => playing ? stop() : start() }, "Play");
  function stop() { clearInterval(playing); playing = 0; play.textContent = "Play"; }
  function start() {
    const go = at => { moment.set(at); mapChoice.select.value = LONG; goTo(moments[at]); };
    play.textContent = "Stop";
    go(0);
    playing = setInterval(() => {
      const at = Number(moment.input.value) + 1;
      if (at >= moments.length || !el.isConnected) stop(); else go(at);
    }, 1000);
  }
  moment.box.style.flex = "1 1 220px";
  const time = h("div", { class: "tv-controls", hidden: !moments.length }, moment.box, play);
  const closer = (name, sign, factor) => h("button", { type: "button", "aria-label": name, title: name, onclick: () => zoomBy(factor) }, sign);
  const root = h("section", { class: "two-views tv-explorer", "aria-label": `Embedding explorer of ${count} images` },
    h("div", { class: "tv-controls" }, mapChoice.box, colourChoice.box, score,
      h("span", { role: "group", "aria-label": "Zoom" }, closer("zoom in", "+", 1.5), " ", closer("zoom out", "−", 1 / 1.5), " ", closer("show everything", "all", 0))),
    time,
    h("div", { class: "tv-row" },
      h("div", { class: "tv-plot" }, plot, legend),
      h("div", { class: "tv-side" }, says, lens, nearest, bag)),
    h("p", { class: "tv-note", id: keys }, "Mouse: point at a dot, click it for its neighbours, drag a line around dots to collect them. Keys: ",
      h("kbd", {}, "arrows"), " go to the next dot, ", h("kbd", {}, "Enter"), " shows its neighbours, ", h("kbd", {}, "Space"),
      " collects the dots around it (again: more), ", h("kbd", {}, "+"), " ", h("kbd", {}, "−"), " ", h("kbd", {}, "0"), " zoom, ", h("kbd", {}, "Esc"), " clears."));
  el.replaceChildren(root);

  function thumb(index, size) {
    const scale = size / side;
    return h("span", { class: "tv-thumb", style: `width:${size}px;height:${size}px;background-image:url(${atlas});` +
      `background-size:${columns * side * scale}px auto;background-position:-${(index % columns) * size}px -${Math.floor(index / columns) * size}px` });
  }
  function picture(index, size, mark) {
    return h("li", { style: `width:${size + 4}px` }, thumb(index, size), mark ?? nameOf(index));
  }

  function drawLegend() {
    const look = colourings[colouring];
    legend.replaceChildren();
    if (look.kind === "range") {
      const stops = look.colours.join(",");
      legend.append(h("span", {}, `${look.name}: ${look.low.toFixed(2)} `), h("span", { class: "tv-ramp", style: `background:linear-gradient(90deg,${stops})` }),
        h("span", {}, ` ${look.high.toFixed(2)}`));
    }
    classes.forEach((name, at) => {
      const swatch = h("canvas", { width: 16, height: 16, "aria-hidden": "true" });
      const pen = swatch.getContext("2d"), data = pen.createImageData(16, 16), dots = new Uint32Array(data.data.buffer);
      const colour = look.kind === "class" ? channels(look.colours[(at + Math.floor(at / 10)) % look.colours.length]) : channels(theme.ink);
      for (const [x, y, value] of stamp(at % 10, colour, channels(theme.ink), 6)) dots[(y + 8) * 16 + x + 8] = value;
      pen.putImageData(data, 0, 0);
      legend.append(h("button", { type: "button", "aria-pressed": String(!hidden.has(at)), title: "show or hide",
        onclick: event => {
          if (hidden.has(at)) hidden.delete(at); else hidden.add(at);
          event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(at)));
          draw();
        } }, swatch, name));
    });
    if (classes.length > 1) legend.append(h("button", { type: "button", onclick: () => {
      const all = hidden.size > 0;
      classes.forEach((_, at) => all ? hidden.delete(at) : hidden.add(at));
      drawLegend(); draw();
    } }, hidden.size ? "show all" : "hide all"));
  }

  // Drawing --------------------------------------------------------------------------------------------------------

  function restyle() {
    theme = themeOf(root);
    const look = colourings[colouring], paper = channels(theme.paper), ink = channels(theme.ink);
    const radius = ratio * (count > 3000 ? 2.8 : count > 600 ? 4 : 5.2), kinds = Math.max(1, classes.length);
    stamps = [];  // [class][colour][bright or pale]
    for (let kind = 0; kind < kinds; kind++) {
      const own = look.kind === "class" ? [look.colours[(kind + Math.floor(kind / 10)) % look.colours.length]] : look.colours;
      stamps.push(own.map(colour => [0, 0.75].map(pale => stamp(kind % 10, mixed(channels(colour), paper, pale), mixed(ink, paper, pale), radius))));
    }
    draw();
  }

  function resize() {
    const box = plot.clientWidth;
    if (!box) return;
    ratio = Math.min(2, window.devicePixelRatio || 1);
    width = box; height = Math.round(Math.min(box * 0.86, 560));
    for (const canvas of [under, over]) {
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    image = under.getContext("2d").createImageData(under.width, under.height);
    pixels = new Uint32Array(image.data.buffer);
    restyle();
  }

  function draw() { if (!frame) frame = requestAnimationFrame(paint); }

  function paint() {
    frame = 0;
    if (!image) return;
    const wide = image.width, tall = image.height, look = colourings[colouring], offset = count * colouring;
    pixels.fill(packed(channels(theme.paper)));
    for (const bright of chosen ? [0, 1] : [1]) {
      for (let index = 0; index < count; index++) {
        if (chosen && selected[index] !== bright) continue;
        if (hidden.size && hidden.has(labels[index])) continue;
        const kind = classes.length ? labels[index] : 0;
        const ofKind = stamps[kind], dots = (look.kind === "class" ? ofKind[0] : ofKind[values[offset + index] >> 4])[bright ? 0 : 1];
        const x = Math.round(screenX(index) * ratio), y = Math.round(screenY(index) * ratio);
        if (x < 12 || y < 12 || x >= wide - 12 || y >= tall - 12) continue;
        const at = y * wide + x;
        for (let dot = 0; dot < dots.length; dot++) pixels[at + dots[dot][1] * wide + dots[dot][0]] = dots[dot][2];
      }
    }
    under.getContext("2d").putImageData(image, 0, 0);
    paintOver();
  }

  function paintOver() {
    const pen = over.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const ring = (index, radius, colour, line) => {
      pen.beginPath(); pen.arc(screenX(index), screenY(index), radius, 0, 7);
      pen.strokeStyle = colour; pen.lineWidth = line; pen.stroke();
    };
    if (clicked >= 0) {
      for (const other of friends(home, clicked)) {
        pen.beginPath(); pen.moveTo(screenX(clicked), screenY(clicked)); pen.lineTo(screenX(other), screenY(other));
        pen.strokeStyle = theme.line; pen.lineWidth = 1; pen.stroke();
        ring(other, 8, theme.accent, 2);
      }
      ring(clicked, 10, theme.ink, 3);
    }
    if (pointed >= 0) ring(pointed, 8, theme.ink, 2);
    if (lasso && lasso.length > 1) {
      pen.beginPath(); lasso.forEach(([x, y], at) => at ? pen.lineTo(x, y) : pen.moveTo(x, y)); pen.closePath();
      pen.strokeStyle = theme.accent; pen.lineWidth = 2; pen.setLineDash([6, 4]); pen.stroke(); pen.setLineDash([]);
    }
  }

  // What happens ----------------------------------------------------------------------------------------------------

  function goTo(next) {
    if (next === map && share === 1) return;
    const old = new Float32Array(2 * count);
    for (let index = 0; index < count; index++) { old[2 * index] = 65535 * x01(index); old[2 * index + 1] = 65535 * y01(index); }
    from = old; map = next; to = position(map); share = calm() ? 1 : 0;
    const began = performance.now();
    (function glide(now) {
      share = Math.min(1, Math.max(0, (now - began) / 600));
      draw();
      if (share < 1 && el.isConnected) requestAnimationFrame(glide);
    })(calm() ? Infinity : began);
    tellMap();
    if (clicked >= 0) showNeighbours();
  }

  function tellMap() {
    const accuracy = maps[map].knn, chance = get("chance");
    knn.textContent = accuracy === null ? "unknown: no labels" : `${percent(accuracy)}`;
    score.replaceChildren("k-NN accuracy ", knn, accuracy === null ? "" : ` of ${maps[map].of} (chance ${percent(chance, 0)})`);
  }

  const friends = (at, index) => near.subarray((at * count + index) * each, (at * count + index + 1) * each);

  function point(index, x, y) {
    pointed = index;
    tip.hidden = index < 0;
    if (index >= 0) {
      tip.replaceChildren(thumb(index, 96), about(index));
      const left = x ?? screenX(index), top = y ?? screenY(index);
      tip.style.left = left > width - 200 ? `${Math.max(0, left - 125)}px` : `${left + 14}px`;
      tip.style.top = top > height - 150 ? `${Math.max(0, top - 150)}px` : `${top + 14}px`;
    }
    paintOver();
  }

  function find(x, y, reach) {
    let best = -1, least = reach * reach;
    for (let index = 0; index < count; index++) {
      if (!visible(index)) continue;
      const dx = screenX(index) - x, dy = screenY(index) - y, distance = dx * dx + dy * dy;
      if (distance < least) { least = distance; best = index; }
    }
    return best;
  }

  function row(at, index) {
    const all = [...friends(at, index)], same = all.filter(other => labels[other] === labels[index]).length;
    const mark = other => classes.length ? `${nameOf(other)} ${labels[other] === labels[index] ? "✓" : "✗"}` : nameOf(other);
    return [h("p", { class: "tv-heading" }, `Nearest by ${maps[at].of}` + (classes.length ? `: ${same} of ${each} are ${nameOf(index)}` : "")),
      h("ul", { class: "tv-pictures" }, ...all.map(other => picture(other, 56, mark(other))))];
  }

  function showNeighbours() {
    nearest.replaceChildren();
    lens.replaceChildren();
    if (clicked < 0) return;
    lens.append(h("p", { class: "tv-heading" }, `Clicked: ${about(clicked)}`), h("ul", { class: "tv-pictures" }, picture(clicked, 96)));
    nearest.append(...row(home, clicked), ...(maps[map].of === maps[home].of ? [] : row(map, clicked)));
  }

  function click(index) {
    clicked = index; around = 0;
    showNeighbours(); paintOver();
    if (index >= 0) says.textContent = `${about(index)}. Nearest by ${maps[home].of}: ${[...friends(home, index)].map(nameOf).join(", ")}.`;
  }

  function select(indices) {
    selected.fill(0);
    for (const index of indices) selected[index] = 1;
    chosen = indices.length;
    model.set("selection", indices); model.save_changes();
    showSelection(); draw();
  }

  function showSelection() {
    bag.replaceChildren();
    if (!chosen) return;
    const indices = [];
    for (let index = 0; index < count; index++) if (selected[index]) indices.push(index);
    const tally = new Map();
    for (const index of indices) tally.set(nameOf(index), (tally.get(nameOf(index)) ?? 0) + 1);
    const parts = [...tally].sort((a, b) => b[1] - a[1]).slice(0, 10).map(([name, times]) => `${times} ${name}`);
    const text = `${chosen} picture${chosen > 1 ? "s" : ""} selected` + (classes.length ? `: ${parts.join(", ")}` : "");
    const shown = indices.filter((_, at) => Math.floor(at * SHOWN / chosen) !== Math.floor((at - 1) * SHOWN / chosen) || chosen <= SHOWN);
    says.textContent = text + ".";
    bag.append(h("p", { class: "tv-heading" }, chosen > SHOWN ? `${shown.length} of the ${chosen} selected pictures` : "Selected pictures"),
      h("ul", { class: "tv-pictures", "aria-label": "selected pictures" }, ...shown.map(index => picture(index, 44))));
  }

  function inside([...corners], x, y) {
    let odd = false;
    for (let a = 0, b = corners.length - 1; a < corners.length; b = a++) {
      const [ax, ay] = corners[a], [bx, by] = corners[b];
      if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) odd = !odd;
    }
    return odd;
  }

  function zoomBy(factor) {
    if (!factor) { zoom = 1; middle = [0.5, 0.5]; }
    else {
      zoom = Math.min(40, Math.max(1, zoom * factor));
      const focus = pointed >= 0 ? pointed : clicked;
      if (focus >= 0) middle = [x01(focus), y01(focus)];
      if (zoom === 1) middle = [0.5, 0.5];
    }
    draw();
  }

  const place = event => { const box = over.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  over.addEventListener("pointerdown", event => { over.setPointerCapture(event.pointerId); lasso = [place(event)]; });
  over.addEventListener("pointermove", event => {
    const [x, y] = place(event);
    if (lasso) {
      const [lastX, lastY] = lasso[lasso.length - 1];
      if (Math.hypot(x - lastX, y - lastY) > 3) lasso.push([x, y]);
      paintOver();
    } else point(find(x, y, 12), x, y);
  });
  over.addEventListener("pointerup", event => {
    const path = lasso ?? [], [x, y] = place(event);
    lasso = null;
    if (path.length < 4) { click(find(x, y, 12)); return; }
    const indices = [];
    for (let index = 0; index < count; index++) if (visible(index) && inside(path, screenX(index), screenY(index))) indices.push(index);
    select(indices);
    if (!indices.length) says.textContent = "No points inside the line.";
    paintOver();
  });
  over.addEventListener("pointercancel", () => { lasso = null; paintOver(); });
  over.addEventListener("pointerleave", () => { if (!lasso) point(-1); });

  function walk(dx, dy) {
    if (pointed < 0) return point(clicked >= 0 ? clicked : find(width / 2, height / 2, 1e4));
    let best = -1, least = Infinity;
    const x = screenX(pointed), y = screenY(pointed);
    for (let index = 0; index < count; index++) {
      if (index === pointed || !visible(index)) continue;
      const along = (screenX(index) - x) * dx + (screenY(index) - y) * dy, across = Math.abs((screenX(index) - x) * dy) + Math.abs((screenY(index) - y) * dx);
      if (along > 0.5 && across <= along && along + 2 * across < least) { least = along + 2 * across; best = index; }
    }
    if (best >= 0) point(best);
  }

  over.addEventListener("keydown", event => {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (arrows[event.key]) { walk(...arrows[event.key]); if (pointed >= 0) says.textContent = `${about(pointed)}.`; around = 0; }
    else if (event.key === "Enter") click(pointed);
    else if (event.key === " " && pointed >= 0) {
      around = around ? around * 1.6 : 25;
      const indices = [];
      for (let index = 0; index < count; index++)
        if (visible(index) && Math.hypot(screenX(index) - screenX(pointed), screenY(index) - screenY(pointed)) <= around) indices.push(index);
      select(indices);
    } else if (event.key === "+" || event.key === "=") zoomBy(1.5);
    else if (event.key === "-") zoomBy(1 / 1.5);
    else if (event.key === "0") zoomBy(0);
    else if (event.key === "Escape") { select([]); click(-1); point(-1); says.textContent = "Cleared."; }
    else return;
    event.preventDefault(); event.stopPropagation();
  });
  over.addEventListener("blur", () => point(-1));

  theme = themeOf(root);
  says.textContent = "Nothing chosen yet: neighbours and selected pictures appear here.";
  tellMap(); drawLegend(); showSelection();
  const sized = new ResizeObserver(resize);
  sized.observe(plot);
  const ended = onTheme(() => { restyle(); drawLegend(); });
  return () => { sized.disconnect(); ended(); stop(); URL.revokeObjectURL(atlas); };
}

export default { render };
