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


def loss_falls_alone(run: dict) -> float:
    """How little the k-NN monitor has gained over the untrained encoder, in the later half of a run whose loss falls."""
    gain = statistics.fmean(run["knn"][len(run["knn"]) // 2 :]) - run["knn"][0]
    return -gain if run["loss"][0] - run["loss"][-1] > 0.3 else -1.0


def symptoms() -> dict[str, Callable[[dict], float]]:
    """For each cause, the most certain first, a number that is largest for the run that has it."""
    return {
        "learning rate x 100": lambda run: max(run["lr"]),  # it stands in the log
        "frozen batch-norm": lambda run: -abs(run["batch_norm"][-1] - run["batch_norm"][0]),  # its means stand still
        "temperature is the batch size": lambda run: min(run["loss"]) - max(run["loss"]),  # cosines / τ: no room
        "detached denominator": lambda run: -run["std"][-1],  # all are pulled together and none apart: collapse
        "the same view twice": lambda run: -min(run["loss"]),  # identical positives: the question is easy
        "images are not shuffled": loss_falls_alone,  # negatives of one class: it falls by everything but the class
    }


def clinic_curves(path: Path = CURVES) -> dict:
    """What was recorded: "curves" {letter or "healthy": {measure: [numbers]}}, and how it was made."""
    return json.loads(path.read_text(encoding="utf-8"))


def clinic(path: Path = CURVES) -> dict[str, str]:
    """Which broken run is which, {letter: cause}: from the most certain symptom to the least, each among those left."""
    runs = {letter: curves for letter, curves in clinic_curves(path)["curves"].items() if letter != "healthy"}
    found = {}
    for cause, symptom in symptoms().items():
        letter = max(runs.keys() - found.keys(), key=lambda letter: symptom(runs[letter]))
        found[letter] = cause
    return dict(sorted(found.items()))
