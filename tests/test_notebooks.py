"""The notebooks: built from their source byte by byte, 100 points, well formed, and they run."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from grading.build import NOTEBOOKS, SOURCE, client, instructor_notebook, release
from helpers import checks

SOURCES = sorted(SOURCE.glob("*.py"))
STEMS = [path.stem for path in SOURCES]
COURSE = [
    "00_start_here", "01_augmentation", "02_encoder", "03_projection_head", "04_contrastive_loss", "05_training",
    "06_evaluation",
]  # fmt: skip


def notebook(stem: str):
    return nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)


def run(stem: str, nb, folder: Path, monkeypatch, allow_errors: bool):
    """The notebook, run from top to bottom by a real kernel in its quick form, alone as under the autograder."""
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    client(nb, folder, timeout=300, allow_errors=allow_errors).execute()
    return nb


def test_the_course_has_its_seven_notebooks():
    assert STEMS == COURSE
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == COURSE


def test_rebuilding_gives_the_committed_notebooks_byte_by_byte(tmp_path):
    for path in release(tmp_path):
        assert path.read_bytes() == (NOTEBOOKS / path.name).read_bytes(), f"{path.name}: run `make notebooks`"


def test_no_solution_and_no_hidden_test_is_released():
    for stem in COURSE:
        text = (NOTEBOOKS / f"{stem}.ipynb").read_text(encoding="utf-8")
        assert "SOLUTION" not in text and "HIDDEN TESTS" not in text


@pytest.mark.parametrize("stem", COURSE[1:])
def test_points_add_up_to_the_contract(stem):
    earned = {}
    for cell in instructor_notebook(SOURCE / f"{stem}.py").cells:
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("grade"):
            name = re.sub("_(check|hidden)$", "", marks["grade_id"])
            earned[name] = earned.get(name, 0) + marks["points"]
    assert earned == checks.POINTS[stem]


def test_the_course_is_worth_100_points():
    assert sum(sum(points.values()) for points in checks.POINTS.values()) == 100


@pytest.mark.parametrize("stem", COURSE[1:])
def test_every_exercise_has_an_answer_a_check_hidden_tests_and_three_hints(stem):
    cells = instructor_notebook(SOURCE / f"{stem}.py").cells
    ids = [cell.id for cell in cells]
    for name in checks.POINTS[stem]:
        assert {name, f"{name}_check", f"{name}_hidden"} <= set(ids)
        start, end = ids.index(name), ids.index(f"{name}_hidden")
        nearby = "".join(cell.source for cell in cells[max(0, start - 3) : end + 4])
        assert nearby.count("<summary>") >= 3, name


@pytest.mark.parametrize("stem", COURSE[1:])
def test_a_check_cell_states_facts_with_messages_and_then_calls_the_check(stem):
    for cell in instructor_notebook(SOURCE / f"{stem}.py").cells:
        if cell.id.endswith("_check"):
            name = cell.id.removesuffix("_check")
            asserts = re.findall(r"^ *assert .*", cell.source, flags=re.M)
            assert asserts, f"{cell.id}: no assert in sight"
            assert f"checks.check_{name}(" in cell.source, cell.id


@pytest.mark.parametrize("stem", COURSE)
def test_code_cells_are_at_most_15_lines(stem):
    for cell in notebook(stem).cells:
        if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("solution"):
            assert len(cell.source.splitlines()) <= 15, cell.id


@pytest.mark.parametrize("stem", COURSE)
def test_headings_start_with_one_title_and_skip_no_level(stem):
    text = "\n".join(cell.source for cell in notebook(stem).cells if cell.cell_type == "markdown")
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, flags=re.M)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


@pytest.mark.parametrize("stem", COURSE)
def test_every_notebook_shows_the_map_and_says_you_are_here(stem):
    cells = notebook(stem).cells
    assert "you are here" in cells[0].source
    assert any("course_map" in cell.source for cell in cells[:4])


@pytest.mark.parametrize("stem", COURSE)
def test_pictures_in_markdown_have_alternative_text(stem):
    for cell in notebook(stem).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"!\[\s*\]\(|<img(?![^>]*alt=)", cell.source), cell.id


@pytest.mark.notebook
@pytest.mark.parametrize("stem", COURSE)
def test_an_untouched_release_runs_through_and_each_unfinished_exercise_says_so_in_one_line(stem, monkeypatch):
    nb = run(stem, notebook(stem), NOTEBOOKS, monkeypatch, allow_errors=True)
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                assert cell.metadata.get("nbgrader", {}).get("grade"), f"{cell.id}: {output.evalue}"
                assert output.ename == "NotYet" and len(output.traceback) == 1, f"{cell.id}: {output.traceback}"


@pytest.mark.notebook
@pytest.mark.parametrize("stem", COURSE)
def test_the_instructor_version_runs_without_any_error(stem, monkeypatch):
    nb = run(stem, instructor_notebook(SOURCE / f"{stem}.py"), NOTEBOOKS, monkeypatch, allow_errors=False)
    for cell in nb.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            assert not [out for out in cell.outputs if out.get("name") == "stderr"], f"{cell.id} writes to stderr"


@pytest.mark.notebook
def test_with_its_switch_on_05_writes_the_curves_and_the_latent_space_for_tensorboard(monkeypatch):
    nb = instructor_notebook(SOURCE / "05_training.py")
    [cell] = [cell for cell in nb.cells if cell.source.startswith("TENSORBOARD = False")]
    cell.source = cell.source.replace("False", "True", 1)
    run("05_training", nb, NOTEBOOKS, monkeypatch, allow_errors=False)
    place = NOTEBOOKS.parent / re.search(r"tensorboard --logdir (\S+)", cell.outputs[-1].text)[1]
    assert list(place.rglob("events.out.tfevents.*")) and list(place.rglob("projector_config.pbtxt"))


def test_build_says_what_it_looked_for_when_no_source_matches():
    run = subprocess.run(
        [sys.executable, "-m", "grading.build", "77"], capture_output=True, text=True, cwd=NOTEBOOKS.parent
    )
    assert run.returncode == 1 and "77" in run.stderr and "Traceback" not in run.stderr
