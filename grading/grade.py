"""Grade a class: grading/submitted/STUDENT/simclr/NN_*.ipynb -> grading/grades.csv and grading/feedback/STUDENT/.

    python -m grading.grade                          everybody, as `make grade` does
    python -m grading.grade --folder DIR             another folder with submitted/ in it; results go beside it

nbgrader runs and scores the notebooks. A student's file is never run as it is: its answers (and cells of the student's
own) are set into the instructor's notebook, so edited, deleted or doubled check cells cost and gain nothing.
"""

import argparse
import csv
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from sqlalchemy.exc import SAWarning

from grading.build import ASSIGNMENT, GRADING, course, release

STUB = "raise NotYet()  # write your answer in place of this line"
SUFFIXES = ("_check", "_hidden")


class DropStderr(NbGraderPreprocessor):
    """A warning or a progress bar in a right answer costs nothing: nbgrader would give 0 for any stderr."""

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        return cell, resources


class HideHiddenTests(NbGraderPreprocessor):
    """Feedback shows what a hidden test said, never its source."""

    def preprocess_cell(self, cell, resources, index):
        if cell.metadata.get("nbgrader", {}).get("grade_id", "").endswith("_hidden"):
            cell.source = "# Inputs you have not seen."
            for output in cell.outputs:
                if output.output_type == "error":
                    output.traceback = [output.evalue or "This case is not right yet."]
        return cell, resources


def graft(blank: NotebookNode, submitted: NotebookNode) -> NotebookNode:
    """The released notebook with the student's sources in it.

    Answers are found by grade_id (of several copies the last one that is not the empty stub counts), plain code cells
    by cell id; code cells of the student's own go in where they stood. Everything else stays as released.
    """
    grade_id = lambda cell: cell.metadata.get("nbgrader", {}).get("grade_id")  # noqa: E731
    answers, plain, own, place = {}, {}, {}, None
    blank_ids = {cell.id for cell in blank.cells}
    solution_ids = {grade_id(cell) for cell in blank.cells if cell.metadata.get("nbgrader", {}).get("solution")}
    for cell in submitted.cells:
        if cell.cell_type != "code":
            place = cell.get("id") if cell.get("id") in blank_ids else place
        elif grade_id(cell) in solution_ids:
            if STUB not in cell.source or grade_id(cell) not in answers:
                answers[grade_id(cell)] = cell.source
            place = grade_id(cell)
        elif cell.get("id") in blank_ids or grade_id(cell):
            plain[cell.get("id")] = cell.source
            place = cell.get("id") if cell.get("id") in blank_ids else place
        else:
            own.setdefault(place, []).append(cell.source)

    grafted = nbformat.from_dict(blank)
    grafted.cells = [nbformat.v4.new_code_cell(source) for source in own.get(None, [])]
    for cell in nbformat.from_dict(blank).cells:
        if grade_id(cell) in answers:
            cell.source = answers[grade_id(cell)]
        elif cell.cell_type == "code" and not grade_id(cell) and cell.id in plain:
            cell.source = plain[cell.id]
        grafted.cells.append(cell)
        grafted.cells += [nbformat.v4.new_code_cell(source) for source in own.get(cell.id, [])]
    return grafted


def take_in(student: Path, blanks: dict[str, NotebookNode], folder: Path) -> list[str]:
    """Write a student's grafted notebooks into folder; returns what was wrong with the submission, in sentences."""
    problems = []
    for name, blank in blanks.items():
        path = student / ASSIGNMENT / f"{name}.ipynb"
        if not path.is_file():
            problems.append(f"{name}.ipynb is missing")
            continue
        try:
            submitted = nbformat.read(path, as_version=4)
            grafted = graft(blank, submitted)
        except Exception as problem:  # whatever a broken file makes the reader raise
            problems.append(f"{name}.ipynb cannot be read ({type(problem).__name__})")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(grafted, folder / f"{name}.ipynb")
    return problems


def points(gradebook: Gradebook, student: str) -> dict[str, float]:
    """Points of each exercise: its check and its hidden tests together."""
    earned: dict[str, float] = {}
    submission = gradebook.find_submission(ASSIGNMENT, student)
    for notebook in submission.notebooks:
        for grade in notebook.grades:
            exercise = exercise_of(grade.cell.name)
            earned[exercise] = earned.get(exercise, 0.0) + (grade.auto_score or 0.0)
    return earned


