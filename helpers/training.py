"""Pretraining: recipe, schedule, one step, the loop with its k-NN monitor and checkpoints, and a command line.

The network, the views, the loss and the measures come from their own modules; nothing here draws. From the root:
`python -m helpers.training --data shapes --arch resnet8 --epochs 10 --out runs/first`. The same line again resumes.
With `torchrun --nproc-per-node 2` in place of `python`, two processes share every batch: see helpers/distributed.py.
"""

import argparse
import copy
import itertools
import json
import math
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm.auto import tqdm

from helpers import augmentation, checkpoints, data, distributed, encoder, evaluation
from helpers.augmentation import TwoViewsOfBatch
from helpers.clinic import CAUSES, clinic, clinic_curves  # noqa: F401  the fourth exercise of 05 belongs here too
from helpers.distributed import nt_xent  # losses.nt_xent, for one process or several
from helpers.machine import best_device, cap_threads, fast, near, versions
from helpers.optimizers import optimizer_for
from helpers.projection_head import SimCLR, head_for

Monitor = Callable[[nn.Module], dict[str, float]]


@dataclass(frozen=True)
class Recipe:
    """All settings of one pretraining run. The defaults suit the built-in pictures and two CPU cores."""

    arch: str = "resnet8"  # the shortest h, 128 numbers; resnet18 needs 9 times the arithmetic
    small_images: bool = False  # the ImageNet stem has a tenth of the arithmetic; True (3×3 stem) sees more, given time
    view_size: int = 32  # pixels; the side of the images
    epochs: float = 20  # times every image is seen; 2.5 ends in the middle of the third epoch
    batch_size: int = 128  # N images, so 2N views and 2N - 2 negatives for each anchor
    views: int = 2  # of every image of a batch; with more, every pair of them is a positive (Shidani et al. 2024)
    optimizer: str = "adamw"  # or "muon", which learns more in few steps, or "lars", the paper's, for large batches
    base_lr: float = 3e-3  # reached at the end of the warm-up
    weight_decay: float = 0.01  # of AdamW, decoupled, per unit of learning rate; Muon has none
    warmup_fraction: float = 0.05  # of all steps; the paper warms up for 10 of its 100 or more epochs
    temperature: float = 0.2  # of NT-Xent; between the paper's best, 0.1 and 0.5 (table 5)
    strength: float = 1.0  # of the colour distortion; the paper uses 1 on ImageNet and 0.5 on CIFAR-10
    blur: bool = False  # the paper leaves blur out on small images (appendix B.9)
    fused: bool = False  # views by augmentation.fast_view: sooner made, but see data/results/choices_cifar10.json
    area: tuple[float, float] = (0.5, 1.0)  # share of the image a crop covers; the paper's 0.08 can miss a small object
    hidden_dim: int = 512  # width of the projection head
    head_norm: bool = False  # batch normalisation in the head, as in SimCLR's own code
    out_dim: int = 128  # numbers in z, as in the paper
    seed: int = 0  # of the weights, the order of the images and the views


