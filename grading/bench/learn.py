"""How much is learned in minutes on this machine? Our recipe, the peers' and the controls, on real CIFAR-10 pictures.

Called by `make bench-learn`. Every run trains by the clock, alone on the machine. It is measured by k-NN (cosine, k =
20) on h, with the training pictures as the bank and the test pictures as queries; measuring does not count as training.
Our encoder ends with a linear layer that whitens h (helpers.evaluation.whitened), fitted without labels within the
time; "plain" is our encoder without it, and every other row stands there both ways. Our schedule is planned to end with
its time (the clock cuts its last few steps; on a machine that turns out faster it ends before), so every time is a run
of its own for each seed; a peer's lasts for hundreds of epochs, so one run is looked at in passing. Encoders that cost
much are measured with a part of the bank alone, and the row says so. Nothing is chosen here: the recipe was chosen on a
part of the training pictures. Every row also has "part": k-NN with the small bank, in which all rows can be compared.
What is in the results file already is not run again, so a series that was stopped goes on.
"""

import argparse
import contextlib
import statistics
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from data import record
from grading.bench import figures, peers
from grading.bench.loss import forget_peak, held
from helpers import controls, encoder, evaluation, training
from helpers.data import ImageSet, load_labelled
from helpers.machine import cap_threads, has_bfloat16, keep_memory, return_memory

PART = 10_000  # of the bank, and a fifth of it queries
TRIAL = 50  # steps, to know how many fit into some minutes
MORE = 1.05  # times the steps that seem to fit are planned: the learning rate of the last ones is next to 0 anyway
THEIRS = [peer.name for peer in peers.PEERS]
COSTLY = 200e6  # multiply-adds of a picture; with more, the features of the whole bank would take half an hour


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m grading.bench.learn", description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10", help="cifar10, or folder:PATH with the same pictures")
    parser.add_argument("--minutes", type=float, nargs="+", default=[3, 5, 10, 30], help="default: 3 5 10 30")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of our runs (default: 0 1 2)")
    parser.add_argument("--only", nargs="+", choices=["ours", "controls", *THEIRS])
    try:
        rows = race(parser.parse_args(arguments))
    except ValueError as problem:
        print(f"bench-learn: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same line goes on after the last run that had ended.", file=sys.stderr)
        return 130
    print(table(summary(rows)))
    return 0


def race(chosen: argparse.Namespace) -> list[dict]:
    """All rows; every run that the results file lacks goes into it, and into its figure, when it has ended."""
    cap_threads()
    train, test = (load_labelled(chosen.data, split) for split in ("train", "test"))
    training.check_sizes(train.images, ours(0))
    path, recipe, pictures = results_file(), asdict(ours(0)), {"bank": len(train), "queries": len(test)}
    rows = [row for row in record.earlier_runs(path, recipe, pictures, without_it=THEIRS) if in_time(row)]
    for name, minutes, seed in jobs(chosen.minutes, chosen.seeds, chosen.only):
        done = {row["minutes"] for row in rows if (row["job"], row["seed"]) == (name, seed)}
        left = [length for length in minutes if length not in done]
        if not left:
            continue
        here = {"job": name, "threads": torch.get_num_threads(), "measured": record.stamp()}
        rows += [row | here for row in measured(name, left, seed, train, test) if in_time(row)]
        numbers = summary(rows) | {"runs": rows, "pictures": pictures, "recipe": recipe}
        command = f"python -m grading.bench learn{record.data_option(chosen.data)}"
        record.write_result(path.stem, command, sorted({row["seed"] for row in rows}), numbers)
        figures.learning(rows).savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return rows


def results_file() -> Path:
    """Machines that multiply in bfloat16 and those that do not have a file each: one's minutes are not the other's."""
    half = has_bfloat16(torch.device("cpu"))
    return record.RESULTS / f"learn_cifar10{'' if half else '-float32'}.json"


