"""A finding in a notebook: predict first, then run a small version, then see the whole one and the paper."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from helpers import plots
from helpers.course import quick, reading
from helpers.data import DATA, load_images
from helpers.findings.catalogue import FINDINGS
from helpers.findings.core import Lab
from helpers.training import Recipe

RESULTS = DATA / "results" / "findings"


def predict(name: str, guess: str | None, seed: int = 0) -> None:
    """Run a small version of a finding, once there is a guess; without one, say what may be guessed.

    Args:
        name: one of FINDINGS.
        guess: one of the finding's choices; None runs nothing.
    """
    if name not in FINDINGS:
        print(f"There is no finding {name!r}; there are {', '.join(FINDINGS)}.")
        return
    finding = FINDINGS[name]
    if guess not in finding.choices:
        print(finding.question)
        if reading():
            show_whole_run(name)
            return
        print("Set guess to one of these and run the cell again:", ", ".join(f'"{each}"' for each in finding.choices))
        return
    lab = small_lab(seed)
    rows = {}
    for condition, numbers in tqdm(finding.measure(lab, finding.quick), total=len(finding.quick), desc=name):
        rows[condition] = {number: [value] for number, value in numbers.items()}
    plots.show(plots.finding(rows, finding.name), alt=in_words(rows))
    print(f'You predicted: "{guess}".')
    print(f"Here, one seed and {len(lab.bank):,} pictures: {in_words(rows)}.")
    print(whole_run(name))
    print(f"{finding.source}: {finding.published}.")


def small_lab(seed: int) -> Lab:
    """Part of the built-in training pictures, for two minutes at most; validation pictures as queries."""
    images = load_images("shapes", "train")
    count, asked, epochs, batch = (96, 64, 1, 32) if quick() else (8000, 1000, 3, 128)
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    bank, queries = images.subset(rows[:count]), images.subset(rows[count : count + asked])
    return Lab(bank, queries, replace(Recipe(), epochs=epochs, batch_size=batch, seed=seed))


def in_words(rows: dict[str, dict[str, list[float]]]) -> str:
    """The means of all numbers, for a screen reader and for print."""
    parts = []
    for condition, numbers in rows.items():
        said = {
            name: values for name, values in numbers.items() if not name.startswith("σ")
        }  # a curve, of many numbers
        means = (f"{name} {plots.number(name, sum(values) / len(values))}" for name, values in said.items())
        parts.append(f"{condition}: {', '.join(means)}")
    return "; ".join(parts)


def show_whole_run(name: str) -> None:
    """The figure of the whole experiment, what it found, and the paper: nothing is trained."""
    if (result := results_of(name)) is not None:
        plots.show(plots.whole_finding(result["rows"], name), alt=in_words(result["rows"]))
    print(whole_run(name))
    print(f"{FINDINGS[name].source}: {FINDINGS[name].published}.")


def results_of(name: str) -> dict | None:
    """The results file of the whole experiment."""
    path: Path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def whole_run(name: str) -> str:
    """What the whole experiment found, in words."""
    if (result := results_of(name)) is None:
        return f"The whole experiment has not been run: python -m data.findings {name}"
    return f"The whole experiment, {len(result['seed'])} seeds: {in_words(result['rows'])}. {result['verdict'].capitalize()}."
