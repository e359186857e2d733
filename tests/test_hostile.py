"""The fastest of the hostile submissions, through the real command in one class; `make hostile` runs them all."""

import os
import subprocess

import pytest

from grading import hostile
from grading.sandbox import start

FAST = (
    "exit", "kill_the_parent", "write_outside", "look_into_processes", "patched_torch", "frames", "raw_depth", "lying_number",
    "memorised", "tests_edited", "modules_shipped", "links", "half_letters", "name_bytes", "honest_own_cells", "honest_own_tables",
    "honest_noise", "honest_jupyter", "honest_second_try", "loot_locked_away", "reference_by_its_base", "reference_of_another_module",
)  # fmt: skip


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


def test_the_case_names_are_unique():
    names = [case.name for case in hostile.CASES]
    assert len(names) == len(set(names)) > 45
