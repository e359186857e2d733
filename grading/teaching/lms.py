"""Grades for a learning platform: grading/grades.csv -> canvas.csv and moodle.csv beside it, a column a notebook.

    python -m grading.teaching.lms
    python -m grading.teaching.lms --folder DIR       where grades.csv is

grades.csv itself is the plain table, a column an exercise. Students go by the names of their folders, which have to be
their login names on the platform. A notebook that was not handed in is an empty cell, which both platforms take as not
graded yet, since the notebook may not be due; who could not be graded is left out. Where empty is to mean 0, at the end
of the course, the platform says so: in Canvas "Set Default Grade" of the column, in Moodle a category without "Exclude
empty grades".
"""

import argparse
import csv
import math
import sys
from pathlib import Path

from grading.build import GRADING
from helpers import checks

TITLE = "Two Views {}"
UNGRADED = ("could not be graded", "nbgrader could not score it")  # how notes begin where points say nothing
AGAIN = "Run `make grade` again, and change its table only in a copy."
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")  # what Canvas's own export starts with


def main() -> None:
    parser = argparse.ArgumentParser(description="Write grades for Canvas and Moodle.")
    parser.add_argument("--folder", type=Path, default=GRADING, help="holds grades.csv; default: grading")
    folder = parser.parse_args().folder
    if not (folder / "grades.csv").is_file():
        sys.exit(f"There is no {folder / 'grades.csv'}: run `make grade` first, or name its --folder.")
    with open(folder / "grades.csv", newline="", encoding="utf-8-sig") as file:  # a spreadsheet puts a mark before it
        read = csv.DictReader(file)
        try:
            rows = list(read)
        except UnicodeDecodeError:
            sys.exit(f"{folder / 'grades.csv'} is not in UTF-8. {AGAIN}")
    names = [name for exercises in checks.POINTS.values() for name in exercises]
    needed = {"student", "note", *names}
    if lacking := sorted(needed - set(read.fieldnames or ())):
        sys.exit(
            f"{folder / 'grades.csv'} is not the table that `make grade` writes: it has no column {lacking[0]!r}. "
            f"{AGAIN}"
        )
    for row in rows:
        if odd := next((name for name in names if not is_number(row[name])), None):
            sys.exit(
                f"{folder / 'grades.csv'}: {row['student']} has {row[odd] or 'nothing'} for {odd}, and a number is wanted. "
                f"{AGAIN}"
            )
    left_out = [row["student"] for row in rows if not was_graded(row)]
    rows = [row for row in rows if was_graded(row)]
    for name, table in (("canvas.csv", canvas(rows)), ("moodle.csv", moodle(rows))):
        (folder / name).touch(mode=0o600)
        with open(folder / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)
        print(f"wrote {folder / name}, {len(rows)} students")
    if left_out:
        print(
            f"{', '.join(left_out)}: could not be graded, so in neither file; run `make grade` again.", file=sys.stderr
        )


def is_number(text: str | None) -> bool:
    """Can these be points?"""
    try:
        return math.isfinite(float(text or ""))
    except ValueError:
        return False


def was_graded(row: dict[str, str]) -> bool:
    """Do the points of this row say what the answers are worth?"""
    return not any(note.startswith(UNGRADED) for note in row["note"].split("; "))


def by_notebook(row: dict[str, str]) -> list[str]:
    """A student's points, notebook by notebook; nothing for one that was not handed in."""
    notes = row["note"].split("; ")
    return [
        "" if f"{stem}.ipynb is missing" in notes else f"{sum(float(row[name]) for name in exercises):g}"
        for stem, exercises in checks.POINTS.items()
    ]


def titles() -> list[str]:
    return [TITLE.format(stem) for stem in checks.POINTS]


def canvas(rows: list[dict[str, str]]) -> list[list[str]]:
    """Canvas's gradebook format: its five columns, a row of points possible, then a row a student, found by login.

    Canvas makes an assignment of a column that it does not know.
    """
    possible = [f"{sum(exercises.values()):g}" for exercises in checks.POINTS.values()]
    table = [[*CANVAS, *titles()], ["    Points Possible", "", "", "", "", *possible]]
    return table + [[row["student"], "", "", row["student"], "", *by_notebook(row)] for row in rows]


def moodle(rows: list[dict[str, str]]) -> list[list[str]]:
    """Moodle's CSV import: one header row; on the import page map `username` to Username and each column to an item."""
    return [["username", *titles()]] + [[row["student"], *by_notebook(row)] for row in rows]


if __name__ == "__main__":
    main()
