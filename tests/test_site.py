"""The reading edition: built whole from notebooks that ran, complete, offline, without hidden tests, fit for a phone."""

import html
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from grading.build import NOTEBOOKS, write_instructor_notebooks
from grading.teaching import site

STEMS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
needs_sphinx = pytest.mark.skipif(not site.SPHINX.exists(), reason="no .venv-site here: make .venv-site/ready")


class Page(HTMLParser):
    """Where a page leads, what it loads, its anchors, and the alternative texts of its pictures."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.loaded, self.anchors, self.alts = [], [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in ("script", "img", "iframe") and found.get("src"):
            self.loaded.append(found["src"])
        if tag == "link" and found.get("rel") not in ("canonical", "search", "index", "next", "prev"):
            self.loaded.append(found["href"])
        if tag == "img":
            self.alts.append(found.get("alt"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The site, built by the command from notebooks run in their quick form."""
    out = tmp_path_factory.mktemp("site") / "out"
    command = [sys.executable, "-m", "grading.teaching.site", "--quick", "--out", out]
    run = subprocess.run(command, cwd=site.ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert [path.name for path in out.parent.iterdir()] == ["out"]  # nothing is left beside it
    return out


@needs_sphinx
@pytest.mark.notebook
def test_every_notebook_has_its_page_with_what_its_cells_printed_and_drew(built):
    for stem in STEMS:
        text = (built / f"{stem}.html").read_text(encoding="utf-8")
        assert "cell_output" in text and "data:image/png;base64," in text or stem == "02_encoder", stem


@needs_sphinx
@pytest.mark.notebook
@pytest.mark.parametrize(("stem", "title"), [("01_augmentation", "Augmentation studio"), ("04_contrastive_loss", "Loss bench"), ("05_training", "Live training"), ("06_evaluation", "Embedding explorer")])  # fmt: skip
def test_a_still_picture_stands_where_a_notebook_has_a_widget(built, stem, title):
    text = (built / f"{stem}.html").read_text(encoding="utf-8")
    still = re.search(r'<figure class="two-views-still".*?</figure>', text, flags=re.S)[0]
    assert title in still and "as a still picture" in still
    assert re.search(r'<img alt="[^"]{20,}"[^>]* src="data:image/', still)


@needs_sphinx
@pytest.mark.notebook
def test_links_inside_the_site_lead_somewhere(built):
    pages = {path.name: Page(path) for path in built.glob("*.html")}
    for name, page in pages.items():
        for link in page.links:
            address = urlsplit(link)
            if address.scheme:
                continue
            target = address.path or name
            assert (built / target).exists(), f"{name}: {link}"
            if address.fragment and target in pages:
                assert unquote(address.fragment) in pages[target].anchors, f"{name}: {link}"


@needs_sphinx
@pytest.mark.notebook
def test_links_to_the_repository_lead_to_files_that_are_there(built):
    found = {link for path in built.glob("*.html") for link in Page(path).links if link.startswith(site.repository())}
    assert found
    for link in found:
        target = re.sub(r"^.*?/(blob|tree)/HEAD/", "", urlsplit(link).path.removeprefix(site.repository()))
        assert (site.ROOT / target).exists(), link


@needs_sphinx
@pytest.mark.notebook
def test_a_page_loads_nothing_from_elsewhere(built):
    for path in built.glob("*.html"):
        for address in Page(path).loaded:
            assert not urlsplit(address).scheme or address.startswith("data:"), f"{path.name}: {address}"


@needs_sphinx
@pytest.mark.notebook
def test_every_picture_has_its_alternative_text(built):
    for path in built.glob("*.html"):
        assert all(Page(path).alts), path.name


@needs_sphinx
@pytest.mark.notebook
def test_no_formula_is_left_as_tex_and_no_hidden_test_is_published(built):
    for path in built.glob("0*.html"):
        text = path.read_text(encoding="utf-8")
        assert "HIDDEN TESTS" not in text and "SOLUTION" not in text, path.name
        prose = re.sub(r"<(pre|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.S)
        assert not re.search(r"\$[^$\n]{1,60}\$", prose), path.name


@needs_sphinx
@pytest.mark.notebook
@pytest.mark.browser
def test_on_a_phone_no_page_is_wider_than_the_screen(built):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("no /usr/bin/chromium here")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        for path in sorted(built.glob("*.html")):
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path.name
        browser.close()


def test_without_solutions_an_exercise_is_as_it_was_released(tmp_path):
    paths = write_instructor_notebooks(tmp_path / "instructor", ["03"])
    executed = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    site.take_back_solutions(executed, tmp_path, ["03"])
    answers = [
        cell for cell in executed["03_projection_head"].cells if cell.metadata.get("nbgrader", {}).get("solution")
    ]
    assert len(answers) == 3
    assert all("NotYet()" in cell.source and "SOLUTION" not in cell.source for cell in answers)


@needs_sphinx
@pytest.mark.notebook
def test_the_whole_site_is_built_without_solutions_and_holds_none(tmp_path):
    paths = write_instructor_notebooks(tmp_path / "instructor")
    notebooks = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    answers = {
        stem: [cell.source for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
        for stem, notebook in notebooks.items()
    }
    site.take_back_solutions(notebooks, tmp_path)
    site.publish(notebooks, tmp_path / "pages", tmp_path / "out")
    for stem, sources in answers.items():
        page = html.unescape(re.sub(r"<[^>]*>", "", (tmp_path / "out" / f"{stem}.html").read_text(encoding="utf-8")))
        for source in sources:
            solution = re.search(r"### BEGIN SOLUTION\n(.*?)\n *### END SOLUTION", source, flags=re.S)[1]
            assert source.partition("\n")[0] in page and solution not in page, stem


def test_a_widget_becomes_what_it_shows():
    states = {
        "box": {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_a", "IPY_MODEL_b"]}},
        "a": {"model_name": "IntSliderModel", "state": {"description": "seed", "value": 3}},
        "b": {"model_name": "HTMLModel", "state": {"_model_name": "HTMLModel", "value": "<b>picture</b>"}},
    }
    shown = site.widget_html("box", states)
    assert "seed: 3" in shown and "<b>picture</b>" in shown and "In the notebook" in shown
    assert site.widget_html("one that is not there", states) == ""


def test_lines_that_a_cell_printed_one_after_the_other_stand_in_one_block():
    pieces = [("stdout", "a\n"), ("stdout", "b\n"), ("stderr", "c\n"), ("stdout", "d\n")]
    outputs = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in pieces]
    picture = nbformat.v4.new_output("display_data", {"image/png": ""})
    whole = site.joined([*outputs, picture, picture])
    assert [output.get("text") for output in whole] == ["a\nb\n", "c\n", "d\n", None, None]


def test_links_to_pages_stay_and_links_to_files_lead_to_the_repository():
    text = site.outward("[a](01_augmentation.ipynb) [b](../helpers/losses.py) [c](https://x.org) [d](#e)", NOTEBOOKS)
    assert (
        text
        == f"[a](01_augmentation.ipynb) [b]({site.repository()}/blob/HEAD/helpers/losses.py) [c](https://x.org) [d](#e)"
    )


def test_a_folder_that_is_no_site_of_ours_is_left_alone(monkeypatch, tmp_path):
    (tmp_path / "letters").write_text("kept")
    monkeypatch.setattr(sys, "argv", ["site", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="name another folder"):
        site.main()
    assert (tmp_path / "letters").read_text() == "kept"


def test_without_its_tools_the_command_says_what_to_run(monkeypatch):
    monkeypatch.setattr(site, "SPHINX", Path("nowhere"))
    monkeypatch.setattr(sys, "argv", ["site"])
    with pytest.raises(SystemExit, match="make site"):
        site.main()
