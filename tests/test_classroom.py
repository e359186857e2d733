"""A class on one machine, the whole way: real accounts, real JupyterHub, real exchange, real grading, and back."""

import contextlib
import json
import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
import requests

from grading import pages
from grading.build import NOTEBOOKS, SOURCE, instructor_notebook
from grading.teaching import classroom
from helpers import checks

STEM = "03_projection_head"
PATIENCE = 600  # seconds for the hub or a student's server to start; a busy machine needs minutes


def why_not() -> str | None:
    """Why this machine cannot hold a class, or None."""
    if os.geteuid() != 0:
        return "a class needs root"
    if not classroom.HUB_PYTHON.exists():
        return "no .venv-class here: sudo make .venv-class/ready"
    if not all(shutil.which(tool) for tool in ("useradd", "userdel", "chpasswd", "groupadd")):
        return "this system cannot make user accounts"
    return classroom.what_students_cannot_run()


needs_accounts = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


class Student:
    """A browser, as far as a class needs one: logs in with a password and talks to the student's own server."""

    def __init__(self, address: str, name: str, password: str):
        self.name, self.password, self.address, self.web = name, password, address, requests.Session()

    def log_in(self, password: str | None = None) -> requests.Response:
        form = self.web.get(f"{self.address}/hub/login", timeout=60).text
        token = re.search(r'name="_xsrf" value="([^"]+)"', form)[1]
        fields = {"username": self.name, "password": password or self.password, "_xsrf": token}
        return self.web.post(f"{self.address}/hub/login", data=fields, timeout=60)

    def start(self) -> None:
        """Start the student's server and wait until its page is there."""
        self.web.get(f"{self.address}/hub/spawn", timeout=120)
        for _ in range(PATIENCE):
            page = self.web.get(f"{self.address}/user/{self.name}/lab", timeout=120)
            if page.ok and page.url.startswith(f"{self.address}/user/{self.name}/"):
                return
            time.sleep(1)
        raise TimeoutError(f"the server of {self.name} did not start: {page.status_code} at {page.url}")

    def hidden(self) -> set[str]:
        """The parts of JupyterLab that the student's page is told to leave out."""
        page = self.web.get(f"{self.address}/user/{self.name}/lab", timeout=120).text
        settings = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, flags=re.S)[1]
        return set(json.loads(settings).get("disabledExtensions", ()))

    def ask(self, what: str, **fields) -> dict:
        """Press a button of nbgrader's panel: assignments/fetch, assignments/submit, ..."""
        token = next(c.value for c in self.web.cookies if c.name == "_xsrf" and c.path.startswith("/user"))
        answer = self.web.post(f"{self.address}/user/{self.name}/{what}", data=fields,
                               headers={"X-XSRFToken": token}, timeout=300)  # fmt: skip
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="module")
def place():
    """A folder for the class, of its own and readable by everybody, as /srv/two-views is."""
    folder = Path(tempfile.mkdtemp(prefix="two-views-class-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def accounts():
    """{name: password} of two accounts in the class, and one that is not in it; removed afterwards."""
    had_group = subprocess.run(["getent", "group", classroom.GROUP], capture_output=True).returncode == 0
    if not had_group:
        subprocess.run(["groupadd", classroom.GROUP], check=True)
    tag = secrets.token_hex(3)
    made = {f"tv-{name}-{tag}": secrets.token_hex(8) for name in ("ada", "ben", "out")}
    try:
        for name, password in made.items():
            group = [] if "-out-" in name else ["-G", classroom.GROUP]
            private = ["-m", "-K", "HOME_MODE=0700"]  # as class.md says
            subprocess.run(["useradd", *private, "-s", "/bin/sh", *group, name], check=True, capture_output=True)
            subprocess.run(["chpasswd"], input=f"{name}:{password}", text=True, check=True)
        yield made
    finally:
        for name in made:
            subprocess.run(["userdel", "-rf", name], capture_output=True)
            shutil.rmtree(f"/tmp/torchinductor_{name}", ignore_errors=True)  # torch leaves it
        if not had_group:
            subprocess.run(["groupdel", classroom.GROUP], capture_output=True)


@pytest.fixture(scope="module")
def hub(place, accounts):
    """The address of a running hub, started as `make class` starts it."""
    address = f"127.0.0.1:{classroom.free_port()}"
    command = [sys.executable, "-m", "grading.teaching.classroom", "serve", "--place", place, "--address", address]
    with open(place / "log", "w") as log:
        process = subprocess.Popen(command, cwd=classroom.ROOT, stdout=log, stderr=log)
        try:
            for _ in range(PATIENCE):
                assert process.poll() is None, (place / "log").read_text()
                with contextlib.suppress(requests.RequestException):
                    if requests.get(f"http://{address}/hub/health", timeout=5).ok:
                        break
                time.sleep(1)
            else:
                raise TimeoutError(f"the hub did not start:\n{(place / 'log').read_text()}")
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(60)


def as_student(name: str, *command) -> subprocess.CompletedProcess:
    rights = {"user": pwd.getpwnam(name).pw_uid, "group": pwd.getpwnam(name).pw_gid, "extra_groups": [], "cwd": "/"}
    return subprocess.run(command, capture_output=True, text=True, **rights)


def write_answers(path: Path, how_many: int) -> None:
    """Put the first right answers into a fetched notebook, as its owner would; the rest stays as released."""
    right = {cell.id: cell.source for cell in instructor_notebook(SOURCE / f"{STEM}.py").cells}
    notebook = nbformat.read(path, as_version=4)
    answers = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    for cell in answers[:how_many]:
        cell.source = right[cell.id]
    nbformat.write(notebook, path)


@needs_accounts
@pytest.mark.notebook
def test_a_class_fetches_submits_is_graded_and_gets_its_feedback_back(hub, place, accounts):
    ada, ben, stranger = (Student(hub, *account) for account in accounts.items())
    graded_in = place / "grading"  # in a folder that everybody may look into
    graded_in.mkdir(mode=0o755)
    classroom.release(place, ["03"])

    assert ada.log_in("wrong").status_code == 403 and stranger.log_in().status_code == 403
    for student in (ada, ben):
        assert student.log_in().ok
        student.start()
        assert not student.hidden() & {f"@jupyter/nbgrader:{panel}" for panel in ("menu", "assignment-list")}
        fetched = student.ask("assignments/fetch", course_id=classroom.COURSE_ID, assignment_id=STEM)
        assert fetched["success"], fetched
        write_answers(
            Path(pwd.getpwnam(student.name).pw_dir, "two-views", STEM, f"{STEM}.ipynb"), 3 if student is ada else 1
        )

    validated = ada.ask("assignments/validate", path=f"{STEM}/{STEM}.ipynb")  # a kernel of hers, with torch and helpers
    assert validated["success"] and "failed" not in validated["value"], validated
    for student in (ada, ben):
        assert student.ask("assignments/submit", course_id=classroom.COURSE_ID, assignment_id=STEM)["success"]

    assert classroom.collect(place, graded_in) == [f"collected {ada.name} {STEM}", f"collected {ben.name} {STEM}"]
    assert classroom.collect(place, graded_in) == []  # nothing new
    command = [sys.executable, "-m", "grading.grade", "--folder", graded_in]
    graded = subprocess.run(command, cwd=classroom.ROOT, capture_output=True, text=True)
    rows = [line.split(",") for line in (graded_in / "grades.csv").read_text().splitlines()]
    totals = {row[0]: float(row[rows[0].index("total")]) for row in rows[1:]}
    assert totals == {ada.name: 12.0, ben.name: 5.0}, graded.stdout + graded.stderr

    assert [line.split(": ")[1] for line in classroom.return_feedback(place, graded_in)] == ["returned"] * 2
    for student, points in ((ada, "12 of 100"), (ben, "5 of 100")):
        answer = student.ask("assignments/fetch_feedback", course_id=classroom.COURSE_ID, assignment_id=STEM)
        assert answer["success"], answer
        home = Path(pwd.getpwnam(student.name).pw_dir)
        read = [path.read_text() for path in home.glob(f"two-views/{STEM}/feedback/*/{STEM}.html")]
        assert len(read) == 1 and points in read[0]

    inside = [graded_in / "submitted", graded_in / "feedback", graded_in / ".work", graded_in / "grades.csv",
              graded_in / "summary.html", classroom.GRADING / "source", classroom.ROOT / "tests", place / "exchange" / classroom.COURSE_ID / "feedback",
              place / "hub", Path(pwd.getpwnam(ada.name).pw_dir)]  # fmt: skip
    assert "Starting managed service culler" in (place / "log").read_text()  # which stops servers that nobody uses
    assert as_student(ben.name, "ls", graded_in).returncode == 0
    for hidden in inside:
        assert as_student(ben.name, "cat" if hidden.suffix else "ls", hidden).returncode != 0, f"open to all: {hidden}"


@needs_accounts
def test_a_hand_in_under_another_name_or_by_a_link_does_not_count(place, accounts, tmp_path):
    ada, ben, _ = accounts
    place = place / "another"  # a class in which nobody has handed in
    classroom.release(place, ["03"])
    inbound = place / "exchange" / classroom.COURSE_ID / "inbound"
    forged, linked = (inbound / f"{name}+{STEM}+2030-01-01 10:00:00 UTC+x" for name in (ada, ben))
    for folder in (forged, linked):
        assert as_student(ben, "mkdir", folder).returncode == 0
    secret = tmp_path / "secret.ipynb"
    secret.write_text("of the instructor")
    assert as_student(ben, "ln", "-s", secret, linked / f"{STEM}.ipynb").returncode == 0

    said = classroom.collect(place, tmp_path)
    assert any(line.startswith(f"refused {ada}+") and ben in line for line in said)
    assert not (tmp_path / "submitted" / ada).exists()
    assert not (tmp_path / "submitted" / ben / STEM / f"{STEM}.ipynb").exists()


def handed_in(student: str, place: Path, when: str) -> Path:
    """A hand-in in the exchange, made by the student."""
    folder = place / "exchange" / classroom.COURSE_ID / "inbound" / f"{student}+{STEM}+{when}+x"
    assert as_student(student, "mkdir", folder).returncode == 0
    return folder


@needs_accounts
def test_one_hand_in_that_cannot_be_read_or_is_too_large_stops_nobody_elses(place, accounts, tmp_path, monkeypatch):
    monkeypatch.setattr(classroom, "LARGEST", 2**20)
    ada, ben, cleo = accounts
    place = place / "third"
    classroom.release(place, ["03"])
    closed, huge, good = (handed_in(name, place, "2030-01-01 10:00:00 UTC") for name in (ada, ben, cleo))
    as_student(ada, "touch", closed / "x.ipynb"), as_student(ada, "chmod", "0", closed / "x.ipynb")
    as_student(ben, "truncate", "-s", "20G", huge / "x.ipynb")
    as_student(cleo, "touch", good / "x.ipynb")
    said = classroom.collect(place, tmp_path)
    assert any(line.startswith(f"refused {ada}") and "not all of it can be read" in line for line in said)
    assert any(line.startswith(f"refused {ben}") and "larger than 1 MB" in line for line in said)
    assert f"collected {cleo} {STEM}" in said


@needs_accounts
def test_a_student_who_stops_the_reading_of_a_hand_in_stops_nobody_elses(place, accounts, tmp_path, monkeypatch):
    ada, _, cleo = accounts
    place, tools = place / "eighth", place / "tools"  # which students can reach
    classroom.release(place, ["03"])
    for name in (ada, cleo):
        as_student(name, "touch", handed_in(name, place, "2030-01-01 10:00:00 UTC") / "x.ipynb")
    tools.mkdir()
    stops = f'#!/bin/sh\n[ $(id -un) = {ada} ] && kill -STOP $$\nexec {shutil.which("tar")} "$@"\n'
    (tools / "tar").write_text(stops), (tools / "tar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(classroom, "PATIENCE", 2)
    said = classroom.collect(place, tmp_path)
    assert any(line.startswith(f"refused {ada}") and "not all of it can be read" in line for line in said)
    assert f"collected {cleo} {STEM}" in said


@needs_accounts
def test_a_hand_in_is_as_old_as_the_kernel_says_and_not_as_its_owner_does_or_the_collecting(place, accounts, tmp_path):
    ada, *_ = accounts
    place = place / "fourth"
    classroom.release(place, ["03"])
    before = time.time()
    folder = handed_in(ada, place, "2020-01-01 10:00:00 UTC")
    as_student(ada, "touch", "-d", "2020-01-01", folder / f"{STEM}.ipynb")
    as_student(ada, "touch", "-d", "2020-01-01", folder)
    after = time.time()
    time.sleep(1.5)
    classroom.collect(place, tmp_path)
    when = (tmp_path / "submitted" / ada / STEM / f"{STEM}.ipynb").stat().st_mtime
    assert before - 0.1 <= when <= after + 0.1


@needs_accounts
def test_a_name_of_odd_bytes_and_an_odd_secret_stop_nobody_elses(place, accounts, tmp_path):
    ada, ben, _ = accounts
    place = place / "fifth"
    classroom.release(place, ["03"])
    good = handed_in(ben, place, "2030-01-01 10:00:00 UTC")
    odd = os.fsencode(good.parent) + f"/{ada}+{STEM}+2030-01-01".encode() + b"\xff\x1b[31m+x"
    assert as_student(ada, "mkdir", odd).returncode == 0
    assert as_student(ben, "sh", "-c", f"printf '\\377' > '{good}/submission_secret.txt'").returncode == 0
    said = classroom.collect(place, tmp_path)
    assert f"collected {ben} {STEM}" in said
    assert [line for line in said if line.startswith(f"refused {ada}") and line.isprintable()]
    assert classroom.return_feedback(place, tmp_path) == [f"{ben} {STEM}: no feedback yet; run `make grade`"]


@needs_accounts
def test_the_page_of_an_earlier_hand_in_is_not_returned_for_a_later_one(place, accounts, tmp_path):
    ada, *_ = accounts
    place = place / "sixth"
    classroom.release(place, ["03"])
    handed_in(ada, place, "2030-01-01 10:00:00 UTC")
    classroom.collect(place, tmp_path)
    page = tmp_path / "feedback" / ada / f"{STEM}.html"
    page.parent.mkdir(parents=True), page.write_text("of the first")
    assert not classroom.collect(place, tmp_path) and page.exists()
    handed_in(ada, place, "2030-01-02 10:00:00 UTC")
    assert classroom.collect(place, tmp_path) == [f"collected {ada} {STEM}"] and not page.exists()
    assert (tmp_path / "submitted" / ada / STEM / "timestamp.txt").read_text() == "2030-01-02 10:00:00 UTC"


@needs_accounts
def test_a_file_of_the_copy_for_students_is_as_new_as_what_it_says(place, monkeypatch, tmp_path):
    root, place = tmp_path / "course", place / "seventh"
    for name in ("helpers/shapes.py", "data/encoder.safetensors", "data/results/x.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("first"), os.utime(root / name, (1, 1))
    monkeypatch.setattr(classroom, "ROOT", root)
    began = time.time() - 2
    classroom.prepare(place)
    copies = [place / "course" / name for name in ("helpers/shapes.py", "data/results/x.json")]
    first = [path.stat().st_mtime for path in copies]
    assert min(first) > began  # a student who starts now has a copy that is newer than the file it was made from
    (root / "helpers/shapes.py").write_text("second"), os.utime(root / "helpers/shapes.py", (1, 1))
    time.sleep(0.05)
    classroom.prepare(place)
    assert copies[0].read_text() == "second" and copies[0].stat().st_mtime > first[0]
    assert copies[1].stat().st_mtime == first[1]


@needs_accounts
def test_how_the_grader_is_attacked_is_not_for_students(place, monkeypatch, tmp_path):
    root, place = tmp_path / "course", place / "ninth"
    for name in ("helpers/a.py", "data/encoder.safetensors", "data/results/x.json", "data/results/hostile.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    monkeypatch.setattr(classroom, "ROOT", root)
    classroom.prepare(place)
    assert [path.name for path in (place / "course/data/results").iterdir()] == ["x.json"]
    assert (root / "data/results/hostile.json").stat().st_mode & 0o077 == 0


@needs_accounts
def test_the_copy_for_students_is_there_while_it_is_made_anew(place, monkeypatch, tmp_path):
    place, copy, there = place / "tenth", shutil.copytree, []
    classroom.prepare(place)

    def watched(*arguments, **settings):
        there.append((place / "course/helpers/shapes.py").exists())
        return copy(*arguments, **settings)

    monkeypatch.setattr(shutil, "copytree", watched)
    classroom.prepare(place)
    assert there and all(there)


@needs_accounts
def test_a_home_that_others_may_look_into_is_named(accounts):
    ada, ben, _ = accounts
    home = Path(pwd.getpwnam(ada).pw_dir)
    home.chmod(0o755)
    assert classroom.open_homes([ada, ben]) == [home]
    home.chmod(0o700)


def test_without_root_the_command_says_so_in_one_sentence(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["classroom", "serve"])
    with pytest.raises(SystemExit, match="needs root"):
        classroom.main()


def test_feedback_of_a_notebook_starts_with_its_own_exercises_and_ends_with_the_notebook():
    worth = {name: points for exercises in checks.POINTS.values() for name, points in exercises.items()}
    note = "01_augmentation.ipynb is missing; 2 files for 03_projection_head: b, the newest, counts"
    row = dict.fromkeys(worth, 0) | {"student": "ada", "projection_head": 5, "total": 5, "of": 100, "note": note}
    index = pages.student_page(row, {"simclr": {"check": "h and z are swapped"}}, {}, worth, {STEM: True})
    page = classroom.with_diagnosis("<html><body class=a><p>cells</p></body></html>", index, STEM)
    assert page.index("5 of 12 points") < page.index("projection_head: 5 of 5, solved") < page.index("cells")
    assert "5 of 100 in all" in page and "h and z are swapped" in page and "2 files for" in page
    assert "nt_xent" not in page and "is missing" not in page


def test_every_notebook_can_be_released_alone():
    assert all(re.fullmatch(r"0\d_\w+", path.stem) for path in NOTEBOOKS.glob("*.ipynb"))
