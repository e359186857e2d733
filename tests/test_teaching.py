"""What an instructor gets from commands: tables of grades for a platform, the cost of a class, the usual mistakes."""

import csv
import json
import subprocess
import sys

import pytest

from data.record import RESULTS
from grading.build import GRADING
from grading.teaching import cost, lms, mistakes
from helpers import checks

EXERCISES = [name for exercises in checks.POINTS.values() for name in exercises]
FULL = {"student": "ada", **{name: str(points) for each in checks.POINTS.values() for name, points in each.items()}}
NOTHING = {"student": "ben", **dict.fromkeys(EXERCISES, "0.0")}


def test_grades_for_a_platform_come_from_the_file_that_make_grade_writes(tmp_path):
    row = {"student": "ada", **{name: 1.5 for name in EXERCISES}, "total": 37.5, "of": 100, "note": "late, and ö"}
    with open(tmp_path / "grades.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, row)
        table.writeheader(), table.writerow(row)
    command = [sys.executable, "-m", "grading.teaching.lms", "--folder", tmp_path]
    subprocess.run(command, check=True, capture_output=True, cwd=GRADING.parent)
    for name in ("canvas.csv", "moodle.csv"):
        rows = list(csv.reader((tmp_path / name).read_text(encoding="utf-8").splitlines()))
        assert rows[-1][-1] == "7.5" and len({len(each) for each in rows}) == 1, name


def test_what_belongs_to_a_class_is_never_committed():
    made = [
        "grades.csv",
        "canvas.csv",
        "moodle.csv",
        "summary.html",
        "submitted/a/b.ipynb",
        "feedback/a/b.html",
        ".work/secret",
    ]
    command = ["git", "check-ignore", *(f"grading/{name}" for name in made)]
    asked = subprocess.run(command, cwd=GRADING.parent, capture_output=True, text=True)
    if asked.returncode == 128:
        pytest.skip("not a git checkout")
    assert asked.stdout.split() == command[2:]


def test_canvas_gets_its_five_columns_the_points_possible_and_a_row_found_by_login():
    header, possible, ada, ben = lms.canvas([FULL, NOTHING])
    assert header[:5] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    assert possible[0] == "    Points Possible" and sum(map(float, possible[5:])) == 100
    assert ada[3] == "ada" and ada[5:] == possible[5:]
    assert ben[5:] == ["0"] * 6


def test_moodle_gets_one_header_row_and_a_user_name():
    header, ada, _ = lms.moodle([FULL, NOTHING])
    assert header[0] == "username" and ada[0] == "ada" and sum(map(float, ada[1:])) == 100


def test_a_class_twice_as_large_needs_twice_the_core_hours():
    measured = {"machine": {"cores": 2}, "notebooks": {"a": {"seconds": 1800, "peak_mib": 1024}}}
    one, two = (cost.needs(measured, students, 1, 0.5, 6) for students in (1, 2))
    assert one["core-hours, the whole class"] == 1.0  # half an hour on two cores
    assert two["core-hours, the whole class"] == 2.0
    assert one["GiB of memory for one student"] == cost.HEADROOM


def test_without_prices_no_cost_is_named():
    needed = cost.needs(json.loads((RESULTS / "timings.json").read_text()), 1000, 5, 0.2, 6)
    assert "cost" not in cost.table(needed, None, None)
    assert "cost of one student" in cost.table(needed, 0.1, 0.01)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_exercise_has_its_usual_mistakes_from_the_bank(exercise):
    bank = json.loads((RESULTS / "answer_bank.json").read_text(encoding="utf-8"))
    lines = mistakes.pages(bank, [exercise]).splitlines()
    assert lines[0] == f"## {exercise}"
    assert all(line.count(" | ") == 1 for line in lines if line.startswith("| "))
    assert sum(line.startswith("| ") for line in lines) >= 3
