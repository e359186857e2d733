"""Wrong answers that look right: loops with a setting of their own, and mistakes that give a plausible number."""

import contextlib
import functools
import random
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from helpers import checks, losses, training
from helpers.checks import NotYet
from helpers.losses import nt_xent

SEEDS = (0, 1, 7)


def loop(optimizer=torch.optim.AdamW, decay=None, tau=None, whole=round, luck="one", **settings):
    """The course's own loop without its checkpoints, with one setting changed."""

    def pretrain(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
        given = {"weight_decay": recipe.weight_decay} if decay is None else decay
        made = optimizer(model.parameters(), lr=recipe.base_lr, **given, **settings)
        generator, steps = torch.Generator().manual_seed(recipe.seed), len(images) // recipe.batch_size
        history, total = {"loss": [], "lr": [], "epochs": []}, recipe.epochs * steps
        for epoch in range(recipe.epochs):
            for rows in torch.randperm(len(images), generator=generator).split(recipe.batch_size)[:steps]:
                step = len(history["loss"])
                lr = training.warmup_cosine(step, total, whole(recipe.warmup_fraction * total), recipe.base_lr)
                made.param_groups[0]["lr"] = lr
                fresh = torch.Generator().manual_seed(recipe.seed)
                x_a, x_b = two_views(images[rows], fresh if luck == "fresh" else generator)
                loss = training.train_step(model, made, x_a, x_b, tau or recipe.temperature)
                history["loss"].append(loss), history["lr"].append(lr)
                if on_step:
                    on_step(step, total, loss)
            history["epochs"].append({"epoch": epoch + 1} | (monitor(model) if monitor else {}))
        return history

    return pretrain


WRONG = {
    "temperature 0.5": (loop(tau=0.5), "0.5 is used, whatever recipe.temperature says"),
    "temperature 0.2": (loop(tau=0.2), "0.2 is used, whatever recipe.temperature says"),
    "weight decay left out": (loop(decay={}), "weight_decay is 0.01; recipe.weight_decay is 0.03"),
    "Adam": (loop(torch.optim.Adam), "the optimizer is Adam; torch.optim.AdamW is wanted"),
    "SGD": (loop(torch.optim.SGD), "the optimizer is SGD"),
    "a generator for every batch": (loop(luck="fresh"), "two batches got views from the same random numbers"),
    "warm-up cut off": (loop(whole=int), "warmup_steps was cut off; round it"),
}


def drawn() -> list:
    """The next numbers of every random state that a check seeds."""
    return [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()]


@pytest.mark.parametrize("answer", [losses.chance_loss, lambda n: 0.0], ids=["right", "wrong"])
def test_a_check_gives_all_random_states_back(answer):
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    wanted = drawn()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    with contextlib.suppress(NotYet):
        checks.check_chance_loss(answer)
    assert drawn() == wanted


@pytest.mark.parametrize(("answer", "words"), WRONG.values(), ids=WRONG)
def test_a_loop_with_a_setting_of_its_own_is_told_which(answer, words):
    for seed in SEEDS:
        with pytest.raises(NotYet, match=re.escape(words)):
            checks.check_pretrain(answer, seed=seed)


@pytest.mark.parametrize("answer", [loop(), loop(torch.optim.Adam, decoupled_weight_decay=True)])
def test_the_loop_they_are_made_from_lacks_only_its_checkpoints(answer):
    with pytest.raises(NotYet, match="left no checkpoint file"):
        checks.check_pretrain(answer)


def is_told(check, answer, words: str) -> None:
    for seed in SEEDS:
        with pytest.raises(NotYet, match=re.escape(words)):
            check(answer, seed=seed)


def step_of(embeddings):
    def train_step(model, optimizer, x_a, x_b, temperature):
        model.train()
        loss = nt_xent(*embeddings(model, x_a, x_b), temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return train_step


def every_other_row(model, x_a, x_b):
    _, z = model(torch.cat([x_a, x_b]))
    return z[::2], z[1::2]


def test_a_step_that_takes_every_other_row_is_told_that_the_rows_do_not_match():
    is_told(checks.check_train_step, step_of(every_other_row), "row i of z_a and z_b are not the same image")


@pytest.mark.parametrize(
    "embeddings",
    [lambda model, x_a, x_b: (model(x_a), model(x_b)), lambda model, x_a, x_b: model(torch.cat([x_a, x_b])).chunk(2)],
)
def test_a_step_that_takes_the_pair_for_z_is_told_to_unpack_it(embeddings):
    is_told(checks.check_train_step, step_of(embeddings), "The model returns two things, h and z: unpack them")


def knn_by(similarity, shift=True):
    def knn_accuracy(bank_h, bank_y, query_h, query_y, k=20, temperature=0.1):
        values, where = similarity(query_h, bank_h).topk(k, dim=1)
        votes = torch.zeros(len(query_h), int(bank_y.max()) + 1)
        votes.scatter_add_(1, bank_y[where], ((values - shift * values[:, :1]) / temperature).exp())
        return (votes.argmax(dim=1) == query_y).float().mean().item()

    return knn_accuracy


def distance_on_the_sphere(query, bank):
    return -torch.cdist(F.normalize(query, dim=1), F.normalize(bank, dim=1))


def test_neighbours_by_distance_are_told_to_use_the_cosine():
    for shift in (True, False):
        by_distance = knn_by(lambda query, bank: -torch.cdist(query, bank), shift)
        is_told(checks.check_knn_accuracy, by_distance, "picked and weighed by Euclidean distance")
    is_told(checks.check_knn_accuracy, knn_by(distance_on_the_sphere), "weighs the distance of the normalised rows")


def test_alignment_over_all_pairs_is_told_which_pairs_count():
    def alignment(z_a, z_b):
        return torch.cdist(F.normalize(z_a, dim=1), F.normalize(z_b, dim=1)).square().mean()

    is_told(checks.check_alignment, alignment, "only row i with row i is a pair")


def test_a_probe_on_rows_of_length_one_is_refused():
    def linear_probe(train_h, train_y, test_h, test_y):
        train_h, test_h = F.normalize(train_h, dim=1).numpy(), F.normalize(test_h, dim=1).numpy()
        scaler = StandardScaler().fit(train_h)
        classifier = LogisticRegression(max_iter=1000, tol=1e-3).fit(scaler.transform(train_h), train_y.numpy())
        return classifier.score(scaler.transform(test_h), test_y.numpy())

    is_told(checks.check_linear_probe, linear_probe, "Rows brought to length 1 lose it")


# Whatever goes wrong in a graded cell ends in one line.


def warmup_cosine(step, total_steps, warmup_steps, base_lr):
    print(base_lr)


@pytest.mark.parametrize("test", [lambda: abs(warmup_cosine(0, 9, 1, 1.0) - 1), lambda: warmup_cosine(0, 9, 1, 1.0)[0]])
def test_the_check_speaks_where_a_cell_cannot_even_ask(test):
    with pytest.raises(NotYet, match="returned nothing") as told:
        with checks.explained(warmup_cosine):
            test()
    assert told.value.__suppress_context__ and len(told.value._render_traceback_()) == 1


def test_where_the_check_has_no_words_the_assert_or_the_error_is_told():
    with pytest.raises(NotYet, match="^half the rate$"):
        with checks.explained(training.warmup_cosine):
            raise AssertionError("half the rate")
    with pytest.raises(NotYet, match="^`warmup_cosine` stopped with ValueError: five"):
        with checks.explained(training.warmup_cosine):
            raise ValueError("five")
    with checks.explained(training.warmup_cosine):
        assert training.warmup_cosine(0, 9, 0, 1.0) == 1


def test_the_message_of_an_assert_is_one_line_too():
    with pytest.raises(NotYet, match="returned nothing"):
        raise AssertionError(checks.why(warmup_cosine, "otherwise"))
    with pytest.raises(NotYet, match="^otherwise$"):
        raise AssertionError(checks.why(training.warmup_cosine, "otherwise"))


def test_a_figure_that_was_begun_and_not_shown_is_closed(capsys):
    def demonstration():
        plt.subplots()
        return 1 / 0

    checks.try_it(demonstration)
    assert not plt.get_fignums() and "Nothing to show yet" in capsys.readouterr().out


def test_an_answer_without_a_name_of_its_own_is_told_its_mistake_too():
    for answer in (lambda n: 3.0, functools.partial(max, 3.0)):
        with pytest.raises(checks.NotYet, match="three"):
            with checks.explained(answer):
                assert answer(1) != 3.0, "It is three."
