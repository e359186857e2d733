"""The grader, through the real nbgrader: one class is graded once, every test looks at its table and feedback."""

import contextlib
import csv
import fcntl
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nbformat
import pytest
import torch

from grading import grade, intake, judge, pages
from grading.build import ASSIGNMENT, NOTEBOOKS, SOURCE, instructor_notebook
from grading.intake import STUB
from grading.sandbox import cells, start
from helpers import checks
from helpers.checks.own import SAME_JOB

POINTS = {exercise: points for notebook in checks.POINTS.values() for exercise, points in notebook.items()}
ONE_AT_A_TIME = [(stem, exercise) for stem, exercises in checks.POINTS.items() for exercise in exercises]


def released(stem: str):
    return nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)


def answered(stem: str, *exercises: str):
    """The released notebook with the reference answers of these exercises filled in."""
    nb = released(stem)
    solutions = {cell.id: cell.source for cell in instructor_notebook(SOURCE / f"{stem}.py").cells}
    for cell in nb.cells:
        if cell.id in exercises:
            cell.source = solutions[cell.id]
    return nb


def hand_in(folder: Path, student: str, stem: str, nb) -> None:
    path = folder / "submitted" / student / ASSIGNMENT / f"{stem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nb, encoding="utf-8") if isinstance(nb, str) else nbformat.write(nb, path)


def cell_of(nb, name: str):
    return next(cell for cell in nb.cells if cell.id == name)


def honest_but_untidy():
    """Right answers with a helper cell of one's own, a deleted check, a copied cell, a warning, a progress bar."""
    nb = answered("04_contrastive_loss", "chance_loss", "positive_index")
    answer = cell_of(nb, "chance_loss")
    answer.source = "def chance_loss(n):\n    return my_own_log(2 * n - 1)"
    own = nbformat.v4.new_code_cell(
        "import math, sys, warnings\n"
        "def my_own_log(x):\n    warnings.warn('careful')\n    print('50%', file=sys.stderr)\n    return math.log(x)"
    )
    nb.cells.insert(nb.cells.index(answer), own)
    nb.cells.remove(cell_of(nb, "chance_loss_check"))
    copied = nbformat.from_dict(cell_of(nb, "positive_index"))
    copied.id = "copied"
    nb.cells.insert(nb.cells.index(cell_of(nb, "positive_index")), copied)
    return nb


