"""How fast the widgets are in a real JupyterLab and browser, written to data/results/ui.json. Run it on an idle machine.

    python -m tests.ui                     as `make ui` does; some minutes

slider_ms: from pressing a key on a slider of the studio to the new picture being shown. explorer_fps_10k: frames a second
of the explorer with 10,000 images, the lower of two: while the pointer moves over it, and while the points glide to another
moment of training. first_cell_s: from starting JupyterLab, as `make lab` does, to the first cell of notebook 00 being done.
axe_serious: serious and critical findings of axe in the widgets, light and dark theme together.
"""

import statistics
import tempfile
import time
from pathlib import Path

from data.record import write_result
from grading.build import NOTEBOOKS
from tests.lab import (
    ERRORS,
    Lab,
    local_page,
    open_notebook,
    run_all,
    running_browser,
    running_lab,
    serious,
    shut_down,
    theme,
    write_cells,
)

PRESSES = 5  # of each slider, with each picture
STUDIO = """from helpers import data, widgets
studio = widgets.augmentation_studio(data.samples())
studio"""
BENCH = """from helpers import widgets
widgets.loss_bench()"""
EXPLORER = """import torch
from helpers import latent_space, shapes, widgets
from helpers.data import ImageSet

def flat(h):
    axes = torch.pca_lowrank(h, 2, niter=2)[2]
    points = h @ axes
    return (points - points.amin(0)) / (points.amax(0) - points.amin(0))

images, labels, factors = shapes.render(COUNT, seed=0)
pictures = ImageSet(images, labels, tuple(shapes.CLASSES), factors)
near = torch.randint(COUNT, (COUNT, 8), generator=torch.Generator().manual_seed(0))  # who is near costs no frames
rows = {"pixels": images.flatten(1) / 255, "averages": images.float().mean(dim=(2, 3)) / 255}
maps = {name: latent_space.EmbeddingMap(flat(h), near, 0.5) for name, h in rows.items()}
widgets.explorer(pictures, maps, {"early": maps["averages"], "late": maps["pixels"]})"""
LIVE = """from helpers import monitors, shapes, training, widgets
images, labels, factors = shapes.render(200, seed=0)
recipe = training.Recipe(batch_size=64, epochs=2, hidden_dim=32)
model, views = training.build_model(recipe), training.views_of(recipe)
on_step, watched = widgets.live_training(64, monitors.geometry_monitor(images, views, count=64), 0.1)
training.pretrain(model, images, views, recipe, watched, None, on_step)["epochs"]"""
COUNT_FRAMES = """milliseconds => new Promise(done => { let frames = 0; const start = performance.now();
  (function frame(now) { frames++; if (now - start < milliseconds) requestAnimationFrame(frame);
    else done(1000 * frames / (now - start)); })(start); })"""


def notebook(page, lab: Lab, name: str, *cells: str) -> None:
    """Write, open and run a notebook of these cells."""
    write_cells(lab.folder / f"{name}.ipynb", *cells)
    open_notebook(page, lab, f"{name}.ipynb")
    problems = run_all(page)
    assert not problems, problems


def first_cell(browser, home: Path) -> float:
    """Seconds from starting JupyterLab until the first code cell of notebook 00 has run."""
    start = time.perf_counter()
    with running_lab(home) as lab:
        page = local_page(browser)
        open_notebook(page, lab, "00_start_here.ipynb")
        page.evaluate("""async () => { const panel = window.jupyterapp.shell.currentWidget, cells = panel.content.model.cells;
            for (let at = 0; at < cells.length; at++) if (cells.get(at).type === 'code') { panel.content.activeCellIndex = at; break; }
            await window.jupyterapp.commands.execute('notebook:run-cell'); }""")
        assert page.evaluate(ERRORS) == []
        seconds = time.perf_counter() - start
        page.context.close()
    return seconds


