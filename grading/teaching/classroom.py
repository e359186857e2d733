"""A class on one machine: JupyterHub, nbgrader's exchange, and the way of a submission from there to its feedback.

    python -m grading.teaching.classroom serve                   as `make class` does: the hub, for members of the group
    python -m grading.teaching.classroom release 01 02           students may fetch these notebooks from now on
    python -m grading.teaching.classroom collect                 what was handed in goes to grading/submitted/
    python -m grading.teaching.classroom feedback                what `make grade` wrote goes back to the students

All of it as root, for it starts servers as other users. Nothing of a student's is read with root's rights.
"""

import argparse
import grp
import io
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path

from nbgrader.utils import notebook_hash

from grading.build import GRADING, NOTEBOOKS, course
from grading.intake import beyond_missing, plain_text
from grading.teaching.public import LEFT
from helpers import checks

ROOT = GRADING.parent
HUB_PYTHON = ROOT / ".venv-class" / "bin" / "python"
COURSE_ID = "two-views"
GROUP = "two-views"
PRIVATE = (".git", "grading", "tests", "site", "data/yours")  # solutions, hand-ins, grades: not a student's to read
LARGEST = 200 * 2**20  # bytes of one hand-in
PATIENCE = 60  # seconds to read one
SHOWN = ("assignment-list", "menu", "validate-assignment")  # of nbgrader's panels, what a student needs


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a class on this machine.")
    parser.add_argument("what", choices=["serve", "release", "collect", "feedback"])
    parser.add_argument("numbers", nargs="*", help="for release: notebooks, for instance 01 02; default: all")
    parser.add_argument("--place", type=Path, default=Path("/srv/two-views"), help="where the class lives")
    parser.add_argument("--folder", type=Path, default=GRADING, help="holds submitted/ and feedback/; default: grading")
    parser.add_argument("--address", default="0.0.0.0:8000", help="where the hub listens")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("A class needs root, because it starts a server for every student as that student: sudo make class")
    if options.what == "serve":
        serve(options.place, options.address)
    elif options.what == "release":
        for stem in release(options.place, options.numbers):
            print(f"released {stem}")
    elif options.what == "collect":
        for line in collect(options.place, options.folder):
            print(line)
    else:
        for line in return_feedback(options.place, options.folder):
            print(line)


def serve(place: Path, address: str) -> None:
    """Prepare the class's folder and become JupyterHub; Ctrl-C ends it and every student's server."""
    if not HUB_PYTHON.exists():
        sys.exit(f"{HUB_PYTHON} is missing: run `make class`, which makes its environment.")
    print("Looking whether a student's account can run the course, some seconds.", flush=True)
    if (problem := what_students_cannot_run()) is not None:
        sys.exit(f"A student could not run {HUB_PYTHON}, because {problem}\nPut the course where everybody may read, "
                 "for instance /opt, with a Python of the system: make class PYTHON=/usr/bin/python3")  # fmt: skip
    prepare(place)
    members = grp.getgrnam(GROUP).gr_mem
    print(f"In the class: {', '.join(members) or 'nobody yet'}. Add somebody: usermod -aG {GROUP} NAME", flush=True)
    for home in open_homes(members):
        print(f"{home} can be read by other students; close it: chmod 0700 {home}", flush=True)
    ports = f"{free_port()} {free_port()}"
    names = {"CLASS_COURSE": ROOT, "CLASS_FOLDER": place, "CLASS_GROUP": GROUP, "CLASS_ADDRESS": address}
    environment = os.environ | {name: str(value) for name, value in names.items()} | {"CLASS_PORTS": ports}
    environment.pop("PYTHONPATH", None)
    settings = str(GRADING / "teaching" / "jupyterhub_config.py")
    os.chdir(place / "hub")
    os.execve(HUB_PYTHON, [str(HUB_PYTHON), "-m", "jupyterhub", "-f", settings], environment)


def open_homes(members: list[str]) -> list[Path]:
    """Homes of these accounts that others may look into."""
    homes = [Path(account.pw_dir) for account in pwd.getpwall() if account.pw_name in members]
    return [home for home in homes if home.is_dir() and home.stat().st_mode & 0o077]


def what_students_cannot_run() -> str | None:
    """None if an account without any rights can import what a student needs, else why not."""
    program = "import torch, jupyterhub, jupyterlab, nbgrader, ipywidgets"
    nobody = pwd.getpwnam("nobody")
    rights = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/", "env": {"HOME": "/"}}
    try:
        run = subprocess.run([HUB_PYTHON, "-c", program], capture_output=True, text=True, **rights)
    except OSError as problem:
        return f"{problem.strerror}."
    said = run.stderr.strip().splitlines() or [f"it ended with {run.returncode}."]
    return said[-1] if run.returncode else None


