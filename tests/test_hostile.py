"""The fastest of the hostile submissions, through the real command in one class; `make hostile` runs them all."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from data.record import RESULTS
from grading import hostile, judge
from grading.build import SOURCE, instructor_notebook
from grading.sandbox import start

FAST = (
    "exit", "kill_the_parent", "memory_bomb_of_an_odd_name", "write_outside", "look_into_processes", "patched_torch", "frames", "raw_depth", "lying_number",
    "memorised", "tests_edited", "modules_shipped", "links", "half_letters", "name_bytes", "honest_own_cells", "honest_own_tables",
    "honest_noise", "honest_jupyter", "honest_second_try", "loot_locked_away", "reference_by_its_base", "reference_of_another_module",
    "network", "new_namespaces", "inputs_to_zero", "labels_to_zero",
)  # fmt: skip


def exercise(name: str) -> judge.Exercise:
    """Of notebook 04."""
    stem = "04_contrastive_loss"
    return next(each for each in judge.exercises(stem, instructor_notebook(SOURCE / f"{stem}.py")) if each.name == name)


@pytest.fixture(scope="module")
def attacked():
    if not start.works():
        pytest.skip("bubblewrap does not work here")
    return hostile.run_cases([case for case in hostile.CASES if case.name in FAST])


@pytest.mark.notebook
@pytest.mark.parametrize("name", FAST)
def test_nobody_gets_more_or_less_than_the_answers_are_worth(attacked, name):
    case = next(case for case in attacked["cases"] if case["name"] == name)
    assert case["got"] == case["expected"], case["note"]
    assert not case["touched_outside"]


@pytest.mark.notebook
def test_the_whole_class_is_graded_and_nothing_else_is_touched(attacked):
    assert attacked["batch_finished"] and attacked["one_row_each"]
    assert not attacked["touched_outside"]


@pytest.mark.notebook
def test_grades_do_not_depend_on_the_umask_of_who_grades():
    if not start.works():
        pytest.skip("bubblewrap does not work here")
    before = os.umask(0o077)
    try:
        found = hostile.run_cases([case for case in hostile.CASES if case.name == "honest_own_cells"])
    finally:
        os.umask(before)
    [case] = found["cases"]
    assert case["got"] == case["expected"], case["note"]


def test_the_watch_counts_on_while_processes_end_under_its_eyes():
    many = subprocess.Popen(["bash", "-c", "for i in $(seq 1500); do /bin/true & /bin/true; done; wait"])
    counts = []
    while many.poll() is None:
        counts.append(start.taken(many.pid)[1])
    assert many.returncode == 0 and max(counts) > 0


RENAMED = """import ctypes, sys, time
ctypes.CDLL(None).prctl(15, b"\\xff\\xfe")  # PR_SET_NAME
print("renamed", flush=True)
time.sleep(60)"""


@pytest.mark.skipif(sys.platform != "linux", reason="names are changed in Linux's way")
def test_a_process_with_an_odd_name_is_counted_like_any_other():
    # the shell has this process below it, and no other
    line = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, RENAMED]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout.readline() == "renamed\n"
        held, count, _ = start.taken(shell.pid)
        for renamed in psutil.Process(shell.pid).children():
            renamed.kill()
    assert count == 1 and held > 2**20


@pytest.mark.skipif(not start.works(), reason="bubblewrap does not work here")
def test_a_sandbox_that_cannot_be_watched_is_ended(monkeypatch):
    def taken(pid):
        raise UnicodeDecodeError("utf-8", b"", 0, 1, "odd")

    sandbox = start.Sandbox(judge.sources(False), judge.clinic(False))
    try:
        monkeypatch.setattr(start, "taken", taken)
        sandbox.process.wait(timeout=30)
        assert "could not be watched" in sandbox.killed
    finally:
        sandbox.close()


@pytest.mark.skipif(not start.works(), reason="bubblewrap does not work here")
def test_a_course_among_the_systems_files_is_closed_to_answers(monkeypatch):
    monkeypatch.setattr(start, "ROOT", Path("/usr"))
    monkeypatch.setattr(start, "CLOSED", ("share",))
    listed = subprocess.run([*start.bubblewrap(None), "ls", "/usr/share"], capture_output=True, text=True)
    assert listed.returncode == 0 and listed.stdout == "" and any(Path("/usr/share").iterdir())


def test_what_can_be_seen_is_below_the_system_and_python():
    assert start.can_be_seen(Path("/usr/src/app")) and start.can_be_seen(Path(sys.prefix) / "x")
    assert not start.can_be_seen(Path("/srv/class"))


def test_a_sandbox_that_stops_working_on_the_way_lets_nothing_run_bare(monkeypatch, tmp_path):
    (tmp_path / "bwrap").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    start.works.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="nothing runs without it"):
            judge.Judge("secret").ask(exercise("chance_loss"), [], {"chance_loss": ""}, None, inside=False)
    finally:
        start.works.cache_clear()


def test_without_a_sandbox_what_an_answer_has_started_ends_with_it():
    sandbox = start.Sandbox.__new__(start.Sandbox)
    sandbox.bare = True
    forks = "import os, time; os.fork() or os.setsid(); os.write(1, b'%d\\n' % os.getpid()); time.sleep(60)"
    sandbox.process = subprocess.Popen([sys.executable, "-c", forks], stdout=subprocess.PIPE, text=True)
    numbers = {int(sandbox.process.stdout.readline()) for _ in range(2)}
    sandbox.kill()
    sandbox.process.stdout.close()
    deadline = time.monotonic() + 60
    while any(map(alive, numbers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, numbers))


def alive(pid: int) -> bool:
    """Does it still run? Whose parent is gone may stay as a zombie for a while."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_results_file_is_of_the_cases_as_they_are():
    measured = json.loads((RESULTS / "hostile.json").read_text(encoding="utf-8"))["cases"]
    assert sorted(case["name"] for case in measured) == sorted(case.name for case in hostile.CASES)


def test_the_case_names_are_unique():
    names = [case.name for case in hostile.CASES]
    assert len(names) == len(set(names)) > 45
