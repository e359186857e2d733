"""A finding in a notebook: predict first, then run a small version, then see the whole one and the paper."""

import json
import textwrap
from dataclasses import replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from helpers import plots
from helpers.course import quick, reading
from helpers.data import DATA, load_images
from helpers.findings.catalogue import FINDINGS
from helpers.findings.core import Lab, partly
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
        print(textwrap.fill(finding.question, 100))
        if reading():
            show_whole_run(name)
            return
        print(
            "Set guess to one of these and run the cell again:",
            *(f'"{each}"' for each in finding.choices),
            sep="\n    ",
        )
        return
    lab = small_lab(seed, finding.share)
    rows = {}
    for condition, numbers in tqdm(finding.measure(lab, finding.quick), total=len(finding.quick), desc=name):
        rows[condition] = {number: [value] for number, value in numbers.items()}
    plots.show(plots.finding(rows, finding.name, finding.varied), alt=in_words(rows))
    print(f'You predicted: "{guess}".')
    print(f"Here, one seed and {len(lab.bank):,} pictures:", *by_condition(rows), sep="\n    ")
    tell_whole_run(name)


def small_lab(seed: int, share: float = 1.0) -> Lab:
    """Part of the built-in training pictures, for two minutes at most; validation pictures as queries.

    Args:
        share: of the pictures to train on, how many are taken.
    """
    images = load_images("shapes", "train")
    count, asked, epochs, batch = (96, 64, 1, 32) if quick() else (8000, 1000, 3, 128)
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    bank, queries = images.subset(rows[: round(share * count)]), images.subset(rows[count : count + asked])
    return Lab(bank, queries, replace(Recipe(), epochs=epochs, batch_size=batch, seed=seed))


def by_condition(rows: dict[str, dict[str, list[float]]]) -> list[str]:
    """For each condition the means of its numbers, in words; not of the "σ1 of h", "σ2 of h", ... of a curve."""
    lines = []
    for condition, numbers in rows.items():
        means = {name: sum(values) / len(values) for name, values in numbers.items() if not name.startswith("σ")}
        lines.append(f"{condition}: {', '.join(f'{name} {plots.number(name, mean)}' for name, mean in means.items())}")
    return lines


def in_words(rows: dict[str, dict[str, list[float]]]) -> str:
    """All of that in one line, for a screen reader."""
    return "; ".join(by_condition(rows))


def show_whole_run(name: str) -> None:
    """The figure of the whole experiment, what it found, and the paper: nothing is trained."""
    if (result := results_of(name)) is not None:
        plots.show(plots.whole_finding(result["rows"], name, FINDINGS[name].varied), alt=in_words(result["rows"]))
    tell_whole_run(name)


def results_of(name: str, data: str = "") -> dict | None:
    """The results file of the whole experiment, on the built-in pictures or on others."""
    path: Path = RESULTS / f"{name}{data and f'-{data}'}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def tell_whole_run(name: str) -> None:
    """The claim, what the whole experiment found, and the paper, in lines short enough for a phone held sideways."""
    finding = FINDINGS[name]
    print("The claim:", *textwrap.wrap(finding.claim, 90), sep="\n    ")
    if results_of(name) is None:
        print(f"The whole experiment has not been run: python -m data.findings {name}")
    for where, data in (("The whole experiment", ""), ("The same on photographs, CIFAR-10", "cifar10")):
        if (result := results_of(name, data)) is not None:
            judged = result["verdict"] + partly(finding, result["contrasts"])
            head = f"{where}, {len(result['seeds'])} seeds: {judged}"
            print(head, *by_condition(result["rows"]), sep="\n    ")
    print(f"{finding.source}:", *textwrap.wrap(finding.published, 90), sep="\n    ")
