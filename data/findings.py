"""The findings of contrastive learning on the built-in pictures: `python -m data.findings NAME ...`, from the root.

Every seed is a run of all conditions; seeds run side by side, one thread each. Writes data/results/findings/NAME.json:
every number of every seed, the contrasts with their 95 % intervals, and the verdict; and NAME.png beside it. All results
that are there stand in one table, data/results/findings/README.md; without a name the verdicts, the table and the
figures are made anew from the numbers of the seeds, and nothing is trained. `--controls` measures, for scale, what needs
no training: chance, raw pixels, a random encoder. `--data cifar10` or `--data folder:PATH` asks the same of photographs,
with the recipe for them, and writes NAME-cifar10.json; `--fewer` takes only the conditions of the notebook's small run.
`--again`, on another machine, keeps the results that are there, writes its own to findings/again/, and the table sets
them side by side.
"""

import argparse
import json
import math
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from statistics import fmean, stdev

import matplotlib.pyplot as plt
import torch
from scipy import stats
from torch import nn

from data.record import RESULTS, data_option, own_name, write_json, write_result
from helpers import plots
from helpers.controls import chance, random_encoder
from helpers.data import DataError, load_images, load_labelled
from helpers.findings import FINDINGS, Finding, Lab, judged, verdict
from helpers.findings.core import knn, partly
from helpers.machine import usable_cores
from helpers.training import recipe_for

EPOCHS = 8  # of every run; after 4 the encoders are half trained and differ more by seed than by condition
BANK, QUERIES = 12_000, 4_000  # pictures of train and of test


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m data.findings", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(FINDINGS)}, or all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3], help="one run each (default: 0 1 2 3)")
    parser.add_argument("--data", default="shapes", help="shapes, cifar10, stl10 or folder:PATH (default: shapes)")
    parser.add_argument("--fewer", action="store_true", help="only the conditions that a notebook shows")
    parser.add_argument("--again", action="store_true", help="keep the results there are, and compare with them")
    parser.add_argument("--controls", action="store_true", help="measure chance, raw pixels and a random encoder")
    chosen = parser.parse_args(arguments)
    seeds = list(dict.fromkeys(chosen.seeds))  # one seed twice would be no second run
    names = list(FINDINGS) if chosen.names == ["all"] else chosen.names
    unknown = [name for name in names if name not in FINDINGS]
    if unknown:
        print(f"There is no finding {unknown[0]!r}; there are {', '.join(FINDINGS)}.", file=sys.stderr)
        return 1
    if chosen.data != "shapes":
        try:
            names = answerable(names, chosen.data)
        except DataError as problem:
            print(f"data.findings: {problem}", file=sys.stderr)
            return 1
    for folder in ("findings", "findings/again") if not names else ():
        for name, result in results(folder).items():
            finding = FINDINGS[result["finding"]["name"]]
            write_json(RESULTS / folder / f"{name}.json", result | told(finding, result["rows"], result["seeds"]))
            draw(f"{folder}/{name}", finding.name, result["rows"])
    if chosen.controls:
        measure_controls(seeds, chosen.data)
    for name in names:
        measure(FINDINGS[name], seeds, chosen.data, chosen.fewer, again=chosen.again)
    print(table())
    if (RESULTS / "findings").is_dir():
        (RESULTS / "findings" / "README.md").write_text(page(), encoding="utf-8")
    return 0


def answerable(names: list[str], data: str) -> list[str]:
    """The findings that other than the built-in pictures can answer; a line for each that they cannot.

    Raises:
        DataError: there are no such pictures, they have no labels, or none of the findings is left; or their folder's
            name would give their results the name of others.
    """
    if data.startswith("folder:") and kind(data) in ("", "shapes", "cifar10", "stl10"):
        raise DataError(f"results are called after the folder, and {data} has no name of its own: give it another.")
    load_labelled(data, "test")
    for name in names:
        if FINDINGS[name].factors:
            print(f"{name} is left out: it asks for factors, which only the built-in pictures have.", file=sys.stderr)
    left = [name for name in names if not FINDINGS[name].factors]
    if names and not left:
        raise DataError("nothing is left to measure.")
    return left


def measure(finding: Finding, seeds: list[int], data: str, fewer: bool, again: bool) -> None:
    """Run one experiment with every seed; one results file and its figure."""
    began, place, conditions = time.perf_counter(), kind(data), finding.quick if fewer else finding.conditions
    with ProcessPoolExecutor(usable_cores(), multiprocessing.get_context("spawn")) as pool:
        runs = list(pool.map(run, repeat(finding.name), repeat(conditions), seeds, repeat(data)))
    lab = laboratory(seeds[0], data)
    rows = {
        condition: {number: [round(each[condition][number], 6) for each in runs] for number in runs[0][condition]}
        for condition in conditions
    }
    numbers = {
        "data": place or "shapes", "pictures": {"bank": len(lab.bank), "queries": len(lab.queries)},
        "recipe": asdict(lab.recipe), "threads": 1, "rows": rows,
        "seconds": round(time.perf_counter() - began),
    } | told(finding, rows, seeds)  # fmt: skip
    path = f"findings/{'again/' if again else ''}{finding.name}{f'-{place}' if place else ''}"
    command = f"python -m data.findings {finding.name} --seeds {' '.join(map(str, seeds))}"
    command += data_option(data) + (" --fewer" if fewer else "") + (" --again" if again else "")
    write_result(path, command, seeds, numbers)
    draw(path, finding.name, rows)


