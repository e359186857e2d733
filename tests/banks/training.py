"""Answers to the exercises of notebook 05, right and wrong."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from helpers import checkpoints, training
from helpers.losses import nt_xent
from tests.banks.exercise import Exercise

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


def schedule_from_a_table(step, total_steps, warmup_steps, base_lr):
    """The whole curve at once, float64, by sin² instead of cos."""
    line = np.arange(1, warmup_steps + 1) / max(warmup_steps, 1)
    fall = 1 - np.sin(np.linspace(0, np.pi / 2, total_steps - warmup_steps + 1)) ** 2
    return base_lr * np.concatenate([line, fall])[step]


RIGHT_SCHEDULES = {
    "NumPy, short names": schedule_in_numpy,
    "a tensor, cos² of half the angle": schedule_as_tensor,
    "the smaller of two lines": schedule_as_minimum,
    "a table": schedule_from_a_table,
}


# warmup_cosine: wrong ------------------------------------------------------------------------------------------------


def right_schedule(s, t, w, b):
    return b * (s + 1) / w if s < w else b / 2 * (1 + math.cos(math.pi * (s - w) / (t - w)))


def after_warmup(fall):
    """A schedule whose warm-up is right, and whose fall is fall(step, total, warmup, base)."""
    return lambda s, t, w, b: b * (s + 1) / w if s < w else fall(s, t, w, b)


def part(s, t, w):
    return (s - w) / (t - w)


WRONG_SCHEDULES = {
    "NaN in the warm-up": (
        lambda s, t, w, b: float("nan") if 0 < s < w - 1 else right_schedule(s, t, w, b),
        "gave nan",
    ),
    "warm-up one step too long": (
        lambda s, t, w, b: b * (s + 1) / w if s <= w and w else right_schedule(s, t, w, b),
        "one step too long",
    ),
    "lazy: always base_lr": (lambda s, t, w, b: b, ""),
    "fitted to the three values of the asserts": (lambda s, t, w, b: {0: 0.1, 55: 0.5, 100: 0.0}.get(s, b), ""),
    "calls the reference": (lambda s, t, w, b: training.warmup_cosine(s, t, w, b), "course's own answer"),
    "nothing returned": (lambda s, t, w, b: None, "returned nothing"),
    "text": (lambda s, t, w, b: "fast", "one number is wanted"),
    "a list": (lambda s, t, w, b: [b, b], "one number is wanted"),
    "stumbles": (lambda s, t, w, b: 1 / 0, "ZeroDivisionError"),
    "first step at 0": (
        lambda s, t, w, b: b * s / w if s < w else right_schedule(s, t, w, b),
        "first step has the rate 0",
    ),
    "base_lr ignored": (lambda s, t, w, b: right_schedule(s, t, w, 1.0), "base_lr is not used"),
    "no warm-up": (lambda s, t, w, b: right_schedule(s, t, 0, b), "there is no warm-up"),
    "cosine from step 0": (
        after_warmup(lambda s, t, w, b: b / 2 * (1 + math.cos(math.pi * s / t))),
        "counts its steps from 0",
    ),
    "cosine over all steps": (
        after_warmup(lambda s, t, w, b: b / 2 * (1 + math.cos(math.pi * (s - w) / t))),
        "takes total_steps to fall",
    ),
    "no cosine": (after_warmup(lambda s, t, w, b: b), "stays at base_lr"),
    "straight line": (after_warmup(lambda s, t, w, b: b * (1 - part(s, t, w))), "straight line"),
    "a whole cosine": (
        after_warmup(lambda s, t, w, b: b / 2 * (1 + math.cos(2 * math.pi * part(s, t, w)))),
        "whole cosine",
    ),
    "a quarter of a cosine": (
        after_warmup(lambda s, t, w, b: b * math.cos(math.pi / 2 * part(s, t, w))),
        "quarter of a cosine",
    ),
    "not halved": (
        after_warmup(lambda s, t, w, b: b * (1 + math.cos(math.pi * part(s, t, w)))),
        "has to be halved",
    ),
    "the cosine itself": (
        after_warmup(lambda s, t, w, b: b * math.cos(math.pi * part(s, t, w))),
        "negative learning rate",
    ),
    "degrees": (after_warmup(lambda s, t, w, b: b / 2 * (1 + math.cos(180 * part(s, t, w)))), "degrees"),
    "sign of the cosine": (after_warmup(lambda s, t, w, b: b / 2 * (1 - math.cos(math.pi * part(s, t, w)))), "climbs"),
    "a parabola": (
        after_warmup(lambda s, t, w, b: b * (1 - part(s, t, w)) ** 2),
        "belongs to the cosine; the warm-up is right",
    ),
    "right with a warm-up only": (lambda s, t, w, b: right_schedule(s, t, w, b) if w > 1 else b, "Is a number fixed"),
}


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


def step_with_a_closure(model, optimizer, x_a, x_b, temperature):
    """The optimizer calls the gradient itself; NT-Xent by blocks, in float64."""
    model.train()

    def closure():
        optimizer.zero_grad()
        a, b = (F.normalize(z.double(), dim=1) for z in model(torch.cat((x_a, x_b)))[1].chunk(2))
        own, other = torch.block_diag(a @ a.T, b @ b.T), a @ b.T
        n, every = len(a), torch.arange(len(a))
        logits = torch.cat([torch.cat([own[:n, :n], other], 1), torch.cat([other.T, own[n:, n:]], 1)]) / temperature
        logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
        loss = F.cross_entropy(logits, torch.cat([every + n, every]))
        loss.backward()
        return loss

    return float(optimizer.step(closure))


RIGHT_STEPS = {
    "views apart, other names": step_apart,
    "cleared up afterwards, x_b first": step_that_clears_up_afterwards,
    "a loss of its own, pairs side by side": step_with_its_own_loss,
    "a closure": step_with_a_closure,
}


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
    value = step()(model, optimizer, x_a, x_b, temperature)
    model.eval()
    return value


def step_without_gradient(model, optimizer, x_a, x_b, temperature):
    with torch.no_grad():
        return nt_xent(model(x_a)[1], model(x_b)[1], temperature).backward()


def step_that_tells_the_next_loss(model, optimizer, x_a, x_b, temperature):
    step()(model, optimizer, x_a, x_b, temperature)
    return nt_xent(*model(torch.cat([x_a, x_b]))[1].chunk(2), temperature).item()


def step_with_views_of_its_own(model, optimizer, x_a, x_b, temperature):
    return step()(model, optimizer, x_a, x_a + 0.01, temperature)


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


WRONG_STEPS = {
    "lazy: a likely number": (lambda model, optimizer, x_a, x_b, temperature: 1.0, "never called the model"),
    "fitted to the first draw's temperature": (step(tau=0.1), "temperature handed in is not used (0.1 is)"),
    "calls the reference": (
        lambda model, optimizer, x_a, x_b, temperature: training.train_step(model, optimizer, x_a, x_b, temperature),
        "course's own answer",
    ),
    "calls the reference for more views": (
        lambda model, optimizer, x_a, x_b, temperature: training.step_on_views(
            model, optimizer, (x_a, x_b), temperature
        ),
        "course's own answer, helpers.training.step_on_views",
    ),
    "not written": (step_not_written, "not written yet"),
    "nothing returned": (step(give="nothing"), "returned nothing"),
    "the loss with its graph": (step(give="tensor"), "tensor with its graph"),
    "a detached tensor": (step(give="detached"), "a plain number is wanted"),
    "a pair": (step(give="pair"), "a plain number is wanted"),
    "no zero_grad": (step(zero=False), "zero_grad() is missing"),
    "loss on h": (step(look="h"), "loss on h"),
    "x_a twice": (step(loss_of="x_a"), "x_b never went through the model"),
    "a second view of its own": (step_with_views_of_its_own, "x_b never went through the model"),
    "eval mode": (step(mode=False), "ran in eval mode"),
    "left in eval mode": (step_left_in_eval, "left in eval mode"),
    "temperature 0.5 always": (step(tau=0.5), "temperature handed in is not used (0.5 is)"),
    "no optimizer.step()": (step(update=False), "optimizer.step() is never called"),
    "loss only": (step_unmoved, "optimizer.step() is never called"),
    "no backward": (step(backward=False), "finds no gradients"),
    "zero_grad after backward": (step(order="bzs"), "finds no gradients"),
    "backward after the step": (step(order="zsb"), "finds no gradients"),
    "z rebuilt": (step(look="none"), "finds no gradients"),
    "one view detached": (step(look="half"), "z of the other is detached"),
    "loss doubled": (step(times=2), "Is it NT-Xent"),
    "two steps": (step_twice, "2 times as long"),
    "under no_grad": (step_without_gradient, "stopped with RuntimeError"),
    "the next loss": (step_that_tells_the_next_loss, "loss after the step"),
}


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
    made="AdamW",
    groups="all",
):
    """pretrain as a learner might write it, with one thing changed. Right with the defaults."""

    def pretrain(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
        model = copy.deepcopy(model) if copied else model
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.base_lr, weight_decay=recipe.weight_decay)
        if made == "by the recipe":
            optimizer = training.optimizer_for(model, recipe)
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
                for group in optimizer.param_groups if groups == "all" else optimizer.param_groups[:1]:
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


def pretrain_by_hand(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
    """Another right way: no helper but the checkpoint's, the rate set by a dict, one list of everything."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=recipe.weight_decay)
    generator, size = torch.Generator(), recipe.batch_size
    generator.manual_seed(recipe.seed)
    steps = len(images) // size
    total, log, numbers = steps * recipe.epochs, [], []
    if checkpoint is not None and Path(checkpoint).is_file():
        log, numbers, state, weights, memory = checkpoints.load_checkpoint(checkpoint)["all"]
        generator.set_state(state), model.load_state_dict(weights), optimizer.load_state_dict(memory)
    while len(log) < total:
        order = torch.randperm(len(images), generator=generator).tolist()
        for start in range(0, steps * size, size):
            step, warmup = len(log), round(recipe.warmup_fraction * total)
            rate = right_schedule(step, total, warmup, recipe.base_lr)
            optimizer.param_groups[0]["lr"] = rate
            views = two_views(images[order[start : start + size]], generator)
            loss = step_with_a_closure(model, optimizer, *views, recipe.temperature)
            log.append((loss, rate))
            on_step and on_step(step, total, loss)
        numbers.append({"epoch": len(numbers) + 1, **(monitor(model) if monitor else {})})
        if checkpoint is not None:
            everything = (log, numbers, generator.get_state(), model.state_dict(), optimizer.state_dict())
            checkpoints.save_checkpoint(checkpoint, {"all": everything})
    return {"loss": [loss for loss, _ in log], "lr": [rate for _, rate in log], "epochs": numbers}


