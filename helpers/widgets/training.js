// Live curves, and a button that works while the kernel is busy: it asks the server, not the kernel.

/** What JupyterLab's page says about its server; null in other front ends. */
function server() {
  try {
    const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
    return config.baseUrl ? config : null;
  } catch { return null; }
}

async function interrupt(kernel) {
  const { baseUrl, token } = server(), xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/);
  const headers = { "Content-Type": "application/json" };
  if (xsrf) headers["X-XSRFToken"] = decodeURIComponent(xsrf[1]);
  if (token) headers.Authorization = `token ${token}`;
  const answer = await fetch(`${baseUrl}api/kernels/${encodeURIComponent(kernel)}/interrupt`, { method: "POST", headers, credentials: "same-origin" });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
}

function render({ model, el }) {
  const get = name => model.get(name);
  const curves = h("div", { role: "img", style: "display:grid;grid-template-columns:repeat(auto-fit,minmax(250px,1fr));gap:4px 10px" });
  const words = h("p", { class: "tv-note" }), said = h("p", { class: "tv-note", role: "status", "aria-live": "polite" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "progress of the run", style: "flex:1 1 200px;height:14px;accent-color:var(--accent)" });
  const can = get("kernel") && server();
  const stop = h("button", { type: "button", onclick: async () => {
    stop.disabled = true;
    said.textContent = "Stopping ...";
    try {
      await interrupt(get("kernel"));
      said.textContent = `Stopped. ${get("kept")}`;
    } catch (problem) {
      stop.disabled = false;
      said.textContent = `That did not work (${problem.message}). Use Kernel → Interrupt Kernel in the menu.`;
    }
  } }, "Stop training");
  const otherwise = h("span", {}, "To stop: interrupt the kernel (its square button).");
  el.replaceChildren(h("section", { class: "two-views tv-live", "aria-label": "Live training" }, curves, words,
    h("div", { class: "tv-controls" }, bar, can ? stop : otherwise), said));

  function draw() {
    curves.innerHTML = get("panels").join("");
    curves.setAttribute("aria-label", get("words"));
    words.textContent = get("words");
    bar.value = get("progress");
  }
  model.on("change:panels change:words change:progress", draw);
  model.on("change:running", () => { stop.disabled = !get("running"); });
  stop.disabled = !get("running");
  draw();
}

export default { render };
