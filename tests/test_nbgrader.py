"""What nbgrader's own test suite asks of a course, asked of ours: release, validation, late hand-ins, regrading."""

import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import nbformat
import pytest

from grading import grade
from grading.build import NOTEBOOKS, SOURCE, instructor_notebook
from helpers import checks
from tests.test_grade import answered, cell_of, hand_in, make_grade

STEM = "04_contrastive_loss"


def validated(folder: Path, nb) -> str:
    """What `nbgrader validate` prints of a notebook."""
    path = folder / f"{STEM}.ipynb"
    nbformat.write(nb, path)
    command = [sys.executable, "-m", "nbgrader", "validate", path.name]
    environment = os.environ | {"PYTHONPATH": str(NOTEBOOKS.parent), "PYTHONWARNINGS": "ignore"}
    environment["COURSE_YOURS"] = str(folder / "yours")  # a learner's own answers in this checkout stay as they are
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return run.stdout + run.stderr


def test_validate_tells_success_of_the_instructors_version(tmp_path):
    assert "Success" in validated(tmp_path, instructor_notebook(SOURCE / f"{STEM}.py"))


def test_validate_names_exactly_the_exercises_that_are_not_solved(tmp_path):
    nb = answered(STEM, *(set(checks.POINTS[STEM]) - {"chance_loss"}))
    said = validated(tmp_path, nb)
    assert "FAILED ON 1 CELL" in said and "check_chance_loss" in said and "check_nt_xent(" not in said


def test_validate_tells_that_a_check_was_edited(tmp_path):
    nb = answered(STEM, *checks.POINTS[STEM])
    cell_of(nb, "chance_loss_check").source = "assert True"
    assert "CHANGED" in validated(tmp_path, nb).upper()


def test_every_graded_cell_of_the_release_is_locked_and_has_an_id_of_its_own():
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        settings = [cell.metadata.nbgrader for cell in nbformat.read(path, 4).cells if "nbgrader" in cell.metadata]
        assert all(each.locked for each in settings if each.grade)
        assert len({each.grade_id for each in settings}) == len(settings)


@pytest.mark.parametrize("hours, late", [(-2, True), (2, False)])
def test_a_late_hand_in_is_graded_and_its_row_says_how_late(tmp_path, hours, late):
    hand_in(tmp_path, "ada", STEM, answered(STEM, "chance_loss"))
    due = datetime.now().astimezone() + timedelta(hours=hours, minutes=-1 if late else 0)
    done = make_grade(tmp_path, "--due", due.isoformat(timespec="minutes"))
    table = (tmp_path / "grades.csv").read_text(encoding="utf-8")
    assert "Traceback" not in done.stderr and ",2.0," in table
    assert ("handed in 2 h" in table) is late


def test_a_fix_in_a_check_or_a_notebook_grades_everybody_again(tmp_path, monkeypatch):
    course = tmp_path / "course"
    for part in ("helpers", "grading", "data/results"):
        shutil.copytree(
            NOTEBOOKS.parent / part, course / part, ignore=shutil.ignore_patterns("*.pyc", "instructor", "submitted")
        )
    monkeypatch.setattr(grade, "GRADING", course / "grading")
    versions = [grade.course_version("secret", None), grade.course_version("secret", None)]
    for changed in ("helpers/checks/losses.py", f"grading/source/{STEM}.py", "grading/judge.py"):
        with open(course / changed, "a", encoding="utf-8") as file:
            file.write("\n")
        versions.append(grade.course_version("secret", None))
    assert versions[0] == versions[1] and len(set(versions)) == 4
