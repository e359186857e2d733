"""The clinic: what its runs had built in, what was recorded, and how an answer to it is judged."""

import itertools
import json
import re
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from grading import clinic as maker
from helpers import checks, clinic, data, losses, plots, shapes, training
from helpers.checks import NotYet
from helpers.checks import training as bank

RECORD = clinic.clinic_curves()
LETTERS = "ABCDEF"


def answer_with(**wrong) -> dict[str, str]:
    return clinic.clinic() | wrong


# what was recorded


def test_there_are_six_broken_runs_and_a_healthy_one_with_all_their_curves():
    assert sorted(RECORD["curves"]) == [*LETTERS, "healthy"]
    steps = len(RECORD["curves"]["healthy"]["loss"])
    for curves in RECORD["curves"].values():
        assert len(curves["loss"]) == len(curves["lr"]) == steps
        assert {len(curves[name]) for name in ("knn", "alignment", "uniformity", "std", "batch_norm")} == {
            1 + maker.RECIPE.epochs
        }


def test_the_record_says_how_it_was_made():
    assert RECORD["command"] == "python -m grading.clinic"
    assert {"seed", "versions", "machine", "date", "images", "batch_size", "temperature"} <= RECORD.keys()
    assert (RECORD["images"], RECORD["batch_size"]) == (maker.TRAINED, maker.RECIPE.batch_size)


def test_the_key_stands_nowhere_in_plain_text():
    text = clinic.CURVES.read_text(encoding="utf-8")
    assert not any(cause in text for cause in clinic.CAUSES)
    assert sorted(RECORD["key"]) == list(LETTERS)


def test_no_run_has_the_place_of_its_cause_in_the_list():
    answer = clinic.clinic()
    assert not any(answer[letter] == cause for letter, cause in zip(LETTERS, clinic.CAUSES, strict=True))


def test_the_healthy_run_learns_and_beats_every_broken_one_at_what_its_cause_spoils():
    curves = {cause: RECORD["curves"][letter] for letter, cause in clinic.clinic().items()}
    healthy = RECORD["curves"]["healthy"]
    assert healthy["loss"][-1] < healthy["loss"][0] - 0.3
    assert curves["detached denominator"]["std"][-1] < 0.3 * healthy["std"][-1]
    assert min(curves["the same view twice"]["loss"]) < min(healthy["loss"])
    assert curves["the same view twice"]["alignment"][-1] > healthy["alignment"][-1]
    chance = losses.chance_loss(RECORD["batch_size"])
    assert (
        max(abs(loss - chance) for loss in curves["temperature is the batch size"]["loss"]) <= 2 / RECORD["batch_size"]
    )


# the reference answer


def test_the_reference_answer_passes_the_check_as_a_dict_and_as_a_function():
    checks.check_clinic(clinic.clinic())
    checks.check_clinic(clinic.clinic)
    checks.check_clinic(training.clinic)
    checks.check_clinic({letter.lower(): cause for letter, cause in clinic.clinic().items()})


@pytest.mark.parametrize("shift", range(1, 6))
def test_the_rules_follow_the_curves_and_not_the_letters(tmp_path, shift):
    moved = dict(zip(LETTERS, LETTERS[shift:] + LETTERS[:shift], strict=True))
    curves = {moved.get(letter, letter): values for letter, values in RECORD["curves"].items()}
    (tmp_path / "clinic.json").write_text(json.dumps(RECORD | {"curves": curves}))
    found = clinic.clinic(tmp_path / "clinic.json")
    assert found == {moved[letter]: cause for letter, cause in clinic.clinic().items()}


@pytest.mark.parametrize("cause", clinic.CAUSES)
def test_each_symptom_alone_points_at_one_run_and_clearly(cause):
    letters = {cause: letter for letter, cause in clinic.clinic().items()}
    told = {letter: clinic.symptoms()[cause](RECORD["curves"][letter]) for letter in LETTERS}
    first, second = sorted(told, key=told.get, reverse=True)[:2]
    assert first == letters[cause]
    near, far = sorted((abs(told[first]), abs(told[second])))
    assert near < 0.5 * far


