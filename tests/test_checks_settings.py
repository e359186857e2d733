"""check_pretrain looks at every setting of the recipe: a loop with one of them fixed is told which."""

import re

import pytest
import torch

from helpers import checks, training
from helpers.checks import NotYet

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


@pytest.mark.parametrize(("answer", "words"), WRONG.values(), ids=WRONG)
def test_a_loop_with_a_setting_of_its_own_is_told_which(answer, words):
    for seed in SEEDS:
        with pytest.raises(NotYet, match=re.escape(words)):
            checks.check_pretrain(answer, seed=seed)


@pytest.mark.parametrize("answer", [loop(), loop(torch.optim.Adam, decoupled_weight_decay=True)])
def test_the_loop_they_are_made_from_lacks_only_its_checkpoints(answer):
    with pytest.raises(NotYet, match="left no checkpoint file"):
        checks.check_pretrain(answer)
