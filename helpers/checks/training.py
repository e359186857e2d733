"""Checks of notebook 05: warmup_cosine, train_step, pretrain, and the clinic.

The schedule and the loss are written out again here, slowly; training is checked on a network of a few hundred weights.
"""

import copy
import hashlib
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook

from helpers.checks.core import NotYet, between, call, check, close, expect, expect_close

__all__ = ["check_warmup_cosine", "check_train_step", "check_pretrain", "check_clinic"]

CLINIC = Path(__file__).parent.parent.parent / "data" / "results" / "clinic.json"


# Exercise warmup_cosine ---------------------------------------------------------------------------------------------


def schedule(step: int, total_steps: int, warmup_steps: int, base_lr: float) -> float:
    if step < warmup_steps:
        return base_lr * (step + 1) / warmup_steps
    return base_lr * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)))


SCHEDULE_MISTAKES = {  # what is told: (step, total, warm-up, base) -> the rate it gives
    "the first step has the rate 0 and learns nothing; steps count from 0, so the line is (step + 1) / warmup_steps.":
        lambda s, t, w, b: b * s / w if s < w else schedule(s, t, w, b),
    "the warm-up runs one step too long: it has the steps below warmup_steps, and step warmup_steps is the cosine's.":
        lambda s, t, w, b: b * (s + 1) / w if s <= w else schedule(s, t, w, b),
    "base_lr is not used.": lambda s, t, w, b: schedule(s, t, w, 1.0),
    "there is no warm-up; the cosine starts at step 0.": lambda s, t, w, b: schedule(s, t, 0, b),
    "the cosine counts its steps from 0 instead of from the end of the warm-up.":
        lambda s, t, w, b: schedule(s, t, w, b) if s < w else schedule(s, t, 0, b),
    "the cosine starts after the warm-up but takes total_steps to fall; only total_steps - warmup_steps are left.":
        lambda s, t, w, b: schedule(s, t, w, b) if s < w else b * 0.5 * (1 + math.cos(math.pi * (s - w) / t)),
    "the rate stays at base_lr after the warm-up; the half cosine is missing.":
        lambda s, t, w, b: schedule(s, t, w, b) if s < w else b,
    "a straight line falls to 0 after the warm-up; half a cosine is wanted.":
        lambda s, t, w, b: schedule(s, t, w, b) if s < w else b * (1 - (s - w) / (t - w)),
    "a whole cosine comes down and up again; half of one, cos(π · progress), is wanted.":
        lambda s, t, w, b: schedule(s, t, w, b) if s < w else b * 0.5 * (1 + math.cos(2 * math.pi * (s - w) / (t - w))),
    "a quarter of a cosine is used; half of one, (1 + cos(π · progress)) / 2, is wanted.":
        lambda s, t, w, b: schedule(s, t, w, b) if s < w else b * math.cos(math.pi / 2 * (s - w) / (t - w)),
    "(1 + cos) goes from 2 to 0, so it has to be halved.":
        lambda s, t, w, b: schedule(s, t, w, b) if s < w else b * (1 + math.cos(math.pi * (s - w) / (t - w))),
    "the cosine itself goes from 1 to -1, a negative learning rate; (1 + cos) / 2 goes from 1 to 0.":
        lambda s, t, w, b: schedule(s, t, w, b) if s < w else b * math.cos(math.pi * (s - w) / (t - w)),
    "the angle is in degrees; math.cos wants radians, so π · progress.":
        lambda s, t, w, b: schedule(s, t, w, b) if s < w else b * 0.5 * (1 + math.cos(180 * (s - w) / (t - w))),
    "the cosine climbs; (1 + cos) / 2 is wanted, not (1 - cos) / 2.":
        lambda s, t, w, b: schedule(s, t, w, b) if s < w else b * 0.5 * (1 - math.cos(math.pi * (s - w) / (t - w))),
}  # fmt: skip