def in_time(row: dict) -> bool:
    """Whether a run kept to its minutes, to 2 %. One that did not, on a machine that slowed down, is none of that time.

    A peer is looked at after the step in which its minutes end. A step may take seconds: they count in its favour.
    """
    late = row["name"] not in THEIRS and row.get("seconds", 0) > 1.02 * 60 * row["minutes"]
    if late:
        print(f"{row['name']} took {row['seconds']} s for {row['minutes']:g} minutes: call this again", file=sys.stderr)
    return not late


def jobs(minutes: list[float], seeds: list[int], only: list[str] | None) -> list[tuple[str, list[float], int]]:
    """(name, minutes, seed) of every run, those of our recipe first, the shortest first."""
    found = [("ours", [length], seed) for seed in seeds for length in sorted(minutes)]
    found += [("controls", sorted(minutes), 0)]
    found += [(name, sorted(minutes), 0) for name in THEIRS]
    return [job for job in found if only is None or job[0] in only]


def measured(name: str, minutes: list[float], seed: int, train: ImageSet, test: ImageSet) -> list[dict]:
    """One run: a row for each of its minutes."""
    if name == "ours":
        return [our_row(length, seed, train, test) for length in minutes]
    if name == "controls":
        return control_rows(minutes, seed, train, test)
    rows = []
    peer = next(peer for peer in peers.PEERS if peer.name == name)
    for length, body, seen, seconds in peers.trained(peer, train.images, minutes, seed):
        bank = PART if encoder.multiply_adds(body, train.images.shape[-1]) > COSTLY else len(train)
        found = row(name, length, seed, body, train, test, bank)
        rows.append(found | {"images": seen, "seconds": round(seconds, 1)})
    return rows


def ours(seed: int) -> training.Recipe:
    return training.recipe_for("cifar10", 32, seed=seed)


def our_row(length: float, seed: int, train: ImageSet, test: ImageSet) -> dict:
    """Our recipe for so many minutes, the choice of its epochs included."""
    on_linux = sys.platform == "linux"
    if on_linux:
        return_memory()  # what measuring the run before this one held
        forget_peak()
    start, recipe = time.perf_counter(), ours(seed)
    model, two_views = training.build_model(recipe), training.views_of(recipe)
    finished(model.encoder, train.images)  # a trial: how long will the last step take?
    return_memory()
    end = start + 60 * length - (time.perf_counter() - start)
    left = end - time.perf_counter()
    planned = MORE * training.epochs_in(left, model, train.images, two_views, recipe)
    epochs = trained_until(end, model, train.images, two_views, replace(recipe, epochs=planned))
    body = finished(model.encoder, train.images)
    seconds = time.perf_counter() - start
    numbers = {"seconds": round(seconds, 1), "epochs": round(epochs, 3), "images": round(epochs * len(train))}
    numbers |= {"peak_mib": round(held("VmHWM"))} if on_linux else {}
    return row("ours", length, seed, model.encoder, train, test, len(train), last=body[1]) | numbers


def trained_until(
    end: float, model: nn.Module, images: Tensor, two_views: training.TwoViewsOfBatch, recipe: training.Recipe
) -> float:
    """Train to the end of the schedule, or to this moment of time.perf_counter; the epochs that were trained.

    A machine is not equally fast from minute to minute: a number of epochs chosen at the start is often a tenth off.
    """
    seen = 0

    def on_step(step: int, total_steps: int, loss: float) -> None:
        nonlocal seen
        seen = (step + 1) * recipe.batch_size
        if time.perf_counter() >= end:
            raise TimeIsUp

    with contextlib.suppress(TimeIsUp):
        training.pretrain(model, images, two_views, recipe, on_step=on_step)
    return seen / len(images)


class TimeIsUp(Exception):
    """The minutes of a run are over. What the model has learned stays."""


def finished(body: nn.Module, images: Tensor) -> nn.Module:
    """The encoder whitened, in bfloat16 where the hardware has it: this is a part of training, and so of the time."""
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
        return evaluation.whitened(body, images)