def exercise_of(grade_id: str) -> str:
    return next(grade_id.removesuffix(suffix) for suffix in SUFFIXES if grade_id.endswith(suffix))


def exercises(blanks: dict[str, NotebookNode]) -> dict[str, float]:
    """{exercise: points}, in the order of the course."""
    worth: dict[str, float] = {}
    for blank in blanks.values():
        for cell in blank.cells:
            marks = cell.metadata.get("nbgrader", {})
            if marks.get("grade"):
                exercise = exercise_of(marks["grade_id"])
                worth[exercise] = worth.get(exercise, 0) + marks["points"]
    return worth


def grade(folder: Path) -> list[dict]:
    """Grade every student under folder/submitted; writes folder/grades.csv and folder/feedback, returns the rows."""
    students = sorted(path for path in (folder / "submitted").glob("*") if path.is_dir())
    if not students:
        sys.exit(
            f"There is nobody to grade: put notebooks into {folder}/submitted/STUDENT/{ASSIGNMENT}/ and try again."
        )
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        blanks = {path.stem: nbformat.read(path, as_version=4) for path in release(root)}
        worth = exercises(blanks)
        blanks = {name: blank for name, blank in blanks.items() if exercises({name: blank})}
        nbgrader = course(root)
        nbgrader.config.Autograde.autograde_preprocessors = [
            "nbgrader.preprocessors.Execute", DropStderr, "nbgrader.preprocessors.LimitOutput",
            "nbgrader.preprocessors.SaveAutoGrades", "nbgrader.preprocessors.CheckCellMetadata",
        ]  # fmt: skip
        nbgrader.config.GenerateFeedback.preprocessors = [
            "nbgrader.preprocessors.GetGrades", HideHiddenTests, "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
        ]  # fmt: skip
        rows = []
        for number, student in enumerate(students, 1):
            rows.append(grade_one(nbgrader, root, student, blanks, worth, folder / "feedback" / student.name))
            print(
                f"{number}/{len(students)} {student.name}: {rows[-1]['total']:g} of {rows[-1]['of']:g}  {rows[-1]['note']}"
            )
    write_csv(folder / "grades.csv", rows)
    return rows


def grade_one(nbgrader, root: Path, student: Path, blanks: dict, worth: dict[str, float], feedback: Path) -> dict:
    """One row of the table; the feedback pages go into the given folder."""
    earned, name = {}, student.name
    problems = take_in(student, blanks, root / "submitted" / name / ASSIGNMENT)
    if (root / "submitted" / name).exists():
        outcome = nbgrader.autograde(ASSIGNMENT, name, force=True, create=True)
        if outcome["success"]:
            with Gradebook(f"sqlite:///{root}/gradebook.db", nbgrader.coursedir.course_id) as gradebook:
                earned = points(gradebook, name)
            nbgrader.generate_feedback(ASSIGNMENT, name, force=True)
            shutil.rmtree(feedback, ignore_errors=True)
            shutil.copytree(root / "feedback" / name / ASSIGNMENT, feedback, ignore=shutil.ignore_patterns("*.ipynb"))
        else:
            last = (outcome.get("log") or outcome.get("error") or "").strip().splitlines()
            problems.append(f"could not be graded: {last[-1] if last else 'no reason given'}")
    row = {"student": name} | {exercise: earned.get(exercise, 0.0) for exercise in worth}
    return row | {"total": sum(earned.values()), "of": sum(worth.values()), "note": "; ".join(problems)}


def write_csv(path: Path, rows: list[dict]) -> None:
    """The table of grades, one row a student, replaced in one step."""
    unfinished = path.with_suffix(".part")
    with open(unfinished, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Grade all submissions.")
    parser.add_argument("--folder", type=Path, default=GRADING, help="holds submitted/; default: grading")
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore", SAWarning)  # nbgrader's own, of no use to an instructor
    rows = grade(folder)
    print(f"{len(rows)} graded: {folder}/grades.csv, feedback in {folder}/feedback/")
    sys.exit(1 if any(row["note"] for row in rows) else 0)


if __name__ == "__main__":
    main()
