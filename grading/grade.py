"""Grade a class: grading/submitted/STUDENT/simclr/NN_*.ipynb -> grading/grades.csv, feedback/STUDENT/, summary.html.

    python -m grading.grade                          everybody, as `make grade` does
    python -m grading.grade --folder DIR             another folder with submitted/ in it; results go beside it

A student's file is never run as it is. Its answers are taken out, judged in a sandbox (grading/judge.py), and set into
the instructor's notebook, which nbgrader scores. One process a core, as memory allows; one row a student. A run that
was stopped goes on where it was; a submission, or a test, that changes is graded again.
"""

import argparse
import contextlib
import csv
import ctypes
import fcntl
import hashlib
import json
import multiprocessing
import os
import secrets
import shutil
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime
from pathlib import Path

import nbformat
import psutil
import torch
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from sqlalchemy.exc import SAWarning
from tqdm import tqdm

from grading import intake, pages
from grading.build import ASSIGNMENT, GRADING, SOURCE, course, instructor_notebook, release
from grading.judge import Exercise, Judge, exercises, known_at, pieces, plain_python
from grading.sandbox import start
from helpers import checks
from helpers.machine import usable_cores, usable_memory

NAME = 200  # letters of a student's name in the table
POINTS = {name: points for notebook in checks.POINTS.values() for name, points in notebook.items()}
SUFFIXES = ("_check", "_hidden")
GUESS = 45  # seconds a submission, until some have been graded
EACH = 3 * 2**30  # bytes of memory for each that is graded at a time: a sandbox may take most of it
APPARMOR = (
    "sudo apt install apparmor-profiles && "
    "sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && "
    "sudo apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict"
)


class HideHiddenTests(NbGraderPreprocessor):
    """Feedback shows that a hidden test failed, never its source."""

    def preprocess_cell(self, cell, resources, index):
        if cell.metadata.get("nbgrader", {}).get("grade_id", "").endswith("_hidden"):
            cell.source = "# Inputs you have not seen."
        return cell, resources


def main() -> None:
    parser = argparse.ArgumentParser(description="Grade all submissions.")
    option = parser.add_argument
    option("--folder", type=Path, default=GRADING, help="holds submitted/; default: grading")
    option("--due", type=datetime.fromisoformat, help="for instance 2027-03-01T18:00; later files are noted as late")
    jobs = at_a_time(usable_cores(), usable_memory(psutil.virtual_memory().available))
    option("--jobs", type=int, default=jobs, help="submissions graded at a time; default: one a core, as memory allows")
    option("--without-sandbox", action="store_true", help="run strangers' code with your own rights; needed where "
           "bubblewrap does not work")  # fmt: skip
    chosen = parser.parse_args()
    if chosen.jobs < 1:
        parser.error(f"--jobs is {chosen.jobs}; one submission at a time is the least.")
    chosen.folder = chosen.folder.resolve()  # the sandbox starts elsewhere
    bare = not start.works()
    if not bare and chosen.folder != GRADING.resolve() and start.can_be_seen(chosen.folder):
        sys.exit(f"{chosen.folder} lies where answers can read, as Python and the system do; name another --folder.")
    if bare and not chosen.without_sandbox:
        sys.exit(no_sandbox(start.why_not()))
    if bare:
        print("WITHOUT A SANDBOX: the answers run with your rights.", file=sys.stderr)
    warnings.simplefilter("ignore", SAWarning)  # nbgrader's own, of no use to an instructor
    with alone(chosen.folder / ".work"):
        try:
            rows = grade(chosen.folder, chosen.jobs, chosen.due, bare)
        except KeyboardInterrupt:
            sys.exit("\nStopped. What was graded is kept, and the same command goes on from there.")
    print(f"{len(rows)} graded: {chosen.folder}/grades.csv, feedback/ and summary.html beside it")
    looks = [row["student"] for row in rows if intake.beyond_missing(row["note"])]
    if looks:
        more = f" and {len(looks) - 5} more" if len(looks) > 5 else ""
        sys.exit(
            f"{', '.join(looks[:5])}{more}: something needs your look; summary.html and the notes in grades.csv say what"
        )