def control_rows(minutes: list[float], seed: int, train: ImageSet, test: ImageSet) -> list[dict]:
    """Raw pixels, an untrained encoder, and our encoder trained with labels for each of the times."""
    recipe = ours(seed)
    body = controls.random_encoder(recipe.arch, recipe.small_images, seed, recipe.group_norm)
    rows = [row("raw pixels", 0, seed, nn.Flatten(), train, test, len(train))]  # the same, whenever they are measured
    rows.append(row("random encoder", 0, seed, body, train, test, len(train)))
    fit = {"images": train.images, "labels": train.labels, "num_classes": len(train.classes), "seed": seed}
    fit |= {"half": has_bfloat16(torch.device("cpu"))}
    keep_memory()
    start = time.perf_counter()
    controls.fit_classifier(body, steps=TRIAL, **fit)
    step = (time.perf_counter() - start) / TRIAL
    for length in minutes:
        start = time.perf_counter()
        classifier = controls.fit_classifier(body, steps=max(TRIAL, int(60 * length / step)), **fit)
        numbers = {"seconds": round(time.perf_counter() - start, 1)}
        numbers |= {"accuracy": controls.accuracy(classifier, test.images, test.labels)}
        rows.append(row("supervised", length, seed, classifier[0], train, test, len(train)) | numbers)
    return_memory()
    return rows


def row(
    name: str,
    minutes: float,
    seed: int,
    body: nn.Module,
    train: ImageSet,
    test: ImageSet,
    bank: int,
    last: nn.Module | None = None,
) -> dict[str, object]:
    """k-NN accuracy of an encoder, as h is ("knn") and "white", with so many pictures of the bank, and a fifth as many
    queries where it is a part. An encoder with a last layer of its own has it with this layer ("knn") and "plain"."""
    queries = len(test) if bank == len(train) else bank // 5
    draw = torch.Generator().manual_seed(0)
    parts = [
        part.subset(torch.randperm(len(part), generator=draw)[:count])
        for part, count in ((train, bank), (test, queries))
    ]
    h = [evaluation.extract_features(body, part.images) for part in parts]
    labels, other = [part.labels for part in parts], "white"
    if last is None:
        knn, second = evaluation.knn_plain_and_white(h[0], labels[0], h[1], labels[1])
    else:
        second, other = evaluation.knn_accuracy(h[0], labels[0], h[1], labels[1]), "plain"
        h = [last(rows) for rows in h]
        knn = evaluation.knn_accuracy(h[0], labels[0], h[1], labels[1])
    part = evaluation.knn_accuracy(h[0][:PART], labels[0][:PART], h[1][: PART // 5], labels[1][: PART // 5])
    print(f"{name:16}{minutes:5g} min  seed {seed}  k-NN {knn:.1%}, {other} {second:.1%}", file=sys.stderr, flush=True)
    found = {"name": name, "minutes": minutes, "seed": seed, "knn": round(knn, 4), other: round(second, 4)}
    return found | {"part": round(part, 4), "bank": bank, "queries": queries}


def summary(rows: list[dict]) -> dict:
    """knn/3min and so on, the mean over our seeds, each of them, without the whitening, with the small bank; the same for
    every other row."""
    numbers = {}
    for each in sorted(rows, key=lambda each: (each["name"] != "ours", each["name"], each["minutes"])):
        key = f"knn/{each['minutes']:g}min" if each["name"] == "ours" else each["name"]
        key += f"/{each['minutes']:g}min" if each["name"] != "ours" and each["minutes"] else ""
        same = [other for other in rows if (other["name"], other["minutes"]) == (each["name"], each["minutes"])]
        second = "plain" if each["name"] == "ours" else "white"
        for name, column in ((key, "knn"), (f"{key}/{second}", second), (f"{key}/part", "part")):
            numbers[name] = round(statistics.mean(other[column] for other in same), 4)
        if each["name"] == "ours":
            numbers[f"{key}/each"] = [other["knn"] for other in same]
    return numbers


def table(numbers: dict) -> str:
    """One line a number, in percent."""
    return "\n".join(f"{key:24}{value:7.1%}" for key, value in numbers.items() if isinstance(value, float))


if __name__ == "__main__":
    sys.exit(main())
