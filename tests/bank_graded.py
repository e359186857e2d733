"""Put the whole bank of answers through the real `make grade`: `python -m tests.bank_graded`, writes a results file.

Submission k of the class holds the k-th answer to every exercise. A wrong answer must not get the exercise's points, a
right one must. An answer that is right for the visible check alone may keep that check's points, and is listed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from data.record import write_result
from grading.build import ASSIGNMENT, NOTEBOOKS
from grading.grade import recorded
from grading.sandbox import start
from helpers import checks
from tests.banks import BANK, source

POINTS = {exercise: points for notebook in checks.POINTS.values() for exercise, points in notebook.items()}


def make_class(folder: Path, only: list[str]) -> dict[str, dict[str, str]]:
    """Write the submissions; {student: {exercise: name of the answer}}."""
    packed = {}
    for kind in ("wrong", "right"):
        lists = {exercise: list(getattr(BANK[exercise], kind)) for exercise in only}
        for k in range(max(map(len, lists.values()))):
            packed[f"{kind}-{k:02}"] = {exercise: names[k] for exercise, names in lists.items() if k < len(names)}
    for student, chosen in packed.items():
        for stem, exercises in checks.POINTS.items():
            cells = {exercise: source(exercise, chosen[exercise]) for exercise in exercises if exercise in chosen}
            if cells:
                notebook = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)
                for cell in notebook.cells:
                    cell.source = cells.get(cell.id, cell.source)
                path = folder / "submitted" / student / ASSIGNMENT / f"{stem}.ipynb"
                path.parent.mkdir(parents=True, exist_ok=True)
                nbformat.write(notebook, path)
    return packed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bank_graded", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(BANK), choices=list(BANK), metavar="EXERCISE")
    parser.add_argument("--no-file", action="store_true", help="print, and leave data/results/ as it is")
    options = parser.parse_args()
    began, found = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        packed = make_class(folder, options.only)
        unsafe = [] if start.works() else ["--without-sandbox"]
        subprocess.run([sys.executable, "-m", "grading.grade", "--folder", str(folder), *unsafe], cwd=NOTEBOOKS.parent)
        for student, chosen in packed.items():
            record = recorded(folder / ".work", student)
            for exercise, name in chosen.items():
                told = record["said"].get(exercise, {}) or {}
                found.append({"exercise": exercise, "name": name, "right": student.startswith("right"),
                              "points": record["row"][exercise], "of": POINTS[exercise],
                              "told": told.get("check") or told.get("hidden")})  # fmt: skip
    wrong, right = ([each for each in found if each["right"] is kind] for kind in (False, True))
    accepted = [each for each in wrong if each["points"] == each["of"]]
    partly = [each for each in wrong if 0 < each["points"] < each["of"]]
    rejected = [each for each in right if each["points"] < each["of"]]
    for title, some in (("accepted", accepted), ("partly accepted", partly), ("rejected", rejected)):
        for each in some:
            print(f"{title}: {each['exercise']}, {each['name']}: {each['told']}")
    counts = {"wrong": len(wrong), "wrong_accepted": len(accepted), "wrong_partly": len(partly), "right": len(right),
              "right_rejected": len(rejected), "seconds": round(time.perf_counter() - began)}  # fmt: skip
    print(counts)
    if not options.no_file:
        write_result(
            "answer_bank_graded",
            "python -m tests.bank_graded",
            0,
            counts | {"submissions": len(packed), "answers": found},
        )
    return int(bool(accepted or rejected))


if __name__ == "__main__":
    sys.exit(main())