@check
def check_warmup_cosine(warmup_cosine: Callable, generator: Generator) -> None:
    """The learning rate at every step of schedules of several lengths."""
    warmup, base_lr = between(generator, 4, 9), 0.05 * between(generator, 1, 9)
    total = warmup + 2 * between(generator, 6, 14)  # even, so that the middle of the cosine is a step
    curve = rates(warmup_cosine, total, warmup, base_lr)
    wanted = [schedule(step, total, warmup, base_lr) for step in range(total + 1)]
    wrong = [step for step in range(total + 1) if not abs(curve[step] - wanted[step]) <= 1e-6]  # NaN is wrong too
    if wrong:
        step = wrong[0]
        saw = f"warmup_cosine(step={step}, total_steps={total}, warmup_steps={warmup}, base_lr={base_lr:.3g})"
        saw += f" gave {curve[step]:.5g}, not {wanted[step]:.5g}"
        for sentence, rate in SCHEDULE_MISTAKES.items():
            if all(abs(curve[step] - rate(step, total, warmup, base_lr)) < 1e-6 for step in range(total + 1)):
                raise NotYet(f"{saw}: {sentence}")
        part = "the warm-up" if step < warmup else "the cosine"
        right = "is right" if step >= warmup and warmup else "comes first"
        raise NotYet(
            f"{saw}. This step belongs to {part}" + ("; the warm-up is right." if right == "is right" else ".")
        )
    for total, warmup in ((between(generator, 3, 9), 0), (between(generator, 40, 60), 1)):
        curve = rates(warmup_cosine, total, warmup, base_lr)
        for step, rate in enumerate(curve):
            expect_close(
                f"warmup_cosine(step={step}, total_steps={total}, warmup_steps={warmup}, base_lr={base_lr:.3g})",
                rate, schedule(step, total, warmup, base_lr), tolerance=1e-6,
                hint="Other schedules are right. Is a number fixed that should be an argument?",
            )  # fmt: skip


def rates(warmup_cosine: Callable, total: int, warmup: int, base_lr: float) -> list[float]:
    """The learner's rate at steps 0 .. total."""
    curve = []
    for step in range(total + 1):
        what = f"warmup_cosine(step={step}, total_steps={total}, warmup_steps={warmup}, base_lr={base_lr:.3g})"
        curve.append(as_number(what, call(what, warmup_cosine, step, total, warmup, base_lr)))
    return curve


