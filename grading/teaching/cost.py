"""What a class needs of machines: from the measured time, memory and disk of the notebooks (data/results/timings.json),
and the measured time of grading (data/results/answer_bank_graded.json).

    python -m grading.teaching.cost
    python -m grading.teaching.cost --students 1000 --runs 5 --at-once 0.2 --core-hour PRICE --gib-hour PRICE

Prices are yours to fill in, as your provider bills a core and a GiB of memory for an hour; nothing here knows any.
"""

import argparse
import json
import math

from data.record import RESULTS


def main() -> None:
    parser = argparse.ArgumentParser(description="What a class needs of machines.")
    option = parser.add_argument
    option("--students", type=int, default=1000)
    option("--runs", type=float, default=5, help="how often a student runs each notebook whole (default 5)")
    option("--at-once", type=float, default=0.2, help="share of the class at work at the busiest hour (default 0.2)")
    option(
        "--hours", type=float, default=6, help="a student's hours in the course; the notebooks name about 6 (default)"
    )
    option("--core-hour", type=float, help="price of one core for an hour")
    option("--gib-hour", type=float, help="price of one GiB of memory for an hour")
    chosen = parser.parse_args()
    if min(chosen.students, chosen.hours) <= 0:
        parser.error("--students and --hours are numbers above 0.")
    measured, graded = (json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
                        for name in ("timings", "answer_bank_graded"))  # fmt: skip
    needed = needs(measured, graded, chosen.students, chosen.runs, chosen.at_once, chosen.hours)
    print(table(needed, chosen.core_hour, chosen.gib_hour))


def needs(measured: dict, graded: dict, students: int, runs: float, at_once: float, hours: float) -> dict[str, float]:
    """Core-hours of the class, and what has to be there at its busiest hour.

    Args:
        measured: timings.json: wall seconds on so many cores, and peak MiB, of every notebook; a server's MiB; the disk.
        graded: answer_bank_graded.json: wall seconds on so many cores, and how many whole hand-ins were graded.
        runs: how often a student runs each notebook from top to bottom.
        at_once: share of the class at work at the busiest hour.
        hours: a student's hours in the course, thinking included.
    """
    cores, notebooks = measured["machine"]["cores"], measured["notebooks"].values()
    seconds = sum(each["seconds"] for each in notebooks)
    busy = math.ceil(students * at_once)
    share = runs * seconds / (3600 * hours)  # of a student's hours in which a cell runs
    gib = (measured["server_mib"] + max(each["peak_mib"] for each in notebooks)) / 1024
    grading = graded["seconds"] * graded["machine"]["cores"] / graded["submissions"]  # core-seconds of a hand-in
    return {
        "students": students,
        "hours of a student in the course": hours,
        "core-hours, all cells once, one student": seconds * cores / 3600,
        "core-hours, the whole class": students * runs * seconds * cores / 3600,
        "core-hours, grading each student's whole course once": students * grading / 3600,
        "GiB of memory for one student, one notebook open": gib,
        "GiB of disk, the whole class": students * measured["disk_mib"] / 1024,
        "GiB-hours, the whole class": students * hours * gib,
        "students at work at the busiest hour": busy,
        "cores for them": math.ceil(busy * share * cores),
        "GiB for them": math.ceil(busy * gib),
    }


def table(needed: dict[str, float], core_hour: float | None, gib_hour: float | None) -> str:
    """A line a figure; with both prices, what it costs."""
    lines = dict(needed)
    if core_hour is not None and gib_hour is not None:
        price = core_hour * needed["core-hours, the whole class"] + gib_hour * needed["GiB-hours, the whole class"]
        lines |= {"cost of the whole course": price, "cost of one student": price / needed["students"]}
    return "\n".join(f"{value:>12,.{0 if value == int(value) else 2}f}  {name}" for name, value in lines.items())


if __name__ == "__main__":
    main()
