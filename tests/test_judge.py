"""The judge where the machine fails: a sandbox that does not start, a process that is ended, limits a system lacks."""

import contextlib
import importlib
import socket
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from grading import grade, judge
from grading.build import SOURCE, instructor_notebook
from grading.sandbox import start, wire

STEM = "04_contrastive_loss"
RIGHT = "import math\n\n\ndef chance_loss(n):\n    return math.log(2 * n - 1)"


def exercise(name: str) -> judge.Exercise:
    return next(each for each in judge.exercises(STEM, instructor_notebook(SOURCE / f"{STEM}.py")) if each.name == name)


@pytest.fixture
def judging():
    """A judge of this machine's kind; what it starts ends with the test."""
    one = judge.Judge("secret", bare=not start.works())
    yield one
    one.close()


@pytest.fixture
def bare():
    """A judge whose answers see this machine's files, where one try can leave word for the next."""
    one = judge.Judge("secret", bare=True)
    yield one
    one.close()


def said(one: judge.Judge, answer: str) -> dict[str, str | None]:
    return one.judge(exercise("chance_loss"), [], {"chance_loss": answer})


def count_opens(monkeypatch, fail: int = 0) -> list:
    """One entry for every time that a sandbox is given an exercise; the first few times it does not take it."""
    opens, true = [], start.Sandbox.open

    def open_or_fail(self, *given, **settings):
        opens.append(self)
        if len(opens) <= fail:
            raise BrokenPipeError("the line broke")
        return true(self, *given, **settings)

    monkeypatch.setattr(start.Sandbox, "open", open_or_fail)
    return opens


def test_a_sandbox_that_does_not_take_an_exercise_is_replaced(judging, monkeypatch):
    opens = count_opens(monkeypatch, fail=1)
    assert said(judging, RIGHT) == {"check": None, "hidden": None}
    assert len(opens) == len(set(map(id, opens))) == 2


def test_where_no_sandbox_takes_an_exercise_the_answer_is_not_called_wrong(judging, monkeypatch):
    count_opens(monkeypatch, fail=2)
    with pytest.raises(OSError, match="the line broke"):
        said(judging, RIGHT)


def test_an_answer_whose_process_was_ended_once_gets_its_points(bare, tmp_path):
    flag = tmp_path / "was here"
    dies_once = f"""import math, os


def chance_loss(n):
    if not os.path.exists({str(flag)!r}):
        open({str(flag)!r}, "w").close()
        os.kill(os.getpid(), 9)
    return math.log(2 * n - 1)"""
    assert said(bare, dies_once) == {"check": None, "hidden": None}
    assert flag.exists() and bare.stopped == 0


def test_an_answer_that_ends_its_process_is_stopped_after_a_second_try(judging, monkeypatch):
    opens = count_opens(monkeypatch)
    stopped = "it was stopped: the process ended."
    assert said(judging, "import os\n\n\ndef chance_loss(n):\n    os._exit(0)") == {"check": stopped, "hidden": stopped}
    assert len(opens) == 2 and judging.stopped == 1


def test_an_answer_that_computes_for_ever_is_stopped_and_told_so(judging, monkeypatch):
    monkeypatch.setattr(judge, "COMPUTING", 1)
    told = said(judging, "def chance_loss(n):\n    while True:\n        pass")
    assert told["check"] == f"it was stopped: {start.LATE}."


def test_second_tries_have_an_end(judging, monkeypatch):
    judging.stopped, opens = judge.PATIENCE, count_opens(monkeypatch)
    assert "it was stopped" in said(judging, "import os\n\n\ndef chance_loss(n):\n    os._exit(0)")["check"]
    assert len(opens) == 1


