"""What an instructor gets from commands: tables of grades for a platform, the cost of a class, the usual mistakes."""

import csv
import json
import os
import re
import subprocess
import sys

import pytest

from data.record import RESULTS
from grading import grade, intake
from grading.build import GRADING
from grading.teaching import cost, lms, mistakes, site
from helpers import checks

EXERCISES = [name for exercises in checks.POINTS.values() for name in exercises]
FULL = {
    "student": "ada",
    "note": "",
    **{name: str(points) for each in checks.POINTS.values() for name, points in each.items()},
}
NOTHING = {"student": "ben", "note": "", **dict.fromkeys(EXERCISES, "0.0")}


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


def test_without_grades_the_command_for_platforms_says_what_makes_them(tmp_path):
    command = [sys.executable, "-m", "grading.teaching.lms", "--folder", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, cwd=GRADING.parent)
    assert run.returncode == 1 and "run `make grade` first" in run.stderr and "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "save, said",
    [
        (lambda text: "\ufeff" + text, None),
        (lambda text: text.split("\n")[0], None),
        (lambda text: text.replace(",", ";"), "has no column"),
        (lambda text: text.replace("uniformity", "evenness"), "has no column 'uniformity'"),
        (lambda text: text.replace("1.5", "abs", 1), "ada has abs for"),
        (lambda text: text.replace("1.5", "", 1), "ada has nothing for"),
    ],
    ids=["a mark at the start", "nobody", "semicolons", "an older course", "a word", "a gap"],
)
def test_a_table_that_a_spreadsheet_saved_is_read_or_refused_in_a_sentence(tmp_path, save, said):
    row = {"student": "ada", **{name: 1.5 for name in EXERCISES}, "total": 37.5, "of": 100, "note": ""}
    text = "\n".join([",".join(row), ",".join(map(str, row.values()))])
    (tmp_path / "grades.csv").write_text(save(text), encoding="utf-8")
    command = [sys.executable, "-m", "grading.teaching.lms", "--folder", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, cwd=GRADING.parent)
    assert "Traceback" not in run.stderr and (tmp_path / "moodle.csv").exists() == (said is None)
    assert said is None or said in run.stderr and "make grade" in run.stderr


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


@pytest.mark.parametrize("platform", [lms.canvas, lms.moodle])
def test_a_notebook_that_was_not_handed_in_is_an_empty_cell_and_one_without_points_is_0(platform):
    note = "late by 2 days; 05_training.ipynb is missing; 06_evaluation.ipynb is missing"
    row = platform([NOTHING | {"note": note}])[-1]
    assert row[-6:] == ["0", "0", "0", "0", "", ""]


def grades_for(folder, *rows: dict) -> subprocess.CompletedProcess:
    """Run the command on a table of these rows."""
    with open(folder / "grades.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, FULL)
        table.writeheader(), table.writerows(rows)
    command = [sys.executable, "-m", "grading.teaching.lms", "--folder", folder]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=GRADING.parent)