def make_grade(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess:
    """The command an instructor types."""
    options = [*options, *([] if start.works() else ["--without-sandbox"])]
    command = [sys.executable, "-m", "grading.grade", "--folder", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=NOTEBOOKS.parent, env=os.environ | environment)


def stripped(stem: str, submitted):
    """A submission as the grader reads it, and its answers."""
    read = intake.read(nbformat.writes(submitted).encode())
    return read, intake.answers(released(stem), read, {"nt_xent": "nt_xent", "chance_loss": "chance_loss"})


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class, graded by the command an instructor types: {student: row}, the folder, what was printed."""
    folder = tmp_path_factory.mktemp("class")
    for stem in checks.POINTS:
        hand_in(folder, "reference", stem, answered(stem, *checks.POINTS[stem]))
        hand_in(folder, "untouched", stem, released(stem))
    for stem, exercise in ONE_AT_A_TIME:
        hand_in(folder, f"only-{exercise}", stem, answered(stem, exercise))
    hand_in(folder, "untidy", "04_contrastive_loss", honest_but_untidy())
    hand_in(
        folder, "merged", "04_contrastive_loss", merged("04_contrastive_loss", "chance_loss", "chance_loss", "nt_xent")
    )
    wrong = answered("04_contrastive_loss")
    cell_of(wrong, "chance_loss").source = "import math\n\n\ndef chance_loss(n):\n    return math.log(2 * n)"
    hand_in(folder, "wrong", "04_contrastive_loss", wrong)
    hand_in(folder, "unreadable", "04_contrastive_loss", '{"cells": [')
    (folder / "submitted" / "nothing").mkdir()
    run = make_grade(folder)
    assert (folder / "grades.csv").exists(), run.stdout + run.stderr
    with open(folder / "grades.csv", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    return rows, folder, run


def earned(row: dict) -> dict[str, float]:
    return {exercise: float(row[exercise]) for exercise in POINTS if float(row[exercise])}


@pytest.mark.notebook
def test_the_reference_answers_earn_100_of_100(graded):
    assert earned(graded[0]["reference"]) == POINTS
    assert float(graded[0]["reference"]["total"]) == float(graded[0]["reference"]["of"]) == 100


@pytest.mark.notebook
def test_the_untouched_release_earns_nothing(graded):
    assert float(graded[0]["untouched"]["total"]) == 0


@pytest.mark.notebook
@pytest.mark.parametrize("exercise", POINTS)
def test_each_exercise_answered_alone_earns_exactly_its_points(graded, exercise):
    assert earned(graded[0][f"only-{exercise}"]) == {exercise: POINTS[exercise]}


@pytest.mark.notebook
def test_helper_cells_deleted_checks_copies_and_stderr_cost_an_honest_student_nothing(graded):
    assert earned(graded[0]["untidy"]) == {
        "chance_loss": POINTS["chance_loss"],
        "positive_index": POINTS["positive_index"],
    }


@pytest.mark.notebook
def test_two_answers_in_one_cell_earn_the_points_of_both(graded):
    assert earned(graded[0]["merged"]) == {name: POINTS[name] for name in ("nt_xent", "chance_loss")}


@pytest.mark.notebook
def test_everybody_gets_a_row_and_a_reason_where_something_is_missing(graded):
    assert set(graded[0]) == {path.name for path in (graded[1] / "submitted").iterdir()}
    assert "04_contrastive_loss.ipynb cannot be read" in graded[0]["unreadable"]["note"]
    assert "01_augmentation.ipynb is missing" in graded[0]["nothing"]["note"]
    assert graded[0]["reference"]["note"] == ""


@pytest.mark.notebook
def test_the_command_fails_and_prints_no_traceback_when_a_submission_has_problems(graded):
    assert graded[2].returncode == 1
    assert "Traceback" not in graded[2].stdout + graded[2].stderr


def test_a_notebook_that_is_not_handed_in_yet_needs_nobodys_look():
    missing = "01_augmentation.ipynb is missing; 02_encoder.ipynb is missing"
    assert intake.beyond_missing("") == intake.beyond_missing(missing) == ""
    assert intake.beyond_missing(f"{missing}; late by 2 days") == "late by 2 days"


@pytest.mark.notebook
def test_feedback_shows_points_and_the_diagnosis_but_no_hidden_test(graded):
    page = (graded[1] / "feedback" / "wrong" / "04_contrastive_loss.html").read_text(encoding="utf-8")
    text = html.unescape(re.sub("<[^>]+>", "", page))  # code is coloured, word by word
    assert "Score:" in page and "itself" in page  # the diagnosis names the anchor itself
    cells = instructor_notebook(SOURCE / "04_contrastive_loss.py")
    assert cell_of(cells, "chance_loss_check").source.splitlines()[-1] in text  # a test that is no secret is there
    hidden = cell_of(cells, "chance_loss_hidden").source.splitlines()[2:-1]
    assert hidden and not [line for line in hidden if line in text]


@pytest.mark.notebook
def test_each_student_gets_one_page_with_points_and_the_diagnosis(graded):
    page = (graded[1] / "feedback" / "wrong" / "index.html").read_text(encoding="utf-8")
    assert "chance_loss: 0 of 2, not yet" in page and "itself" in page
    assert "chance_loss: 2 of 2, solved" in (graded[1] / "feedback" / "reference" / "index.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.notebook
def test_the_summary_names_who_needs_a_look_and_how_often_an_exercise_was_solved(graded):
    page = (graded[1] / "summary.html").read_text(encoding="utf-8")
    assert "unreadable" in page and "cannot be read" in page
    assert f"{len(graded[0])} submissions" in page


@pytest.mark.notebook
def test_a_second_run_grades_nobody_again_and_a_changed_submission_only(graded):
    folder, before = graded[1], (graded[1] / "grades.csv").read_bytes()
    assert "to grade" not in make_grade(folder).stdout
    assert (folder / "grades.csv").read_bytes() == before
    hand_in(folder, "wrong", "04_contrastive_loss", answered("04_contrastive_loss", "chance_loss"))
    assert "1 to grade" in make_grade(folder).stdout
    with open(folder / "grades.csv", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert float(rows["wrong"]["chance_loss"]) == 2
    assert rows["reference"] == graded[0]["reference"]


def test_an_answer_replaces_only_its_own_stub():
    read, filled = stripped("04_contrastive_loss", answered("04_contrastive_loss", "nt_xent"))
    nb = intake.graft(released("04_contrastive_loss"), read, filled)
    assert list(filled) == ["nt_xent"]
    assert STUB not in cell_of(nb, "nt_xent").source
    assert STUB in cell_of(nb, "sup_con").source


def test_tags_metadata_and_outputs_of_a_submission_are_left_behind():
    submitted = answered("04_contrastive_loss", "nt_xent")
    cell_of(submitted, "nt_xent_check").metadata["tags"] = ["skip-execution"]
    cell_of(submitted, "nt_xent_check").source = "pass"
    cell_of(submitted, "nt_xent").metadata["nbgrader"]["points"] = 100
    nb = intake.graft(released("04_contrastive_loss"), *stripped("04_contrastive_loss", submitted))
    assert cell_of(nb, "nt_xent_check") == cell_of(released("04_contrastive_loss"), "nt_xent_check")
    assert cell_of(nb, "nt_xent").metadata == cell_of(released("04_contrastive_loss"), "nt_xent").metadata


def test_of_two_copies_of_an_answer_the_filled_one_counts():
    submitted = answered("04_contrastive_loss", "nt_xent")
    stub = nbformat.from_dict(cell_of(released("04_contrastive_loss"), "nt_xent"))
    stub.id = "copy"
    submitted.cells.append(stub)
    assert STUB not in stripped("04_contrastive_loss", submitted)[1]["nt_xent"]


def test_an_answer_whose_cell_lost_its_metadata_is_found_by_what_it_defines():
    submitted = answered("04_contrastive_loss", "nt_xent")
    cell = cell_of(submitted, "nt_xent")
    cell.metadata, cell.id = nbformat.NotebookNode(), "lost"
    assert "def nt_xent" in stripped("04_contrastive_loss", submitted)[1]["nt_xent"]


def test_an_answer_whose_cell_bears_a_name_of_no_exercise_is_found_by_what_it_defines():
    submitted = answered("04_contrastive_loss", "nt_xent")
    cell_of(submitted, "nt_xent").metadata.nbgrader.grade_id = "cell-2f6a"
    assert "def nt_xent" in stripped("04_contrastive_loss", submitted)[1]["nt_xent"]


def merged(stem: str, place: str, *exercises: str):
    """The reference answers of these exercises, all in the cell of one; the cells of the others are gone."""
    nb = answered(stem, *exercises)
    sources = [cell_of(nb, name).source for name in exercises]
    cell_of(nb, place).source = "\n\n\n".join(sources)
    nb.cells = [cell for cell in nb.cells if cell.id == place or cell.id not in exercises]
    return nb


def test_an_answer_in_the_cell_of_another_counts_for_both():
    filled = stripped("04_contrastive_loss", merged("04_contrastive_loss", "chance_loss", "chance_loss", "nt_xent"))[1]
    assert list(filled) == ["nt_xent", "chance_loss"]
    assert "def nt_xent(" in filled["nt_xent"] and "def chance_loss(" in filled["chance_loss"]


@pytest.mark.parametrize("left", ["untouched", "# it is in the cell above", "# my notes\n{stub}"])
def test_an_answer_in_the_cell_of_another_counts_where_its_own_cell_holds_none(left):
    submitted = answered("04_contrastive_loss", "nt_xent")
    answer, stub = cell_of(submitted, "nt_xent").source, cell_of(released("04_contrastive_loss"), "nt_xent").source
    cell_of(submitted, "chance_loss").source = answer
    cell_of(submitted, "nt_xent").source = stub if left == "untouched" else left.format(stub=stub)
    assert stripped("04_contrastive_loss", submitted)[1]["nt_xent"] == answer


@pytest.mark.parametrize("where", ["in its own cell", "in a cell of the student's own"])
def test_what_the_cell_of_another_answer_defines_takes_the_place_of_no_answer(where):
    submitted = answered("04_contrastive_loss", "nt_xent")
    cell = cell_of(submitted, "nt_xent")
    answer = cell.source
    if where != "in its own cell":
        submitted.cells[submitted.cells.index(cell)] = own_cell(answer)
    cell_of(
        submitted, "sup_con"
    ).source = "def nt_xent(z_a, z_b, temperature):\n    return 0\n\n\ndef sup_con():\n    pass"
    assert stripped("04_contrastive_loss", submitted)[1]["nt_xent"] == answer


@pytest.mark.parametrize("stem", checks.POINTS)
def test_no_reference_answer_counts_for_another_exercise(stem):
    made = {each.object: each.name for each in judge.exercises(stem, instructor_notebook(SOURCE / f"{stem}.py"))}
    for name in checks.POINTS[stem]:
        read = intake.read(nbformat.writes(answered(stem, name)).encode())
        assert list(intake.answers(released(stem), read, made)) == [name]


def own_cell(source: str):
    return nbformat.v4.new_code_cell(source)


def test_of_two_tries_the_last_one_before_the_check_counts():
    submitted = answered("04_contrastive_loss")
    cell_of(submitted, "chance_loss").source = "def chance_loss(n):\n    return 0"
    after = submitted.cells.index(cell_of(submitted, "chance_loss")) + 1
    submitted.cells.insert(after, own_cell("def chance_loss(n):\n    return 1"))
    submitted.cells.append(own_cell("def chance_loss(n):\n    return 2"))
    assert stripped("04_contrastive_loss", submitted)[1]["chance_loss"].endswith("return 1")


def test_a_notebook_without_exercises_lies_beside_the_others_unnoticed(tmp_path):
    put = {
        "00_start_here": released("00_start_here"),
        "04_contrastive_loss": answered("04_contrastive_loss", "nt_xent"),
    }
    for stem, notebook in put.items():
        nbformat.write(notebook, tmp_path / f"{stem}.ipynb")
    blanks = {"04_contrastive_loss": released("04_contrastive_loss")}
    submission = intake.take_in(tmp_path, blanks, {"00_start_here"})
    assert list(submission.notebooks) == ["04_contrastive_loss"] and submission.notes == []


@pytest.mark.parametrize(
    "words, said",
    [(["--jobs", "0"], "one submission at a time is the least"), (["--folder", "/usr/lib"], "name another --folder")],
)
def test_what_cannot_be_graded_with_is_told_before_anything_is_graded(words, said):
    if "--folder" in words and not start.works():
        pytest.skip("bubblewrap does not work here")
    command = [sys.executable, "-m", "grading.grade", *words]
    run = subprocess.run(command, capture_output=True, text=True, cwd=NOTEBOOKS.parent)
    assert run.returncode != 0 and said in run.stderr and "Traceback" not in run.stderr


@pytest.mark.notebook
def test_ctrl_c_ends_a_run_at_once_and_the_next_one_goes_on(tmp_path):
    for number in range(6):
        hand_in(tmp_path, f"s{number}", "04_contrastive_loss", answered("04_contrastive_loss", "chance_loss"))
    options = [] if start.works() else ["--without-sandbox"]
    command = [
        sys.executable,
        "-m",
        "grading.grade",
        "--folder",
        os.path.relpath(tmp_path, NOTEBOOKS.parent),
        "--jobs",
        "1",
    ]
    run = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           cwd=NOTEBOOKS.parent, start_new_session=True)  # fmt: skip
    records = tmp_path / ".work" / "graded"
    while run.poll() is None and not (records.is_dir() and list(records.glob("*.json"))):
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGINT)
    err = run.communicate(timeout=60)[1]
    done = len(list(records.glob("*.json")))
    assert 1 <= done < 6 and "Stopped. What was graded is kept" in err and "Traceback" not in err
    run = make_grade(tmp_path)
    assert f"{6 - done} to grade, {done} as they were" in run.stdout
    with open(tmp_path / "grades.csv", newline="", encoding="utf-8") as file:
        assert {row["total"] for row in csv.DictReader(file)} == {str(float(POINTS["chance_loss"]))}


def fake_bubblewrap(folder: Path, script: str) -> str:
    """A PATH on which bwrap is this shell script."""
    folder.mkdir()
    (folder / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bwrap").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def refused(path: str) -> str:
    """What the command says where it finds its programs on this PATH and must not run answers bare."""
    command = [sys.executable, "-m", "grading.grade"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=NOTEBOOKS.parent, env=os.environ | {"PATH": path})
    assert run.returncode == 1 and "Traceback" not in run.stderr
    return run.stderr


def test_where_bubblewrap_is_forbidden_its_own_words_and_the_profile_that_allows_it_are_told(tmp_path):
    said = refused(fake_bubblewrap(tmp_path / "bin", "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1"))
    assert "    bwrap: setting up uid map: Permission denied\n" in said
    assert "sudo apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict" in said
    assert "as root" in said and "--without-sandbox" in said and "Install it" not in said


def test_where_bubblewrap_is_missing_it_is_told_how_to_install_it(tmp_path):
    said = refused(str(tmp_path))
    assert "bubblewrap is not installed" in said and "apt install bubblewrap" in said and "AppArmor" not in said


@pytest.mark.notebook
def test_who_meets_a_machine_without_a_sandbox_is_graded_by_the_next_run(tmp_path):
    if not start.works():
        pytest.skip("bubblewrap does not work here")
    hand_in(tmp_path, "ada", "04_contrastive_loss", answered("04_contrastive_loss", "chance_loss"))
    real = shutil.which("bwrap")
    path = fake_bubblewrap(tmp_path / "bin", f'case "$*" in *worker.main*) exit 1;; esac; exec {real} "$@"')
    for environment, note, points in (({"PATH": path}, "could not be graded", 0), ({}, "", 2)):
        make_grade(tmp_path, **environment)
        with open(tmp_path / "grades.csv", newline="", encoding="utf-8") as file:
            [row] = csv.DictReader(file)
        assert float(row["total"]) == points and intake.beyond_missing(row["note"]).startswith(note)


HELPER, FUNCTION = "def twice(n):\n    return 2 * n", "def chance_loss(n):\n    return math.log(twice(n) - 1)"


@pytest.mark.parametrize("halves", [(HELPER, FUNCTION), (FUNCTION, HELPER)])
def test_of_an_answers_cell_that_was_split_the_half_that_defines_it_counts_and_the_other_comes_along(halves):
    submitted = answered("04_contrastive_loss")
    cell = cell_of(submitted, "chance_loss")
    cell.source = halves[0]
    second = nbformat.from_dict(cell)  # JupyterLab copies the metadata, and gives a new id
    second.id, second.source = "second", halves[1]
    submitted.cells.insert(submitted.cells.index(cell) + 1, second)
    read, filled = stripped("04_contrastive_loss", submitted)
    blank = released("04_contrastive_loss")
    assert filled["chance_loss"] == FUNCTION
    assert HELPER in [source for _, source in intake.around(blank, read, set(filled.values()))]
    shown = [each.source for each in intake.graft(blank, read, filled).cells]
    assert abs(shown.index(HELPER) - shown.index(FUNCTION)) == 1


def test_a_stub_with_a_comment_gives_way_to_the_answer_in_a_cell_of_its_own():
    submitted = answered("04_contrastive_loss")
    stub = cell_of(submitted, "chance_loss")
    stub.source = f"# below\n{stub.source}"
    submitted.cells.insert(submitted.cells.index(stub) + 1, own_cell("chance_loss = lambda n: math.log(2 * n - 1)"))
    assert stripped("04_contrastive_loss", submitted)[1]["chance_loss"].startswith("chance_loss = lambda")


@pytest.mark.parametrize(
    "cell",
    [
        "%%time\n\ndef double(n):\n    return (n * 5\n            % (2 * n))",
        "torch.roll?\ndef double(n):\n    return 2 * n",
        "    def double(n):\n        return 2 * n",
        "files = !ls ..\n%matplotlib inline\ndef double(n):\n    return 2 * n",
        "def double(n):\n    return 2 * n\nawait asyncio.sleep(0)",
        "from __future__ import annotations\ndef double(n: Tensor) -> Tensor:\n    return 2 * n",
        "def double(n):\n    'a page \x0c and a line \u2028 break'\n    return 2 * n",
    ],
)
def test_what_jupyter_allows_beside_python_costs_an_answer_nothing(cell):
    plain = judge.plain_python(cell)
    for sources in ([plain], [piece for _, piece in judge.pieces([(0, plain)])]):
        namespace = {}
        for source in sources:
            for code, shows in cells.all_statements(source, "<cell>"):
                if not shows:
                    with contextlib.suppress(NameError):
                        exec(code, namespace)
        assert namespace["double"](4) == 8 or cell.startswith("%%time") and namespace["double"](4) == 4


def test_a_helper_is_the_one_above_the_check_and_what_is_defined_only_below_is_known_too():
    own = [
        (3, "def helper(): return 1"),
        (8, "def helper(): return 2"),
        (8, "import math"),
        (9, "LATE = 1"),
        (9, "TABLE[1] = 2"),
    ]
    assert judge.known_at(5, own) == ["def helper(): return 1", "import math", "LATE = 1"]
    assert judge.known_at(20, own) == [piece for _, piece in own]


def test_statements_that_share_a_line_run_once():
    known = {}
    for _, piece in judge.pieces([(0, "n = 1\nn *= 2; n += 1\ntext = '''a\nb'''; n += 1")]):
        exec(piece, known)
    assert known["n"] == 4 and known["text"] == "a\nb"


def test_a_cell_of_thousands_of_statements_is_taken_apart_without_hours_of_work():
    for cell in ("a=a;" * 25_000, "a=a\n" * 25_000):
        own = judge.pieces([(0, cell)])
        assert "".join(judge.behind("a", judge.known_at(1, own))).count("a=a") == 25_000


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("for n in range(9):\n    TABLE[n] = other(n)", {"n", "TABLE"}),
        ("Settings.inner.copies = 2", {"Settings"}),
        ("TABLE.update(a=1)", {"TABLE"}),
        ("count += 1", {"count"}),
        ("with torch.no_grad():\n    TABLE = make()", {"TABLE"}),
        ("show(TABLE)", set()),
        ("def fill():\n    TABLE[1] = 2", set()),
    ],
)
def test_a_statement_is_known_by_what_it_changes(statement, names):
    assert judge.changed(statement) == names


def test_a_function_uses_names_from_outside_and_not_its_own():
    source = "def answer(x, n=SIZE):\n    loss = [y for y in x]\n    return table[loss] + helper(n)"
    assert judge.used(source) == {"SIZE", "table", "helper"}


@pytest.mark.parametrize("name", ["NN_x (1).ipynb", "04_contrastive_loss-2.ipynb", "meins.ipynb"])
def test_a_renamed_notebook_is_known_by_its_cells(tmp_path, name):
    nbformat.write(answered("04_contrastive_loss", "nt_xent"), tmp_path / name)
    submission = intake.take_in(
        tmp_path, {stem: released(stem) for stem in ("03_projection_head", "04_contrastive_loss")}
    )
    assert list(submission.notebooks) == ["04_contrastive_loss"]


def test_notebooks_in_a_zip_file_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "hand-in.zip", "w") as archive:
        archive.writestr("me/04_contrastive_loss.ipynb", nbformat.writes(answered("04_contrastive_loss", "nt_xent")))
    submission = intake.take_in(tmp_path, {"04_contrastive_loss": released("04_contrastive_loss")})
    assert list(submission.notebooks) == ["04_contrastive_loss"] and not submission.notes


def zip_of(path: Path, members: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)


def test_what_programs_leave_in_a_zip_file_takes_no_notebooks_place(tmp_path):
    litter = {f"__MACOSX/._{number}.ipynb": "x" for number in range(40)}
    litter |= {f"me/.ipynb_checkpoints/{number}.ipynb": "x" for number in range(40)}
    notebook = nbformat.writes(answered("04_contrastive_loss", "nt_xent"))
    zip_of(tmp_path / "all.zip", litter | {"me/04_contrastive_loss.ipynb": notebook})
    submission = intake.take_in(tmp_path, {"04_contrastive_loss": released("04_contrastive_loss")})
    assert list(submission.notebooks) == ["04_contrastive_loss"] and submission.notes == []


def test_notebooks_that_are_too_many_for_one_zip_file_are_told(tmp_path):
    zip_of(tmp_path / "all.zip", {f"{number}.ipynb": "{}" for number in range(intake.ZIPPED + 10)})
    notes = intake.take_in(tmp_path, {"04_contrastive_loss": released("04_contrastive_loss")}).notes
    assert "all.zip holds 60 notebooks, of which the 50 changed last were read" in notes


def test_a_missing_notebook_is_noted_however_much_else_is(tmp_path):
    for number in range(100):
        (tmp_path / f"{number}.ipynb").write_text("x")
    notes = intake.take_in(tmp_path, {"04_contrastive_loss": released("04_contrastive_loss")}).notes
    assert "and 80 more of the kind" in notes and "04_contrastive_loss.ipynb is missing" in notes


def test_of_two_files_of_one_notebook_the_newer_counts_and_the_row_says_so(tmp_path):
    for name, answer, age in (
        ("04_contrastive_loss.ipynb", "nt_xent", 100),
        ("04_contrastive_loss (1).ipynb", "sup_con", 0),
    ):
        nbformat.write(answered("04_contrastive_loss", answer), tmp_path / name)
        os.utime(tmp_path / name, (1_800_000_000 - age,) * 2)
    submission = intake.take_in(tmp_path, {"04_contrastive_loss": released("04_contrastive_loss")})
    assert STUB not in cell_of(submission.notebooks["04_contrastive_loss"], "sup_con").source
    assert "2 files for 04_contrastive_loss" in submission.notes[0]


def test_no_students_name_is_the_folder_above(tmp_path):
    for name in ("...zip", "..zip", "ada.zip", "bo.zip", ".ipynb_checkpoints"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "bo").mkdir()
    names = {place.name: student for student, place in grade.students(tmp_path).items()}
    assert names == {"...zip": "...zip", "..zip": "..zip", "ada.zip": "ada", "bo.zip": "bo.zip", "bo": "bo"}


def test_zip_files_whose_names_differ_in_their_endings_alone_are_two_students(tmp_path):
    for name in ("ada.zip", "ada.ZIP"):
        (tmp_path / name).write_bytes(b"")
    assert set(grade.students(tmp_path)) == {"ada.ZIP", "ada.zip"}


def test_a_notebook_that_lies_in_nobodys_folder_is_told(tmp_path, capsys):
    (tmp_path / "submitted/ada").mkdir(parents=True)
    (tmp_path / "submitted/04_contrastive_loss.ipynb").write_text("{}")
    grade.tell_strays(tmp_path / "submitted")
    told = capsys.readouterr().err
    assert "04_contrastive_loss.ipynb" in told and "submitted/STUDENT/" in told and "ada" not in told


def test_a_cell_too_long_to_read_is_told(tmp_path):
    submitted = answered("04_contrastive_loss", "chance_loss")
    cell_of(submitted, "chance_loss").source += "\n#" + "x" * intake.SOURCE
    nbformat.write(submitted, tmp_path / "04_contrastive_loss.ipynb")
    notes = intake.take_in(tmp_path, {"04_contrastive_loss": released("04_contrastive_loss")}).notes
    assert notes == ["04_contrastive_loss.ipynb: a cell of more than 100,000 letters was not read"]


def test_feedback_does_not_replace_the_folder_above(tmp_path):
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(ValueError, match="no name of a student"):
        grade.put_feedback(tmp_path / "feedback" / "..", tmp_path / "root", "page")
    assert (tmp_path / "mine").read_text() == "kept"


def test_files_that_are_no_notebook_are_named_where_there_is_none(tmp_path):
    (tmp_path / "04_contrastive_loss.ipynb.txt").write_text("{}")
    notes = intake.take_in(tmp_path, {"04_contrastive_loss": released("04_contrastive_loss")}).notes
    assert "no notebook was found, only 04_contrastive_loss.ipynb.txt" in notes


def test_more_code_than_anybody_writes_is_not_read(tmp_path):
    content = json.loads((NOTEBOOKS / "04_contrastive_loss.ipynb").read_text(encoding="utf-8"))
    content["cells"] += [{"cell_type": "code", "source": "x = 1\n" * 15_000, "metadata": {}, "outputs": []}] * 6
    with pytest.raises(ValueError, match="too much code"):
        intake.read(json.dumps(content).encode())


def test_a_large_notebook_of_an_old_format_is_not_converted():
    with pytest.raises(ValueError, match="an old format, and large"):
        intake.read(json.dumps({"nbformat": 3, "metadata": {"x": "a" * 6 * 2**20}, "worksheets": []}).encode())


def test_of_two_files_in_a_zip_the_one_changed_later_counts(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, year, answer in (
            ("04_contrastive_loss (1).ipynb", 2025, "sup_con"),
            ("04_contrastive_loss.ipynb", 2024, "nt_xent"),
        ):
            member = zipfile.ZipInfo(name, (year, 5, 1, 12, 0, 0))
            archive.writestr(member, nbformat.writes(answered("04_contrastive_loss", answer)))
    submission = intake.take_in(tmp_path, {"04_contrastive_loss": released("04_contrastive_loss")})
    assert STUB not in cell_of(submission.notebooks["04_contrastive_loss"], "sup_con").source
    assert submission.when == (tmp_path / "all.zip").stat().st_mtime  # dates inside do not tell when it was handed in


@pytest.mark.parametrize("text", ["=cmd()", "+1", "@x", "-1"])
def test_a_name_that_a_spreadsheet_would_run_is_made_text(text):
    assert intake.plain_text(text) == f"'{text}"


def test_an_exercise_forbids_its_own_answer_and_none_that_my_offers():
    for stem, names in checks.POINTS.items():
        made = judge.exercises(stem, instructor_notebook(SOURCE / f"{stem}.py"))
        others = {each.object for each in made}
        for exercise in made:
            allowed = others - {exercise.object, *SAME_JOB.get(exercise.name, ())}
            assert exercise.object in exercise.forbidden, exercise.name
            assert not allowed & set(exercise.forbidden), exercise.name
        assert [exercise.name for exercise in made] == list(names)


def test_an_exercise_forbids_nothing_that_the_cells_around_its_check_use():
    for stem in checks.POINTS:
        for exercise in judge.exercises(stem, instructor_notebook(SOURCE / f"{stem}.py")):
            around = [exercise.setup, *judge.behind(f"{exercise.check}\n{exercise.hidden}", list(exercise.plain))]
            assert not judge.names_in("\n".join(around)) & set(exercise.forbidden), exercise.name


def test_the_summary_lists_nobody_for_a_notebook_that_is_not_handed_in_yet(tmp_path):
    missing = "05_training.ipynb is missing; 06_evaluation.ipynb is missing"
    notes = {"ada": missing, "bo": f"{missing}; handed in 2 h 0 min late", "cy": ""}
    records = {name: {"row": {"student": name, "total": 1.0, "note": note, "x": 1.0}, "said": {}}
               for name, note in notes.items()}  # fmt: skip
    pages.write_summary(tmp_path / "summary.html", records, {"x": 1.0})
    looks = (tmp_path / "summary.html").read_text(encoding="utf-8").split("<h2>")[1]
    assert "human look" in looks and "bo" in looks and "2 h 0 min late" in looks
    assert "ada" not in looks and "cy" not in looks


def test_an_empty_class_is_one_sentence(tmp_path):
    run = make_grade(tmp_path)
    assert run.returncode == 1 and "nobody to grade" in run.stderr and "Traceback" not in run.stderr


def test_two_grading_runs_do_not_work_on_one_class_at_a_time(tmp_path):
    (tmp_path / ".work").mkdir()
    with open(tmp_path / ".work" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = make_grade(tmp_path)
    assert run.returncode == 1 and "Another grading run" in run.stderr


def test_workers_side_by_side_compute_on_one_thread_each(tmp_path):
    with grade.workers(1, tmp_path, "secret", not start.works()) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1


def test_the_summary_links_a_students_page_whatever_the_folder_is_called(tmp_path):
    names = {"C# <ada>": "C# <ada>", "ren\udce9": "ren?"}  # the second is bytes that are no text
    rows = {name: {"student": shown, "total": 1.0, "note": "late", "x": 1.0} for name, shown in names.items()}
    records = {name: {"row": row, "said": {}} for name, row in rows.items()}
    pages.write_summary(tmp_path / "summary.html", records, {"x": 1.0})
    page = (tmp_path / "summary.html").read_text(encoding="utf-8")
    assert page.count('<a href="feedback/C%23%20%3Cada%3E/index.html">C# &lt;ada&gt;</a>') == 2
    assert page.count('<a href="feedback/ren%E9/index.html">ren?</a>') == 2