def test_what_was_counted_during_one_exercise_does_not_end_the_next(judging, monkeypatch):
    counting, over, true = threading.Event(), threading.Event(), start.taken

    def slow(pid):
        if threading.current_thread() is threading.main_thread() or over.is_set():
            return true(pid)
        counting.set()
        over.wait(60)
        return start.MEMORY + 1, 1, 0.0

    def first(*_):
        monkeypatch.setattr(start, "taken", slow)
        assert counting.wait(60)
        return {}

    def second(*_):
        over.set()
        time.sleep(1)
        return {}

    for way in (first, second):
        assert judging.ask(exercise("chance_loss"), [], {"chance_loss": RIGHT}, way, inside=False) == {}
    assert judging.sandbox is not None and not judging.sandbox.killed


def test_a_line_that_nobody_reads_breaks_because_time_is_up():
    here, there = socket.socketpair()
    with here, there, pytest.raises(wire.Broken, match=wire.TIME_IS_UP):
        wire.Peer(here, 0.2).send({"text": "x" * 10**7})


def test_two_answers_in_one_cell_are_both_right(judging):
    both = (
        f"{RIGHT}\n\n\ndef positive_index(n):\n    assert chance_loss(n) >= 0\n    return torch.arange(2 * n).roll(n)"
    )
    answers = dict.fromkeys(("chance_loss", "positive_index"), both)
    for name in answers:
        assert judging.judge(exercise(name), [], answers) == {"check": None, "hidden": None}


def test_who_makes_the_grader_itself_die_twice_is_marked_and_all_others_are_graded(tmp_path, monkeypatch):
    rounds = []

    class Pool:
        def submit(self, task, folder, name, *rest):
            done = Future()
            if name == "ada":
                grade.begun(folder, name).touch()
                done.set_exception(BrokenProcessPool("a process ended"))
            else:
                grade.keep(folder / ".work", name, {"row": {"note": ""}})
                done.set_result(None)
            rounds[-1].append(name)
            return done

    @contextlib.contextmanager
    def workers(count, *arguments):
        rounds.append([])
        yield Pool()

    monkeypatch.setattr(grade, "workers", workers)
    for part in ("graded", "tmp"):
        (tmp_path / ".work" / part).mkdir(parents=True)
    grade.grade_all(tmp_path, dict.fromkeys(("ada", "ben"), tmp_path), "", 2, None, ())
    notes = {name: grade.recorded(tmp_path / ".work", name)["row"]["note"] for name in ("ada", "ben")}
    assert rounds == [["ada", "ben"], ["ada"]]
    assert "the grader itself died over it" in notes["ada"] and notes["ben"] == ""


@pytest.mark.parametrize(
    ("cores", "gib", "jobs"), [(8, 64, 8), (8, 7.5, 2), (2, 64, 2), (8, 1, 1), (1, 0, 1)]
)  # fmt: skip
def test_as_many_are_graded_at_a_time_as_cores_and_memory_carry(cores, gib, jobs):
    assert grade.at_a_time(cores, int(gib * 2**30)) == jobs


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.setenv("TWO_VIEWS_COURSE", "/course")
    return importlib.import_module("grading.sandbox.worker")


def refuse(*_):
    raise ValueError("current limit exceeds maximum limit")


def test_without_a_sandbox_macos_goes_on_without_the_limits_it_lacks(worker, monkeypatch):
    monkeypatch.setattr(worker.resource, "setrlimit", refuse)
    monkeypatch.setattr(worker.sys, "platform", "darwin")
    assert worker.limit("RLIMIT_AS", 2**30, sandboxed=False) is None


@pytest.mark.parametrize(("platform", "sandboxed"), [("linux", False), ("linux", True), ("darwin", True)])
def test_elsewhere_nothing_runs_without_its_limits(worker, monkeypatch, platform, sandboxed):
    monkeypatch.setattr(worker.resource, "setrlimit", refuse)
    monkeypatch.setattr(worker.sys, "platform", platform)
    with pytest.raises(ValueError, match="maximum limit"):
        worker.limit("RLIMIT_AS", 2**30, sandboxed=sandboxed)


def test_only_linux_is_asked_to_hide_a_process(worker, monkeypatch):
    monkeypatch.setattr(worker.ctypes, "CDLL", lambda _: object())  # a library without prctl
    monkeypatch.setattr(worker.sys, "platform", "darwin")
    assert worker.hide() is None
