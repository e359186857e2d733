"""The bank of answers to notebook 05: right ones written in several ways pass, wrong ones are told their mistake."""

import copy
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from helpers import checkpoints, checks, training
from helpers.checks import NotYet
from helpers.losses import nt_xent

SEEDS = (0, 1, 7)


def passes(check, answer):
    for seed in SEEDS:
        check(answer, seed=seed)


def is_told(check, answer, words: str) -> None:
    """The check refuses the answer, with these words, whatever the seed."""
    for seed in SEEDS:
        with pytest.raises(NotYet, match=re.escape(words)):
            check(answer, seed=seed)


# warmup_cosine: right ------------------------------------------------------------------------------------------------


def schedule_in_numpy(s, t, w, b):
    return np.float64(b * (s + 1) / w if s < w else b / 2 * (1 + np.cos(np.pi * (s - w) / (t - w))))


def schedule_as_tensor(step, total_steps, warmup_steps, base_lr):
    if warmup_steps and step + 1 <= warmup_steps:
        return torch.tensor(base_lr) * (step + 1) / warmup_steps
    return (
        torch.tensor(base_lr)
        * torch.cos(torch.tensor(math.pi / 2 * (step - warmup_steps) / (total_steps - warmup_steps))) ** 2
    )


def schedule_as_minimum(step, total_steps, warmup_steps, base_lr):
    rising = (step + 1) / max(1, warmup_steps)
    falling = 0.5 * (1 + math.cos(math.pi * max(0, step - warmup_steps) / (total_steps - warmup_steps)))
    return base_lr * min(1, rising) * falling


@pytest.mark.parametrize("answer", [training.warmup_cosine, schedule_in_numpy, schedule_as_tensor, schedule_as_minimum])
def test_right_schedules_pass(answer):
    passes(checks.check_warmup_cosine, answer)


# warmup_cosine: wrong ------------------------------------------------------------------------------------------------


def after_warmup(fall):
    """A schedule whose warm-up is right, and whose fall is fall(step, total, warmup, base)."""
    return lambda s, t, w, b: b * (s + 1) / w if s < w else fall(s, t, w, b)


def part(s, t, w):
    return (s - w) / (t - w)


WRONG_SCHEDULES = [
    (lambda s, t, w, b: None, "returned nothing"),
    (lambda s, t, w, b: "fast", "one number is wanted"),
    (lambda s, t, w, b: [b, b], "one number is wanted"),
    (lambda s, t, w, b: 1 / 0, "ZeroDivisionError"),
    (lambda s, t, w, b: b * s / w if s < w else training.warmup_cosine(s, t, w, b), "first step has the rate 0"),
    (lambda s, t, w, b: training.warmup_cosine(s, t, w, 1.0), "base_lr is not used"),
    (lambda s, t, w, b: training.warmup_cosine(s, t, 0, b), "there is no warm-up"),
    (after_warmup(lambda s, t, w, b: b / 2 * (1 + math.cos(math.pi * s / t))), "counts its steps from 0"),
    (after_warmup(lambda s, t, w, b: b / 2 * (1 + math.cos(math.pi * (s - w) / t))), "takes total_steps to fall"),
    (after_warmup(lambda s, t, w, b: b), "stays at base_lr"),
    (after_warmup(lambda s, t, w, b: b * (1 - part(s, t, w))), "straight line"),
    (after_warmup(lambda s, t, w, b: b / 2 * (1 + math.cos(2 * math.pi * part(s, t, w)))), "whole cosine"),
    (after_warmup(lambda s, t, w, b: b * math.cos(math.pi / 2 * part(s, t, w))), "quarter of a cosine"),
    (after_warmup(lambda s, t, w, b: b * (1 + math.cos(math.pi * part(s, t, w)))), "has to be halved"),
    (after_warmup(lambda s, t, w, b: b * math.cos(math.pi * part(s, t, w))), "negative learning rate"),
    (after_warmup(lambda s, t, w, b: b / 2 * (1 + math.cos(180 * part(s, t, w)))), "degrees"),
    (after_warmup(lambda s, t, w, b: b / 2 * (1 - math.cos(math.pi * part(s, t, w)))), "climbs"),
    (after_warmup(lambda s, t, w, b: b * (1 - part(s, t, w)) ** 2), "belongs to the cosine; the warm-up is right"),
    (lambda s, t, w, b: training.warmup_cosine(s, t, w, b) if w > 1 else b, "Is a number fixed"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "words"), WRONG_SCHEDULES, ids=[words for _, words in WRONG_SCHEDULES])
