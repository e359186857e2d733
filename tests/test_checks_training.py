"""The checks of 05 sort right answers from wrong ones, and name the mistake."""

import pytest

from helpers import checks, training
from tests.banks import BANK, diagnosis, right_answers, seeds_for, wrong_answers

EXERCISES = tuple(checks.POINTS["05_training"])
SEEDS = (0, 1, 7)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("exercise, name", right_answers(EXERCISES))
def test_a_right_answer_is_accepted_whatever_its_form(exercise, name, seed):
    assert diagnosis(exercise, BANK[exercise].answer(name), (seed,)) is None


@pytest.mark.parametrize("exercise, name", wrong_answers(EXERCISES))
def test_a_wrong_answer_is_refused_and_told_its_mistake(exercise, name):
    answer, words = BANK[exercise].wrong[name]
    for seeds in [seeds_for(name)] if name.startswith("fitted") else [(seed,) for seed in SEEDS]:
        told = diagnosis(exercise, answer, seeds)
        assert told is not None and words in told


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_reference_passes(exercise):
    assert diagnosis(exercise, getattr(training, exercise), SEEDS) is None


def test_later_losses_do_not_make_up_for_a_fixed_temperature():
    """At one temperature alone the loss of another may come close."""
    answer, words = BANK["pretrain"].wrong["fitted to temperature 0.5"]
    for seed in range(6):
        assert words in diagnosis("pretrain", answer, (seed,))
