"""How hard are the built-in images? SimCLR beside its controls: `python -m data.measure_shapes`, from the root.

k-NN accuracy (cosine, k = 20) on test with all of train as the bank: raw pixels, a random encoder, SimCLR, the same
without colour distortion, and the same encoder trained with labels (and the accuracy of the classifier it was trained
with). One seed runs on each core, with one thread, so that `core_seconds` is what the training costs. Writes
data/results/shapes.json. `--validation` asks for the last 4,000 train images instead of test, and writes nothing.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat

import torch
from torch import nn

from data.record import write_result
from helpers import augmentation, controls, evaluation, training
from helpers.data import ImageSet, load_images
from helpers.machine import usable_cores

EPOCHS = 12  # of SimCLR: minutes of one core; the results file says how many
LABELLED_STEPS = 1500  # of the supervised control, 128 images each


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m data.measure_shapes", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3], help="one run of everything for each")
    parser.add_argument("--validation", action="store_true", help="measure on a part of train; for choosing settings")
    chosen = parser.parse_args()
    bank, queries = pictures(chosen.validation)
    with ProcessPoolExecutor(usable_cores(), multiprocessing.get_context("spawn")) as pool:
        runs = [row for rows in pool.map(run, chosen.seeds, repeat(chosen.validation)) for row in rows]
    numbers = {
        "images": {"bank": len(bank), "queries": len(queries)},
        "recipe": asdict(training.Recipe(epochs=EPOCHS)),
        "supervised_steps": LABELLED_STEPS,
        "threads": 1,
        "rows": summary(runs),
    }
    if chosen.validation:
        print(json.dumps(numbers, indent=1))
    else:
        seeds = " ".join(map(str, chosen.seeds))
        write_result("shapes", f"python -m data.measure_shapes --seeds {seeds}", chosen.seeds, numbers)


def pictures(validation: bool) -> tuple[ImageSet, ImageSet]:
    """Bank and queries: train and test, or two parts of train."""
    bank, queries = load_images("shapes", "train"), load_images("shapes", "test")
    return (
        (bank.subset(torch.arange(16_000)), bank.subset(torch.arange(16_000, 20_000)))
        if validation
        else (bank, queries)
    )


def run(seed: int, validation: bool) -> list[tuple[str, dict[str, float]]]:
    """All rows of one seed, on one thread."""
    torch.set_num_threads(1)
    return list(measured(*pictures(validation), training.Recipe(epochs=EPOCHS, seed=seed)))


def measured(bank: ImageSet, queries: ImageSet, recipe: training.Recipe) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield (name, numbers) row by row: k-NN accuracy, and the seconds that training took."""
    untrained = controls.random_encoder(recipe.arch, recipe.small_images, recipe.seed)

    def row(name: str, train: Callable[[], nn.Module]) -> tuple[str, dict[str, float]]:
        wall, work = time.perf_counter(), time.process_time()
        encoder = train()
        numbers = {"seconds": time.perf_counter() - wall, "core_seconds": time.process_time() - work}
        if name == "supervised from scratch":
            numbers["accuracy"] = controls.accuracy(encoder, queries.images, queries.labels)
            encoder = encoder[0]  # without its linear classifier
        bank_h, query_h = (evaluation.extract_features(encoder, part.images) for part in (bank, queries))
        knn = evaluation.knn_accuracy(bank_h, bank.labels, query_h, queries.labels)
        print(f"seed {recipe.seed}  {name:34}{knn:7.1%}  {numbers['core_seconds']:5.0f} core-seconds", flush=True)
        return name, {"knn": knn, **numbers}

    def simclr(two_views: augmentation.TwoViewsOfBatch) -> nn.Module:
        model = training.build_model(recipe)
        training.pretrain(model, bank.images, two_views, recipe)
        return model.encoder

    def supervised() -> nn.Module:
        return controls.fit_classifier(
            untrained, bank.images, bank.labels, len(bank.classes), LABELLED_STEPS, seed=recipe.seed
        )

    yield row("raw pixels", nn.Flatten)
    yield row("random encoder", lambda: untrained)
    yield row("SimCLR", lambda: simclr(training.views_of(recipe)))
    yield row("SimCLR without colour distortion", lambda: simclr(crops_alone(recipe)))
    yield row("supervised from scratch", supervised)


def crops_alone(recipe: training.Recipe) -> augmentation.TwoViewsOfBatch:
    """Two views that differ by crop and flip only: their colours agree."""
    return lambda images, generator: tuple(
        augmentation.random_crop(images, generator, recipe.view_size, recipe.area) for _ in "ab"
    )


def summary(runs: list[tuple[str, dict[str, float]]]) -> dict[str, dict]:
    """{name: the mean over seeds of each number, each seed's accuracy, and half their range as the spread}."""
    rows = {}
    for name in dict(runs):
        numbers = [row for row_name, row in runs if row_name == name]
        knn = [row["knn"] for row in numbers]
        rows[name] = {key: round(statistics.mean(row[key] for row in numbers), 4) for key in numbers[0]}
        rows[name] |= {"knn_each": [round(each, 4) for each in knn], "knn_spread": round((max(knn) - min(knn)) / 2, 4)}
    return rows


if __name__ == "__main__":
    main()