def test_every_panel_of_the_figure_is_a_curve_of_the_file():
    for curves in RECORD["curves"].values():
        assert set(plots.CLINIC_ROWS) == curves.keys()


# the check


def test_every_swap_of_two_causes_is_refused_with_the_number_that_are_right():
    right = clinic.clinic()
    for one, other in itertools.combinations(LETTERS, 2):
        with pytest.raises(NotYet, match=f"4 of 6 are right. Look at {one} again"):
            checks.check_clinic(right | {one: right[other], other: right[one]})


def test_what_to_look_at_never_names_a_cause():
    assert tuple(bank.LOOK) == clinic.CAUSES == training.CAUSES
    for look in bank.LOOK.values():
        assert not any(re.search(rf"\b{re.escape(cause)}\b", look) for cause in clinic.CAUSES)
        assert not re.search(r"shuffl|twice|detach|frozen|batch-norm|100|temperature", look)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "a NoneType; a dict"),
        ("ABCDEF", "a str; a dict"),
        (list(clinic.CAUSES), "a list; a dict"),
        (lambda: None, "returned nothing"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        ({}, "there is no cause for A, B, C, D, E, F yet"),
        (answer_with(B=""), "there is no cause for B yet"),
        (answer_with(C="bad luck"), "'bad luck'] is not one of the causes"),
        (answer_with(A=clinic.clinic()["B"]), "is named for more than one"),
        (dict.fromkeys(LETTERS, clinic.CAUSES[0]), "is named for more than one"),
        (answer_with(A=["x"]), "is not one of the causes"),
    ],
)
def test_an_answer_of_the_wrong_form_is_told_what_is_wanted(answer, words):
    with pytest.raises(NotYet, match=re.escape(words)):
        checks.check_clinic(answer)


# how the runs were broken


def test_a_detached_denominator_has_the_right_value_and_pulls_positives_only(generator):
    z_a, z_b = (torch.randn(6, 5, generator=generator, requires_grad=True) for _ in range(2))
    loss = maker.detached_denominator(z_a, z_b, 0.2)
    assert loss.item() == pytest.approx(losses.nt_xent(z_a, z_b, 0.2).item(), abs=1e-5)
    pull = -F.cosine_similarity(z_a, z_b).mean() / 0.2
    for ours, wanted in zip(torch.autograd.grad(loss, (z_a, z_b)), torch.autograd.grad(pull, (z_a, z_b)), strict=True):
        assert torch.allclose(ours, wanted, atol=1e-6)


def test_a_frozen_batch_norm_keeps_the_statistics_it_was_born_with():
    model = training.build_model(maker.RECIPE)
    model.train()
    maker.freeze_batch_norm(model)
    model(torch.rand(4, 3, 32, 32))
    assert model.encoder.bn1.running_mean.abs().max() == 0 and (model.encoder.bn1.running_var == 1).all()
    assert model.head.training


@pytest.fixture
def tiny(monkeypatch) -> data.ImageSet:
    """The command's settings, small enough for a test."""
    monkeypatch.setattr(maker, "RECIPE", replace(maker.RECIPE, epochs=2, batch_size=8, hidden_dim=8))
    for name, value in {"TRAINED": 32, "BANK": 20, "QUERIES": 10, "WATCHED": 8}.items():
        monkeypatch.setattr(maker, name, value)
    images, labels, _ = shapes.render(80, seed=0)
    return data.ImageSet(images, labels, tuple(shapes.CLASSES))


@pytest.mark.parametrize("cause", ["healthy", *clinic.CAUSES])
def test_every_run_records_all_its_curves_and_repeats_exactly(tiny, cause):
    curves = maker.train(cause, tiny)
    assert [len(curves[name]) for name in ("loss", "lr", "knn", "alignment", "uniformity", "std", "batch_norm")] == [
        8,
        8,
    ] + 5 * [3]
    assert curves == maker.train(cause, tiny)


def test_all_runs_start_from_the_same_weights(tiny):
    runs = [maker.train(cause, tiny) for cause in ("healthy", clinic.CAUSES[0], clinic.CAUSES[5])]
    for name in ("knn", "alignment", "uniformity", "std"):
        assert len({run[name][0] for run in runs}) == 1
