"""Why the recipe for photographs is as it is: one choice at a time taken back, measured on training pictures held back.

`python -m grading.bench.choices --data folder:PATH` (or cifar10). Every run sees the same number of views and is
measured by k-NN (cosine, k = 20) on 5,000 training pictures it never saw; the test pictures are not opened. The encoder
is whitened (helpers.evaluation.whitened) before; "plain" says what k-NN finds without. Runs go side by side on one thread
each, so times are processor time. Writes data/results/choices_cifar10.json: every number of every seed, and for each
choice the mean difference from the recipe with its 95 % interval. What is in the file already is not run again.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace

import torch

from data import record
from helpers import evaluation, training
from helpers.data import load_labelled
from helpers.findings.core import interval
from helpers.machine import usable_cores

EPOCHS, HELD_BACK, BANK = 0.625, 5_000, 20_000
CHOICES = {  # what is put in the place of a choice; {} is the recipe itself
    "the recipe": {},
    "two views": {"views": 2, "batch_size": 256},
    "eight views": {"views": 8, "batch_size": 64},
    "fused views": {"fused": True},
    "full colour strength": {"strength": 1.0},
    "half as wide": {"arch": "resnet8x2-quarters"},
    "half as wide, views of 24 pixels": {"arch": "resnet8x2-quarters", "view_size": 24},
    "a quarter as wide, h from the whole map": {"arch": "resnet8"},
    "AdamW": {"optimizer": "adamw"},
    "half the learning rate": {"base_lr": 1e-3},
    "twice the learning rate": {"base_lr": 4e-3},
    "the positive in the denominator": {"decoupled": False},
    "temperature 0.2": {"temperature": 0.2},
    "temperature 0.07": {"temperature": 0.07},
    "batches of 64": {"batch_size": 64},
    "batches of 256": {"batch_size": 256},
    "crops from 8 %": {"area": (0.08, 1.0)},
    "crops from 30 %": {"area": (0.3, 1.0)},
    "views of 12 pixels": {"view_size": 12},
    "views of 24 pixels": {"view_size": 24},
    "large-image stem": {"small_images": False},
    "no norm in the head": {"head_norm": False},
    "wider head": {"hidden_dim": 2048},
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m grading.bench.choices", description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10", help="cifar10, or folder:PATH with the same pictures")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run of each choice a seed (default: 0)")
    parser.add_argument("--only", nargs="+", choices=list(CHOICES), default=list(CHOICES), metavar="CHOICE")
    parser.add_argument(
        "--epochs", type=float, default=EPOCHS, help="times each picture is seen (default: %(default)s)"
    )
    chosen = parser.parse_args(arguments)
    try:
        found = measured(chosen)
    except ValueError as problem:
        print(f"choices: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same line goes on after the runs that had ended.", file=sys.stderr)
        return 130
    for name, numbers in found.items():
        interval = "" if numbers["low"] is None else f"  [{numbers['low']:+.2%}, {numbers['high']:+.2%}]"
        difference = "–" if numbers["difference"] is None else f"{numbers['difference']:+.2%}"
        accuracies = f"{numbers['knn']:7.2%} (plain {numbers['plain']:.2%}){difference:>8}{interval}"
        print(f"{name:24}{accuracies}{numbers['core_seconds']:7.0f} core-s")
    return 0


def measured(chosen: argparse.Namespace) -> dict[str, dict]:
    """The summary; every run that the results file lacks goes into it when it has ended."""
    train, base = load_labelled(chosen.data, "train"), asdict(recipe("the recipe", 0, EPOCHS))
    held = held_back(len(train))
    training.check_sizes(train.images[held:], recipe("the recipe", 0, chosen.epochs))
    pictures = {"held_back": held, "bank": min(BANK, len(train) - held)}
    path = record.RESULTS / "choices_cifar10.json"
    rows = record.earlier_runs(path, base, pictures)
    done = {(row["choice"], row["seed"], row["epochs"]) for row in rows}
    names = ["the recipe", *(name for name in chosen.only if name != "the recipe")]
    jobs = [(name, seed, chosen.epochs) for seed in dict.fromkeys(chosen.seeds) for name in names]
    for found in each_run([(*job, chosen.data) for job in jobs if job not in done]):
        rows.append(found)
        rows.sort(key=lambda row: (list(CHOICES).index(row["choice"]), row["epochs"], row["seed"]))
        numbers = {"choices": summary(rows, chosen.epochs), "epochs": chosen.epochs, "recipe": base, "runs": rows}
        numbers |= {"threads": 1, "pictures": pictures}
        seeds = sorted({row["seed"] for row in rows})
        command = f"python -m grading.bench.choices{record.data_option(chosen.data)}"
        record.write_result(path.stem, command, seeds, numbers)
    return summary(rows, chosen.epochs)


def each_run(jobs: list[tuple]) -> Iterator[dict]:
    """What `run` finds, in the order in which the jobs end, a process a core; those not begun are dropped at a stop."""
    with ProcessPoolExecutor(usable_cores(), multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(run, *job) for job in jobs]
        try:
            for finished in as_completed(runs):
                yield finished.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def recipe(name: str, seed: int, epochs: float) -> training.Recipe:
    """The recipe for photographs of 32 pixels, with one choice taken back; as many views are seen."""
    ours = training.recipe_for("cifar10", 32, seed=seed)
    chosen = replace(ours, **CHOICES[name])
    return replace(chosen, epochs=epochs * ours.views / chosen.views)


def run(name: str, seed: int, epochs: float, data: str) -> dict:
    """Train on all training pictures but those held back, and measure on these."""
    torch.set_num_threads(1)
    train, chosen = load_labelled(data, "train"), recipe(name, seed, epochs)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(99))
    count = held_back(len(train))
    held, bank = train.subset(order[:count]), train.subset(order[count : count + BANK])
    images = train.images[order[count:]]
    model, start = training.build_model(chosen), time.process_time()
    training.pretrain(model, images, training.views_of(chosen), chosen)
    seconds = time.process_time() - start
    bank_h, held_h = (evaluation.extract_features(model.encoder, part.images) for part in (bank, held))
    plain, white = evaluation.knn_plain_and_white(bank_h, bank.labels, held_h, held.labels)
    print(f"{name:24} seed {seed}  k-NN {white:.1%}  {seconds:.0f} core-seconds", file=sys.stderr, flush=True)
    measured = {"knn": round(white, 4), "plain": round(plain, 4), "core_seconds": round(seconds, 1)}
    return {"choice": name, "seed": seed, "epochs": epochs, "measured": record.stamp()} | measured


def held_back(pictures: int) -> int:
    """How many of so many training pictures are kept for measuring."""
    return min(HELD_BACK, pictures // 10)


def summary(rows: list[dict], epochs: float) -> dict[str, dict]:
    """For each choice, of the runs of so many epochs: mean k-NN, processor time, and the difference from the recipe, seed
    by seed, with its interval; None where no seed has both."""
    rows = [row for row in rows if row["epochs"] == epochs]
    by_run = {(row["choice"], row["seed"]): row for row in rows}
    found = {}
    for name in dict.fromkeys(row["choice"] for row in rows):
        mine = [row for row in rows if row["choice"] == name]
        pairs = [(row, by_run.get(("the recipe", row["seed"]))) for row in mine]
        differences = [row["knn"] - other["knn"] for row, other in pairs if other]
        if name == "the recipe" or not differences:
            compared = {"difference": 0.0 if name == "the recipe" else None, "low": None, "high": None}
        else:
            compared = interval(differences)
        found[name] = {
            "knn": statistics.mean(row["knn"] for row in mine),
            "plain": statistics.mean(row["plain"] for row in mine),
            "core_seconds": statistics.mean(row["core_seconds"] for row in mine),
            "seeds": len(mine),
        } | compared
    return found


if __name__ == "__main__":
    sys.exit(main())
