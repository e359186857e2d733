"""Six broken training runs, told apart by their curves alone: the reference answer of the clinic in notebook 05.

The runs were really trained, by `python -m grading.clinic`; nothing is trained here.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

from helpers.data import DATA

CURVES = DATA / "results" / "clinic.json"
CAUSES = (
    "temperature is the batch size",
    "images are not shuffled",
    "the same view twice",
    "detached denominator",
    "frozen batch-norm",
    "learning rate x 100",
)


def clinic_curves(path: Path = CURVES) -> dict:
    """What was recorded: "curves" {letter or "healthy": {measure: [numbers]}}, and how it was made.

    To each run's curves "place" is added: the mean loss of the first, second, ... batch of an epoch, over the later
    half of the epochs, less a straight line through them.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    steps = record["images"] // record["batch_size"]  # in an epoch
    for curves in record["curves"].values():
        late = curves["loss"][len(curves["loss"]) // steps // 2 * steps :]
        curves["place"] = flat([statistics.fmean(late[place::steps]) for place in range(steps)])
    return record


def clinic(path: Path = CURVES) -> dict[str, str]:
    """Which broken run is which, {letter: cause}: from the most certain symptom to the least, each among those left."""
    record = clinic_curves(path)
    runs = {letter: curves for letter, curves in record["curves"].items() if letter != "healthy"}
    steps = record["images"] // record["batch_size"]  # in an epoch
    symptoms: dict[str, Callable[[dict], float]] = {  # the run with the largest number has the cause
        "learning rate x 100": lambda run: max(run["lr"]),  # it stands in the log
        "frozen batch-norm": lambda run: -abs(run["batch_norm"][-1] - run["batch_norm"][0]),  # its means stand still
        "temperature is the batch size": lambda run: (
            -(max(run["loss"]) - min(run["loss"]))
        ),  # cosines / τ: no room to move
        "detached denominator": lambda run: -run["std"][-1],  # all are pulled together and none apart: collapse
        "the same view twice": lambda run: -min(run["loss"]),  # identical positives: the question is easy
        "images are not shuffled": lambda run: repeats_itself(run["loss"], steps),  # it follows the class
    }
    found = {}
    for cause, symptom in symptoms.items():
        letter = max(runs.keys() - found.keys(), key=lambda letter: symptom(runs[letter]))
        found[letter] = cause
    return dict(sorted(found.items()))


def repeats_itself(losses: list[float], steps: int) -> float:
    """Correlation of the loss with itself one epoch earlier, less each epoch's mean and slope; 1: always the same."""
    epochs = [flat(losses[i : i + steps]) for i in range(0, len(losses), steps)]
    earlier, later = ([value for epoch in part for value in epoch] for part in (epochs[:-1], epochs[1:]))
    if max(earlier) == min(earlier) or max(later) == min(later):  # a loss that stands still, as after a collapse
        return 0.0
    return statistics.correlation(earlier, later)


def flat(values: list[float]) -> list[float]:
    """The values less the straight line that fits them best."""
    places = list(range(len(values)))
    slope, start = statistics.linear_regression(places, values)
    return [value - start - slope * place for place, value in zip(places, values, strict=True)]