def prepare(place: Path) -> None:
    """Folders, the group, the settings, the copy students get; safe to run again. Solutions are closed to students."""
    try:
        grp.getgrnam(GROUP)
    except KeyError:
        subprocess.run(["groupadd", GROUP], check=True)
    for name, mode in (("", 0o755), ("hub", 0o700), ("exchange", 0o1777), ("jupyter/labconfig", 0o755)):
        (place / name).mkdir(parents=True, exist_ok=True)
        (place / name).chmod(mode)
    for name in PRIVATE:
        if (ROOT / name).is_dir():
            (ROOT / name).chmod(0o700)
    for path in (found for name in LEFT for found in ROOT.glob(f"{name}*")):
        path.chmod(0o600)
    page = {"disabledExtensions": {f"@jupyter/nbgrader:{panel}": False for panel in SHOWN}}
    (place / "jupyter/labconfig/page_config.json").write_text(json.dumps(page))
    (place / "jupyter/nbgrader_config.py").write_text(
        (GRADING / "nbgrader_config.py").read_text()
        + f'\nimport os\n\nc.Exchange.root = "{place}/exchange"\n'
        + 'c.Exchange.assignment_dir = os.path.expanduser("~/two-views")\n'
    )
    copy, new, earlier = place / "course", place / "course.new", place / "course.earlier"
    for left in (new, earlier):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(ROOT / "helpers", new / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    (new / "data").mkdir()
    shutil.copy(ROOT / "data" / "encoder.safetensors", new / "data")
    held_back = [f"{Path(name).name}*" for name in LEFT]
    shutil.copytree(ROOT / "data" / "results", new / "data" / "results", ignore=shutil.ignore_patterns(*held_back))
    for path in [new, *new.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        if path.is_file():  # students get what is newer than theirs: a file is as old as what it says
            before = copy / path.relative_to(new)
            same = before.is_file() and before.read_bytes() == path.read_bytes()
            os.utime(path, (before.stat().st_mtime,) * 2 if same else None)
    if copy.exists():
        copy.rename(earlier)
    new.rename(copy)  # servers that start meanwhile find the one or the other, whole
    shutil.rmtree(earlier, ignore_errors=True)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def release(place: Path, numbers: list[str]) -> list[str]:
    """Put notebooks into the exchange, each an assignment of its own; a student fetches and hands in one by one."""
    prepare(place)
    paths = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if path.name.startswith(tuple(numbers or "0"))]
    if not paths:
        sys.exit(f"No notebook in {NOTEBOOKS} starts with {' or '.join(numbers)}.")
    os.umask(0o022)  # students must be able to read what is released
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            target = Path(folder, "release", path.stem)
            target.mkdir(parents=True)
            shutil.copy(path, target)
            outcome = course(Path(folder), place / "exchange").release_assignment(path.stem)
            if not outcome["success"]:
                sys.exit(f"nbgrader could not release {path.stem}:\n{outcome.get('error') or outcome.get('log')}")
    return [path.stem for path in paths]


def collect(place: Path, folder: Path) -> list[str]:
    """Bring each student's newest hand-in of each notebook to folder/submitted/STUDENT/NOTEBOOK/; returns what was done.

    A hand-in belongs to who owns it, whatever its name says. It is read with its owner's rights, links are not
    followed, and only plain files come along.
    """
    said, newest = [], {}
    for path in sorted((place / "exchange" / COURSE_ID / "inbound").glob("*+*+*")):
        student, stem, when = path.name.split("+")[:3]
        try:
            owner = pwd.getpwuid(path.lstat().st_uid)
        except KeyError:
            owner = None
        if not path.name.isprintable():
            said.append(f"refused {plain_text(path.name)}: a name of odd letters")
        elif (
            path.is_symlink() or owner is None or owner.pw_name != student or not (NOTEBOOKS / f"{stem}.ipynb").exists()
        ):
            said.append(f"refused {path.name}: it belongs to {owner.pw_name if owner else 'nobody known'}")
        else:
            newest[student, stem] = max(newest.get((student, stem), ("",)), (when, path, owner))
    for (student, stem), (when, path, owner) in sorted(newest.items()):
        target = folder / "submitted" / student / stem
        if (target / "timestamp.txt").exists() and (target / "timestamp.txt").read_text().strip() == when:
            continue
        try:
            handed_in, content = when_changed(path), read_as(owner, path)
        except (OSError, tarfile.TarError) as problem:
            said.append(f"refused {path.name}: {problem}")
            continue
        (folder / "submitted").mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "submitted").chmod(0o700)  # nobody else's
        unfinished = folder / ".collecting"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        for name, data in {**content, "timestamp.txt": when.encode()}.items():
            (unfinished / name).write_bytes(data)
            os.utime(unfinished / name, (handed_in, handed_in))  # what `make grade` tells lateness by
        (folder / "feedback" / student / f"{stem}.html").unlink(missing_ok=True)  # it is of the hand-in before
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.rename(target)
        said.append(f"collected {student} {stem}")
    return said


