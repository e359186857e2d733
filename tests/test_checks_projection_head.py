"""The checks of 03 sort right answers from wrong ones, and name the mistake."""

import pytest

from helpers import checks, projection_head
from tests.banks import BANK, diagnosis, right_answers, seeds_for, wrong_answers

EXERCISES = tuple(checks.POINTS["03_projection_head"])


@pytest.mark.parametrize("seed", (0, 1, 20))
@pytest.mark.parametrize("exercise, name", right_answers(EXERCISES))
def test_a_right_answer_is_accepted_whatever_its_form(exercise, name, seed):
    assert diagnosis(exercise, BANK[exercise].answer(name), (seed,)) is None


@pytest.mark.parametrize("exercise, name", wrong_answers(EXERCISES))
def test_a_wrong_answer_is_refused_and_told_its_mistake(exercise, name):
    answer, words = BANK[exercise].wrong[name]
    for seeds in [seeds_for(name)] if name.startswith("fitted") else ((0,), (1,)):
        told = diagnosis(exercise, answer, seeds)
        assert told is not None and words in told


def test_right_answers_pass_under_many_seeds():
    for seed in range(100, 160):
        checks.check_projection_head(projection_head.ProjectionHead, seed=seed)
        checks.check_simclr(projection_head.SimCLR, seed=seed)
        checks.check_linear_classifier(projection_head.linear_classifier, seed=seed)
