"""The checks of 02 sort right answers from wrong ones, and name the mistake."""

import pytest

from helpers import checks, encoder
from tests.banks import BANK, diagnosis, right_answers, seeds_for, wrong_answers

EXERCISES = tuple(checks.POINTS["02_encoder"])


@pytest.mark.parametrize("exercise, name", right_answers(EXERCISES))
def test_a_right_answer_is_accepted_whatever_its_form(exercise, name):
    seeds = (0,) if exercise == "build_encoder" else (0, 1, 20)  # a deep network takes seconds
    assert diagnosis(exercise, BANK[exercise].answer(name), seeds) is None


@pytest.mark.parametrize("exercise, name", wrong_answers(EXERCISES))
def test_a_wrong_answer_is_refused_and_told_its_mistake(exercise, name):
    answer, words = BANK[exercise].wrong[name]
    told = diagnosis(exercise, answer, seeds_for(name))
    assert told is not None and words in told


@pytest.mark.parametrize("exercise", ("small_image_stem", "feature_map_sizes"))
def test_the_reference_passes_under_many_seeds(exercise):
    assert diagnosis(exercise, getattr(encoder, exercise), tuple(range(6))) is None


@pytest.mark.parametrize("exercise", ("small_image_stem", "feature_map_sizes"))
def test_every_message_of_these_checks_is_one_line(exercise):
    for answer, _ in BANK[exercise].wrong.values():
        assert "\n" not in diagnosis(exercise, answer)


def test_check_build_encoder_accepts_the_reference_for_any_seed():
    for seed in (1, 2):
        assert checks.check_build_encoder(encoder.build_encoder, seed=seed) is None
