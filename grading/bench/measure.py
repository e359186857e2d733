"""Measure everything, in the environment that `python -m grading.bench` makes; `--quick` tries it out in two minutes.

Ratios are ours over theirs in images a second (or in memory, theirs over ours): higher is better for us. A ratio is
the median over the rounds, its spread the lowest and the highest round. On one core processor time is counted.
"""

import argparse
import os
import sys
import time
from dataclasses import asdict
from importlib.metadata import version

import torch

from data.record import RESULTS, write_result
from grading.bench import figures, loss, step, views
from grading.bench.race import race, ratio, summary
from grading.bench.table import table
from helpers.machine import usable_cores

COUNT = 256  # images in a batch of views


def measure_views(rounds: int) -> dict:
    """Seconds an image (two views) on one core; ratios; how the cost grows with the side of the image."""
    seconds = race(views.runners(views.pictures(COUNT)), 3 * rounds)  # they are short
    numbers = ratios(seconds, "augment-exact/torchvision-pil", views.EXACT, views.PIL)
    numbers |= ratios(seconds, "augment/torchvision-pil", views.FUSED, views.PIL)
    numbers |= ratios(seconds, "augment/kornia", views.FUSED, views.KORNIA)
    by_side = {"32": summary(seconds, COUNT)}
    for side in (64, 96):
        by_side[str(side)] = summary(
            race(views.runners(views.pictures(COUNT // 4, side)), max(2, rounds // 3)), COUNT // 4
        )
    return numbers | {"views_seconds_an_image": by_side}


def measure_loss(rounds: int, sizes: tuple[int, ...]) -> dict:
    """Seconds and peak MiB of the losses by N, on one core; ratios at N = 4096."""
    numbers = {"loss_seconds": {}, "loss_mib": {}}
    for n in sizes:
        runners = loss.runners(n)
        if n > 4096:  # the others would take minutes
            runners = {loss.OURS: runners[loss.OURS]}
        seconds = race(runners, rounds if n <= 4096 else 1)
        numbers["loss_seconds"][str(n)] = summary(seconds)
        if n == 4096:
            numbers = merged([numbers, loss_ratio(seconds, "nt_xent/4096/speed")])
    if sys.platform != "linux":
        return merged([numbers, {"left_out": {"nt_xent/4096/memory": "its measurement needs Linux"}}])
    for n in sizes:
        repeats = 3 if n == 4096 else 1
        peaks = {name: [loss.peak_mib(name, n) for _ in range(repeats)] for name in loss.ways(n)}
        numbers["loss_mib"][str(n)] = summary(peaks)
        if n == 4096:
            numbers = merged([numbers, loss_ratio(peaks, "nt_xent/4096/memory")])
    return numbers


def loss_ratio(measured: dict[str, list[float]], name: str) -> dict:
    """Ours over lightly's, or why there is none."""
    if loss.LIGHTLY not in measured:
        return {"left_out": {name: "lightly's matrix needs more memory than is free here"}}
    return ratios(measured, name, loss.OURS, loss.LIGHTLY)


def measure_step(rounds: int) -> dict:
    """Seconds an image of a whole training step on one core, and the ratio."""
    images = views.pictures(step.STEPS * step.BATCH)
    seconds = race(step.runners(images), rounds)
    numbers = ratios(seconds, "step/lightly", step.OURS, step.LIGHTLY)
    return numbers | {"step_seconds_an_image": summary(seconds, len(images))}


def measure_cores(rounds: int) -> dict:
    """Seconds by the clock with one and with two threads, as far as there are cores; PIL always works on one."""
    images, some = views.pictures(COUNT), views.pictures(step.STEPS * step.BATCH)
    work = {f"views: {name}": run for name, run in views.runners(images).items() if name != views.PIL}
    work |= {f"loss, N = 4096: {name}": run for name, run in loss.runners(4096).items()}
    work |= {f"{step.STEPS} steps: {name}": run for name, run in step.runners(some).items()}
    found = {}
    for threads in range(1, min(2, usable_cores()) + 1):
        found[str(threads)] = summary(race(work, rounds, threads, clock=time.perf_counter))
    return {"seconds_by_cores": found}


def ratios(seconds: dict[str, list[float]], name: str, ours: str, theirs: str) -> dict:
    """A ratio and its spread, side by side."""
    median, spread = ratio(seconds, ours, theirs)
    return {name: median, f"{name}/spread": spread}


def merged(parts: list[dict]) -> dict:
    """One dictionary, ratios first; what was left out by one and by another stands together."""
    left_out = {name: why for part in parts for name, why in part.get("left_out", {}).items()}
    together = {name: value for part in parts for name, value in part.items() if name != "left_out"}
    first = {name: value for name, value in together.items() if "/" in name}
    return first | ({"left_out": left_out} if left_out else {}) | together


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m grading.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds and small N; prints, and writes no file")
    quick = parser.parse_args(arguments).quick
    start, load = time.perf_counter(), os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    torch.manual_seed(0)
    rounds, sizes = (2, (64, 256, 4096)) if quick else (9, loss.SIZES)
    parts = [measure_views(rounds), measure_loss(max(2, rounds // 2), sizes)]
    parts += [measure_step(rounds), measure_cores(max(1, rounds // 3))]
    peers = {name: version(name) for name in ("lightly", "kornia", "pytorch-metric-learning")}
    numbers = merged(parts) | {
        "recipe": asdict(step.recipe()),
        "peers": peers,
        "load_before": load,
        "seconds": round(time.perf_counter() - start),
    }
    print(table(numbers))
    if not quick:
        write_result("bench", "python -m grading.bench", 0, numbers)
        (RESULTS / "bench.md").write_text(table(numbers), encoding="utf-8")
        figures.memory(numbers).savefig(RESULTS / "bench_memory.svg", metadata={"Date": None})
        figures.speeds(numbers).savefig(RESULTS / "bench_speed.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
