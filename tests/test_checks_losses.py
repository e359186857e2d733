"""The checks of 04 sort right answers from wrong ones, and name the mistake."""

import math

import pytest
import torch
import torch.nn.functional as F

from helpers import losses
from helpers.checks import POINTS, NotYet
from helpers.checks import losses as checks
from tests.banks import BANK, diagnosis, right_answers, seeds_for, wrong_answers
from tests.banks.losses import broadcast_to_n_by_n_by_d, clip_in_one_direction

EXERCISES = tuple(POINTS["04_contrastive_loss"])


@pytest.mark.parametrize("seed", (0, 1))
@pytest.mark.parametrize("exercise, name", right_answers(EXERCISES))
def test_a_right_answer_is_accepted_whatever_its_form(exercise, name, seed):
    assert diagnosis(exercise, BANK[exercise].answer(name), (seed,)) is None


@pytest.mark.parametrize("exercise, name", wrong_answers(EXERCISES))
def test_a_wrong_answer_is_refused_and_told_its_mistake(exercise, name):
    answer, words = BANK[exercise].wrong[name]
    told = diagnosis(exercise, answer, seeds_for(name))
    assert told is not None and words in told


@pytest.mark.parametrize("name", [name for name in BANK["nt_xent"].wrong if not name.startswith("fitted")])
def test_the_diagnosis_of_nt_xent_is_the_same_on_other_draws(name):
    answer, words = BANK["nt_xent"].wrong[name]
    assert words in diagnosis("nt_xent", answer, (41,))


def test_two_mistakes_at_once_are_both_told():
    told = diagnosis("nt_xent", clip_in_one_direction)
    assert "negatives come from the other view only" in told and "only N anchors" in told


def test_a_wrong_pairing_is_shown_as_it_is():
    answer, _ = BANK["positive_index"].wrong["pairs (2i, 2i + 1)"]
    assert "gave [1, 0, 3, 2," in diagnosis("positive_index", answer)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_reference_passes_under_many_seeds(exercise):
    assert diagnosis(exercise, getattr(losses, exercise), tuple(range(10, 16))) is None


@pytest.mark.parametrize("labels", [None, torch.tensor([4, 4, 9, 4, 1])])
def test_the_slow_loss_has_the_gradient_that_finite_differences_give(labels):
    z = torch.randn(10, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: checks.slow_loss(z[:5], z[5:], 0.5, labels), z)


@pytest.mark.parametrize("labels", [None, torch.tensor([4, 4, 9, 4, 1])])
def test_the_loss_without_mistakes_is_the_slow_loss(labels):
    z_a, z_b = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert torch.isclose(checks.loss_with(z_a, z_b, 0.3, labels), checks.slow_loss(z_a, z_b, 0.3, labels), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("labelled", [False, True])
def test_no_two_mistakes_give_the_same_value(seed, labelled):
    """So that the sentence told is that of the mistake made. Mistakes told in the same words may agree."""
    z_a, z_b, labels = checks.draw(torch.Generator().manual_seed(seed), 5, labelled)
    known = checks.LABELLING + checks.MISTAKES if labelled else checks.MISTAKES + checks.PAIRING
    values = [(sentence, checks.loss_with(z_a, z_b, 0.37, labels, **options).item()) for sentence, options in known]
    values.append(("nothing", checks.slow_loss(z_a, z_b, 0.37, labels).item()))
    for index, (sentence, value) in enumerate(values):
        for other, another in values[index + 1 :]:
            assert sentence == other or not math.isclose(value, another, rel_tol=1e-6), f"{sentence}\n{other}"


def test_an_endless_matrix_of_cosines_passes_as_cosine_similarities_but_not_inside_the_loss():
    """Only the losses promise to stay within 2N times 2N."""
    checks.check_cosine_similarities(lambda z: F.cosine_similarity(z[:, None], z[None], dim=2))
    with pytest.raises(NotYet, match="one entry for every pair"):
        checks.check_nt_xent(broadcast_to_n_by_n_by_d)
