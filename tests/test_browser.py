"""The course as a learner meets it: a real JupyterLab, a real browser, and no internet."""

import json
import math
import re
import warnings
from pathlib import Path

import nbformat
import pytest
import torch

from grading.build import SOURCE, instructor_notebook
from helpers import latent_space, losses, shapes, widgets
from helpers.data import ImageSet
from helpers.widgets.losses import on_circle as losses_on_circle
from tests.lab import (
    CHROMIUM,
    ERRORS,
    cramped,
    local_page,
    open_notebook,
    run_all,
    running_browser,
    running_lab,
    serious,
    shut_down,
    start_all,
    theme,
    validate,
    write_cells,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine (Debian: apt install chromium)"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with running_lab(tmp_path_factory.mktemp("home")) as lab:
        yield lab


@pytest.fixture(scope="module")
def chromium():
    with running_browser() as browser:
        yield browser


@pytest.fixture
def page(chromium):
    page = local_page(chromium)
    yield page
    if page.url.startswith("http"):
        shut_down(page)
    page.context.close()


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


@pytest.mark.parametrize("stem", [path.stem for path in sorted(SOURCE.glob("*.py"))])
def test_every_notebook_runs_in_jupyterlab_with_its_widgets_in_sight_and_readable_by_everybody(page, lab, stem):
    nbformat.write(instructor_notebook(SOURCE / f"{stem}.py"), lab.folder / f"run_{stem}.ipynb")
    open_notebook(page, lab, f"run_{stem}.ipynb")
    assert run_all(page, seconds=600) == []
    widget = page.locator("section.two-views")
    if stem[:2] in ("01", "04", "05", "06"):
        widget.wait_for()
        assert serious(page) == []
        assert not page.locator(".two-views-still").first.is_visible()  # the widget is there instead
    else:
        assert widget.count() == 0
    assert page.broke == [] and page.asked == []


@pytest.mark.parametrize("stem", ["01_augmentation", "04_contrastive_loss"])
def test_in_notebook_7_a_notebook_runs_with_its_widget_and_validate_is_there(page, tmp_path, stem):
    with running_lab(tmp_path, "notebook") as classic:
        nbformat.write(instructor_notebook(SOURCE / f"{stem}.py"), classic.folder / "right.ipynb")
        open_notebook(page, classic, "right.ipynb", "notebook")
        page.broke.clear()  # what happens while Notebook itself starts is its own
        try:
            assert run_all(page, seconds=600) == []
            page.locator("section.two-views").wait_for()
            assert page.get_by_role("button", name="Validate").count() >= 1
            assert page.broke == [] and page.asked == []
        finally:
            shut_down(page)
            page.goto("about:blank")


# the augmentation studio

STUDIO = """from helpers import data, widgets
studio = widgets.augmentation_studio(data.samples())
studio"""


@pytest.fixture
def studio(page, lab):
    write_cells(lab.folder / "studio.ipynb", STUDIO)
    open_notebook(page, lab, "studio.ipynb")
    assert run_all(page) == []
    page.locator(".tv-studio").wait_for()
    return page.locator(".tv-studio")


def test_every_slider_of_the_studio_changes_the_picture_by_keyboard(page, studio):
    views = studio.locator("img.tv-views")
    sliders = studio.get_by_role("slider")
    assert sliders.count() == 13
    for slider in sliders.all():
        before = views.get_attribute("src")
        slider.focus()
        page.keyboard.press("ArrowLeft" if slider.input_value() == slider.get_attribute("max") else "ArrowRight")
        page.wait_for_function("old => document.querySelector('img.tv-views').src !== old", arg=before)
    assert "seed 1." in views.get_attribute("alt")
    assert page.broke == [] and page.asked == []


def test_the_studio_takes_another_picture_and_one_of_ones_own(page, studio, tmp_path):
    views = studio.locator("img.tv-views")
    studio.get_by_label("Picture").select_option("photograph: flower")
    page.wait_for_function("() => document.querySelector('img.tv-views').alt.includes('photograph: flower')")
    own = tmp_path / "own.png"
    own.write_bytes(widgets.core.encode(shapes.render(1, seed=0)[0][0], "PNG"))
    studio.get_by_label("or your own").set_input_files(own)
    page.wait_for_function("() => document.querySelector('img.tv-views').alt.includes('your picture')")
    assert studio.get_by_label("Picture").input_value() == "your picture"
    assert views.is_visible()


def test_the_studio_shows_policies_and_code_and_axe_finds_nothing_serious(page, studio):
    for summary in studio.locator("summary").all():
        summary.click()
    studio.get_by_role("img", name="Four rows of 6 views").wait_for()
    assert "v2.RandomResizedCrop(32" in studio.get_by_label("code of this transform").inner_text()
    for colours in ("light", "dark"):
        theme(page, colours)
        assert serious(page) == []


def test_the_studio_is_readable_at_twice_the_size(page, studio):
    for summary in studio.locator("summary").all():
        summary.click()
    studio.get_by_role("img", name="Four rows of 6 views").wait_for()
    at_twice_the_size(page)


def at_twice_the_size(page) -> None:
    """JupyterLab on a screen of 1500 pixels, without its sidebar, as browsers show it at 200 %: nothing is cut off."""
    page.set_viewport_size({"width": 750, "height": 900})
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    page.wait_for_timeout(500)  # the layout follows
    assert cramped(page) == []
    page.set_viewport_size({"width": 1500, "height": 1000})


# the loss bench


@pytest.fixture
def bench(page, tmp_path):
    page.goto(widgets.save_page(widgets.loss_bench(), tmp_path / "bench.html").as_uri())
    return page.locator(".tv-bench")


def state(bench) -> tuple[list[float], float, float]:
    """Angles in radians, temperature and loss as the bench says them."""
    points = bench.get_by_role("group", name="Embeddings on a circle").get_by_role("slider").all()
    degrees = [float(point.get_attribute("aria-valuenow")) for point in points]
    tau = float(bench.get_by_label("Temperature").get_attribute("aria-valuetext"))
    return [math.radians(one) for one in degrees], tau, float(bench.locator(".tv-big").inner_text())


def reference(angles: list[float], temperature: float) -> float:
    z_a, z_b = losses_on_circle(torch.tensor(angles)).chunk(2)
    return losses.nt_xent(z_a, z_b, temperature).item()


def test_the_bench_computes_the_loss_of_the_course_wherever_the_points_and_the_temperature_are(page, bench):
    tau = bench.get_by_label("Temperature")
    for key in ("", "Home", "PageUp", "PageUp", "End"):
        tau.focus()
        if key:
            page.keyboard.press(key)
        angles, temperature, loss = state(bench)
        assert loss == pytest.approx(reference(angles, temperature), rel=0.06, abs=0.03)  # degrees and τ are rounded


def test_the_benchs_loss_and_gradient_are_those_of_autograd_to_many_digits(page):
    script = (widgets.core.HERE / "losses.js").read_text(encoding="utf-8")
    page.goto("about:blank")
    for temperature in (0.02, 0.3, 5.0):
        angles = (6.28 * torch.rand(8, dtype=torch.float64)).requires_grad_()
        z_a, z_b = losses_on_circle(angles).chunk(2)
        loss = losses.nt_xent(z_a, z_b, temperature)
        (turn,) = torch.autograd.grad(loss, angles)
        code = script.replace("export default { render };", "") + f"; ntXent({angles.tolist()}, {temperature})"
        found = page.evaluate(f"() => {{ return eval({json.dumps(code)}); }}")
        assert found["loss"] == pytest.approx(loss.item(), rel=1e-9)
        assert found["turn"] == pytest.approx(turn.tolist(), rel=1e-7, abs=1e-9)


def test_a_point_of_the_bench_can_be_dragged_and_turned_by_keyboard_and_the_loss_follows(page, bench):
    _, _, before = state(bench)
    point = bench.get_by_role("slider", name="angle of b0")
    box, target = point.bounding_box(), bench.get_by_role("slider", name="angle of a0").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(target["x"] + target["width"] / 2, target["y"] + target["height"] / 2, steps=6)
    page.mouse.up()
    angles, temperature, dragged = state(bench)
    assert dragged < before and abs(angles[0] - angles[3]) < 0.2
    page.keyboard.press("PageUp")
    turned, temperature, loss = state(bench)
    assert turned[3] == pytest.approx(angles[3] + math.radians(30), abs=0.03)
    assert loss == pytest.approx(reference(turned, temperature), rel=0.03, abs=0.02)


def test_gradient_descent_on_the_bench_lowers_the_loss(page, bench):
    values = [state(bench)[2]]
    for _ in range(4):
        bench.get_by_role("button", name="One step").click()
        values.append(state(bench)[2])
    assert values == sorted(values, reverse=True) and values[-1] < values[0]
    bench.get_by_role("button", name="Back").click()
    assert state(bench)[2] == values[0]


@pytest.mark.parametrize("count", [2, 5])
def test_the_bench_is_readable_at_twice_the_size(page, tmp_path, count):
    angles = [math.tau * (at + 0.5) / count / 2 for at in range(2 * count)]
    page.set_viewport_size({"width": 640, "height": 900})  # 1280 pixels at 200 %
    page.goto(widgets.save_page(widgets.loss_bench(angles, 0.02), tmp_path / "bench.html").as_uri())
    assert cramped(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_bench(page, bench, scheme):
    page.emulate_media(color_scheme=scheme)
    assert serious(page) == []


# live training

LIVE = """import pathlib, torch
from helpers import monitors, resuming, shapes, training, widgets
from helpers.data import ImageSet
torch.set_num_threads(1)
images, labels, factors = shapes.render(400, seed=0)
recipe = training.Recipe(batch_size=64, epochs=60, hidden_dim=32)
model, views, run = training.build_model(recipe), training.views_of(recipe), pathlib.Path("run.pt")
knn = monitors.knn_monitor(ImageSet(images, labels, tuple(shapes.CLASSES)))
spread = monitors.geometry_monitor(images, views, count=64)"""
TRAIN = """on_step, watched = widgets.live_training(64, lambda model: knn(model) | spread(model), 0.1, resuming.history_so_far(run), "Kept.")
history = training.pretrain(model, images, views, recipe, watched, run, on_step)
print("steps:", len(history["loss"]), "epochs:", len(history["epochs"]))"""


def test_training_can_be_stopped_while_it_runs_and_goes_on_where_it_was(page, lab):
    write_cells(lab.folder / "live.ipynb", LIVE, TRAIN)
    open_notebook(page, lab, "live.ipynb")
    start_all(page)
    live = page.locator(".tv-live")
    reached = live.get_by_text(re.compile(r"after \d+ epochs"))
    reached.wait_for(timeout=120_000)
    at_twice_the_size(page)
    live.get_by_role("button", name="Stop training").click()
    live.get_by_text("Stopped. Kept.").wait_for()
    page.wait_for_function("() => window.finished", timeout=60_000)
    (stopped,) = page.evaluate(ERRORS)
    assert stopped["name"] == "Interrupted" and "of 60 epochs: run the same again" in stopped["value"]
    kept = int(re.search(r"keeps (\d+) of", stopped["value"]).group(1))
    assert 2 <= kept < 60
    page.evaluate("""async () => { const commands = window.jupyterapp.commands; window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
        window.finished = false; commands.execute('notebook:run-cell').then(() => { window.finished = true; }); }""")
    page.wait_for_function("() => !document.querySelector('.tv-live')?.textContent.includes('Stopped')")
    assert int(re.search(r"after (\d+) epochs", reached.text_content(timeout=120_000)).group(1)) >= kept
    assert serious(page) == []
    page.wait_for_function("() => window.finished", timeout=240_000)
    assert page.evaluate(ERRORS) == []
    page.get_by_text("steps: 360 epochs: 60").wait_for()
    stills = page.locator(".two-views-still")
    assert "Step 360 of 360" in stills.get_by_role("img", include_hidden=True).first.get_attribute("alt")
    assert not stills.first.is_visible()  # the widget is there instead
    assert page.broke == [] and page.asked == []


# the explorer, in JupyterLab

EXPLORER = """import torch
from helpers import latent_space, shapes, widgets
from helpers.data import ImageSet
images, labels, factors = shapes.render(200, seed=3)
pictures = ImageSet(images, labels, tuple(shapes.CLASSES), factors)
explorer = widgets.explorer(pictures, {"pixels": latent_space.embedding_map(images.flatten(1) / 255, labels)})
explorer"""


def test_what_the_lasso_holds_reaches_the_kernel_and_hovering_does_not_need_it(page, lab):
    write_cells(
        lab.folder / "explorer.ipynb", EXPLORER, "print('held:', len(explorer.selection), sum(explorer.selection))"
    )
    open_notebook(page, lab, "explorer.ipynb")
    assert run_all(page) == []
    page.locator(".tv-explorer").wait_for()
    shut_down(page)  # no kernel from here on
    page.locator("canvas.tv-over").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".tv-tip").filter(has_text="image").wait_for()
    open_notebook(page, lab, "explorer.ipynb")
    assert run_all(page) == []
    page.locator(".tv-explorer").wait_for()
    drag_around_everything(page)
    page.locator("[role=status]").filter(has_text="200 pictures selected").wait_for()
    page.evaluate("""async () => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
        await window.jupyterapp.commands.execute('notebook:run-cell'); }""")
    page.get_by_text(f"held: 200 {sum(range(200))}").wait_for()
    assert page.broke == [] and page.asked == []


# the exported explorer: one file, no server


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    images, labels, factors = shapes.render(300, seed=3)
    pictures = ImageSet(images, labels, tuple(shapes.CLASSES), factors)
    first = latent_space.embedding_map(images.flatten(1) / 255, labels)
    noise = torch.randn(300, 8, generator=torch.Generator().manual_seed(1))
    second = latent_space.embedding_map(noise, labels, start=first.points)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # umap misses TensorFlow, which the course does not want
        by_umap = latent_space.embedding_map(images.flatten(1) / 255, labels, "UMAP")
    maps = {"noise": second, "pixels, UMAP": by_umap, "pixels": first}
    widget = widgets.explorer(pictures, maps, {"before": second, "after": first})
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
    page.goto(exported.as_uri())
    drag_around_everything(page)
    status = page.locator("[role=status]")
    status.filter(has_text="300 pictures selected").wait_for()
    assert page.get_by_label("selected pictures").locator("li").count() == 48
    page.get_by_label("Map of", exact=True).select_option("noise, t-SNE")
    page.get_by_text("of noise (chance").wait_for()
    assert page.broke == [] and page.asked == []


def test_the_explorer_can_be_used_by_keyboard_alone(page, exported):
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
    page.emulate_media(color_scheme=scheme)
    page.goto(exported.as_uri())
    drag_around_everything(page)
    page.locator("canvas.tv-over").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert serious(page, "html") == []


def test_the_explorer_is_readable_at_twice_the_size(page, exported):
    page.set_viewport_size({"width": 640, "height": 900})  # 1280 pixels at 200 %
    page.goto(exported.as_uri())
    drag_around_everything(page)
    assert cramped(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_a_umap_map_of_the_explorer_moves_the_points_and_keeps_the_accuracy(page, exported):
    page.emulate_media(reduced_motion="reduce")  # no gliding: the points are where they go at once
    page.goto(exported.as_uri())
    offered = page.get_by_label("Map of", exact=True)
    names = ["noise, t-SNE", "pixels, UMAP", "pixels, t-SNE", "h during training"]
    assert offered.locator("option").all_inner_texts() == names
    seen = {}
    for name in names[1:3]:
        offered.select_option(name)
        page.locator("canvas.tv-over").focus()
        page.keyboard.press("Escape")
        page.wait_for_timeout(200)  # a frame is drawn
        seen[name] = page.locator("canvas").first.evaluate("canvas => canvas.toDataURL()"), page.locator(".tv-explorer .tv-controls").first.locator(".tv-big").inner_text()  # fmt: skip
        page.get_by_text("of pixels (chance").wait_for()
    (by_umap, accuracy), (by_tsne, same) = seen.values()
    assert by_umap != by_tsne and accuracy == same and re.fullmatch(r"\d+\.\d %", accuracy)
    page.locator("canvas.tv-over").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator("ul.tv-pictures li").count() == 9  # one row of neighbours: both maps are of the same space