def as_number(what: str, value) -> float:
    """The value as a float, or NotYet where it is not one number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise NotYet(f"{what} gave a {type(value).__name__}; one number is wanted.") from None


# Exercise train_step ------------------------------------------------------------------------------------------------


def slow_nt_xent(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """NT-Xent, an anchor at a time, in float64."""
    z = F.normalize(torch.cat([z_a, z_b]).double(), dim=1)
    n, losses = len(z_a), []
    for i in range(2 * n):
        others = torch.tensor([k for k in range(2 * n) if k != i])
        similarity = (z[others] * z[i]).sum(dim=1) / temperature  # (2N - 1,)
        losses.append(torch.logsumexp(similarity, dim=0) - (z[i] @ z[(i + n) % (2 * n)]) / temperature)
    return torch.stack(losses).mean()


class TinySimCLR(nn.Module):
    """x -> (h, z) with a batch-norm inside; remembers what it was given, and in which mode it was."""

    def __init__(self, side: int, generator: Generator, hidden: int = 12, out_dim: int = 7):
        super().__init__()
        first, last = nn.Linear(3 * side * side, hidden), nn.Linear(hidden, out_dim)
        self.encoder = nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(hidden), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), last)
        with torch.no_grad():
            for weight in self.parameters():
                if weight.ndim == 2:
                    weight.normal_(0, weight.shape[1] ** -0.5, generator=generator)
        self.seen: list[tuple[Tensor, bool]] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append((x.detach().clone(), self.training))
        h = self.encoder(x)
        return h, self.head(h)

    def weights(self) -> Tensor:
        """All weights in one row, in float64."""
        return torch.cat([weight.detach().double().flatten() for weight in self.parameters()])


def oracle_steps(
    model: TinySimCLR, pairs: list, lr: float, temperature: float, **mistake
) -> tuple[list[float], list[Tensor]]:
    """Plain steps of gradient descent on a copy of the model, one a pair of views; losses and weights after each.

    mistake: together=False runs the views apart (no mistake); rows="h", split="alternate", pick="aa" and "bb",
    zero=False, train=False, half=True, tau=... are what their names say.
    """
    model = copy.deepcopy(model).train(mistake.get("train", True))
    weights, old = list(model.parameters()), None
    losses, after = [], []
    for x_a, x_b in pairs:
        x_a, x_b = {"ab": (x_a, x_b), "aa": (x_a, x_a), "bb": (x_b, x_b)}[mistake.get("pick", "ab")]
        if mistake.get("together", True):
            h, z = model(torch.cat([x_a, x_b]))
            (h_a, h_b), (z_a, z_b) = h.chunk(2), z.chunk(2)
        else:
            (h_a, z_a), (h_b, z_b) = model(x_a), model(x_b)
        rows = (h_a, h_b) if mistake.get("rows", "z") == "h" else (z_a, z_b)
        if mistake.get("split"):  # every other row, as if the views came in pairs
            z = torch.cat([z_a, z_b])
            rows = (z[::2], z[1::2])
        if mistake.get("half"):  # one view's embedding is a constant
            rows = (rows[0], rows[1].detach())
        loss = slow_nt_xent(*rows, mistake.get("tau", temperature))
        gradient = torch.autograd.grad(loss, weights, allow_unused=True)
        gradient = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradient, strict=True)]
        if mistake.get("zero", True) is False and old is not None:
            gradient = [g + o for g, o in zip(gradient, old, strict=True)]
        old = gradient
        with torch.no_grad():
            for weight, step in zip(weights, gradient, strict=True):
                weight -= lr * step
        losses.append(loss.item()), after.append(model.weights())
    return losses, after


LOSS_MISTAKES = {
    "that is the loss on h. The loss looks at z, behind the projection head.": {"rows": "h"},
    "that is the loss of x_a with itself; x_b is not used.": {"pick": "aa"},
    "that is the loss of x_b with itself; x_a is not used.": {"pick": "bb"},
    "row i of z_a and z_b are not the same image: z of torch.cat([x_a, x_b]) is cut in the middle, z.chunk(2).":
        {"split": "alternate"},
    **{f"the temperature handed in is not used ({tau:g} is).": {"tau": tau} for tau in (0.5, 1.0, 0.07, 0.1, 0.2, 0.3)},
}  # fmt: skip


@check
def check_train_step(train_step: Callable, generator: Generator) -> None:
    """Two steps on a tiny model: the loss returned, the mode, and where the weights go, views together or apart."""
    n, side, temperature, lr = between(generator, 5, 9), 3, 0.1 * between(generator, 1, 3), 0.5
    start = TinySimCLR(side, generator).double()
    images = torch.rand(2, n, 3, side, side, generator=generator, dtype=torch.float64)
    noise = torch.rand(2, 2, n, 3, side, side, generator=generator, dtype=torch.float64)
    pairs = [
        (images[step] + 0.5 * noise[step, 0], images[step] + 0.5 * noise[step, 1]) for step in range(2)
    ]  # (N, 3, s, s)

    model = copy.deepcopy(start).eval()  # as a k-NN monitor might leave it
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    stepped = []
    optimizer.register_step_pre_hook(lambda *_: stepped.append(has_gradient(model)))
    losses, after = [], []
    for x_a, x_b in pairs:
        what = f"train_step(model, optimizer, x_a, x_b, temperature={temperature:.1f})"
        try:
            losses.append(call(what, train_step, model, optimizer, x_a.clone(), x_b.clone(), temperature))
        except NotYet as problem:
            expect("tuple" not in str(problem), f"{problem} The model returns two things, h and z: unpack them.")
            raise
        after.append(model.weights())

    value = losses[0]
    expect(
        not (isinstance(value, Tensor) and value.requires_grad),
        "train_step returned a tensor with its graph, which keeps the whole step in memory: return loss.item().",
    )
    expect(
        isinstance(value, int | float) and not isinstance(value, bool),
        f"train_step returned a {type(value).__name__}; a plain number is wanted (loss.item()).",
    )
    expect(bool(model.seen), "train_step never called the model.")
    expect(
        all(training for _, training in model.seen),
        "the model ran in eval mode, where batch-norm uses old statistics. A step begins with model.train().",
    )
    expect(model.training, "the model is left in eval mode after the step; it should stay in train mode.")
    rows = torch.cat([x for x, _ in model.seen])  # all that went through the model
    for name, x in zip(("x_a", "x_b"), pairs[0], strict=True):
        seen = any(close(row.flatten(), x[0].flatten(), 1e-6) for row in rows)
        other = "x_b" if name == "x_a" else "x_a"
        expect(seen, f"{name} never went through the model, only {other} did: both views are needed.")

    ways = [oracle_steps(start, pairs, lr, temperature, together=together) for together in (True, False)]
    if not any(close(torch.tensor(value).double(), torch.tensor(way[0][0]).double(), 1e-4) for way in ways):
        for together in (True, False):
            for sentence, mistake in LOSS_MISTAKES.items():
                wrong = oracle_steps(start, pairs[:1], lr, temperature, together=together, **mistake)[0][0]
                expect(
                    abs(value - wrong) > 1e-4, f"train_step returned {value:.5g}, not {ways[0][0][0]:.5g}: {sentence}"
                )
            expect(
                abs(value - later_loss(start, pairs, lr, temperature, together)) > 1e-4,
                f"train_step returned {value:.5g}, not {ways[0][0][0]:.5g}: that is the loss after the step; "
                "return the loss the step was made from.",
            )
        expect_close("train_step", value, ways[0][0][0], tolerance=1e-4, hint="Is it NT-Xent of z_a and z_b?")

    expect(bool(stepped), "the loss is right, but the weights do not move: optimizer.step() is never called.")
    if not any(close(after[0], way[1][0], 1e-4) for way in ways):
        explain_first_step(start, after[0], stepped, pairs, lr, temperature)
    if not any(close(after[1], way[1][1], 1e-4) for way in ways):
        for together in (True, False):
            kept = oracle_steps(start, pairs, lr, temperature, together=together, zero=False)[1][1]
            expect(
                not close(after[1], kept, 1e-4),
                "the second step still carries the gradient of the first: optimizer.zero_grad() is missing.",
            )
        raise NotYet("the first step is right and the second is not: what does train_step leave behind after a step?")
    wanted = min((way[0][1] for way in ways), key=lambda loss: abs(loss - losses[1]))
    expect_close("The second step", losses[1], wanted, tolerance=1e-4, hint="The loss of the first was right.")


def has_gradient(model: nn.Module) -> bool:
    return any(weight.grad is not None and bool(weight.grad.abs().sum() > 0) for weight in model.parameters())


def later_loss(start: TinySimCLR, pairs: list, lr: float, temperature: float, together: bool) -> float:
    """The loss of the first pair of views once the first step is made."""
    return oracle_steps(start, [pairs[0], pairs[0]], lr, temperature, together=together)[0][1]


def explain_first_step(
    start: TinySimCLR, after: Tensor, stepped: list[bool], pairs, lr: float, temperature: float
) -> None:
    """Raise NotYet: the loss of the first step is right, the weights after it are not."""
    if close(after, start.weights(), 1e-9):
        expect(
            stepped[0],
            "optimizer.step() finds no gradients. Is loss.backward() called, before the step, and zero_grad() "
            "before it?",
        )
        raise NotYet("the weights are the same after the step as before it.")
    for together in (True, False):
        for sentence, mistake in {
            "the gradient flows through one view alone; z of the other is detached.": {"half": True},
            "the gradient is that of the loss on h.": {"rows": "h"},
        }.items():
            wrong = oracle_steps(start, pairs[:1], lr, temperature, together=together, **mistake)[1][0]
            expect(not close(after, wrong, 1e-4), f"the loss is right, the weights after the step are not: {sentence}")
        moved = oracle_steps(start, pairs[:1], lr, temperature, together=together)[1][0] - start.weights()
        times = ((after - start.weights()) @ moved / (moved @ moved)).item()
        if close((after - start.weights()) / times, moved, 1e-4):
            raise NotYet(
                f"the loss is right, but the step is {times:.3g} times as long as its gradient and learning rate say."
            )
    raise NotYet("the loss is right, but the weights after the step are not where its gradient leads.")


# Exercise pretrain --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TinyRecipe:
    """The fields of training.Recipe, with numbers for a network of a few hundred weights."""

    epochs: int
    seed: int
    base_lr: float
    batch_size: int = 5
    weight_decay: float = 0.03  # none of these is a default anywhere
    warmup_fraction: float = 0.3  # of 12 steps 3.6: cut off and rounded differ
    temperature: float = 1.0
    decoupled: bool = False
    optimizer: str = "adamw"
    arch: str = "tiny"
    small_images: bool = True
    group_norm: bool = False
    view_size: int = 4
    views: int = 2
    strength: float = 0.5
    blur: bool = False
    fused: bool = False
    area: tuple[float, float] = (0.2, 1.0)
    hidden_dim: int = 12
    head_norm: bool = False
    out_dim: int = 7


@dataclass
class Run:
    """One call of pretrain, written down as it happened."""

    history: object = None
    batches: list[list[int]] = field(default_factory=list)  # which images came, batch by batch
    rates: list[float] = field(default_factory=list)  # learning rate of the optimizer at each of its steps
    before: list[Tensor] = field(default_factory=list)  # weights before each step
    counts: list[float | None] = field(default_factory=list)  # steps the optimizer remembers, before each step
    training: list[bool] = field(default_factory=list)  # was the model in train mode at each step?
    monitored: list[int] = field(default_factory=list)  # steps made when the monitor was called
    told: list[tuple] = field(default_factory=list)  # arguments of on_step
    views: tuple[Tensor, Tensor] | None = None  # x_a, x_b of the first step
    luck: list[float] = field(default_factory=list)  # the first random number of each batch
    optimizer: tuple[str, float] | None = None  # its name and its weight decay
    weights: Tensor | None = None  # at the end

    def epochs(self, steps: int) -> list[list[list[int]]]:
        """The batches, epoch by epoch."""
        return [self.batches[i : i + steps] for i in range(0, len(self.batches), steps)]


class Stop(KeyboardInterrupt):
    """Stands for the learner's own Ctrl-C."""


