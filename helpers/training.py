"""Pretraining: the schedule, one step, the loop, and a command line.

The settings, the views, the loss, the monitors and what a stopped run keeps come from their own modules. From the root:
`python -m helpers.training --data shapes --arch resnet8 --epochs 10 --out runs/first`. The same line again resumes.
With `torchrun --nproc-per-node 2` in place of `python`, two processes share every batch: see helpers/distributed.py.
"""

import argparse
import contextlib
import copy
import itertools
import json
import math
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm.auto import tqdm

from helpers import checkpoints, data, distributed, encoder, files, losses
from helpers.augmentation import TwoViewsOfBatch
from helpers.clinic import CAUSES, clinic, clinic_curves  # noqa: F401  the fourth exercise of 05 belongs here too
from helpers.distributed import nt_xent  # losses.nt_xent, for one process or several
from helpers.machine import best_device, cap_threads, fast, near, versions
from helpers.monitors import Monitor, monitor_for
from helpers.optimizers import optimizer_for
from helpers.recipe import Recipe, build_model, check_sizes, recipe_for, settings_in, steps_of, views_of
from helpers.resuming import epochs_done, resume, save, stoppable


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


def step_on_views(
    model: nn.Module, optimizer: Optimizer, views: Sequence[Tensor], temperature: float, decoupled: bool = False
) -> float:
    """train_step for two views or more, (N, 3, H, W) each: the loss, NT-Xent or `decoupled`, is the mean over all pairs.

    V views of N images cost V / 2 times what two cost, and have V (V - 1) / 2 times as many pairs (Shidani et al. 2024,
    "Poly-View Contrastive Learning").
    """
    model.train()
    _, z = model(torch.cat(tuple(views)))  # (V·N, D)
    pairs = list(itertools.combinations(z.chunk(len(views)), 2))  # (N, D) each
    loss = sum(nt_xent(z_a, z_b, temperature, decoupled) for z_a, z_b in pairs) / len(pairs)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if not math.isfinite(value := loss.item()):
        raise ValueError(losses.DIVERGED)
    return value


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
    mark = checkpoints.fingerprint(images) if checkpoint is not None else None
    with fast(model), stoppable(checkpoint, recipe):
        if checkpoint is not None and Path(checkpoint).exists():
            history = resume(checkpoint, model, optimizer, generator, mark, recipe)
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
                loss = step_on_views(shared, optimizer, views, recipe.temperature, recipe.decoupled)
                history["loss"].append(loss), history["lr"].append(lr)
                if on_step:
                    on_step(step, total_steps, loss)
            first = distributed.rank() == 0
            history["epochs"].append({"epoch": epoch + 1, **(monitor(model) if monitor and first else {})})
            if checkpoint is not None and first:
                save(checkpoint, model, optimizer, generator, mark, recipe, history)
    return history


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

    Ten steps are timed, and more for 3 % of the seconds, at most 10 seconds: a machine is not equally fast throughout.

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
        step_on_views(shared, optimizer, views, recipe.temperature, recipe.decoupled)
        return time.perf_counter() - start

    with fast(trial):
        shared = distributed.share(trial)
        times = [timed_step() for _ in range(10)]
        enough = distributed.agreed(min(0.03 * seconds, 10) / statistics.median(times[1:]))  # by all processes
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
    option("--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help="fields of Recipe: area=0.2,1")
    option("--image-size", type=int, help="side the images are scaled to (default: 32, of larger ones 64 or 96)")
    try:
        words = sys.argv[1:] if arguments is None else arguments
        with distributed.started():
            run(parser.parse_args(words), words)
    except (ValueError, OSError) as problem:
        print(f"helpers.training: {problem}", file=sys.stderr)
        return 1
    except torch.OutOfMemoryError:
        print("helpers.training: the GPU has too little memory; take a smaller --batch-size.", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'Stopped before the training began.'}", file=sys.stderr)
        return 130
    return 0


def run(arguments: argparse.Namespace, words: list[str]) -> None:
    """One run of the command line: data, model, training with a progress bar, checkpoint.pt and result.json."""
    out, started = Path(arguments.out), time.perf_counter()
    if arguments.seconds is not None and not 0 < arguments.seconds < math.inf:
        raise ValueError(f"--seconds is {arguments.seconds}; a number above 0 is wanted.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder.")
    names = ("arch", "epochs", "batch_size", "temperature", "optimizer", "base_lr", "seed")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    given = settings_in(arguments.set, **given)
    if "epochs" in given and arguments.seconds is not None:
        raise ValueError("epochs and --seconds both say how long to train; give one of them.")
    with distributed.first_alone():  # what it fetches or caches, the other processes find
        images = data.load_images(arguments.data, "pretrain", image_size=arguments.image_size)
    recipe = recipe_for(arguments.data, images.images.shape[-1], **given)
    cap_threads(), torch.manual_seed(recipe.seed)  # for layers of a model that draw at random, such as dropout
    model, two_views = build_model(recipe).to(best_device()), views_of(recipe)
    pictures, labelled = near(images.images, best_device()), images
    if images.labels is None and arguments.data == "stl10":  # it has labels in another split
        labelled = data.load_images(arguments.data, "train", image_size=arguments.image_size)
    monitor = monitor_for(labelled) if distributed.rank() == 0 else None
    check_sizes(images.images, recipe)
    out.mkdir(parents=True, exist_ok=True)  # where nothing can be written, that is known before the training
    with files.alone_in(out) if distributed.rank() == 0 else contextlib.nullcontext():
        checkpoint = out / "checkpoint.pt"
        done = epochs_done(checkpoint)
        if arguments.seconds is not None:
            keep = out / "epochs.txt"
            with distributed.first_alone():
                if distributed.rank() == 0 and not checkpoint.exists():  # of a run that was deleted, or had not begun
                    keep.unlink(missing_ok=True)
            epochs = epochs_in(arguments.seconds, model, pictures, two_views, recipe, monitor, keep)
            recipe = replace(recipe, epochs=epochs)
        history = with_progress_bar(model, pictures, two_views, recipe, monitor, checkpoint)
        if distributed.rank() > 0:
            return
        if done == math.ceil(recipe.epochs) and (out / "result.json").exists():
            print(f"{checkpoint} has all its {done} epochs already; another seed or setting needs another --out.")
            return
        command = shlex.join([*distributed.launcher(), "-m", "helpers.training", *words])
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
