"""Your answers: kept once they pass, found again by later notebooks, and never in the way when something is wrong."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from helpers import course, losses

SETUP = "from helpers import course\nfrom helpers.checks import NotYet\nmy = course.Parts()"


@pytest.fixture
def yours(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "YOURS", tmp_path)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    return tmp_path


def printed_by(cells: list[str], yours, monkeypatch, execution: str | None = None) -> list[str]:
    """Run cells in a real kernel whose answers are kept under `yours`; what each printed."""
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    if execution:
        monkeypatch.setenv("NBGRADER_EXECUTION", execution)
    redirect = f"from pathlib import Path\nfrom helpers import course\ncourse.YOURS = Path({json.dumps(str(yours))})"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in [redirect, SETUP, *cells]])
    NotebookClient(nb, timeout=120, kernel_name="python3").execute()
    return [
        "".join(out.get("text", "") for out in cell.outputs if out.get("name") == "stdout") for cell in nb.cells[2:]
    ]


RIGHT = [
    "import math\nSHIFT = 1",
    "def twice(n):\n    return 2 * n",
    "def chance_loss(n):\n    return math.log(twice(n) - SHIFT)",
]


@pytest.mark.notebook
def test_an_answer_that_passes_is_kept_with_what_it_needs_and_used_by_the_next_notebook(yours, monkeypatch):
    first = printed_by([*RIGHT, "my.keep(chance_loss)"], yours, monkeypatch)
    assert "yours" in first[-1]
    second = printed_by(
        ["print(my.chance_loss(5), my.chance_loss.__module__)", "my.table(('chance_loss',))"], yours, monkeypatch
    )
    assert second[0].split() == [str(math.log(9)), "yours.chance_loss"]
    assert second[1].split() == ["chance_loss", "yours"]


@pytest.mark.notebook
def test_a_wrong_or_unfinished_answer_leaves_the_reference_in_place_and_says_why(yours, monkeypatch):
    cells = ["def chance_loss(n):\n    raise NotYet()", "my.keep(chance_loss)", "print(my.chance_loss(5))"]
    out = printed_by(cells, yours, monkeypatch)
    assert "reference stands in, because" in out[1] and len(out[1].strip().splitlines()) == 1
    assert float(out[2]) == pytest.approx(math.log(9))
    assert not list(yours.iterdir())


@pytest.mark.notebook
def test_a_later_wrong_attempt_does_not_lose_the_answer_that_passed(yours, monkeypatch):
    printed_by([*RIGHT, "my.keep(chance_loss)"], yours, monkeypatch)
    out = printed_by(["def chance_loss(n):\n    return 0.0", "my.keep(chance_loss)"], yours, monkeypatch)
    assert "your earlier answer stands in" in out[1]
    assert (yours / "chance_loss.py").exists()


@pytest.mark.notebook
def test_under_the_autograder_a_notebook_stands_alone(yours, monkeypatch):
    printed_by([*RIGHT, "my.keep(chance_loss)"], yours, monkeypatch)
    before = (yours / "chance_loss.py").read_bytes()
    out = printed_by(
        ["print(my.chance_loss.__module__)", *RIGHT, "my.keep(chance_loss)"], yours, monkeypatch, execution="autograde"
    )
    assert out[0].strip() == "helpers.losses"
    assert (yours / "chance_loss.py").read_bytes() == before


def test_a_kept_file_that_does_not_run_gives_way_to_the_reference(yours, capsys):
    (yours / "nt_xent.py").write_text("import nothing_of_this_name\n")
    my = course.Parts()
    assert my.nt_xent is losses.nt_xent
    my.table(("nt_xent",))
    assert "does not run: ModuleNotFoundError" in capsys.readouterr().out


def test_an_unknown_piece_is_named_together_with_those_there_are(yours):
    with pytest.raises(AttributeError, match="no piece called 'nt_exnt'.*nt_xent"):
        course.Parts().nt_exnt


def test_every_piece_has_a_check_and_a_reference():
    from helpers import checks
    from helpers.checks.core import snake_case

    for name in course.PIECES:
        assert callable(course.Parts().reference(name))
        assert callable(getattr(checks, f"check_{snake_case(name)}"))


def test_quick_is_off_for_a_learner_and_on_under_validate(monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    monkeypatch.delenv("COURSE_QUICK", raising=False)
    assert not course.quick()
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    assert course.quick()


@pytest.mark.parametrize(("value", "quick"), [("1", True), ("yes", True), ("0", False), ("", False), ("False", False)])
def test_course_quick_is_off_where_it_says_so(value, quick, monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    monkeypatch.setenv("COURSE_QUICK", value)
    assert course.quick() is quick


KEPT_LOOP = [
    "import math, time\nfrom helpers import losses, monitors\nmonitor = monitors.knn_monitor\nloss, _ = 1.88, ''\n"
    "class Recipe:\n    epochs = 2",
    "STEPS = 3",
    "def average(values):\n    return sum(values) / len(values)",
    "def chance_loss(n, monitor=None, *, epochs=STEPS):\n"
    "    loss = math.log(2 * n - 1)\n"
    "    kept = [loss for _ in range(epochs)]\n"
    "    def inner():\n        nonlocal loss\n        loss += 0 * math.pi\n        return average(kept)\n"
    "    return inner() if monitor is None else monitor(loss)",
]


def test_parameters_and_local_names_of_an_answer_are_not_taken_for_names_of_the_notebook():
    assert course.globals_of(KEPT_LOOP[-1]) - {"sum", "len", "range"} == {"math", "average", "STEPS"}
    assert course.globals_of("class A(nn.Module):\n    size = SIZE\n    def f(self, x):\n        return g(x)") == {
        "nn", "SIZE", "g",
    }  # fmt: skip


@pytest.mark.notebook
def test_an_answer_is_kept_although_the_notebook_has_other_things_under_its_parameters_names(yours, monkeypatch):
    first = printed_by([*KEPT_LOOP, "my.keep(chance_loss)"], yours, monkeypatch)
    assert "yours" in first[-1]
    text = (yours / "chance_loss.py").read_text()
    assert "monitor as" not in text and "loss = 1.88" not in text and "_ =" not in text
    second = printed_by(["print(my.chance_loss(5), my.chance_loss.__module__)"], yours, monkeypatch)
    assert second[0].split() == [str(math.log(9)), "yours.chance_loss"]


@pytest.mark.parametrize(
    "value", [3, -math.inf, [1, 2.5], {"a": (None, True)}, torch.float32, torch.device("cpu"), math.cos, torch.cat,
              torch.nn.functional.relu, np.mean, torch.nn.Sequential, Callable, math], ids=repr,
)  # fmt: skip
def test_a_line_of_source_gives_a_name_its_value_again(value):
    space = {}
    exec(course.line_for("name", value), space)
    assert space["name"] == value


@pytest.mark.notebook
def test_an_answer_takes_functions_and_constants_of_the_notebook_along(yours, monkeypatch):
    cells = ["from math import log\nfrom torch import cat\nEDGE = [3, 1]\nKIND = torch.float64",
             "def chance_loss(n):\n    cat, KIND\n    return min(EDGE) * log(2 * n - 1)"]  # fmt: skip
    assert "yours, from here on" in printed_by(["import torch", *cells, "my.keep(chance_loss)"], yours, monkeypatch)[-1]
    second = printed_by(["print(my.chance_loss(5), my.chance_loss.__module__)"], yours, monkeypatch)
    assert second[0].split() == [str(math.log(9)), "yours.chance_loss"]


@pytest.mark.notebook
def test_an_answer_that_needs_a_tensor_of_the_notebook_is_used_there_alone_and_that_is_said(yours, monkeypatch):
    cells = ["import math, torch\nONE = torch.ones(())", "def chance_loss(n):\n    return math.log(2 * n - ONE.item())"]
    out = printed_by([*cells, "my.keep(chance_loss)", "print(my.chance_loss.__module__)"], yours, monkeypatch)
    assert out[2].strip() == (
        "chance_loss: yours, in this notebook alone: ONE, which its cell uses, cannot be kept in a file. "
        "Make it inside chance_loss."
    )
    assert out[3].strip() == "__main__" and not list(yours.iterdir())


@pytest.mark.notebook
@pytest.mark.parametrize(
    "helper",
    ["class Shift(ValueError):\n    by = 1", "@dataclasses.dataclass\nclass Shift:\n    by: int = 1"],
    ids=["no methods", "dataclass"],
)
def test_an_answer_that_needs_a_class_whose_source_is_not_known_is_used_there_alone(yours, monkeypatch, helper):
    answer = "def chance_loss(n):\n    return math.log(2 * n - Shift.by)"
    out = printed_by(
        ["import math, dataclasses", helper, answer, "my.keep(chance_loss)", "print(my.chance_loss(5))"],
        yours,
        monkeypatch,
    )
    assert out[3].startswith("chance_loss: yours") and len(out[3].strip().splitlines()) == 1
    assert float(out[4]) == pytest.approx(math.log(9))


@pytest.mark.notebook
def test_an_answer_under_another_name_is_kept_or_told(yours, monkeypatch):
    names = ["import math, functools", "chance_loss = lambda n: math.log(2 * n - 1)", "my.keep(chance_loss)"]
    assert printed_by(names, yours, monkeypatch)[-1] == "chance_loss: yours, from here on.\n"
    again = printed_by(["print(my.chance_loss(5), my.chance_loss.__module__)"], yours, monkeypatch)
    assert again[0].split() == [str(math.log(9)), "yours.chance_loss"]
    (yours / "chance_loss.py").unlink()
    cells = ["import math, functools", "def mine(n, k=1):\n    return math.log(2 * n - k)", "chance_loss = mine"]
    out = printed_by([*cells, "my.keep(chance_loss)", "my.keep(mine)", "my.keep(math.log)"], yours, monkeypatch)
    assert "yours, in this notebook alone: its cell gives nothing the name chance_loss" in out[3]
    assert out[5].startswith("log: no piece of the course has this name")
    partial = ["import math, functools", cells[1], "chance_loss = functools.partial(mine, k=1)", "my.keep(chance_loss)"]
    assert "yours, in this notebook alone: " in printed_by(partial, yours, monkeypatch)[-1]
    assert not list(yours.iterdir())


@pytest.mark.notebook
def test_a_decorated_answer_is_kept_as_it_was_written(yours, monkeypatch):
    cell = (
        "import functools\n\ndef counted(f):\n    @functools.wraps(f)\n    def inner(*a):\n        return f(*a)\n"
        "    return inner\n\n@counted\ndef chance_loss(n):\n    return math.log(2 * n - 1)"
    )
    printed_by(["import math", cell, "my.keep(chance_loss)"], yours, monkeypatch)
    second = printed_by(["print(my.chance_loss(5), my.chance_loss.__module__)"], yours, monkeypatch)
    assert second[0].split() == [str(math.log(9)), "yours.chance_loss"]


def test_the_source_behind_a_librarys_decorator_is_the_answers_own():
    @torch.no_grad()
    def answer(x):
        return x

    class Model(torch.nn.Module):
        @torch.inference_mode()
        def forward(self, x):
            return x

    here = Path(__file__).read_text(encoding="utf-8").strip()  # as a cell's text would be
    assert course.cell_source(answer) == course.cell_source(Model) == here


def test_the_reference_is_not_kept_as_yours(yours, capsys):
    my = course.Parts()
    my.keep(losses.nt_xent)
    told = capsys.readouterr().out
    assert "nt_xent: this is the reference itself" in told and told.count("\n") == 1
    assert not list(yours.iterdir())


def points_printed(printed: str) -> dict[str, float]:
    """{name: points so far} of every line of my.progress()."""
    lines = [line.split() for line in printed.splitlines() if " of " in line and "points" not in line]
    return {words[0]: float(words[1]) for words in lines}


def test_progress_shows_the_points_of_every_exercise_and_notebook_and_a_total_of_100(yours, capsys):
    course.Parts().progress()
    printed = capsys.readouterr().out
    assert set(points_printed(printed)) == {*course.ANSWERS, *course.checks.POINTS, "together"}
    assert set(points_printed(printed).values()) == {0}
    assert "of 100" in printed and "hidden tests" in printed


def test_progress_adds_up_what_is_kept(yours, capsys):
    (yours / "chance_loss.py").write_text("def chance_loss(n): pass")
    (yours / "alignment.py").write_text("def alignment(z_a, z_b): pass")
    (yours / "clinic.py").write_text("def clinic(): pass")
    (yours / "nt_xent.py").write_text("import nothing_of_this_name\n")
    course.Parts().progress()
    points = points_printed(capsys.readouterr().out)
    assert points["chance_loss"] == points["04_contrastive_loss"] == 2
    assert points["05_training"] == points["clinic"] == 4 and points["alignment"] == 1.5
    assert points["nt_xent"] == 0 and points["together"] == 7.5


def test_an_answer_that_passed_counts_also_while_the_reference_stands_in(yours, capsys):
    (yours / "chance_loss.py").write_text("def chance_loss(n): pass")
    my = course.Parts()
    my.stand_in("chance_loss", "it is too slow")
    my.progress()
    assert points_printed(capsys.readouterr().out)["chance_loss"] == 2


def test_checks_progress_is_the_same_under_another_name(yours, capsys):
    course.checks.progress()
    first = capsys.readouterr().out
    course.Parts().progress()
    assert first == capsys.readouterr().out