def told(finding: Finding, rows: dict[str, dict[str, list[float]]], seeds: list[int]) -> dict:
    """What follows from the numbers: the mean and the spread (standard deviation) over seeds, the contrasts, the verdict."""
    summary = {
        condition: {
            number: {"mean": round(fmean(values), 6), "spread": round(stdev(values), 6) if len(values) > 1 else None}
            for number, values in numbers.items()
        }
        for condition, numbers in rows.items()
    }
    contrasts = judged(finding, rows)
    words = {key: getattr(finding, key) for key in ("name", "question", "claim", "source", "published")}
    return {"finding": words, "seeds": seeds, "summary": summary, "contrasts": contrasts, "verdict": verdict(contrasts)}


def measure_controls(seeds: list[int], data: str) -> None:
    """What needs no training, on the pictures of each seed: data/results/findings_controls.json."""
    found = [controls(laboratory(seed, data)) for seed in seeds]
    rows = {name: [round(each[name], 6) for each in found] for name in found[0]}
    command = f"python -m data.findings --controls{data_option(data)}"
    write_result(controls_file(kind(data) or "shapes"), command, seeds, {"seeds": seeds, "knn": rows})


def controls_file(place: str) -> str:
    """The name of the results file of the controls, for a data set as findings name it."""
    return "findings_controls" if place == "shapes" else f"findings_controls-{place}"


def controls(lab: Lab) -> dict[str, float]:
    """k-NN accuracy of raw pixels and of an encoder that nobody trained, and the share of the commonest class."""
    untrained = random_encoder(lab.recipe.arch, lab.recipe.small_images, lab.recipe.seed)
    return {
        "chance": chance(lab.bank.labels, lab.queries.labels),
        "raw pixels": knn(lab, nn.Flatten()),
        "random encoder": knn(lab, untrained),
    }