def always_three_epochs(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
    return loop()(model, images, two_views, replace(recipe, epochs=3), monitor, checkpoint, on_step)


def always_half_a_degree(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
    return loop()(model, images, two_views, replace(recipe, temperature=0.5), monitor, checkpoint, on_step)


def empty_history(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
    return {"loss": [], "lr": [], "epochs": []}


def course_pretrain(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
    return training.pretrain(model, images, two_views, recipe, monitor, checkpoint, on_step)


RIGHT_LOOPS = {
    "a loop as in the notebook": loop(),
    "the optimizer that the recipe names": loop(made="by the recipe"),
    "a data loader and a scheduler": pretrain_with_a_data_loader,
    "NumPy's order": pretrain_with_an_iterator,
    "everything by hand": pretrain_by_hand,
}
WRONG_LOOPS = {
    "lazy: an empty history": (empty_history, "two_views was never called"),
    "fitted to three epochs": (always_three_epochs, "3 epochs whatever"),
    "fitted to temperature 0.5": (always_half_a_degree, "0.5 is used, whatever recipe.temperature says"),
    "calls the reference": (course_pretrain, "course's own answer"),
    "another signature": (step_not_written, "stopped with TypeError"),
    "nothing returned": (loop(give="nothing"), "returned nothing"),
    "the losses alone": (loop(give="loss"), "the history, a dict, is wanted"),
    "nothing recorded": (loop(record=False), "has 0 numbers after 12 steps"),
    "one loss an epoch": (loop(per_epoch=True), "not one an epoch"),
    "not shuffled": (loop(shuffle="nothing"), "not shuffled"),
    "global random numbers": (loop(shuffle="global"), "generator seeded with recipe.seed"),
    "batches shuffled": (loop(shuffle="batches"), "shuffle the images"),
    "one order for all epochs": (loop(generator_each_epoch=True), "draw a new order each epoch"),
    "drawn with replacement": (loop(replacement=True), "is a permutation"),
    "last batch kept": (loop(drop=False), "drop the last, incomplete batch"),
    "seed ignored": (loop(use_seed=False), "another recipe.seed gives the same order"),
    "constant rate": (loop(rate="constant"), "it stays at base_lr"),
    "rate recorded, not set": (loop(rate="only told"), "learning rate of the optimizer at step 0"),
    "schedule of each epoch anew": (loop(rate="each epoch"), "starts over in each epoch"),
    "schedule of one epoch": (loop(rate="one epoch"), "made for one epoch"),
    "rate one step ahead": (loop(rate="ahead"), "one step ahead"),
    "no warm-up": (loop(rate="no warm-up"), "no warm-up"),
    "rate of one group": (loop(made="by the recipe", groups="first"), "in some of them only"),
    "no monitor": (loop(watch="never"), "monitor was handed in and never called"),
    "monitor at each step": (loop(watch="step"), "once after each epoch is wanted"),
    "no on_step": (loop(tell=False), "on_step was handed in and never called"),
    "eval mode after the monitor": (loop(train_again=False), "trains in eval mode"),
    "a copy trained": (loop(copied=True), "not a copy"),
    "no checkpoint": (loop(keep="nothing"), "left no checkpoint file"),
    "checkpoint at the end": (loop(at_end=True), "left no checkpoint file"),
    "checkpoint not loaded": (loop(load="nothing"), "starts from scratch"),
    "weights not loaded": (loop(load="no model"), "weights are not restored"),
    "optimizer not loaded": (loop(load="no optimizer"), "optimizer begins anew"),
    "generator not loaded": (loop(load="no generator"), "order of the first epochs again"),
    "history not loaded": (loop(load="no history"), "losses of 12: the first epoch's are lost"),
    "step not counted on": (loop(load="no step"), "the schedule starts over"),
    "views from another generator": (loop(views="other"), "are they drawn from the generator"),
    "trains again when done": (
        loop(again_when_done=True),
        "trains again when it is called once more",
    ),
    "losses with their graphs": (loop(train_again=False, graph=True), "with their graphs"),
}


# the clinic: an answer is a function without arguments ----------------------------------------------------------------


def in_plain_words():
    return {
        "A": "frozen batch-norm",
        "B": "learning rate x 100",
        "C": "images are not shuffled",
        "D": "the same view twice",
        "E": "detached denominator",
        "F": "temperature is the batch size",
    }


def by_places_in_the_list():
    return dict(zip("ABCDEF", (training.CAUSES[place] for place in (4, 5, 1, 2, 3, 0))))


def by_small_letters():
    return {letter.lower(): cause for letter, cause in reversed(in_plain_words().items())}


def by_cause():
    runs = dict(zip(training.CAUSES, "FCDEAB"))
    return {run: cause for cause, run in runs.items()}


def by_rules():
    """The curves asked, one symptom after the other."""
    runs = {letter: run for letter, run in training.clinic_curves()["curves"].items() if letter != "healthy"}
    found = {}

    def take(cause, symptom):
        letter = max(runs.keys() - found.keys(), key=lambda letter: symptom(runs[letter]))
        found[letter] = cause

    take("learning rate x 100", lambda run: max(run["lr"]))
    take("frozen batch-norm", lambda run: -np.ptp(run["batch_norm"]))
    take("temperature is the batch size", lambda run: -np.ptp(run["loss"]))
    take("detached denominator", lambda run: -run["std"][-1])
    take("the same view twice", lambda run: -min(run["loss"]))
    take("images are not shuffled", lambda run: 0)  # the one that is left
    return found


def with_changes(**changed):
    """The right answer with these letters changed."""
    return lambda: in_plain_words() | changed


RIGHT_CLINICS = {
    "causes by their place": by_places_in_the_list,
    "small letters, backwards": by_small_letters,
    "turned round": by_cause,
    "in plain words": in_plain_words,
    "by rules on the curves": by_rules,
}
WRONG_CLINICS = {
    "lazy: the list as it stands": (lambda: dict(zip("ABCDEF", training.CAUSES)), "0 of 6 are right"),
    "lazy: an empty dict": (lambda: {}, "there is no cause for A, B, C, D, E, F yet"),
    "fitted to the letters of the asserts": (lambda: dict.fromkeys("ABCDEF", ""), "there is no cause for A"),
    "calls the reference": (lambda: training.clinic(), "course's own answer"),
    "nothing returned": (lambda: None, "returned nothing"),
    "a list": (lambda: list(training.CAUSES), "a list; a dict"),
    "text": (lambda: "ABCDEF", "a str; a dict"),
    "stumbles": (lambda: 1 / 0, "stopped with ZeroDivisionError"),
    "one cause left out": (with_changes(B=""), "there is no cause for B yet"),
    "another cause": (with_changes(C="bad luck"), "'bad luck'] is not one of the causes"),
    "one cause for all": (lambda: dict.fromkeys("ABCDEF", "frozen batch-norm"), "is named for more than one"),
    "one cause twice": (with_changes(A="learning rate x 100"), "is named for more than one"),
    "collapse taken for too high a temperature": (
        with_changes(E="temperature is the batch size", F="detached denominator"),
        "4 of 6 are right. Look at E again",
    ),
    "no shuffle taken for the same view": (
        with_changes(C="the same view twice", D="images are not shuffled"),
        "4 of 6 are right. Look at C again",
    ),
    "three in a ring": (
        with_changes(A="learning rate x 100", B="images are not shuffled", C="frozen batch-norm"),
        "3 of 6 are right",
    ),
    "cause to letter": (lambda: {cause: letter for letter, cause in in_plain_words().items()}, "there is no cause for"),
}

BANK = {
    "warmup_cosine": Exercise(WRONG_SCHEDULES, RIGHT_SCHEDULES),
    "train_step": Exercise(WRONG_STEPS, RIGHT_STEPS),
    "pretrain": Exercise(WRONG_LOOPS, RIGHT_LOOPS),
    "clinic": Exercise(WRONG_CLINICS, RIGHT_CLINICS),
}