def at_a_time(cores: int, free: int) -> int:
    """Submissions to grade at a time: one a core, as far as this many bytes of memory reach; one is the least."""
    return max(1, min(cores, free // EACH))


def no_sandbox(why: str) -> str:
    """What to say where bubblewrap does not work, and what mends it."""
    danger = "answers would run with your rights and could read and delete your files."
    trust = "say --without-sandbox if you trust every submission."
    if why == start.NOT_INSTALLED:
        return f"{why}, so {danger}\nInstall it (`apt install bubblewrap`), or {trust}"
    return (
        f"bubblewrap does not work here, so {danger} It says:\n\n    {why}\n\n"
        "On Ubuntu, 23.10 and later, AppArmor refuses it what it needs until its own profile for it is loaded:\n\n"
        f"    {APPARMOR}\n\nOr grade as root, or {trust}"
    )


@contextlib.contextmanager
def alone(work: Path):
    """Hold the folder of unfinished work for this run alone, and leave no litter in it."""
    work.mkdir(parents=True, exist_ok=True)
    with open(work / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"Another grading run is at work in {work.parent}; wait for it, or stop it.")
        shutil.rmtree(work / "tmp", ignore_errors=True)
        (work / "tmp").mkdir()
        yield


def grade(folder: Path, jobs: int, due: datetime | None, bare: bool) -> list[dict]:
    """Grade everybody under folder/submitted; writes grades.csv, feedback/ and summary.html, returns the rows.

    Args:
        bare: run answers without a sandbox. A sandbox that stops working on the way makes none bare.
    """
    hand_ins = students(folder / "submitted")
    tell_strays(folder / "submitted")
    if not hand_ins:
        sys.exit(
            f"There is nobody to grade: put notebooks into {folder}/submitted/STUDENT/{ASSIGNMENT}/ and try again."
        )
    work, secret = folder / ".work", secret_of(folder / ".work")
    (work / "graded").mkdir(exist_ok=True)
    (folder / "feedback").mkdir(exist_ok=True)
    for private in (work, folder / "feedback"):  # nobody else's, on a machine that students use too
        private.chmod(0o700)
    version = course_version(secret, due)
    known = {student: record for student in hand_ins if (record := recorded(work, student))}
    fresh = [student for student, place in hand_ins.items()
             if known.get(student, {}).get("key") != key_of(place, version) or not (folder / "feedback" / student).is_dir()]  # fmt: skip
    if fresh:
        tell_time(len(hand_ins), len(fresh), [record["seconds"] for record in known.values()], jobs)
        with tempfile.TemporaryDirectory(dir=work / "tmp") as template:
            release(Path(template))
            left = {student: hand_ins[student] for student in fresh}
            grade_all(folder, left, version, jobs, due, (Path(template), secret, bare))
    records = {student: recorded(work, student) for student in hand_ins}
    write_csv(folder / "grades.csv", [record["row"] for record in records.values()])
    pages.write_summary(folder / "summary.html", records, POINTS)
    return [record["row"] for record in records.values()]


def students(submitted: Path) -> dict[str, Path]:
    """{student: folder or zip file}, in the order of their names.

    A student's name becomes the name of a folder: one of dots alone, as of "...zip", would be the folder above.
    """
    places = [place for place in sorted(submitted.glob("*")) if place.is_dir() or place.suffix.lower() == ".zip"]
    places = [place for place in places if place.name not in intake.LITTER]
    folders = {place.name for place in places if place.is_dir()}
    stems = [place.stem for place in places if not place.is_dir()]  # ada.zip and ada.ZIP have the same
    whole = [
        place.is_dir() or place.stem in folders or stems.count(place.stem) > 1 or not place.stem.strip(".")
        for place in places
    ]
    return {place.name if keep else place.stem: place for place, keep in zip(places, whole, strict=True)}


def tell_strays(submitted: Path) -> None:
    """One line about notebooks that lie in nobody's folder."""
    strays = [intake.plain_text(path.name) for path in sorted(submitted.glob("*.ipynb"))]
    if strays:
        print(
            f"{', '.join(strays[:3])}{' and more' if len(strays) > 3 else ''} in {submitted}: nobody's, so not graded. "
            f"Notebooks belong into submitted/STUDENT/{ASSIGNMENT}/.",
            file=sys.stderr,
        )


def secret_of(work: Path) -> str:
    """What the inputs of the hidden tests are drawn from, one for each class."""
    path = work / "secret"
    if not path.exists():
        unfinished = path.with_suffix(".part")
        unfinished.touch(mode=0o600)
        unfinished.write_text(secrets.token_hex(16))
        unfinished.replace(path)
    return path.read_text()


def course_version(secret: str, due: datetime | None) -> str:
    """Changes when anything changes that a grade depends on."""
    root, digest = GRADING.parent, hashlib.sha256(f"{secret}{due}".encode())
    for path in sorted([*root.glob("helpers/**/*.py"), *root.glob("grading/*.py"), *root.glob("grading/s*/*.py"),
                        root / "data/results/clinic.json"]):  # fmt: skip
        digest.update(path.read_bytes())
    return digest.hexdigest()


def key_of(place: Path, version: str) -> str:
    """Changes when the submission changes, or what it is graded by."""
    digest = hashlib.sha256(version.encode())
    for path in [] if place.is_symlink() else intake.below(place):
        if intake.is_plain_file(path):
            stat = path.stat()
            digest.update(
                f"{path.relative_to(place.parent)}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode("utf-8", "replace")
            )
    return digest.hexdigest()


def recorded(work: Path, student: str) -> dict | None:
    """What an earlier run found out about a student."""
    try:
        return json.loads(record_of(work, student).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def record_of(work: Path, student: str) -> Path:
    """Where it is kept: file names have an end, and students' names may be as long."""
    return work / "graded" / f"{hashlib.sha256(student.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"


def tell_time(everybody: int, fresh: int, seconds: list[float], jobs: int) -> None:
    """Say how long it will take."""
    each = statistics.median(seconds) if seconds else GUESS
    minutes = each * fresh / jobs / 60
    known = f", {everybody - fresh} as they were" if fresh < everybody else ""
    print(
        f"{fresh} to grade{known}: about {each:.0f} s each, {jobs} at a time, so about {minutes:.0f} min.", flush=True
    )


def grade_all(folder: Path, hand_ins: dict[str, Path], version: str, jobs: int, due, shared: tuple) -> None:
    """Grade these in parallel; who was at work when a worker died is graded again alone, and then marked.

    Args:
        shared: what `prepare` takes.
    """
    left, suspects = dict(hand_ins), []
    with tqdm(total=len(left), unit="submission", disable=None) as bar:
        while left:
            some = [name for name in left if name not in suspects] or [next(iter(left))]
            before = len(left) - len(suspects)
            with workers(min(jobs, len(some)), *shared) as pool:
                jobs_of = {pool.submit(grade_one, folder, name, left[name], version, due): name for name in some}
                for job in as_completed(jobs_of):
                    name = jobs_of[job]
                    try:
                        job.result()
                    except BrokenProcessPool:
                        if name not in suspects:
                            suspects += [name] if begun(folder, name).exists() else []
                            continue
                        give_up(folder, name, RuntimeError("the grader itself died over it"))
                    except Exception as problem:
                        give_up(folder, name, problem)
                    del left[name]
                    suspects = [each for each in suspects if each != name]
                    bar.update()
            if len(left) - len(suspects) == before > 0:
                sys.exit("The grader's processes end before they grade anything. Is there enough memory?")


@contextlib.contextmanager
def workers(count: int, *arguments) -> Iterator[ProcessPoolExecutor]:
    """Processes that grade. When this one is interrupted, they take up nothing more."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, prepare, arguments) as pool:
        try:
            yield pool
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def begun(folder: Path, student: str) -> Path:
    """A file that is there while a student is being graded."""
    return folder / ".work/tmp" / record_of(folder, student).stem


def give_up(folder: Path, student: str, problem: Exception) -> None:
    """A row without points, with a reason, for who could not be graded; the next run tries again."""
    row = (
        {"student": intake.plain_text(student, NAME)}
        | dict.fromkeys(POINTS, 0.0)
        | {"total": 0.0, "of": sum(POINTS.values())}
    )
    note = f"could not be graded: {type(problem).__name__}: {intake.plain_text(str(problem), 200)}"
    shutil.rmtree(folder / "feedback" / student, ignore_errors=True)  # pages of an earlier hand-in say other things
    (folder / "feedback" / student).mkdir(parents=True, exist_ok=True)
    keep(folder / ".work", student, {"key": "", "row": row | {"note": note}, "said": {}, "seconds": 0})


def keep(work: Path, student: str, record: dict) -> None:
    """Write what was found out, whole or not at all."""
    path = record_of(work, student)
    path.with_suffix(".part").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    path.with_suffix(".part").replace(path)


# In a worker process

HERE: dict = {}  # what every submission of this worker shares: the course and its judge


def prepare(template: Path, secret: str, bare: bool) -> None:
    """Read the course once for each worker; temporary files go where the next run clears them away."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends when the run it belongs to is killed
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, where it is
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # there is a worker a core; their threads would wait for each other
    tempfile.tempdir = str(template.parent)
    HERE["template"], HERE["judge"] = template, Judge(secret, bare)
    released = sorted((template / "release" / ASSIGNMENT).glob("*.ipynb"))
    HERE["blanks"] = {path.stem: nbformat.read(path, as_version=4) for path in released if path.stem in checks.POINTS}
    HERE["ungraded"] = {path.stem for path in released} - checks.POINTS.keys()
    HERE["exercises"] = {stem: exercises(stem, instructor_notebook(SOURCE / f"{stem}.py")) for stem in checks.POINTS}


def grade_one(folder: Path, student: str, place: Path, version: str, due: datetime | None) -> None:
    """Judge one submission, have nbgrader score it, and write its feedback and record."""
    began, key = time.time(), key_of(place, version)
    begun(folder, student).touch()
    HERE["judge"].next_student()
    submission = intake.take_in(place, HERE["blanks"], HERE["ungraded"])
    if due and submission.when > due.timestamp():
        late = round((submission.when - due.timestamp()) / 60)
        submission.notes.append(f"handed in {late // 60} h {late % 60} min late")
    said, pictures, filled = {}, {}, {}
    with tempfile.TemporaryDirectory(dir=folder / ".work/tmp") as work:
        root = Path(work)
        shutil.copytree(HERE["template"], root, dirs_exist_ok=True)
        for stem, notebook in submission.notebooks.items():
            blank = HERE["blanks"][stem]
            filled[stem] = intake.answers(blank, notebook, {each.object: each.name for each in HERE["exercises"][stem]})
            pictures |= intake.figures(blank, notebook)
            said |= judge_notebook(HERE["exercises"][stem], blank, notebook, filled[stem])
            scored = with_outputs(intake.graft(blank, notebook, filled[stem]), said)
            path = root / "submitted" / "student" / ASSIGNMENT / f"{stem}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(scored, path)
        HERE["judge"].next_student()
        earned = nbgrader_scores(root, submission.notes) if submission.notebooks else {}
        stopped = {
            name: why
            for name, parts in said.items()
            for why in parts.values()
            if (why or "").startswith("it was stopped")
        }
        submission.notes += [f"{name}: {why}" for name, why in stopped.items()]
        row = {"student": intake.plain_text(student, NAME)} | {name: earned.get(name, 0.0) for name in POINTS}
        row |= {"total": sum(earned.values()), "of": sum(POINTS.values()), "note": "; ".join(submission.notes)}
        page = pages.student_page(
            row, said, pictures, POINTS, {stem: stem in submission.notebooks for stem in checks.POINTS}
        )
        put_feedback(folder / "feedback" / student, root, page)
    begun(folder, student).unlink()
    keep(folder / ".work", student, {"key": key, "row": row, "said": said, "seconds": round(time.time() - began, 1)})


def judge_notebook(all_exercises: list[Exercise], blank: NotebookNode, notebook: NotebookNode, filled: dict) -> dict:
    """{exercise: {"check": None or why not, "hidden": the same}} for one notebook."""
    around = intake.around(blank, notebook, set(filled.values()))
    own = pieces([(place, plain_python(source)) for place, source in around])
    answers = {name: plain_python(source) for name, source in filled.items()}
    places = {each.name: intake.place_of(notebook, f"{each.name}_check") for each in all_exercises}
    return {each.name: HERE["judge"].judge(each, known_at(places[each.name], own), answers) for each in all_exercises}


def with_outputs(notebook: NotebookNode, said: dict) -> NotebookNode:
    """The verdicts as outputs of the graded cells, which is what nbgrader scores."""
    for cell in notebook.cells:
        name = intake.grade_id(cell)
        suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)
        if suffix:
            why = said[name.removesuffix(suffix)][suffix[1:]]
            texts = {"ename": "NotYet", "evalue": str(why), "traceback": [f"Not yet: {why}"]}
            cell.outputs = [] if why is None else [nbformat.v4.new_output("error", **texts)]
    return notebook


def nbgrader_scores(root: Path, notes: list[str]) -> dict[str, float]:
    """Points of each exercise, by nbgrader; its feedback pages lie in root/feedback afterwards."""
    nbgrader = course(root)
    nbgrader.config.Autograde.sanitize_preprocessors = [
        "nbgrader.preprocessors.DeduplicateIds", "nbgrader.preprocessors.OverwriteKernelspec",
        "nbgrader.preprocessors.OverwriteCells", "nbgrader.preprocessors.CheckCellMetadata",
    ]  # fmt: skip
    nbgrader.config.Autograde.autograde_preprocessors = [
        "nbgrader.preprocessors.SaveAutoGrades", "nbgrader.preprocessors.CheckCellMetadata",
    ]  # fmt: skip
    nbgrader.config.GenerateFeedback.preprocessors = [
        "nbgrader.preprocessors.GetGrades", HideHiddenTests, "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
    ]  # fmt: skip
    outcome = nbgrader.autograde(ASSIGNMENT, "student", force=True, create=True)
    if not outcome["success"]:
        last = (outcome.get("log") or outcome.get("error") or "no reason given").strip().splitlines()[-1]
        notes.append(f"nbgrader could not score it: {intake.plain_text(last, 200)}")
        return {}
    nbgrader.generate_feedback(ASSIGNMENT, "student", force=True)
    earned: dict[str, float] = {}
    with Gradebook(f"sqlite:///{root}/gradebook.db", nbgrader.coursedir.course_id) as gradebook:
        for notebook in gradebook.find_submission(ASSIGNMENT, "student").notebooks:
            for grade in notebook.grades:
                name = next(
                    grade.cell.name.removesuffix(suffix) for suffix in SUFFIXES if grade.cell.name.endswith(suffix)
                )
                earned[name] = earned.get(name, 0.0) + (grade.auto_score or 0.0)
    return earned


def put_feedback(place: Path, root: Path, page: str) -> None:
    """Replace a student's feedback folder: index.html, and nbgrader's page of each notebook."""
    if place.name in ("", ".", ".."):
        raise ValueError(f"{place.name!r} is no name of a student's folder")
    made = root / "feedback" / "student" / ASSIGNMENT
    made.mkdir(parents=True, exist_ok=True)
    (made / "index.html").write_text(page, encoding="utf-8")
    for path in made.glob("*.ipynb"):
        path.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    made.rename(place)


def write_csv(path: Path, rows: list[dict]) -> None:
    """The table of grades, one row a student, replaced in one step."""
    unfinished = path.with_suffix(".part")
    unfinished.touch(mode=0o600)
    with open(unfinished, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


if __name__ == "__main__":
    main()
