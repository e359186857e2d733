"""The banks of answers: enough of them, and each is a notebook cell that stands alone."""

import pytest

from helpers import checks
from tests.banks import BANK, pasted, public_name, right_answers, source, wrong_answers


def test_every_exercise_has_eight_wrong_and_four_right_answers():
    assert set(BANK) == {exercise for exercises in checks.POINTS.values() for exercise in exercises}
    for exercise, answers in BANK.items():
        assert len(answers.wrong) >= 8 and len(answers.right) >= 4, exercise


def test_the_bank_holds_250_wrong_and_100_right_answers():
    assert len(wrong_answers()) >= 250 and len(right_answers()) >= 100


def test_at_least_85_percent_of_the_wrong_answers_have_a_known_mistake():
    known = [bool(BANK[exercise].wrong[name][1]) for exercise, name in wrong_answers()]
    assert sum(known) >= 0.85 * len(known)


@pytest.mark.parametrize("kind", ["lazy", "fitted", "calls the reference"])
def test_every_exercise_has_a_wrong_answer_of_each_kind(kind):
    for exercise, answers in BANK.items():
        assert any(name.startswith(kind) for name in answers.wrong), exercise


def test_no_name_is_both_wrong_and_right():
    assert not [exercise for exercise, answers in BANK.items() if answers.wrong.keys() & answers.right.keys()]


@pytest.mark.parametrize("exercise", BANK)
def test_every_answer_is_a_cell_that_defines_the_exercise(exercise):
    for name in [*BANK[exercise].wrong, *BANK[exercise].right]:
        assert pasted(exercise, name).__name__ == public_name(exercise), name


def test_a_cell_brings_what_it_needs_and_nothing_of_the_bank():
    text = source("two_views", "channels last")
    assert "def channels_last" in text and "def plain" in text and "import numpy as np" in text
    assert "tests.banks" not in text and "def reshaped" not in text
