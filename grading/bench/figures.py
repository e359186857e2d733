"""The figures of bench.json, the memory of the loss against N and speeds, and that of learn_cifar10.json."""

import statistics

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from helpers import plots  # noqa: F401  sets the style of all figures of the course

plt.rcParams["svg.hashsalt"] = "two views"  # the same numbers give the same bytes
COLORS = {"Two Views": "C0", "lightly": "C1", "pytorch-metric-learning": "C2", "torchvision": "C3", "kornia": "C4",
          "ours": "C0", "UvA": "C3", "CS231n": "C4", "supervised": "C5"}  # fmt: skip


def memory(numbers: dict) -> Figure:
    """MiB at the peak against N, both axes logarithmic."""
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    growth(ax, numbers["loss_mib"], 1)
    ax.axhline(2048, color="0.6", linewidth=1, linestyle=":")
    ax.annotate("2 GiB", (1, 2048), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="0.4")
    ax.set(xlabel="N, images in the batch", ylabel="memory of the loss at its peak (MiB)")
    return figure


def speeds(numbers: dict) -> Figure:
    """Images a second and core for views and whole steps, and seconds of the loss against N."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    bars(left, numbers["views_seconds_an_image"]["32"])
    left.set_xlabel("two views: images a second and core")
    growth(middle, numbers["loss_seconds"], 1e3)
    middle.set(xlabel="N, images in the batch", ylabel="loss, forward and backward (ms)")
    bars(right, numbers["step_seconds_an_image"])
    right.set_xlabel("training: images a second and core")
    return figure


def learning(rows: list[dict]) -> Figure:
    """k-NN accuracy against minutes: a dot a run, a line a recipe, dashed without whitening; controls that take no time
    as level lines; where one was measured with a smaller bank, ours with it too."""
    figure, ax = plt.subplots(figsize=(8.5, 4.2), layout="constrained")
    banks = sorted({each.get("bank", 0) for each in rows})
    for name in dict.fromkeys(each["name"] for each in rows):
        mine = [each for each in rows if each["name"] == name]
        plain, white = ("plain", "knn") if name == "ours" else ("knn", "white")
        if not mine[0]["minutes"]:
            ax.axhline(mine[0][white], color="0.6", linewidth=1, linestyle=":")
            place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom", "color": "0.4"}
            ax.annotate(name, (1, mine[0][white]), **place)
            continue
        for column, style in ((white, "-"), (plain, "--")):
            points = sorted((each["minutes"], each[column]) for each in mine)
            times = sorted({minutes for minutes, _ in points})
            means = [statistics.mean(knn for minutes, knn in points if minutes == time) for time in times]
            label = name + (f", bank of {banks[0]:,}" if mine[0].get("bank", 0) < banks[-1] else "")
            ax.plot(times, means, style, color=color(name), label=label if style == "-" else None)
            ax.plot(*zip(*points, strict=True), "o", color=color(name), markersize=4)
        if name == "ours" and len(banks) > 1:
            means = [statistics.mean(each["part"] for each in mine if each["minutes"] == time) for time in times]
            ax.plot(times, means, ":", color=color(name), label=f"ours, bank of {banks[0]:,}")
    ax.plot([], [], "--", color="0.4", label="h as it is, not whitened")
    times = sorted({each["minutes"] for each in rows if each["minutes"]})
    ax.set_xscale("log")
    ax.set_xticks(times, [f"{time:g}" for time in times])
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(PercentFormatter(1))  # as many digits as the axis needs
    ax.set(xlabel="minutes of training on two cores", ylabel="k-NN accuracy on CIFAR-10's test pictures")
    figure.legend(frameon=False, loc="outside right upper", fontsize=8)
    ax.grid(alpha=0.3)
    return figure


def growth(ax: Axes, cells: dict[str, dict], scale: float) -> None:
    """A line for each way over the sizes it was measured at, named at its end."""
    for way in dict.fromkeys(way for column in cells.values() for way in column):
        points = [(int(size), scale * column[way]["median"]) for size, column in cells.items() if way in column]
        style = {"color": color(way), "linestyle": "--" if "04" in way else "-", "marker": "o", "markersize": 3}
        ax.loglog(*zip(*points, strict=True), label=way, **style)
    sizes = [int(size) for size in cells]
    ax.set_xticks(sizes, [str(size) for size in sizes], rotation=45)
    ax.minorticks_off()
    ax.legend(frameon=False, loc="lower right", fontsize=7)
    ax.grid(alpha=0.3)


def bars(ax: Axes, found: dict[str, dict]) -> None:
    """A bar for each way, the fastest on top, with its number; the line on it reaches from the slowest round to the fastest."""
    ways = sorted(found, key=lambda way: -found[way]["median"])
    speed = [1 / found[way]["median"] for way in ways]
    slow, fast = zip(*[(1 / found[way]["spread"][1], 1 / found[way]["spread"][0]) for way in ways], strict=True)
    reach = [[s - a for s, a in zip(speed, slow, strict=True)], [b - s for s, b in zip(speed, fast, strict=True)]]
    ax.barh(ways, speed, xerr=reach, color=[color(way) for way in ways], ecolor="0.3", height=0.6)
    for place, (s, end) in enumerate(zip(speed, fast, strict=True)):
        ax.annotate(f" {s:,.0f}", (max(s, end), place), va="center")
    ax.margins(x=0.2)


def color(way: str) -> str:
    return next(color for name, color in COLORS.items() if way.startswith(name))
