"""A real JupyterLab and a real browser, for tests/test_browser.py, tests/screenshots.py and tests/ui.py."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

from grading.build import NOTEBOOKS
from grading.teaching.classroom import free_port

Axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no playwright here").Axe
sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here")
Browser, Page, sync_playwright = sync_api.Browser, sync_api.Page, sync_api.sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
READY = """async () => {
  const current = window.jupyterapp.shell.currentWidget;
  if (!current || !current.context || !current.sessionContext) return false;
  await current.context.ready; await current.sessionContext.ready;
  const kernel = current.sessionContext.session && current.sessionContext.session.kernel;
  return !!kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
ERRORS = """() => { const cells = window.jupyterapp.shell.currentWidget.content.model.cells, found = [];
  for (let i = 0; i < cells.length; i++) { const outputs = cells.get(i).outputs; if (!outputs) continue;
    for (let j = 0; j < outputs.length; j++) { const o = outputs.get(j).toJSON();
      if (o.output_type === 'error') found.push({name: o.ename, value: o.evalue}); } } return found; }"""


CRAMPED = """() => { const found = [], root = document.querySelector('section.two-views');
  const column = (root.closest('.jp-OutputArea-output') ?? document.documentElement).getBoundingClientRect(), frame = root.getBoundingClientRect();
  const name = e => `${e.tagName} ${e.getAttribute('aria-label') ?? e.textContent.trim().slice(0, 40)}`;
  const seen = e => e.checkVisibility({ visibilityProperty: true }) && e.getBoundingClientRect().width > 0;
  const controls = [...root.querySelectorAll('button, select, input, progress, summary, label, output, [role=slider], .tv-big')].filter(seen);
  if (frame.right > column.right + 1 || root.scrollWidth > root.clientWidth + 1) found.push('the widget is wider than its column');
  for (const e of [...controls, ...root.querySelectorAll('p, img, svg, table, pre, canvas')].filter(seen)) {
    const box = e.getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1) found.push(`${name(e)} leaves the widget`);
    for (let up = e.parentElement; up && up !== root; up = up.parentElement) {
      const edge = up.getBoundingClientRect(), hides = getComputedStyle(up).overflowX !== 'visible' && up.namespaceURI.endsWith('xhtml');
      if (hides && (box.right > edge.right + 1 || box.left < edge.left - 1)) found.push(`${name(e)} is cut off`);
    }
    if (!e.namespaceURI.endsWith('svg') && e.scrollWidth > e.clientWidth + 1 && e.clientWidth) found.push(`${name(e)}: its text is cut off`);
  }
  for (const text of root.querySelectorAll('svg text')) {
    const box = text.getBoundingClientRect(), edge = text.ownerSVGElement.getBoundingClientRect();
    if (seen(text) && (box.left < edge.left - 1 || box.right > edge.right + 1 || box.top < edge.top - 1 || box.bottom > edge.bottom + 1)) found.push(`${name(text)} leaves its figure`);
  }
  const flat = controls.filter(e => !e.namespaceURI.endsWith('svg'));  // points on a circle may meet
  flat.forEach((a, at) => flat.slice(at + 1).forEach(b => {
    const one = a.getBoundingClientRect(), other = b.getBoundingClientRect();
    const across = Math.min(one.right, other.right) - Math.max(one.left, other.left), down = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
    if (across > 2 && down > 2 && !a.contains(b) && !b.contains(a)) found.push(`${name(a)} overlaps ${name(b)}`);
  })); return found; }"""


class Lab(NamedTuple):
    """A running server: its address, its token, and the folder it shows."""

    address: str
    token: str
    folder: Path


@contextlib.contextmanager
def running_lab(home: Path, app: str = "lab") -> Iterator[Lab]:
    """A JupyterLab of this environment, at home in an empty folder, on a copy of the notebooks; or Notebook 7.

    Args:
        app: "lab" or "notebook", as in `jupyter notebook`.
    """
    folder, settings = home / "course", home / "settings"
    shutil.copytree(NOTEBOOKS, folder)
    settings.mkdir()
    (settings / "overrides.json").write_text(
        '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false},'
        ' "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}'
    )
    port, token = free_port(), secrets.token_hex(8)
    own = ["--LabApp.expose_app_in_browser=True", f"--LabApp.app_settings_dir={settings}"]
    own = own if app == "lab" else ["--JupyterNotebookApp.expose_app_in_browser=True"]
    environment = os.environ | {
        "HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "IPYTHONDIR": str(home / "ipython"), "OMP_NUM_THREADS": "1",
        "COURSE_QUICK": "1", "COURSE_YOURS": str(home / "yours"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    with open(home / "lab.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", app, "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0",
             f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", *own],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.5)
            else:
                raise RuntimeError((home / "lab.log").read_text()[-2000:])
            yield Lab(f"http://127.0.0.1:{port}", token, folder)
        finally:
            server.terminate()
            server.wait(30)


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Debian's chromium without a screen and without a graphics card."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield browser
        browser.close()


def local_page(browser: Browser, **settings) -> Page:
    """A page that may talk to this machine only; what it asked for elsewhere is in page.asked, its errors in page.broke."""
    page = browser.new_context(**({"viewport": {"width": 1500, "height": 1000}} | settings)).new_page()
    page.asked, page.broke = [], []
    page.on("pageerror", lambda error: page.broke.append(str(error)))

    def local_only(route):
        if route.request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "file:")):
            route.continue_()
        else:
            page.asked.append(route.request.url)
            route.abort()

    page.route("**/*", local_only)
    return page


def open_notebook(page: Page, lab: Lab, name: str, app: str = "lab") -> None:
    """Open a notebook of the lab's folder, and wait until its kernel answers."""
    assert (lab.folder / name).exists(), name
    place = f"lab/workspaces/{secrets.token_hex(4)}/tree" if app == "lab" else "notebooks"
    page.goto(f"{lab.address}/{place}/{name}?token={lab.token}")
    page.wait_for_selector(".jp-Notebook", timeout=90_000)
    deadline = time.time() + 90
    while not page.evaluate(READY):
        assert time.time() < deadline, "the kernel did not start"
        page.wait_for_timeout(250)


def start_all(page: Page) -> None:
    """Begin to run every cell."""
    page.evaluate("""() => { window.finished = false;
        window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.finished = true; }); }""")


def run_all(page: Page, seconds: int = 300) -> list[dict]:
    """Run every cell; the errors that came out, as [{name, value}]."""
    start_all(page)
    page.wait_for_function("() => window.finished", timeout=1000 * seconds)
    return page.evaluate(ERRORS)


def shut_down(page: Page) -> None:
    """End the notebook's kernel, so that the next test has the machine to itself."""
    page.evaluate("() => window.jupyterapp.shell.currentWidget?.sessionContext?.shutdown()")


def validate(page: Page) -> str:
    """Press the Validate button; the text of the dialog it ends in."""
    page.get_by_role("button", name="Validate").first.click()
    dialog = page.locator(".jp-Dialog").first
    dialog.wait_for(timeout=240_000)
    text = dialog.inner_text()
    dialog.get_by_role("button").last.click()
    return text


def theme(page: Page, name: str) -> None:
    """Switch JupyterLab to "light" or "dark"."""
    full = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}[name]
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", full)
    page.wait_for_selector(f"body[data-jp-theme-light={'true' if name == 'light' else 'false'}]", state="attached")
    page.wait_for_timeout(1500)  # its style sheet loads


def serious(page: Page, inside: str = ".two-views") -> list[str]:
    """What axe finds seriously or critically wrong with a part of the page: "rule: element" each."""
    found = Axe().run(page, context=inside).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
    ]


def cramped(page: Page) -> list[str]:
    """What of the page's widget is cut off, overlaps another control, or is wider than the column: a line each."""
    return page.evaluate(CRAMPED)


def write_cells(path: Path, *cells: str) -> None:
    """A notebook of these code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
