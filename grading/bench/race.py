"""Time several ways of doing the same work in turns, so that what else the machine does hits all alike."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from helpers.machine import keep_memory

Seconds = dict[str, list[float]]


@contextmanager
def using(threads: int) -> Iterator[None]:
    """While this lasts torch has so many threads, at least one; then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def race(
    runners: dict[str, Callable[[], object]],
    rounds: int,
    threads: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> Seconds:
    """Seconds of each runner in each round; whoever began a round goes last in the next.

    Processor time is counted, which waiting for a busy core does not lengthen; where threads are to be compared,
    the clock should be time.perf_counter.
    """
    keep_memory()  # as in training, for all runners alike
    with using(threads):
        for run in runners.values():
            run()  # the first time also allocates and chooses kernels
        seconds, names = {name: [] for name in runners}, list(runners)
        for _ in range(rounds):
            for name in names:
                start = clock()
                runners[name]()
                seconds[name].append(clock() - start)
            names.append(names.pop(0))
        return seconds


def ratio(seconds: Seconds, ours: str, theirs: str) -> tuple[float, list[float]]:
    """How many times as fast ours is: the median of the rounds, and the lowest and highest of them."""
    each = [b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True)]
    return rounded(statistics.median(each)), [rounded(min(each)), rounded(max(each))]


def summary(seconds: Seconds, per: float = 1.0) -> dict[str, dict]:
    """Median, lowest and highest seconds of each runner, divided by `per`, images for instance."""
    return {
        name: {
            "median": rounded(statistics.median(times) / per),
            "spread": [rounded(min(times) / per), rounded(max(times) / per)],
        }
        for name, times in seconds.items()
    }


def rounded(number: float) -> float:
    """To four digits that count."""
    return float(f"{number:.4g}")