@pytest.mark.parametrize("note", ["could not be graded: OSError: no memory", "nbgrader could not score it: timed out"])
def test_who_could_not_be_graded_is_left_out_and_named(tmp_path, note):
    run = grades_for(tmp_path, FULL, NOTHING | {"note": f"05_training.ipynb is missing; {note}"})
    assert "ben: could not be graded" in run.stderr and "make grade" in run.stderr and "ada" not in run.stderr
    for name in ("canvas.csv", "moodle.csv"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "ada" in text and "ben" not in text


def test_of_a_class_that_was_graded_nobody_is_named(tmp_path):
    assert grades_for(tmp_path, FULL, NOTHING).stderr == ""


def test_what_a_platform_lets_one_download_is_sorted_by_the_lines_in_the_document(tmp_path):
    text = (GRADING / "docs" / "teaching.md").read_text(encoding="utf-8")
    [lines] = re.findall(r"```\n(cd grading/submitted\n.*?)```", text, flags=re.S)
    unpacked = tmp_path / "Downloads" / "submissions"
    for name in ("lovelaceada_4711_815_04_contrastive_loss.ipynb", "boolegeorge_LATE_12_816_05_training-1.ipynb",
                 "Mary Ada Somerville_13_assignsubmission_file/06_evaluation.ipynb"):  # fmt: skip
        (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / name).write_text("{}")
    (tmp_path / "grading" / "submitted").mkdir(parents=True)
    environment = os.environ | {"HOME": str(tmp_path)}
    subprocess.run(["bash", "-ec", lines], check=True, cwd=tmp_path, env=environment)
    found = {place.name: [path.name for path in intake.below(place) if path.is_file()]
             for place in grade.students(tmp_path / "grading" / "submitted").values()}  # fmt: skip
    assert found == {
        "Mary Ada Somerville_13": ["06_evaluation.ipynb"],
        "boolegeorge_12": ["boolegeorge_LATE_12_816_05_training-1.ipynb"],
        "lovelaceada_4711": ["lovelaceada_4711_815_04_contrastive_loss.ipynb"],
    }


def test_moodle_gets_one_header_row_and_a_user_name():
    header, ada, _ = lms.moodle([FULL, NOTHING])
    assert header[0] == "username" and ada[0] == "ada" and sum(map(float, ada[1:])) == 100


def test_a_class_twice_as_large_needs_twice_the_core_hours():
    measured = {"machine": {"cores": 2}, "notebooks": {"a": {"seconds": 1800, "peak_mib": 1024}}}
    measured |= {"server_mib": 256, "disk_mib": 100}
    graded = {"machine": {"cores": 4}, "seconds": 900, "submissions": 10}
    one, two = (cost.needs(measured, graded, students, 1, 0.5, 6) for students in (1, 2))
    assert one["core-hours, the whole class"] == 1.0  # half an hour on two cores
    assert two["core-hours, the whole class"] == 2.0
    assert one["GiB of memory for one student, one notebook open"] == 1.25
    assert two["core-hours, grading each student's whole course once"] == 2 * 0.1  # 90 s on four cores each


@pytest.mark.parametrize("words", [("--hours", "0"), ("--students", "0")])
def test_a_class_of_nobody_or_of_no_hours_is_refused_in_a_sentence(words):
    command = [sys.executable, "-m", "grading.teaching.cost", *words]
    run = subprocess.run(command, capture_output=True, text=True, cwd=GRADING.parent)
    assert run.returncode == 2 and "numbers above 0" in run.stderr and "Traceback" not in run.stderr


def test_a_table_in_another_encoding_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "grades.csv").write_bytes("student,note\nJörg,\n".encode("cp1252"))
    command = [sys.executable, "-m", "grading.teaching.lms", "--folder", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, cwd=GRADING.parent)
    assert run.returncode == 1 and "is not in UTF-8" in run.stderr and "Traceback" not in run.stderr


def test_without_prices_no_cost_is_named():
    measured, graded = (
        json.loads((RESULTS / f"{name}.json").read_text()) for name in ("timings", "answer_bank_graded")
    )
    needed = cost.needs(measured, graded, 1000, 5, 0.2, 6)
    assert "cost" not in cost.table(needed, None, None)
    assert "cost of one student" in cost.table(needed, 0.1, 0.01)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_exercise_has_its_usual_mistakes_from_the_bank(exercise):
    bank = json.loads((RESULTS / "answer_bank.json").read_text(encoding="utf-8"))
    lines = mistakes.pages(bank, [exercise]).splitlines()
    assert lines[0] == f"## {exercise}"
    assert all(line.count(" | ") == 1 for line in lines if line.startswith("| "))
    assert sum(line.startswith("| ") for line in lines) >= 3


def test_mistakes_are_taken_from_the_whole_list_and_one_of_each_diagnosis():
    told = [f"{letter} is {number}" for letter in "abcdefghijklmnopqrstuvwxyz" for number in (1, 2)]
    answers = [{"name": each, "told": each, "diagnosed": True} for each in told]
    shown = mistakes.some(answers)
    assert len(shown) == mistakes.SHOWN and shown[0]["name"] == "a is 1" and shown[-1]["name"] > "x"
    assert [each["name"] for each in mistakes.some(answers[:4])] == ["a is 1", "b is 1"]


@pytest.mark.parametrize("path", sorted((GRADING / "docs").glob("*.md")), ids=lambda path: path.stem)
def test_the_output_of_commands_in_the_documents_is_what_they_print_now(path):
    text = path.read_text(encoding="utf-8")
    assert site.with_output(text) == text, "run `python -m grading.teaching.site --docs`"


@pytest.mark.parametrize("stem", checks.POINTS)
def test_points_in_headings_and_in_the_instructors_table_are_those_that_are_given(stem):
    source = (GRADING / "source" / f"{stem}.py").read_text(encoding="utf-8")
    headings = re.findall(r"^# #+ Exercise [\d.]+ · `(\w+)` \(.*, ([\d.]+) points?\)", source, flags=re.M)
    given = {name.lower().replace("_", ""): points for name, points in checks.POINTS[stem].items()}
    assert {name.lower().replace("_", ""): float(points) for name, points in headings} == given
    [total] = re.findall(r"graded exercises, (\d+) points", source)
    assert int(total) == sum(given.values())


def test_the_weeks_of_the_instructors_table_add_up_to_the_points_of_their_notebooks():
    text = (GRADING / "docs" / "teaching.md").read_text(encoding="utf-8")
    for notebooks, points in re.findall(r"^\| \d \| ([\d, ]+) \| (\d+) \|", text, flags=re.M):
        stems = [stem for stem in checks.POINTS if stem[:2] in notebooks.split(", ")]
        assert sum(sum(checks.POINTS[stem].values()) for stem in stems) == int(points), notebooks