def when_changed(path: Path) -> float:
    """When a folder, or anything right in it, was last changed, by the kernel's clock: its owner cannot set it back."""
    with os.scandir(path) as entries:
        return max([path.lstat().st_ctime, *[entry.stat(follow_symlinks=False).st_ctime for entry in entries]])


def read_as(owner: pwd.struct_passwd, path: Path) -> dict[str, bytes]:
    """{name: content} of the plain files right in a folder, read by a process of its owner's; links stay behind.

    Raises:
        OSError: it is larger than LARGEST, its owner may not read all of it, or that takes longer than PATIENCE.
    """
    rights = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": [], "cwd": "/"}
    command = ["tar", "-C", path, "-cf", "-", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **rights) as packing:
        timer = threading.Timer(PATIENCE, packing.kill)  # its owner may stop a process of theirs, and does not stop us
        timer.start()
        packed = packing.stdout.read(LARGEST + 1)
        if len(packed) > LARGEST:
            packing.kill()
        packing.wait()
        timer.cancel()
    if len(packed) > LARGEST:
        raise OSError(f"it is larger than {LARGEST >> 20} MB")
    if packing.returncode:
        raise OSError("not all of it can be read")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = [member for member in archive if member.isfile() and "/" not in member.name.removeprefix("./")]
        return {Path(member.name).name: archive.extractfile(member).read() for member in members}


def return_feedback(place: Path, folder: Path) -> list[str]:
    """Put what the last grading run wrote into the exchange, under a name that only its student can work out."""
    said, box = [], place / "exchange" / COURSE_ID / "feedback"
    box.mkdir(parents=True, exist_ok=True)
    box.chmod(0o711)  # a student may open what they know the name of, and list nothing
    for secret in sorted(folder.glob("submitted/*/*/submission_secret.txt")):
        student, stem = secret.parent.parent.name, secret.parent.name
        made = folder / "feedback" / student
        if stem not in checks.POINTS:  # 00 has no exercises
            continue
        if not (made / f"{stem}.html").exists():
            said.append(f"{student} {stem}: no feedback yet; run `make grade`")
            continue
        page = with_diagnosis((made / f"{stem}.html").read_text(), (made / "index.html").read_text(), stem)
        target = box / f"{notebook_hash(secret=secret.read_text(errors='replace'), notebook_id=stem)}.html"
        target.with_suffix(".part").write_text(page)
        target.with_suffix(".part").chmod(0o644)
        target.with_suffix(".part").replace(target)
        said.append(f"{student} {stem}: returned")
    return said


def with_diagnosis(notebook: str, index: str, stem: str) -> str:
    """nbgrader's page of a notebook, and at its top what the student's own page says of its exercises."""
    name, total = re.search("<h1>.*?</h1>", index)[0], re.search("<b>(.*?) points", index)[1]
    sections = re.findall("<section>.*?</section>", index, flags=re.S)
    told = {re.match(r"<section><h2[^>]*>(\w+):", section)[1]: section for section in sections}
    own = [told[exercise] for exercise in checks.POINTS[stem]]
    points = sum(float(re.search(r": ([\d.]+) of", section)[1]) for section in own)
    note = re.search("<p class=no>(.*?)</p>", index[: index.find("<section>")])
    more = beyond_missing(note[1]) if note else ""
    score = (
        f"<p><b>{points:g} of {sum(checks.POINTS[stem].values()):g} points</b> in this notebook, {total} in all.</p>"
    )
    style = '<section style="max-width:52rem;margin:1rem auto;padding:0 1rem">'
    box = "\n".join([style, name, score, f"<p class=no>{more}</p>" if more else "", *own])
    return re.sub(r"<body[^>]*>", lambda found: f"{found[0]}{box}</section>", notebook, count=1)


if __name__ == "__main__":
    main()
