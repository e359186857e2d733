"""The checks of 06 sort right answers from wrong ones, and name the mistake."""

import pytest
import torch

from helpers import checks, evaluation
from tests.banks import BANK, diagnosis, right_answers, seeds_for, wrong_answers

EXERCISES = tuple(checks.POINTS["06_evaluation"])
SEEDS = (0, 7)


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


def test_gradients_turned_off_for_good_are_noticed_where_the_answer_ran_before_and_turned_on_again():
    answer, words = BANK["extract_features"].wrong["gradients off from here on"]
    answer(torch.nn.Flatten(), torch.zeros(2, 3, 4, 4, dtype=torch.uint8), 2)  # the cell that shows what it does
    assert words in diagnosis("extract_features", answer, (0,)) and torch.is_grad_enabled()


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_reference_passes_with_every_seed(exercise):
    assert diagnosis(exercise, getattr(evaluation, exercise), tuple(range(20))) is None
