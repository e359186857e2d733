"""The checks of 01 sort right answers from wrong ones, and name the mistake."""

import pytest
import torch

from grading import judge
from grading.build import SOURCE, instructor_notebook
from helpers import augmentation, checks
from helpers.checks.augmentation import plausible
from tests.banks import BANK, diagnosis, public_name, right_answers, seeds_for, wrong_answers
from tests.banks.augmentation import torchvision_transform

EXERCISES = tuple(checks.POINTS["01_augmentation"])


@pytest.mark.parametrize("exercise, name", right_answers(EXERCISES))
def test_a_right_answer_is_accepted_whatever_its_form(exercise, name):
    assert diagnosis(exercise, BANK[exercise].answer(name), (11,)) is None


@pytest.mark.parametrize("exercise, name", wrong_answers(EXERCISES))
def test_a_wrong_answer_is_refused_and_told_its_mistake(exercise, name):
    answer, words = BANK[exercise].wrong[name]
    told = diagnosis(exercise, answer, seeds_for(name))
    assert told is not None and words in told


@pytest.mark.parametrize("name", BANK["simclr_transform"].right)
def test_the_hidden_cell_accepts_a_right_transform_at_every_draw(name):
    notebook = instructor_notebook(SOURCE / "01_augmentation.py")
    exercise = next(each for each in judge.exercises("01_augmentation", notebook) if each.name == "simclr_transform")
    own_lines = exercise.hidden.split("checks.check_")[0]  # the check behind them has tests of its own
    surroundings = judge.surroundings(exercise) | {"simclr_transform": BANK["simclr_transform"].answer(name)}
    for seed in range(40):
        torch.manual_seed(seed)
        assert judge.passes(lambda: exec(own_lines, surroundings)) is None, seed


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_reference_passes(exercise):
    assert diagnosis(exercise, getattr(augmentation, public_name(exercise)), (11, 12)) is None


@pytest.mark.parametrize("draws, chance", [(200, 0.5), (480, 0.2), (240, 0.16)])
def test_plausible_rejects_a_right_answer_less_than_once_in_a_million_runs(draws, chance):
    counts = torch.arange(draws + 1, dtype=torch.float64)
    mass = torch.distributions.Binomial(draws, torch.tensor(chance, dtype=torch.float64)).log_prob(counts).exp()
    rejected = torch.tensor([not plausible(count, draws, chance) for count in range(draws + 1)])
    assert 0 < mass[rejected].sum() < 1e-6


@pytest.mark.parametrize("seed", (20, 21))
def test_no_check_depends_on_the_random_stream(seed):
    checks.check_color_distortion(augmentation.color_distortion, seed=seed)
    checks.check_simclr_transform(torchvision_transform(), seed=seed)