def numbered_images(count: int, side: int = 4) -> Tensor:
    """(count, 3, side, side) uint8; image i is i in its first pixel, and a pattern of its own elsewhere."""
    images = torch.randint(0, 256, (count, 3, side, side), generator=Generator().manual_seed(count), dtype=torch.uint8)
    images[:, :, 0, 0] = torch.arange(count, dtype=torch.uint8)[:, None]
    return images


def observe(
    pretrain: Callable,
    model: TinySimCLR,
    images: Tensor,
    recipe: TinyRecipe,
    checkpoint=None,
    watch=True,
    stop_at=None,
    earlier=0,
) -> Run:
    """Call pretrain and write down what it does.

    stop_at: the batch before which Ctrl-C is pressed. earlier: steps that were made before this call.
    """
    run = Run()

    def two_views(batch: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        if len(run.batches) == stop_at:
            raise Stop
        run.batches.append(batch[:, 0, 0, 0].tolist())
        draws = torch.rand(2, *batch.shape, generator=generator)
        x_a, x_b = batch.float() / 255 + 0.3 * draws
        run.views = run.views or (x_a.clone(), x_b.clone())
        run.luck.append(draws.flatten()[0].item())
        return x_a, x_b

    def monitor(seen: nn.Module) -> dict[str, float]:
        expect(
            seen is model,
            "the monitor was called with something else than the model handed in: train that model, not a copy, and "
            "call monitor(model).",
        )
        model.eval()  # a careless monitor
        run.monitored.append(len(run.batches))
        return {"knn": 0.5 + (earlier + len(run.batches)) / 1000}

    def hook(optimizer, *_) -> None:
        own = [weight for group in optimizer.param_groups for weight in group["params"]]
        if not any(weight is own[0] for weight in model.parameters()):
            return
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        expect(
            rates == rates[:1] * len(rates),
            "the optimizer has several groups of weights, and the rate was set in some of them only: set group['lr'] "
            "for every group of optimizer.param_groups.",
        )
        run.rates.append(rates[0])
        decoupled = isinstance(optimizer, torch.optim.AdamW) or optimizer.param_groups[0].get("decoupled_weight_decay")
        kind = "AdamW" if decoupled else type(optimizer).__name__
        run.optimizer = kind, float(optimizer.param_groups[0].get("weight_decay", 0))
        run.before.append(model.weights())
        step = optimizer.state.get(own[0], {}).get("step", None)
        run.counts.append(None if step is None else float(step))
        run.training.append(model.training)

    handle = register_optimizer_step_pre_hook(hook)
    try:
        settings = {"checkpoint": checkpoint} if checkpoint is not None else {}
        if watch:
            settings |= {"monitor": monitor, "on_step": lambda *values: run.told.append(values)}
        run.history = call(
            "pretrain(model, images, two_views, recipe, ...)", pretrain, model, images, two_views, recipe, **settings
        )
    except KeyboardInterrupt:
        if stop_at is None:
            raise
    finally:
        handle.remove()
    run.weights = model.weights()
    return run


@check
def check_pretrain(pretrain: Callable, generator: Generator) -> None:
    """A tiny run; then the same run stopped in its second epoch and called again, which must end in the same place."""
    count = 20 + between(generator, 2, 4)  # a rest of one image would stop batch-norm before its batch is seen
    recipe = TinyRecipe(epochs=3, seed=between(generator, 1, 10**6), base_lr=1e-3 * between(generator, 3, 9))
    images, steps = numbered_images(count), count // 5
    model, other = TinySimCLR(4, generator), TinySimCLR(4, generator)

    whole = observe(pretrain, copy.deepcopy(model), images, recipe)
    expect_history(whole, recipe, steps)
    expect_order(whole, recipe, steps, count)
    expect_schedule(whole, recipe, steps)
    expect_watched(whole, recipe, steps)
    expect(
        not close(whole.weights, model.weights(), 1e-6),
        "the weights of the model did not change: train the model that was handed in, not a copy.",
    )
    expect_first_loss(whole, model, recipe)
    expect_settings(whole, recipe)
    expect(all(whole.training), "after the monitor, the model trains in eval mode: call model.train() again.")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs" / "checkpoint.pt"
        stopped = observe(pretrain, copy.deepcopy(model), images, recipe, path, stop_at=steps + 1)
        expect(
            path.is_file(),
            "a run was stopped in its second epoch and left no checkpoint file: after each epoch, "
            "save_checkpoint(checkpoint, ...).",
        )
        expect(
            stopped.batches == whole.batches[: steps + 1],
            "two runs with the same arguments took the images in different orders: draw them with a generator "
            "seeded with recipe.seed.",
        )
        again = observe(pretrain, copy.deepcopy(other), images, recipe, path, earlier=steps)
        expect_resumed(again, whole, model, other, recipe, steps)
        finished = observe(pretrain, copy.deepcopy(other), images, recipe, path)
        expect(not finished.batches, "a run that has all its epochs trains again when it is called once more.")

    short = TinyRecipe(epochs=1, seed=recipe.seed + 1, base_lr=recipe.base_lr, temperature=5.0, optimizer="muon")
    plain = observe(pretrain, copy.deepcopy(model), images, short, watch=False)
    expect(
        len(plain.batches) == steps,
        f"with recipe.epochs = 1 the run makes {len(plain.batches)} steps, not {steps}: is it 3 epochs whatever the recipe says?",
    )
    expect_history(plain, short, steps)
    expect_first_loss(plain, model, short)
    expect(
        plain.batches != whole.batches[:steps],
        "another recipe.seed gives the same order of images: seed the generator with it.",
    )


def expect_history(run: Run, recipe: TinyRecipe, steps: int) -> None:
    history = run.history
    expect(isinstance(history, dict), f"pretrain returned a {type(history).__name__}; the history, a dict, is wanted.")
    for name in ("loss", "lr", "epochs"):
        expect(name in history, f"the history has no {name!r}; it needs 'loss', 'lr' and 'epochs'.")
        expect(
            isinstance(history[name], list), f"history[{name!r}] is a {type(history[name]).__name__}; a list is wanted."
        )
    made = len(run.batches)
    expect(made > 0, "two_views was never called: no batch was trained on.")
    for name in ("loss", "lr"):
        found = len(history[name])
        expect(
            found == made,
            f"history[{name!r}] has {found} numbers after {made} steps; one a step is wanted"
            + (", not one an epoch." if found == recipe.epochs else "."),
        )
    expect(
        not any(isinstance(value, Tensor) and value.requires_grad for value in history["loss"]),
        "history['loss'] holds tensors with their graphs; keep the plain numbers train_step returns.",
    )


def expect_first_loss(run: Run, model: TinySimCLR, recipe: TinyRecipe) -> None:
    """The first number of the history is NT-Xent of the first views at recipe.temperature.

    A loop may compute in bfloat16: that moves a cosine by 0.01 at most, and the loss by that over the temperature.
    """

    def first(temperature: float) -> list[float]:
        pair = [run.views]
        return [oracle_steps(model, pair, 0.0, temperature, together=together)[0][0] for together in (True, False)]

    value, others = float(run.history["loss"][0]), (0.5, 1.0, 0.2, 0.1, 0.07)
    off = {tau: min(abs(value / loss - 1) for loss in first(tau)) for tau in (recipe.temperature, *others)}
    fixed = min(off, key=off.get)
    exactly_another = fixed != recipe.temperature and off[fixed] < 1e-4
    if off[recipe.temperature] > 0.015 / recipe.temperature or exactly_another:
        known = fixed != recipe.temperature and off[fixed] < 0.015 / recipe.temperature
        hint = f"{fixed:g} is used, whatever recipe.temperature says." if known else "Is it train_step's?"
        raise NotYet(
            f"history['loss'] begins with {value:.4g}; at temperature {recipe.temperature} it is "
            f"{first(recipe.temperature)[0]:.4g}. {hint}"
        )


def expect_order(run: Run, recipe: TinyRecipe, steps: int, count: int) -> None:
    size, sizes = recipe.batch_size, [len(batch) for batch in run.batches]
    rest = count % size
    expect(
        rest not in sizes or set(sizes) != {size, rest},
        f"with {count} images and batches of {size}, a batch of {rest} came: drop the last, incomplete batch of an "
        f"epoch.",
    )
    expect(set(sizes) == {size}, f"batches of {sorted(set(sizes))} images came; recipe.batch_size is {size}.")
    wanted = recipe.epochs * steps
    expect(
        len(sizes) == wanted,
        f"{len(sizes)} steps were made; {recipe.epochs} epochs of {count} // {size} = {steps} batches are {wanted} "
        f"steps.",
    )
    orders = [[i for batch in epoch for i in batch] for epoch in run.epochs(steps)]
    for number, order in enumerate(orders, 1):
        expect(
            len(set(order)) == len(order),
            f"in epoch {number} some images came twice and others not at all: an epoch is a permutation "
            f"(torch.randperm).",
        )
    expect(
        orders[0] != sorted(orders[0]),
        "the images came in the order they are stored, not shuffled. Where that order goes by class, a batch has no "
        "easy negatives.",
    )
    expect(
        orders[0] != orders[1],
        "every epoch takes the images in the same order, so the same images always meet in a batch: draw a new "
        "order each epoch.",
    )
    groups = [{frozenset(batch) for batch in epoch} for epoch in run.epochs(steps)]
    expect(
        groups[0] != groups[1],
        "the batches are shuffled, but each holds the same images every epoch: shuffle the images.",
    )


def expect_schedule(run: Run, recipe: TinyRecipe, steps: int) -> None:
    total = recipe.epochs * steps
    warmup = round(recipe.warmup_fraction * total)
    wanted = [schedule(step, total, warmup, recipe.base_lr) for step in range(total)]
    per_epoch = round(recipe.warmup_fraction * steps)
    mistakes = {
        "it stays at base_lr: set group['lr'] of optimizer.param_groups before each step.": [recipe.base_lr] * total,
        "the schedule starts over in each epoch; its steps count on through all of them.":
            [schedule(step % steps, total, warmup, recipe.base_lr) for step in range(total)],
        "the schedule is made for one epoch; total_steps is epochs times batches.":
            [schedule(step % steps, steps, per_epoch, recipe.base_lr) for step in range(total)],
        "it is one step late: set the rate before the step it is for.":
            [recipe.base_lr, *wanted[:-1]],
        "it is one step ahead; the first step is step 0.":
            [schedule(step + 1, total, warmup, recipe.base_lr) for step in range(total)],
        "there is no warm-up; warmup_steps is recipe.warmup_fraction · total_steps.":
            [schedule(step, total, 0, recipe.base_lr) for step in range(total)],
        "warmup_steps was cut off; round it.":
            [schedule(step, total, int(recipe.warmup_fraction * total), recipe.base_lr) for step in range(total)],
    }  # fmt: skip
    for what, rates in (("optimizer", run.rates), ("history", run.history["lr"])):
        if what == "optimizer" and len(rates) != total:  # an optimizer not of torch, or several: nothing to read
            continue
        if not same(rates, wanted):
            where = (
                "the learning rate of the optimizer"
                if what == "optimizer"
                else "the optimizer is right, but history['lr']"
            )
            first = next(i for i in range(total) if abs(float(rates[i]) - wanted[i]) > 1e-9)
            saw = f"{where} at step {first} is {float(rates[first]):.4g}, not {wanted[first]:.4g}"
            known = next((sentence for sentence, wrong in mistakes.items() if same(rates, wrong)), "see warmup_cosine.")
            raise NotYet(f"{saw}: {known}")


def expect_settings(run: Run, recipe: TinyRecipe) -> None:
    """The optimizer is the recipe's, and every batch gets random numbers of its own."""
    expect(
        len(set(run.luck)) == len(run.luck),
        "two batches got views from the same random numbers: make one generator for the whole run and hand it to "
        "two_views; one that is seeded again repeats its crops and colours.",
    )
    if run.optimizer is None:  # not of torch: nothing to read
        return
    kind, decay = run.optimizer
    expect(kind == "AdamW", f"the optimizer is {kind}; torch.optim.AdamW is wanted.")
    expect(
        abs(decay - recipe.weight_decay) < 1e-12,
        f"the optimizer's weight_decay is {decay:g}; recipe.weight_decay is {recipe.weight_decay:g}.",
    )


def same(values: list, wanted: list[float]) -> bool:
    return close(torch.tensor([float(value) for value in values]).double(), torch.tensor(wanted).double(), 1e-7)


def expect_watched(run: Run, recipe: TinyRecipe, steps: int) -> None:
    expect(bool(run.monitored), "the monitor was handed in and never called: call monitor(model) after each epoch.")
    ends = [steps * (epoch + 1) for epoch in range(recipe.epochs)]
    expect(
        run.monitored == ends,
        f"the monitor was called after {run.monitored} steps; once after each epoch is wanted, so after {ends}.",
    )
    wanted = [{"epoch": epoch + 1, "knn": 0.5 + end / 1000} for epoch, end in enumerate(ends)]
    entries = run.history["epochs"]
    expect(len(entries) == recipe.epochs, f"history['epochs'] has {len(entries)} entries after {recipe.epochs} epochs.")
    for entry, right in zip(entries, wanted, strict=True):
        expect(
            isinstance(entry, dict) and entry.get("knn") == right["knn"] and entry.get("epoch") == right["epoch"],
            f"history['epochs'] holds {entry} where the epoch's number and the monitor's are {right}.",
        )
    expect(bool(run.told), "on_step was handed in and never called: on_step(step, total_steps, loss) after each step.")
    told = [(step, recipe.epochs * steps, loss) for step, loss in enumerate(run.history["loss"])]
    expect(
        [tuple(values) for values in run.told] == told,
        f"on_step was first called with {run.told[0]}, and {len(run.told)} times; after each step, on_step(step, "
        f"total_steps, "
        f"loss) with step from 0 is wanted, first {told[0]}.",
    )


def expect_resumed(
    again: Run, whole: Run, model: TinySimCLR, fresh: TinySimCLR, recipe: TinyRecipe, steps: int
) -> None:
    """The second half of a stopped run is the second half of the undisturbed one."""
    left = len(whole.batches) - steps
    expect(
        len(again.batches) != len(whole.batches),
        "called again after a stop, the run starts from scratch: where the checkpoint file exists, load it and go on.",
    )
    expect(
        len(again.batches) == left,
        f"called again after a stop, {len(again.batches)} steps were made; one epoch was kept, so {left} are left.",
    )
    if again.before:
        at_resume = again.before[0]
        expect(not close(at_resume, fresh.weights(), 1e-6), "after a stop, the model's weights are not restored.")
        remembered, wanted = again.counts[0], whole.counts[steps]
        expect(
            remembered == wanted,
            "after a stop, the optimizer begins anew, without its running means: keep and load optimizer.state_dict().",
        )
    expect(
        same(again.rates, whole.rates[steps:]) or len(again.rates) != left,
        "after a stop, the learning rate is not that of the undisturbed run at the same step: "
        + ("the schedule starts over." if same(again.rates, whole.rates[:left]) else "the step has to count on."),
    )
    expect(
        again.batches != whole.batches[:left],
        "after a stop, the images come in the order of the first epochs again: keep generator.get_state(), and draw the "
        "order with that generator, torch.randperm(..., generator=generator).",
    )
    expect(
        again.batches == whole.batches[steps:],
        "after a stop, the images come in another order than in the undisturbed run: keep generator.get_state() and "
        "set it.",
    )
    losses = again.history.get("loss", []) if isinstance(again.history, dict) else []
    expect(
        len(losses) == len(whole.batches),
        f"after a stop, the history has {len(losses)} losses of {len(whole.batches)}: the first epoch's are lost, "
        f"keep them too.",
    )
    expect(
        close(again.weights, whole.weights, 1e-5),
        "a run that was stopped and called again ends with other weights than an undisturbed one. Model, "
        "optimizer, schedule and order are right, so look at the views: are they drawn from the "
        "generator whose state is kept?",
    )
    expect(
        again.history["epochs"] == whole.history["epochs"] and same(again.history["lr"], whole.history["lr"]),
        "after a stop, history['epochs'] or history['lr'] is not that of the undisturbed run.",
    )


# The clinic ---------------------------------------------------------------------------------------------------------


LOOK = {  # cause: the feature of the curves that gives it away, without its name
    "temperature is the batch size": "how far does its loss move at all, from first step to last, and what do "
    "alignment and uniformity do meanwhile?",
    "images are not shuffled": "its loss, alignment and uniformity are nearly the healthy run's; what does the k-NN "
    "monitor do?",
    "the same view twice": "how low does its loss fall, and do its positives (alignment) say the same?",
    "detached denominator": "what becomes of the spread of z and of uniformity, and at which loss does it end?",
    "frozen batch-norm": "what in the network changes in all other runs and stands still in this one?",
    "learning rate x 100": "look at the panel of the learning rate, then at what the loss does meanwhile.",
}


@check
def check_clinic(answer, generator: Generator) -> None:
    """Which broken run is which: {letter: cause}, or a function without arguments that returns it."""
    record = json.loads(CLINIC.read_text(encoding="utf-8"))
    letters, causes = sorted(record["key"]), tuple(LOOK)
    found = call("clinic()", answer) if callable(answer) else answer
    expect(isinstance(found, dict), f"the answer is a {type(found).__name__}; a dict {{letter: cause}} is wanted.")
    found = {str(letter).strip().upper(): cause for letter, cause in found.items()}
    missing = [letter for letter in letters if not found.get(letter)]
    expect(not missing, f"there is no cause for {', '.join(missing)} yet.")
    unknown = [cause for cause in found.values() if cause not in causes]
    expect(not unknown, f"{unknown[:1]} is not one of the causes. They are: {'; '.join(causes)}.")
    twice = sorted({cause for cause in found.values() if list(found.values()).count(cause) > 1})
    expect(not twice, f"each cause belongs to one run, and {twice[:1]} is named for more than one.")
    truth = {
        letter: next(c for c in causes if digest(record["salt"], letter, c) == record["key"][letter])
        for letter in letters
    }
    wrong = [letter for letter in letters if found[letter] != truth[letter]]
    if wrong:
        right = len(letters) - len(wrong)
        raise NotYet(f"{right} of {len(letters)} are right. Look at {wrong[0]} again: {LOOK[truth[wrong[0]]]}")


def digest(salt: str, letter: str, cause: str) -> str:
    """How the right answer is kept, so that it cannot be read off by accident."""
    return hashlib.sha256(f"{salt}/{letter}/{cause}".encode()).hexdigest()
