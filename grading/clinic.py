"""Make the patients of notebook 05: one healthy run and six broken ones, each really trained, and their curves.

`python -m grading.clinic`, from the root, writes data/results/clinic.json. It takes about a minute of one
core a run; finished runs are kept in runs/clinic/, so that a stopped command goes on. The letters of the broken runs
are drawn, and the key is kept as hashes.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.record import write_json, write_result
from helpers import checkpoints, evaluation, losses, training
from helpers.augmentation import TwoViewsOfBatch
from helpers.checks.training import digest
from helpers.data import ImageSet, load_images

SEED = 0
RECIPE = training.Recipe(epochs=10, batch_size=128, seed=SEED)
TRAINED, BANK, QUERIES, WATCHED = 5120, 1000, 500, 256  # images: to train on, for the k-NN monitor, for alignment
KEPT = Path("runs/clinic")
SALT = "two views: the clinic"


def main() -> None:
    argparse.ArgumentParser(prog="python -m grading.clinic", description=__doc__).parse_args()
    torch.set_num_threads(1)
    images = load_images("shapes", "train")
    curves = {cause: kept_run(cause, images) for cause in ("healthy", *training.CAUSES)}
    order = torch.randperm(len(training.CAUSES), generator=torch.Generator().manual_seed(SEED + 4)).tolist()
    letters = {letter: training.CAUSES[place] for letter, place in zip("ABCDEF", order, strict=True)}
    numbers = {
        "images": TRAINED,
        "batch_size": RECIPE.batch_size,
        "temperature": RECIPE.temperature,
        "curves": {"healthy": curves["healthy"]} | {letter: curves[cause] for letter, cause in letters.items()},
        "salt": SALT,
        "key": {letter: digest(SALT, letter, cause) for letter, cause in letters.items()},
    }
    write_result("clinic", "python -m grading.clinic", SEED, numbers)


def kept_run(cause: str, images: ImageSet) -> dict:
    """The curves of one run: from runs/clinic/ where it is there, else trained now."""
    made_of = digest(str(RECIPE), str(TRAINED), str(checkpoints.fingerprint(images.images)))[
        :12
    ]  # no mixing of old and new
    path = KEPT / made_of / f"{cause.replace(' ', '_')}.json"
    if not path.exists():
        curves = train(cause, images)
        write_json(path, curves)
    return json.loads(path.read_text())


def train(cause: str, images: ImageSet) -> dict:
    """Train with one cause built in ("healthy": with none), and record the curves.

    Returns:
        loss and lr, a number a step; knn, alignment, uniformity, std and batch_norm, a number before training and
        after each epoch.
    """
    broken = {name: name == cause for name in training.CAUSES}
    images_used = images.images[:TRAINED]
    if broken["images are not shuffled"]:
        images_used = images_used[
            images.labels[:TRAINED].argsort(stable=True)
        ]  # as files lie in folders, class by class
    temperature = RECIPE.batch_size if broken["temperature is the batch size"] else RECIPE.temperature
    base_lr = RECIPE.base_lr * (100 if broken["learning rate x 100"] else 1)
    model, two_views = training.build_model(RECIPE), training.views_of(RECIPE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=base_lr, weight_decay=RECIPE.weight_decay)
    generator = torch.Generator().manual_seed(SEED)
    watch = watcher(images, two_views)
    steps_per_epoch = TRAINED // RECIPE.batch_size
    total = RECIPE.epochs * steps_per_epoch
    curves = {name: [value] for name, value in watch(model).items()} | {"loss": [], "lr": []}
    with training.fast(model):
        for _ in range(RECIPE.epochs):
            order = torch.randperm(TRAINED, generator=generator)
            if broken["images are not shuffled"]:
                order = order.sort().values
            for rows in order.split(RECIPE.batch_size)[:steps_per_epoch]:
                lr = training.warmup_cosine(len(curves["lr"]), total, round(RECIPE.warmup_fraction * total), base_lr)
                optimizer.param_groups[0]["lr"] = lr
                x_a, x_b = two_views(images_used[rows], generator)
                if broken["the same view twice"]:
                    x_b = x_a
                model.train()
                if broken["frozen batch-norm"]:
                    freeze_batch_norm(model)
                z_a, z_b = model(torch.cat([x_a, x_b]))[1].chunk(2)  # (N, D) each
                contrast = detached_denominator if broken["detached denominator"] else losses.nt_xent
                loss = contrast(z_a, z_b, temperature)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                curves["loss"].append(round(loss.item(), 4))
                curves["lr"].append(lr)
            for name, value in watch(model).items():
                curves[name].append(value)
    return curves


def freeze_batch_norm(model: nn.Module) -> None:
    """Batch-norm uses the statistics it began with, mean 0 and variance 1, and does not learn others."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def running_mean(model: nn.Module) -> float:
    """How far the means that batch-norm keeps are from 0, where they begin: the mean size of all of them."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    return torch.cat([norm.running_mean for norm in norms]).abs().mean().item()


def detached_denominator(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """NT-Xent with the right value and without the gradient of its denominator: nothing pushes the negatives away."""
    positive = F.cosine_similarity(z_a, z_b).mean() / temperature
    return losses.nt_xent(z_a.detach(), z_b.detach(), temperature) + positive.detach() - positive


def watcher(images: ImageSet, two_views: TwoViewsOfBatch) -> Callable[[nn.Module], dict[str, float]]:
    """What is measured after each epoch, in eval mode, on images that are not trained on: k-NN on h, the rest on z."""
    bank, query, watched = (
        slice(TRAINED + a, TRAINED + b) for a, b in ((0, BANK), (BANK, BANK + QUERIES), (0, WATCHED))
    )
    x_a, x_b = two_views(images.images[watched], torch.Generator().manual_seed(SEED + 1))  # always the same views

    def watch(model: nn.Module) -> dict[str, float]:
        h = evaluation.extract_features(model.encoder, images.images[bank.start : query.stop])
        h = h.nan_to_num()
        both = nn.Sequential(model.encoder, model.head)
        z_a, z_b = (F.normalize(evaluation.extract_features(both, x).nan_to_num(), dim=1) for x in (x_a, x_b))
        return {
            "knn": evaluation.knn_accuracy(h[:BANK], images.labels[bank], h[BANK:], images.labels[query]),
            "alignment": round(evaluation.alignment(z_a, z_b).item(), 4),
            "uniformity": round(evaluation.uniformity(torch.cat([z_a, z_b])).item(), 4),
            "std": round(torch.cat([z_a, z_b]).std(dim=0).mean().item(), 5),
            "batch_norm": round(running_mean(model), 5),
        }

    return watch


if __name__ == "__main__":
    main()