def test_a_wrong_schedule_is_told_its_mistake(answer, words):
    is_told(checks.check_warmup_cosine, answer, words)


# train_step: right ---------------------------------------------------------------------------------------------------


def step_apart(net, opt, first, second, tau):
    net.train()
    opt.zero_grad(set_to_none=False)
    loss = nt_xent(net(first)[1], net(second)[1], tau)
    loss.backward()
    opt.step()
    return float(loss)


def step_that_clears_up_afterwards(model, optimizer, x_a, x_b, temperature):
    model.train()
    z_b, z_a = model(torch.cat([x_b, x_a]))[1].split(len(x_a))
    loss = nt_xent(z_a, z_b, temperature)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach().item()


def step_with_its_own_loss(model, optimizer, x_a, x_b, temperature):
    model.train()
    optimizer.zero_grad()
    z = F.normalize(model(torch.stack([x_a, x_b], dim=1).flatten(0, 1))[1], dim=1)  # pairs side by side
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    loss = F.cross_entropy(logits, torch.arange(len(z)) ^ 1)
    loss.backward()
    optimizer.step()
    return np.float64(loss.item())


@pytest.mark.parametrize(
    "answer", [training.train_step, step_apart, step_that_clears_up_afterwards, step_with_its_own_loss]
)
def test_right_steps_pass(answer):
    passes(checks.check_train_step, answer)


# train_step: wrong ---------------------------------------------------------------------------------------------------


def step(
    *,
    mode=True,
    zero=True,
    backward=True,
    update=True,
    order="zbs",
    look="z",
    give="number",
    tau=None,
    times=1,
    loss_of=None,
):
    """A step with one thing changed; order: z(ero_grad), b(ackward), s(tep)."""

    def train_step(model, optimizer, x_a, x_b, temperature):
        model.train(mode)
        if loss_of == "x_a":
            x_b = x_a
        h, z = model(torch.cat([x_a, x_b]))
        (z_a, z_b) = (h if look == "h" else z).chunk(2)
        if look == "half":
            z_b = z_b.detach()
        if look == "none":
            z_a, z_b = z_a.detach().requires_grad_(), z_b.detach()
        loss = times * nt_xent(z_a, z_b, tau or temperature)
        for act in order:
            if act == "z" and zero:
                optimizer.zero_grad()
            if act == "b" and backward:
                loss.backward()
            if act == "s" and update:
                optimizer.step()
        model.train(mode != "left")
        return {
            "number": loss.item(),
            "tensor": loss,
            "detached": loss.detach(),
            "nothing": None,
            "pair": (loss.item(), 0),
        }[give]

    return train_step


def step_left_in_eval(model, optimizer, x_a, x_b, temperature):
    value = training.train_step(model, optimizer, x_a, x_b, temperature)
    model.eval()
    return value


def step_without_gradient(model, optimizer, x_a, x_b, temperature):
    with torch.no_grad():
        return nt_xent(model(x_a)[1], model(x_b)[1], temperature).backward()


def step_that_tells_the_next_loss(model, optimizer, x_a, x_b, temperature):
    training.train_step(model, optimizer, x_a, x_b, temperature)
    return nt_xent(*model(torch.cat([x_a, x_b]))[1].chunk(2), temperature).item()


def step_with_views_of_its_own(model, optimizer, x_a, x_b, temperature):
    return training.train_step(model, optimizer, x_a, x_a + 0.01, temperature)


def step_twice(model, optimizer, x_a, x_b, temperature):
    model.train()
    optimizer.zero_grad()
    loss = nt_xent(*model(torch.cat([x_a, x_b]))[1].chunk(2), temperature)
    loss.backward()
    optimizer.step()
    optimizer.step()
    return loss.item()


