"""Judge the whole bank of answers with the visible checks, and print what they get right: `make bank`.

Every wrong answer should be refused and be told its mistake, every right one accepted. Diagnosed: the message contains
the words that the bank gives for the mistake; where it gives none, nothing counts as diagnosed. The two checks that
judge by statistics are run over many seeds: how often is the reference refused (false alarm), and how often does an
answer pass that is off by a little (miss)?
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch
from torchvision.transforms import v2
from tqdm import tqdm

from data.record import write_result
from helpers import augmentation
from helpers.machine import usable_cores
from tests.banks import BANK, diagnosis, pasted, seeds_for
from tests.banks.augmentation import torchvision_distortion, torchvision_transform

RIGHT_SEEDS = (0, 1)  # a right answer has to pass both
REFERENCES = {
    "color_distortion": augmentation.color_distortion,
    "simclr_transform": augmentation.simclr_transform,
}
SUBTLE = {  # exercise: answers that are off by a little
    "color_distortion": {
        "grey with probability 0.3": torchvision_distortion(p_grey=0.3),
        "jitter with probability 0.65": torchvision_distortion(p_jitter=0.65),
        "brightness ± 0.6 strength": torchvision_distortion(jitter=(0.6, 0.8, 0.8, 0.2)),
    },
    "simclr_transform": {
        "crop from 20 % of the area": torchvision_transform(
            crop=lambda size: v2.RandomResizedCrop(size, scale=(0.2, 1.0), antialias=True)
        ),
        "flip with probability 0.7": torchvision_transform(flip=lambda: v2.RandomHorizontalFlip(0.7)),
        "blur with probability 0.8": torchvision_transform(p_blur=0.8),
    },
}


def judge(exercise: str) -> dict:
    """What the check says to every answer of one exercise, pasted as a notebook cell."""
    answers = BANK[exercise]
    wrong, right = [], []
    for name, (_, words) in answers.wrong.items():
        told = diagnosis(exercise, pasted(exercise, name), seeds_for(name))
        wrong.append({"name": name, "told": told, "diagnosed": bool(words) and told is not None and words in told})
    for name in answers.right:
        right.append({"name": name, "told": diagnosis(exercise, pasted(exercise, name), RIGHT_SEEDS)})
    return {
        "exercise": exercise,
        "wrong": len(wrong),
        "wrong_accepted": sum(entry["told"] is None for entry in wrong),
        "right": len(right),
        "right_rejected": sum(entry["told"] is not None for entry in right),
        "diagnosed": round(sum(entry["diagnosed"] for entry in wrong) / len(wrong), 4),
        "wrong_answers": wrong,
        "right_answers": right,
    }


def refused(exercise: str, name: str | None, seeds: range) -> int:
    """Of these seeds, how many refuse the answer off by a little of that name, or the reference (None)."""
    answer = REFERENCES[exercise] if name is None else SUBTLE[exercise][name]
    return sum(diagnosis(exercise, answer, (seed,)) is not None for seed in seeds)


def statistics(exercise: str, seeds: int, counts: dict[tuple[str, str | None], int]) -> dict:
    """False alarms and misses of a check that judges by statistics, from how often each answer was refused."""
    misses = {name: seeds - counts[exercise, name] for name in SUBTLE[exercise]}
    return {"exercise": exercise, "seeds": seeds, "false_alarms": counts[exercise, None], "misses": misses}


def judge_all(chosen: list[str], random: list[str], seeds: int) -> tuple[list[dict], list[dict]]:
    """judge and statistics of these exercises, on all cores, one thread each."""
    pieces = [range(start, min(start + 20, seeds)) for start in range(0, seeds, 20)]
    asked = [(exercise, name, piece) for exercise in random for name in (None, *SUBTLE[exercise]) for piece in pieces]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(usable_cores(), context, torch.set_num_threads, (1,)) as pool:
        jobs = [pool.submit(judge, exercise) for exercise in chosen]
        drawn = [pool.submit(refused, *each) for each in asked]
        for _ in tqdm(as_completed([*jobs, *drawn]), total=len(jobs) + len(drawn), unit="part"):
            pass
        counts = Counter()
        for (exercise, name, _), job in zip(asked, drawn, strict=True):
            counts[exercise, name] += job.result()
        return [job.result() for job in jobs], [statistics(exercise, seeds, counts) for exercise in random]


def totals(rows: list[dict]) -> dict:
    wrong = sum(row["wrong"] for row in rows)
    diagnosed = sum(entry["diagnosed"] for row in rows for entry in row["wrong_answers"])
    counts = {key: sum(row[key] for row in rows) for key in ("wrong", "wrong_accepted", "right", "right_rejected")}
    return counts | {"diagnosed": round(diagnosed / wrong, 4)}


def table(rows: list[dict]) -> str:
    """One line an exercise and the sum, then by name what went wrong."""
    line = "{:<22}{:>7}{:>10}{:>7}{:>10}{:>11}"
    text = [line.format("exercise", "wrong", "accepted", "right", "rejected", "diagnosed")]
    for row in [*rows, {"exercise": "all"} | totals(rows)]:
        counts = (row[key] for key in ("exercise", "wrong", "wrong_accepted", "right", "right_rejected"))
        text.append(line.format(*counts, f"{row['diagnosed']:.0%}"))
    for row in rows:
        text += [f"{row['exercise']} accepts: {a['name']}" for a in row["wrong_answers"] if a["told"] is None]
        text += [f"{row['exercise']} rejects: {a['name']}: {a['told']}" for a in row["right_answers"] if a["told"]]
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 where an answer is judged wrongly."""
    parser = argparse.ArgumentParser(prog="python -m tests.bank", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="draws for the statistical checks (default: 200)")
    parser.add_argument("--only", nargs="*", default=list(BANK), choices=list(BANK), metavar="EXERCISE")
    parser.add_argument("--no-file", action="store_true", help="print, and leave data/results/ as it is")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    random = [exercise for exercise in REFERENCES if exercise in options.only and options.seeds]
    rows, chances = judge_all(options.only, random, options.seeds)
    print(table(rows))
    for row in chances:
        print(f"{row['exercise']}: {row['false_alarms']} false alarms in {row['seeds']} seeds; missed:", end=" ")
        print(", ".join(f"{count} × {name}" for name, count in row["misses"].items()))
    whole = totals(rows)
    if not options.no_file:
        numbers = whole | {"exercises": rows, "statistics": chances}
        numbers |= {"processes": usable_cores(), "seconds": round(time.perf_counter() - started)}
        command = f"python -m tests.bank --seeds {options.seeds}"
        command += "" if options.only == list(BANK) else f" --only {' '.join(options.only)}"
        write_result("answer_bank", command, list(range(options.seeds)), numbers)
    return int(whole["wrong_accepted"] + whole["right_rejected"] > 0)


if __name__ == "__main__":
    sys.exit(main())