class Interrupted(KeyboardInterrupt):
    """Training was stopped by hand. Its text says what is kept and how to go on; shown without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def warmup_cosine(step: int, total_steps: int, warmup_steps: int, base_lr: float) -> float:
    """The learning rate of a step: a straight line up to base_lr, then half a cosine down to 0.

    Args:
        step: 0 is the first one.
        total_steps: here, behind the last step, the rate is 0.
        warmup_steps: the rate is base_lr · (step + 1) / warmup_steps before this step; 0 leaves the warm-up out.
    """
    if step < warmup_steps:
        return base_lr * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)  # 0 .. 1
    return base_lr * (1 + math.cos(math.pi * progress)) / 2


def train_step(model: nn.Module, optimizer: Optimizer, x_a: Tensor, x_b: Tensor, temperature: float) -> float:
    """One step of the optimizer on NT-Xent (Chen et al. 2020, algorithm 1), both views in one pass.

    Args:
        model: x -> (h, z); left in train mode.
        x_a, x_b: (N, 3, H, W) two views of N images, on the model's device.
        temperature: of NT-Xent, > 0.

    Returns:
        The loss before the step, a plain number.
    """
    return step_on_views(model, optimizer, (x_a, x_b), temperature)


def step_on_views(model: nn.Module, optimizer: Optimizer, views: Sequence[Tensor], temperature: float) -> float:
    """train_step for two views or more, (N, 3, H, W) each: the loss is the mean over all pairs of views.

    V views of N images cost V / 2 times what two cost, and have V (V - 1) / 2 times as many pairs (Shidani et al. 2024,
    "Poly-View Contrastive Learning").
    """
    model.train()
    _, z = model(torch.cat(tuple(views)))  # (V·N, D)
    pairs = list(itertools.combinations(z.chunk(len(views)), 2))  # (N, D) each
    loss = sum(nt_xent(z_a, z_b, temperature) for z_a, z_b in pairs) / len(pairs)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def pretrain(
    model: nn.Module,
    images: Tensor,
    two_views: TwoViewsOfBatch,
    recipe: Recipe,
    monitor: Monitor | None = None,
    checkpoint: str | Path | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> dict:
    """Train a model with SimCLR: every epoch sees every image once, in a new order; a last, smaller batch is dropped.

    A run that was stopped and is called again with the same arguments goes on after its last whole epoch, and, on a
    CPU, ends with the very weights of an undisturbed run.

    Args:
        model: x -> (h, z), on the device it is to train on; changed in place.
        images: (M, 3, H, W) uint8, M >= recipe.batch_size.
        two_views: images (N, 3, H, W) uint8, generator -> (x_a, x_b), or more views of the same images.
        recipe: of its fields, those about the model and the views must already be in `model` and `two_views`.
        monitor: called with the model after each epoch; its numbers go into the history.
        checkpoint: file that is written after each epoch, and resumed from where it exists.
        on_step: called as on_step(step, total_steps, loss), step from 0.

    Returns:
        {"loss": [a number a step], "lr": [a number a step], "epochs": [{"epoch": 1, ...the monitor's numbers}, ...]}

    Raises:
        ValueError: too few images, epochs or batch_size; a checkpoint of another run.
        OSError: the checkpoint could not be written, for instance on a full disk; the earlier one is intact.
        Interrupted: the run was stopped by Ctrl-C or "Interrupt kernel".
    """
    check_sizes(images, recipe)
    device = next(model.parameters()).device
    steps_per_epoch = len(images) // recipe.batch_size
    total_steps = steps_of(recipe, len(images))
    warmup_steps = round(recipe.warmup_fraction * total_steps)
    optimizer = optimizer_for(model, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    history = {"loss": [], "lr": [], "epochs": []}
    with fast(model), stoppable(checkpoint, recipe):
        if checkpoint is not None and Path(checkpoint).exists():
            history = resume(checkpoint, model, optimizer, generator, images, recipe)
        shared = distributed.share(model)  # the model itself, where no other process takes part
        for epoch in range(len(history["epochs"]), math.ceil(recipe.epochs)):
            order = torch.randperm(len(images), generator=generator)
            steps_left = total_steps - len(history["loss"])  # fewer than an epoch's where the last one is cut
            for rows in order.split(recipe.batch_size)[: min(steps_per_epoch, steps_left)]:
                step = len(history["loss"])
                lr = warmup_cosine(step, total_steps, warmup_steps, recipe.base_lr)
                for group in optimizer.param_groups:
                    group["lr"] = lr
                views = distributed.own_rows(*two_views(images[rows.to(images.device)].to(device), generator))
                loss = step_on_views(shared, optimizer, views, recipe.temperature)
                history["loss"].append(loss), history["lr"].append(lr)
                if on_step:
                    on_step(step, total_steps, loss)
            first = distributed.rank() == 0
            history["epochs"].append({"epoch": epoch + 1, **(monitor(model) if monitor and first else {})})
            if checkpoint is not None and first:
                save(checkpoint, model, optimizer, generator, images, recipe, history)
    return history


def steps_of(recipe: Recipe, images: int) -> int:
    """How many steps a run on so many images has, at least one of each epoch; an incomplete last batch is dropped."""
    return max(1, math.ceil(recipe.epochs * (images // recipe.batch_size) - 1e-6))


def check_sizes(images: Tensor, recipe: Recipe) -> None:
    """ValueError, with what to do, for a run that cannot start."""
    if recipe.epochs <= 0:
        raise ValueError(f"epochs is {recipe.epochs}; a run needs more than 0.")
    if recipe.batch_size < 2:
        raise ValueError(f"batch_size is {recipe.batch_size}; with fewer than 2 images there are no negatives.")
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be (M, 3, H, W) uint8, not {tuple(images.shape)} {images.dtype}.")
    if len(images) < recipe.batch_size:
        raise ValueError(
            f"{len(images)} images are fewer than one batch of {recipe.batch_size}, and incomplete batches are "
            f"dropped: set batch_size to {len(images)} or less."
        )


def save(checkpoint, model, optimizer, generator, images, recipe, history) -> None:
    """Write all that the next epoch depends on."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "generator": generator.get_state()}
    state |= {"history": history, "recipe": asdict(recipe), "images": checkpoints.fingerprint(images)}
    checkpoints.save_checkpoint(checkpoint, state)


def resume(checkpoint, model, optimizer, generator, images, recipe) -> dict:
    """Put model, optimizer and generator where the checkpoint left them, and return its history."""
    state = checkpoints.load_checkpoint(checkpoint)
    if not {"model", "optimizer", "generator", "history", "recipe", "images"} <= state.keys():
        raise ValueError(f"{checkpoint} holds a model but not a run to go on with. Choose another file.")
    now, then = asdict(recipe), asdict(Recipe()) | state["recipe"]  # settings younger than the run: the defaults
    changed = [f"{name} {then[name]!r} (now {value!r})" for name, value in now.items() if then[name] != value]
    afresh = "Delete it to start afresh, or choose another file."
    if changed:
        raise ValueError(f"{checkpoint} comes from a run with another {', another '.join(changed)}. {afresh}")
    if state["images"] != checkpoints.fingerprint(images):
        raise ValueError(f"{checkpoint} comes from a run on other images. {afresh}")
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError):
        raise ValueError(f"{checkpoint} holds the weights of another architecture than this model. {afresh}") from None
    generator.set_state(state["generator"])
    return state["history"]


@contextmanager
def stoppable(checkpoint: str | Path | None, recipe: Recipe) -> Iterator[None]:
    """Around a training loop of any kind: Ctrl-C and "Interrupt kernel" end in one line that says what is kept."""
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt as stop:
        raise Interrupted(how_to_go_on(checkpoint, recipe)) from stop


def how_to_go_on(checkpoint: str | Path | None, recipe: Recipe) -> str:
    """One line after Ctrl-C."""
    if checkpoint is None or not Path(checkpoint).exists():
        return "Stopped. No epoch was finished and kept, so the next run starts from the beginning."
    return f"Stopped. {checkpoint} keeps {epochs_done(checkpoint)} of {recipe.epochs:g} epochs: run the same again and it goes on from there."


def history_so_far(checkpoint: str | Path) -> dict | None:
    """The history that a run's checkpoint keeps; None where there is none yet, or a model alone."""
    return checkpoints.load_checkpoint(checkpoint).get("history") if Path(checkpoint).exists() else None


def epochs_done(checkpoint: str | Path) -> int:
    """Whole epochs that a run's checkpoint keeps; 0 where there is none yet."""
    return len((history_so_far(checkpoint) or {"epochs": []})["epochs"])


def recipe_for(name: str, side: int, **settings) -> Recipe:
    """A recipe for a data set, by its name and the side of its images in pixels; settings are fields of Recipe.

    Photographs get an encoder twice as wide, h from quarters, four views each, half the colour strength, smaller crops,
    a lower temperature, Muon and a batch norm in the head; `make choices` takes such choices back one by one, and its
    results file says which were measured. Up to 64 pixels a side they get the small-image stem. Our small encoders then
    train on views of three quarters of the side: in equal time they see nearly twice as many, and things in a crop look
    larger than in the whole picture, which comes later (Touvron et al. 2019). On the built-in pictures only the larger
    encoders get the small-image stem. LARS gets the paper's rate, 0.075 · √batch size (appendix B.1): it is a share of
    a layer's length, and far larger than AdamW's.
    """
    arch = settings.get("arch", Recipe.arch if name == "shapes" else "resnet8x2-quarters")
    narrow, small = arch in encoder.NARROW, side <= 64
    chosen = {"arch": arch, "view_size": side, "small_images": small and not narrow}
    if name != "shapes":
        chosen |= {"view_size": 3 * side // 4 if small and narrow else side, "small_images": small, "strength": 0.5}
        chosen |= {"area": (0.2, 1.0), "views": 4, "batch_size": 512 // settings.get("views", 4)}  # 512 views a step
        chosen |= {"optimizer": "muon", "base_lr": 2e-3, "temperature": 0.1, "head_norm": True}
    recipe = Recipe(**(chosen | settings))
    lars = recipe.optimizer == "lars" and "base_lr" not in settings
    return replace(recipe, base_lr=0.075 * recipe.batch_size**0.5) if lars else recipe


def build_model(recipe: Recipe) -> SimCLR:
    """A fresh SimCLR model of the recipe, in train mode on the CPU; its random weights depend on recipe.seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        body, feature_dim = encoder.build_encoder(recipe.arch, recipe.small_images)
        return SimCLR(body, head_for(feature_dim, recipe.hidden_dim, recipe.out_dim, recipe.head_norm))


def views_of(r: Recipe) -> TwoViewsOfBatch:
    """The batched two_views of the recipe."""
    return augmentation.batch_views(r.view_size, r.strength, r.blur, r.area, r.fused, r.views)


def knn_monitor(train: data.ImageSet, queries: int = 1000, bank: int = 4000, k: int = 20, seed: int = 0) -> Monitor:
    """A monitor(model) -> {"knn": accuracy of h}, on train images held apart from each other; test is never touched.

    Args:
        train: images with labels.
        queries: images whose class is asked for; at most a fifth of all.
        bank: other images, whose classes are known.
        seed: draws which images are which.
    """
    if train.labels is None:
        raise ValueError("A k-NN monitor needs labels, and these images have none; pass monitor=None.")
    order = torch.randperm(len(train.images), generator=torch.Generator().manual_seed(seed))
    queries = max(1, min(queries, len(order) // 5))
    ask, known = order[:queries], order[queries : queries + bank]

    def monitor(model: nn.Module) -> dict[str, float]:
        both = train.images[torch.cat([known, ask])]  # (bank + queries, 3, H, W)
        h = evaluation.extract_features(model.encoder, both, batch_size=128)  # (bank + queries, D)
        bank_h, query_h = h[: len(known)], h[len(known) :]
        knn = evaluation.knn_accuracy(bank_h, train.labels[known], query_h, train.labels[ask], k=min(k, len(known)))
        return {"knn": knn}

    return monitor


def geometry_monitor(images: Tensor, two_views: TwoViewsOfBatch, count: int = 256, seed: int = 0) -> Monitor:
    """A monitor(model) -> {"alignment": ..., "uniformity": ...} of z, on the same two views of some images every time.

    Args:
        images: (M, 3, H, W) uint8, of which `count` are drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    some = images[torch.randperm(len(images), generator=generator)[:count].to(images.device)]
    x_a, x_b = two_views(some, generator)[:2]

    def monitor(model: nn.Module) -> dict[str, float]:
        whole = nn.Sequential(model.encoder, model.head)
        z_a, z_b = (evaluation.extract_features(whole, x) for x in (x_a, x_b))  # (count, D) each
        return {"alignment": float(evaluation.alignment(z_a, z_b)), "uniformity": float(evaluation.uniformity(z_a))}

    return monitor


def keep_moments(folder: Path, model: nn.Module, recipe: Recipe, done: int, monitor: Monitor | None = None) -> Monitor:
    """A monitor that also keeps what the model was before training and after 1, 2, 4, 8, ... epochs, to look back on.

    Args:
        folder: gets one small checkpoint a moment, epoch-000.pt and so on, its weights as float16.
        done: epochs that an earlier, stopped part of the run has behind it.
        monitor: called as well; its numbers are handed on.
    """
    state = {"epoch": done}

    def keep(model: nn.Module) -> None:
        path = folder / f"epoch-{state['epoch']:03d}.pt"
        checkpoints.save_checkpoint(path, {"model": checkpoints.halved(model), "recipe": asdict(recipe)})

    def watched(model: nn.Module) -> dict[str, float]:
        state["epoch"] += 1
        if state["epoch"].bit_count() == 1 or state["epoch"] == math.ceil(recipe.epochs):
            keep(model)
        return monitor(model) if monitor else {}

    if done == 0:
        keep(model)
    return watched


def epochs_in(
    seconds: float,
    model: nn.Module,
    images: Tensor,
    two_views: TwoViewsOfBatch,
    recipe: Recipe,
    monitor: Monitor | None = None,
    keep: Path | None = None,
) -> float:
    """How many epochs fit into the seconds on this machine, at least one step, from steps timed on a copy.

    Ten steps are timed, or as many as take 3 % of the seconds: a machine is not equally fast from one to the next.

    Args:
        keep: file for the number; once there, it is read instead, so that a stopped run goes on as it began.
    """
    if keep is not None and keep.exists():
        return float(keep.read_text())
    check_sizes(images, recipe)
    started = time.perf_counter()
    trial, generator = copy.deepcopy(model), torch.Generator().manual_seed(recipe.seed)
    device = next(trial.parameters()).device
    optimizer = optimizer_for(trial, replace(recipe, base_lr=1e-6))

    def timed_step() -> float:
        start = time.perf_counter()
        rows = torch.randperm(len(images), generator=generator)[: recipe.batch_size]
        views = distributed.own_rows(*two_views(images[rows.to(images.device)].to(device), generator))
        step_on_views(trial, optimizer, views, recipe.temperature)
        return time.perf_counter() - start

    with fast(trial):
        times = [timed_step() for _ in range(10)]
        enough = distributed.agreed(0.03 * seconds / statistics.median(times[1:]))  # a step takes all processes
        times += [timed_step() for _ in range(10, int(enough))]
        start = time.perf_counter()
        if monitor:
            monitor(trial)
    steps = len(images) // recipe.batch_size
    per_epoch = time.perf_counter() - start + steps * statistics.median(times[1:])  # whatever disturbed some of them
    left = seconds - (time.perf_counter() - started)
    epochs = distributed.agreed(max(1, int(left / per_epoch * steps)) / steps)
    if keep is not None:
        checkpoints.write_whole(keep, f"{epochs}\n".encode())
    return epochs


def main(arguments: list[str] | None = None) -> int:
    """Pretrain from the command line; the exit code. Run the same line again after a stop: it goes on from there."""
    parser = argparse.ArgumentParser(prog="python -m helpers.training", description=main.__doc__)
    option = parser.add_argument
    option("--data", default="shapes", help="shapes, cifar10, stl10 or folder:PATH (default: shapes)")
    option("--epochs", type=float, help=f"how often every image is seen (default: {Recipe.epochs})")
    option("--seconds", type=float, help="instead of --epochs: as many as fit into this time on this machine")
    option("--out", required=True, help="folder for checkpoint.pt and result.json, for instance runs/first")
    option("--arch", help=f"{', '.join(encoder.NAMES)} (default: recipe_for's, as of the next four)")
    option("--batch-size", type=int, help="images a step")
    option("--temperature", type=float, help="of NT-Xent")
    option("--optimizer", help="adamw, muon or lars")
    option("--lr", type=float, dest="base_lr", help="highest learning rate")
    option("--seed", type=int, help=f"of weights, order and views (default: {Recipe.seed})")
    option("--image-size", type=int, help="side the images are scaled to (default: 32, of larger ones 64 or 96)")
    try:
        words = sys.argv[1:] if arguments is None else arguments
        with distributed.started():
            run(parser.parse_args(words), words)
    except (ValueError, OSError) as problem:
        print(f"helpers.training: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"\n{stop or 'Stopped before the training began.'}", file=sys.stderr)
        return 130
    return 0


def run(arguments: argparse.Namespace, words: list[str]) -> None:
    """One run of the command line: data, model, training with a progress bar, checkpoint.pt and result.json."""
    out, started = Path(arguments.out), time.perf_counter()
    if arguments.epochs is not None and arguments.seconds is not None:
        raise ValueError("--epochs and --seconds both say how long to train; give one of them.")
    with distributed.first_alone():  # what it fetches or caches, the other processes find
        images = data.load_images(arguments.data, "pretrain", image_size=arguments.image_size)
    names = ("arch", "epochs", "batch_size", "temperature", "optimizer", "base_lr", "seed")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    recipe = recipe_for(arguments.data, images.images.shape[-1], **given)
    cap_threads()
    model, two_views = build_model(recipe).to(best_device()), views_of(recipe)
    pictures, labelled = near(images.images, best_device()), images
    if images.labels is None and arguments.data == "stl10":  # it has labels in another split
        labelled = data.load_images(arguments.data, "train", image_size=arguments.image_size)
    monitor = knn_monitor(labelled) if labelled.labels is not None else None
    checkpoint = out / "checkpoint.pt"
    done = epochs_done(checkpoint)
    if arguments.seconds is not None:
        keep = out / "epochs.txt"
        if not checkpoint.exists():  # the number is of a run that was deleted, or had not begun
            keep.unlink(missing_ok=True)
        epochs = epochs_in(arguments.seconds, model, pictures, two_views, recipe, monitor, keep)
        recipe = replace(recipe, epochs=epochs)
    history = with_progress_bar(model, pictures, two_views, recipe, monitor, checkpoint)
    if distributed.rank() > 0:
        return
    if done == math.ceil(recipe.epochs) and (out / "result.json").exists():
        print(f"{checkpoint} has all its {done} epochs already; another seed or setting needs another --out.")
        return
    command = shlex.join(["python", "-m", "helpers.training", *words])
    result = {"command": command, "data": arguments.data, "seed": recipe.seed, "recipe": asdict(recipe)}
    result |= {"versions": versions(), "device": str(best_device()), "processes": distributed.processes()}
    result |= {"resumed_after_epoch": done, "seconds": round(time.perf_counter() - started, 1), "history": history}
    checkpoints.write_whole(out / "result.json", f"{json.dumps(result, indent=1)}\n".encode())
    side = ["--image-size", str(arguments.image_size)] if arguments.image_size else []
    measure = shlex.join(["python", "-m", "helpers.evaluation", str(checkpoint), "--data", arguments.data, *side])
    print(f"Written: {checkpoint} and {out / 'result.json'}. To measure it: {measure}")


def with_progress_bar(model, images, two_views, recipe, monitor, checkpoint) -> dict:
    """pretrain, with a bar that shows the loss and the monitor's latest numbers."""
    latest = {}

    def watched(model: nn.Module) -> dict[str, float]:
        latest.update(monitor(model))
        return dict(latest)

    with tqdm(unit="step", delay=1e-6, mininterval=0, disable=distributed.rank() > 0) as bar:  # seen after a step

        def on_step(step: int, total_steps: int, loss: float) -> None:
            if bar.n == 0:
                bar.total, bar.initial, bar.n = total_steps, step, step  # of a run that goes on, too
            bar.set_postfix({"loss": loss, **latest}, refresh=False)
            bar.update(step + 1 - bar.n)
            bar.mininterval = 0.1  # second

        return pretrain(model, images, two_views, recipe, watched if monitor else None, checkpoint, on_step)


if __name__ == "__main__":
    sys.exit(main())