def step_unmoved(model, optimizer, x_a, x_b, temperature):
    model.train()
    return nt_xent(*model(torch.cat([x_a, x_b]))[1].chunk(2), temperature).item()


def step_not_written(model, optimizer, x_a, x_b, temperature):
    raise NotImplementedError


WRONG_STEPS = [
    (step_not_written, "not written yet"),
    (step(give="nothing"), "returned nothing"),
    (step(give="tensor"), "tensor with its graph"),
    (step(give="detached"), "a plain number is wanted"),
    (step(give="pair"), "a plain number is wanted"),
    (step(zero=False), "zero_grad() is missing"),
    (step(look="h"), "loss on h"),
    (step(loss_of="x_a"), "x_b never went through the model"),
    (step_with_views_of_its_own, "x_b never went through the model"),
    (step(mode=False), "ran in eval mode"),
    (step_left_in_eval, "left in eval mode"),
    (step(tau=0.5), "temperature handed in is not used (0.5 is)"),
    (step(update=False), "optimizer.step() is never called"),
    (step_unmoved, "optimizer.step() is never called"),
    (step(backward=False), "finds no gradients"),
    (step(order="bzs"), "finds no gradients"),
    (step(order="zsb"), "finds no gradients"),
    (step(look="none"), "finds no gradients"),
    (step(look="half"), "z of the other is detached"),
    (step(times=2), "Is it NT-Xent"),
    (step_twice, "2 times as long"),
    (step_without_gradient, "stopped with RuntimeError"),
    (step_that_tells_the_next_loss, "loss after the step"),
]


@pytest.mark.parametrize(
    ("answer", "words"), WRONG_STEPS, ids=[f"{i} {words}" for i, (_, words) in enumerate(WRONG_STEPS)]
)
def test_a_wrong_step_is_told_its_mistake(answer, words):
    is_told(checks.check_train_step, answer, words)


# pretrain: one loop with everything that can be changed about it ----------------------------------------------------


def loop(
    *,
    shuffle="images",
    drop=True,
    replacement=False,
    generator_each_epoch=False,
    use_seed=True,
    views="generator",
    rate="right",
    record=True,
    per_epoch=False,
    watch="epoch",
    train_again=True,
    tell=True,
    keep="all",
    load="all",
    at_end=False,
    copied=False,
    again_when_done=False,
    give="history",
    graph=False,
):
    """pretrain as a learner might write it, with one thing changed. Right with the defaults."""

    def pretrain(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
        model = copy.deepcopy(model) if copied else model
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.base_lr, weight_decay=recipe.weight_decay)
        generator = torch.Generator().manual_seed(recipe.seed if use_seed else 0)
        steps = len(images) // recipe.batch_size
        total = recipe.epochs * steps
        history, start = {"loss": [], "lr": [], "epochs": []}, 0
        if checkpoint is not None and checkpoint.exists() and load != "nothing":
            state = checkpoints.load_checkpoint(checkpoint)
            start = state["epoch"]
            if load != "no model":
                model.load_state_dict(state["model"])
            if load != "no optimizer":
                optimizer.load_state_dict(state["optimizer"])
            if load != "no generator":
                generator.set_state(state["generator"])
            if load != "no history":
                history = state["history"]
        step = 0 if load == "no step" else start * steps
        for epoch in range(0 if again_when_done and start == recipe.epochs else start, recipe.epochs):
            if generator_each_epoch:
                generator.manual_seed(recipe.seed)
            n = len(images)
            order = torch.randperm(n, generator=generator)
            if shuffle == "nothing":
                order = torch.arange(n)
            if shuffle == "global":
                order = torch.randperm(n)
            if replacement:
                order = torch.randint(n, (n,), generator=generator)
            batches = list(order.split(recipe.batch_size))
            if shuffle == "batches":
                fixed = torch.randperm(n, generator=torch.Generator().manual_seed(5)).split(recipe.batch_size)
                batches = [fixed[i] for i in torch.randperm(steps, generator=generator)]
            for rows in batches[:steps] if drop else batches:
                whole, part = round(recipe.warmup_fraction * total), round(recipe.warmup_fraction * steps)
                right = training.warmup_cosine(step, total, whole, recipe.base_lr)
                group_rate = {
                    "right": right,
                    "only told": recipe.base_lr,
                    "constant": recipe.base_lr,
                    "each epoch": training.warmup_cosine(step % steps, total, whole, recipe.base_lr),
                    "one epoch": training.warmup_cosine(step % steps, steps, part, recipe.base_lr),
                    "ahead": training.warmup_cosine(step + 1, total, whole, recipe.base_lr),
                    "no warm-up": training.warmup_cosine(step, total, 0, recipe.base_lr),
                }[rate]
                for group in optimizer.param_groups:
                    group["lr"] = group_rate
                x_a, x_b = two_views(images[rows], {"generator": generator, "other": torch.default_generator}[views])
                if train_again:
                    loss = training.train_step(model, optimizer, x_a, x_b, recipe.temperature)
                else:
                    optimizer.zero_grad()
                    value = nt_xent(model(x_a)[1], model(x_b)[1], recipe.temperature)
                    value.backward()
                    optimizer.step()
                    loss = value if graph else value.item()
                if record:
                    history["loss"].append(loss)
                    history["lr"].append(right if rate == "only told" else group_rate)
                if on_step and tell:
                    on_step(step, total, loss)
                step += 1
                if monitor and watch == "step":
                    monitor(model)
            numbers = monitor(model) if monitor and watch == "epoch" else {}
            history["epochs"].append({"epoch": epoch + 1, **numbers})
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "generator": generator.get_state(),
            }
            state |= {"history": history, "epoch": epoch + 1}
            if checkpoint is not None and not at_end and keep == "all":
                checkpoints.save_checkpoint(checkpoint, state)
        if checkpoint is not None and at_end:
            checkpoints.save_checkpoint(checkpoint, state)
        if per_epoch:
            history["loss"] = history["loss"][::steps]
        return {"history": history, "nothing": None, "loss": history["loss"]}[give]

    return pretrain


