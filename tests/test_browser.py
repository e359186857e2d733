"""The course as a learner meets it: a real JupyterLab, a real browser, and no internet."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe

from grading.build import NOTEBOOKS, SOURCE, instructor_notebook
from helpers import evaluation, shapes, widgets
from helpers.data import ImageSet

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine (Debian: apt install chromium)"),
]
READY = """async () => {
  const current = window.jupyterapp.shell.currentWidget;
  if (!current || !current.context || !current.sessionContext) return false;
  await current.context.ready; await current.sessionContext.ready;
  const kernel = current.sessionContext.session && current.sessionContext.session.kernel;
  return !!kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of this environment on a copy of the notebooks; (address, token, folder)."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "course"
    shutil.copytree(NOTEBOOKS, folder)
    settings = home / "settings"
    settings.mkdir()
    (settings / "overrides.json").write_text(
        '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false},'
        ' "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}'
    )
    port, token = free_port(), secrets.token_hex(8)
    environment = os.environ | {
        "HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "IPYTHONDIR": str(home / "ipython"), "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    log = open(home / "lab.log", "w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0",
         f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
         f"--LabApp.app_settings_dir={settings}"],
        env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=1).close()
            break
        except OSError:
            time.sleep(0.5)
    else:
        raise RuntimeError((home / "lab.log").read_text()[-2000:])
    yield f"http://127.0.0.1:{port}", token, folder
    server.terminate()
    server.wait(30)
    log.close()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page that may talk to this machine only; what it asked for elsewhere is in page.asked."""
    context = chromium.new_context(viewport={"width": 1500, "height": 1000})
    page = context.new_page()
    page.asked = []

    def local_only(route):
        if route.request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
            route.continue_()
        else:
            page.asked.append(route.request.url)
            route.abort()

    page.route("**/*", local_only)
    yield page
    context.close()


def open_notebook(page, lab, name: str) -> None:
    address, token, folder = lab
    assert (folder / name).exists(), name
    page.goto(f"{address}/lab/workspaces/{secrets.token_hex(4)}/tree/{name}?token={token}")
    page.wait_for_selector(".jp-Notebook", timeout=90_000)
    deadline = time.time() + 90
    while not page.evaluate(READY):
        assert time.time() < deadline, "the kernel did not start"
        page.wait_for_timeout(250)


def run_all(page) -> list[dict]:
    """Run every cell; the errors that came out, as [{name, value}]."""
    page.evaluate("""() => { window.finished = false;
        window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.finished = true; }); }""")
    page.wait_for_function("() => window.finished", timeout=300_000)
    return page.evaluate("""() => { const cells = window.jupyterapp.shell.currentWidget.content.model.cells, found = [];
        for (let i = 0; i < cells.length; i++) { const outputs = cells.get(i).outputs; if (!outputs) continue;
          for (let j = 0; j < outputs.length; j++) { const o = outputs.get(j).toJSON();
            if (o.output_type === 'error') found.push({name: o.ename, value: o.evalue}); } } return found; }""")


def validate(page) -> str:
    """Press the Validate button; the text of the dialog it ends in."""
    page.get_by_role("button", name="Validate").first.click()
    dialog = page.locator(".jp-Dialog").first
    dialog.wait_for(timeout=240_000)
    text = dialog.inner_text()
    dialog.get_by_role("button").last.click()
    return text


def test_the_first_notebook_opens_and_runs_without_an_error_and_without_internet(page, lab):
    open_notebook(page, lab, "00_start_here.ipynb")
    assert run_all(page) == []
    assert page.locator("svg[role=img]").first.is_visible()
    assert page.asked == []


def test_instructor_panels_are_out_of_a_learners_way_and_validate_is_there(page, lab):
    open_notebook(page, lab, "00_start_here.ipynb")
    assert page.get_by_role("button", name="Validate").count() >= 1
    assert page.get_by_role("menuitem", name="Nbgrader").count() == 0
    assert page.locator("[title*='Create Assignment'], [data-id*='nbgrader-create']").count() == 0


def test_validate_names_the_unfinished_exercises_of_an_untouched_notebook(page, lab):
    open_notebook(page, lab, "04_contrastive_loss.ipynb")
    text = validate(page)
    assert "failed" in text and "not written yet" in text


@pytest.mark.parametrize("stem", [path.stem for path in sorted(SOURCE.glob("0[1-6]*.py"))])
def test_validate_says_success_within_a_minute_for_right_answers(page, lab, stem):
    nbformat.write(instructor_notebook(SOURCE / f"{stem}.py"), lab[2] / f"right_{stem}.ipynb")
    open_notebook(page, lab, f"right_{stem}.ipynb")
    assert "Success" in validate(page)


def serious(page, inside: str = ".two-views") -> list[str]:
    """What axe finds seriously or critically wrong with a part of the page: "rule: element" each."""
    found = Axe().run(page, context=inside).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
    ]


# the exported explorer: one file, no server


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    images, labels, factors = shapes.render(300, seed=3)
    pictures = ImageSet(images, labels, tuple(shapes.CLASSES), factors)
    first = evaluation.embedding_map(images.flatten(1) / 255, labels)
    noise = torch.randn(300, 8, generator=torch.Generator().manual_seed(1))
    second = evaluation.embedding_map(noise, labels, start=first.points)
    widget = widgets.explorer(pictures, {"noise": second, "pixels": first}, {"before": second, "after": first})
    return widgets.save_page(widget, tmp_path_factory.mktemp("page") / "explorer.html", "Three hundred pictures.")


def drag_around_everything(page) -> None:
    box = page.locator("canvas.tv-over").bounding_box()
    x, y, w, h = box["x"], box["y"], box["width"], box["height"]
    page.mouse.move(x + 2, y + 2)
    page.mouse.down()
    for right, down in ((0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.01)):
        page.mouse.move(x + w * right, y + h * down, steps=5)
    page.mouse.up()


def test_the_exported_explorer_needs_neither_server_nor_network(page, exported):
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.unroute("**/*")
    page.route(
        lambda address: address.startswith("http"), lambda route: page.asked.append(route.request.url) or route.abort()
    )
    page.goto(exported.as_uri())
    drag_around_everything(page)
    status = page.locator("[role=status]")
    status.filter(has_text="300 pictures selected").wait_for()
    assert page.get_by_label("selected pictures").locator("li").count() == 48
    page.get_by_label("Map of", exact=True).select_option("noise")
    page.get_by_text("of noise (chance").wait_for()
    assert problems == [] and page.asked == []


def test_the_explorer_can_be_used_by_keyboard_alone(page, exported):
    page.unroute("**/*")
    page.goto(exported.as_uri())
    over, status = page.locator("canvas.tv-over"), page.locator("[role=status]")
    over.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    status.filter(has_text="Nearest by pixels").wait_for()
    assert page.locator("ul.tv-pictures li").count() == 9  # the clicked one, and eight neighbours
    page.keyboard.press(" ")
    status.filter(has_text="selected").wait_for()
    page.keyboard.press("Escape")
    status.filter(has_text="Cleared").wait_for()
    moment = page.get_by_label("Moment of training")
    moment.focus()
    page.keyboard.press("Home")
    page.get_by_text("of before (chance").wait_for()
    assert moment.get_attribute("aria-valuetext") == "before"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_explorers_page(page, exported, scheme):
    page.unroute("**/*")
    page.emulate_media(color_scheme=scheme)
    page.goto(exported.as_uri())
    drag_around_everything(page)
    page.locator("canvas.tv-over").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert serious(page, "html") == []


def test_the_explorer_is_readable_at_twice_the_size(page, exported):
    page.unroute("**/*")
    page.set_viewport_size({"width": 640, "height": 900})  # 1280 pixels at 200 %
    page.goto(exported.as_uri())
    drag_around_everything(page)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