def draw(path: str, name: str, rows: dict) -> None:
    """The figure beside a results file."""
    figure = plots.whole_finding(rows, name, FINDINGS[name].varied)
    figure.savefig(RESULTS / f"{path}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def run(name: str, conditions: tuple[str, ...], seed: int, data: str) -> dict[str, dict[str, float]]:
    """These conditions of a finding with one seed, on one thread."""
    torch.set_num_threads(1)
    finding = FINDINGS[name]
    rows = {}
    for condition, numbers in finding.measure(laboratory(seed, data), conditions):
        rows[condition] = numbers
        shown = ", ".join(f"{key} {plots.number(key, value)}" for key, value in numbers.items())
        print(f"{name}, seed {seed}, {condition}: {shown}", flush=True)
    return rows


def laboratory(seed: int, data: str) -> Lab:
    """The pictures and the recipe of one seed; test pictures are the queries, as nothing is chosen by them."""
    train, test = load_images(data, "train"), load_images(data, "test")
    draw = torch.Generator().manual_seed(seed)
    bank, queries = (
        part.subset(torch.randperm(len(part), generator=draw)[:count])
        for part, count in ((train, BANK), (test, QUERIES))
    )
    # for photographs half as wide as the recipe's, for a quarter of the arithmetic: there are many runs
    kind_of_pictures, arch = ("shapes", "resnet8") if data == "shapes" else ("photographs", "resnet8x2-quarters")
    settings = {"arch": arch, "epochs": EPOCHS, "views": 2, "decoupled": False, "seed": seed}
    return Lab(bank, queries, recipe_for(kind_of_pictures, train.images.shape[-1], **settings))


def kind(data: str) -> str:
    """What a results file is called after, beside the finding: nothing for the built-in pictures."""
    return "" if data == "shapes" else own_name(data)


def results(folder: str = "findings") -> dict[str, dict]:
    """{name of the file: what is in it} of all results there are."""
    paths = sorted((RESULTS / folder).glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def contrast(each: dict) -> tuple[str, str]:
    """What is compared, and the difference with its interval."""
    (larger, number), (smaller, other) = each["larger"], each["smaller"]
    what = f"{number}: {larger} − {smaller}" if number == other else f"{larger}: {number} − {other}"
    interval = "" if each["low"] is None else f" [{each['low']:+.3f}, {each['high']:+.3f}]"
    return what, f"{each['difference']:+.3f}{interval}"


def table() -> str:
    """All results there are: the finding, the verdict, and the contrasts with their intervals."""
    lines = []
    for name, result in results().items():
        lines.append(f"{name:22}{result['verdict']:16}{len(result['seeds'])} seeds  {result['finding']['claim']}")
        lines += [f"    {what:52}{difference}" for what, difference in map(contrast, result["contrasts"])]
    return "\n".join(lines) or "No finding has been measured yet: python -m data.findings all"


def page() -> str:
    """The same as a page, with what was published and a link to each figure; then the second measurement, if there is one."""
    lines = [
        "# Findings of contrastive learning, asked again",
        "",
        "Written by `python -m data.findings`. *Reproduced*: the 95 % interval of every difference, over seeds, lies above",
        "0; *not reproduced*: one lies below; *unresolved*: neither can be said at this scale. A name with a data set behind",
        "it, as head-cifar10, was measured on that; the others on the built-in pictures. Settings are in each json file.",
        *for_scale(),
        "",
        "| finding | claim | published | verdict | differences [95 % interval] |",
        "|---|---|---|---|---|",
    ]
    again = results("findings/again")
    for name, result in results().items():
        words, seeds = result["finding"], len(result["seeds"])
        numbers = "<br>".join(f"{what} **{difference}**" for what, difference in map(contrast, result["contrasts"]))
        published = f"{words['published']} ({words['source']})"
        second = again[name]["verdict"] if name in again else result["verdict"]
        judged_so = f"{result['verdict']}{partly(FINDINGS[words['name']], result['contrasts'])}, {seeds} seeds"
        judged_so += "" if second == result["verdict"] else f"; on a second machine {second}"
        judged_so += "; no condition reaches a random encoder" if untaught(result) else ""
        lines.append(f"| [{name}]({name}.png) | {words['claim']} | {published} | {judged_so} | {numbers} |")
    return "\n".join(lines + (compared(results(), again) if again else [])) + "\n"


def untaught(result: dict) -> bool:
    """Does every condition stay below a random encoder's k-NN? Then the runs were too short to say much."""
    means = [numbers["knn"]["mean"] for numbers in result["summary"].values() if "knn" in numbers]
    path = RESULTS / f"{controls_file(result['data'])}.json"
    if not means or not path.exists():
        return False
    return max(means) < fmean(json.loads(path.read_text(encoding="utf-8"))["knn"]["random encoder"])


def for_scale() -> list[str]:
    """A sentence with the controls of each data set that were measured."""
    lines = []
    for path in sorted(RESULTS.glob("findings_controls*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))["knn"]
        name = path.stem.removeprefix("findings_controls").strip("-") or "the built-in pictures"
        lines.append(f"For scale, k-NN on {name}: {', '.join(f'{each} {fmean(rows[each]):.1%}' for each in rows)}.")
    return lines


def compared(first: dict[str, dict], again: dict[str, dict]) -> list[str]:
    """A section for the results of a second machine: is each difference within the interval of the first?"""
    rows, inside, expected = [], [], 0.0
    for name in [name for name in again if name in first]:
        asked = {contrast(each)[0]: each for each in first[name]["contrasts"]}
        pairs = [(asked[what], each) for each in again[name]["contrasts"] if (what := contrast(each)[0]) in asked]
        within = [a["low"] is not None and a["low"] <= b["difference"] <= a["high"] for a, b in pairs]
        inside += within
        expected += len(pairs) * by_luck(len(first[name]["seeds"]))
        told = [
            f"{contrast(b)[0]} {contrast(a)[1]}, again **{contrast(b)[1]}**{'' if yes else ' (outside)'}"
            for (a, b), yes in zip(pairs, within, strict=True)
        ]
        rows.append(f"| {name} | {first[name]['verdict']} | {again[name]['verdict']} | {'<br>'.join(told)} |")
    return [
        "",
        "## On a second machine",
        "",
        f"{sum(inside)} of {len(inside)} differences lie within the 95 % interval of the first machine;",
        f"{expected:.0f} would, on average, if the machines differed by luck alone. Settings and seeds are the same. The",
        "processors round differently, so that after some hundred steps the weights have nothing in common; and the code may",
        "have changed in between: each json file names its commit and its machine.",
        "",
        "| finding | verdict | again | differences [95 % interval] |",
        "|---|---|---|---|",
        *rows,
    ]


def by_luck(seeds: int) -> float:
    """How often a second mean over so many seeds lies within the 95 % interval of the first, all drawn alike.

    The two means differ by √2 times what one of them strays, and the interval is Student's: for 4 seeds, 89 %. One seed
    has no interval, and nothing lies in it.
    """
    freedom = seeds - 1
    if not freedom:
        return 0.0
    half_width = stats.t.ppf(0.975, freedom)
    return 2 * stats.t.cdf(half_width / math.sqrt(2), freedom) - 1


if __name__ == "__main__":
    sys.exit(main())