def pretrain_with_a_data_loader(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
    """Another right way: torch's loader and scheduler, and an order that depends on seed and epoch alone."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.base_lr, weight_decay=recipe.weight_decay)
    steps = len(images) // recipe.batch_size
    total = recipe.epochs * steps
    warmup_steps = round(recipe.warmup_fraction * total)

    def factor(step):
        return training.warmup_cosine(min(step, total - 1), total, warmup_steps, 1.0)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    history = {"loss": [], "lr": [], "epochs": []}
    if checkpoint and checkpoint.is_file():
        state = checkpoints.load_checkpoint(checkpoint)
        model.load_state_dict(state["net"]), optimizer.load_state_dict(state["opt"])
        scheduler.load_state_dict(state["schedule"])
        history = state["history"]
    for epoch in range(len(history["epochs"]), recipe.epochs):
        generator = torch.Generator().manual_seed(recipe.seed * 1000 + epoch)
        indices = torch.utils.data.TensorDataset(torch.arange(len(images)))
        loader = torch.utils.data.DataLoader(
            indices, recipe.batch_size, shuffle=True, drop_last=True, generator=generator
        )
        for (rows,) in loader:
            history["lr"].append(scheduler.get_last_lr()[0])
            history["loss"].append(
                step_apart(model, optimizer, *two_views(images[rows], generator), recipe.temperature)
            )
            scheduler.step()
            if on_step is not None:
                on_step(len(history["loss"]) - 1, total, history["loss"][-1])
        entry = {"epoch": epoch + 1}
        if monitor is not None:
            entry.update(monitor(model))
        history["epochs"].append(entry)
        if checkpoint:
            schedule = {name: value for name, value in scheduler.state_dict().items() if name != "lr_lambdas"}
            state = {
                "net": model.state_dict(),
                "opt": optimizer.state_dict(),
                "schedule": schedule | {"lr_lambdas": [None]},
            }
            checkpoints.save_checkpoint(checkpoint, state | {"history": history})
    return history


def pretrain_with_an_iterator(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
    """Another right way: numpy's order, float64 history, the views' generator derived from the step."""
    optimizer = torch.optim.AdamW(model.parameters(), recipe.base_lr, weight_decay=recipe.weight_decay)
    steps, done = len(images) // recipe.batch_size, {"loss": [], "lr": [], "epochs": []}
    if checkpoint is not None and Path(checkpoint).exists():
        state = checkpoints.load_checkpoint(checkpoint)
        model.load_state_dict(state["model"]), optimizer.load_state_dict(state["optimizer"])
        done = json.loads(state["history"])
    while len(done["epochs"]) < recipe.epochs:
        order = np.random.default_rng([recipe.seed, len(done["epochs"])]).permutation(len(images))
        for rows in np.split(order[: steps * recipe.batch_size], steps):
            step = len(done["loss"])
            lr = training.warmup_cosine(
                step, recipe.epochs * steps, round(recipe.warmup_fraction * recipe.epochs * steps), recipe.base_lr
            )
            optimizer.param_groups[0].update(lr=lr)
            views = two_views(images[torch.from_numpy(rows)], torch.Generator().manual_seed(recipe.seed + 7919 * step))
            (
                done["lr"].append(lr),
                done["loss"].append(training.train_step(model, optimizer, *views, temperature=recipe.temperature)),
            )
            if on_step:
                on_step(step, recipe.epochs * steps, done["loss"][-1])
        done["epochs"].append({"epoch": len(done["epochs"]) + 1} | (monitor(model) if monitor else {}))
        if checkpoint is not None:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": json.dumps(done)}
            checkpoints.save_checkpoint(checkpoint, state)
    return done


@pytest.mark.parametrize("answer", [training.pretrain, loop(), pretrain_with_a_data_loader, pretrain_with_an_iterator])
def test_right_loops_pass(answer):
    passes(checks.check_pretrain, answer)


WRONG_LOOPS = [
    (step_not_written, "stopped with TypeError"),
    (loop(give="nothing"), "returned nothing"),
    (loop(give="loss"), "the history, a dict, is wanted"),
    (loop(record=False), "has 0 numbers after 12 steps"),
    (loop(per_epoch=True), "not one an epoch"),
    (loop(shuffle="nothing"), "not shuffled"),
    (loop(shuffle="global"), "generator seeded with recipe.seed"),
    (loop(shuffle="batches"), "shuffle the images"),
    (loop(generator_each_epoch=True), "draw a new order each epoch"),
    (loop(replacement=True), "is a permutation"),
    (loop(drop=False), "drop the last, incomplete batch"),
    (loop(use_seed=False), "another recipe.seed gives the same order"),
    (loop(rate="constant"), "it stays at base_lr"),
    (loop(rate="only told"), "learning rate of the optimizer at step 0"),
    (loop(rate="each epoch"), "starts over in each epoch"),
    (loop(rate="one epoch"), "made for one epoch"),
    (loop(rate="ahead"), "one step ahead"),
    (loop(rate="no warm-up"), "no warm-up"),
    (loop(watch="never"), "monitor was handed in and never called"),
    (loop(watch="step"), "once after each epoch is wanted"),
    (loop(tell=False), "on_step was handed in and never called"),
    (loop(train_again=False), "trains in eval mode"),
    (loop(copied=True), "not a copy"),
    (loop(keep="nothing"), "left no checkpoint file"),
    (loop(at_end=True), "left no checkpoint file"),
    (loop(load="nothing"), "starts from scratch"),
    (loop(load="no model"), "weights are not restored"),
    (loop(load="no optimizer"), "optimizer begins anew"),
    (loop(load="no generator"), "order of the first epochs again"),
    (loop(load="no history"), "losses of 12: the first epoch's are lost"),
    (loop(load="no step"), "the schedule starts over"),
    (loop(views="other"), "are they drawn from the generator"),
    (loop(again_when_done=True), "trains again when it is called once more"),
    (loop(train_again=False, graph=True), "with their graphs"),
]


@pytest.mark.parametrize(
    ("answer", "words"), WRONG_LOOPS, ids=[f"{i} {words}" for i, (_, words) in enumerate(WRONG_LOOPS)]
)
def test_a_wrong_loop_is_told_its_mistake(answer, words):
    is_told(checks.check_pretrain, answer, words)