def slider_times(page, lab: Lab) -> dict[str, list[float]]:
    """{picture: milliseconds from key to picture}, PRESSES of every slider of the studio."""
    notebook(page, lab, "studio", STUDIO)
    page.locator("img.tv-views").wait_for()
    page.evaluate("""() => { window.times = []; const views = document.querySelector('img.tv-views');
        document.addEventListener('keydown', () => { window.pressed = performance.now(); }, true);
        views.addEventListener('load', () => { window.times.push(performance.now() - window.pressed); }); }""")
    times = {}
    for name in ("built in: star", "photograph: flower"):
        page.get_by_label("Picture").select_option(name)
        page.wait_for_function("name => document.querySelector('img.tv-views').alt.includes(name)", arg=name)
        page.wait_for_timeout(1000)
        page.evaluate("() => { window.times = []; }")
        count = 0
        for slider in page.locator(".tv-studio").get_by_role("slider").all():
            slider.focus()
            key = "ArrowLeft" if slider.input_value() == slider.get_attribute("max") else "ArrowRight"
            for _ in range(PRESSES):
                page.keyboard.press(key)
                count += 1
                page.wait_for_function("count => window.times.length >= count", arg=count)
        times[name] = page.evaluate("() => window.times")
    return times


def explorer_frames(page, lab: Lab) -> tuple[float, float]:
    """Frames a second with 10,000 images: while pointing, and while the points glide."""
    notebook(page, lab, "explorer", EXPLORER.replace("COUNT", "10_000"))
    over = page.locator("canvas.tv-over")
    over.wait_for()
    over.scroll_into_view_if_needed()
    page.wait_for_timeout(2000)
    box = over.bounding_box()
    page.evaluate(f"() => {{ window.counted = ({COUNT_FRAMES})(3000); }}")
    end = time.time() + 3
    step = 0
    while time.time() < end:
        step += 1
        page.mouse.move(
            box["x"] + 40 + (7 * step) % (box["width"] - 80), box["y"] + 40 + (3 * step) % (box["height"] - 80)
        )
    pointing = page.evaluate("() => window.counted")
    moment = page.get_by_label("Moment of training")
    moment.focus()
    page.evaluate(f"() => {{ window.counted = ({COUNT_FRAMES})(3000); }}")
    for step in range(5):
        page.keyboard.press("Home" if step % 2 == 0 else "End")
        page.wait_for_timeout(600)
    return pointing, page.evaluate("() => window.counted")


def axe_findings(page, lab: Lab) -> dict[str, list[str]]:
    """{widget and theme: serious findings}; every widget with all it can unfold unfolded."""
    found = {}
    for name, cells in {
        "studio": STUDIO,
        "bench": BENCH,
        "explorer": EXPLORER.replace("COUNT", "300"),
        "live": LIVE,
    }.items():
        notebook(page, lab, f"axe_{name}", cells)
        page.locator("section.two-views").wait_for()
        for summary in page.locator("section.two-views summary").all():
            summary.click()
        page.wait_for_timeout(1000)
        for colours in ("light", "dark"):
            theme(page, colours)
            found[f"{name}, {colours}"] = serious(page)
        theme(page, "light")
        shut_down(page)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_browser() as browser:
        homes = [Path(folder) / name for name in ("first", "rest")]
        for home in homes:
            home.mkdir()
        seconds = first_cell(browser, homes[0])
        with running_lab(homes[1]) as lab:
            page = local_page(browser)
            times = slider_times(page, lab)
            shut_down(page)
            pointing, gliding = explorer_frames(page, lab)
            shut_down(page)
            findings = axe_findings(page, lab)
            assert page.asked == [] and page.broke == [], page.asked + page.broke
    every = sorted(one for part in times.values() for one in part)
    numbers = {
        "slider_ms_median": round(statistics.median(every), 1),
        "slider_ms_p95": round(every[int(0.95 * len(every))], 1),
        "slider_presses": len(every),
        "slider_ms_median_of": {name: round(statistics.median(part), 1) for name, part in times.items()},
        "explorer_fps_10k": round(min(pointing, gliding), 1),
        "explorer_fps_10k_while": {"pointing": round(pointing, 1), "gliding": round(gliding, 1)},
        "first_cell_s": round(seconds, 1),
        "axe_serious": sum(len(part) for part in findings.values()),
        "axe_findings": {name: part for name, part in findings.items() if part},
        "notebook_kib": {path.stem: round(path.stat().st_size / 1024) for path in sorted(NOTEBOOKS.glob("*.ipynb"))},
    }
    write_result("ui", "python -m tests.ui", 0, numbers)


if __name__ == "__main__":
    main()
