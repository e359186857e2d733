"""The figures of the findings: every number of every condition, one dot a seed."""

import math
import re

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

SHARES = {"knn", "knn of z", "contrastive", "identified", "supervised", "probe", "frozen", "fine-tuned", "from scratch"}
LABELS = {"knn": "k-NN accuracy of h", "knn of z": "k-NN accuracy of z", "contrastive": "positives found",
          "identified": "crops found again", "supervised": "accuracy with labels", "probe": "linear probe",
          "frozen": "linear probe, frozen", "gain": "fine-tuned − from scratch"}  # fmt: skip
# Of the built-in pictures, asked of h and z.
FACTORS = ("hue", "position", "scale", "brightness", "rotation", "occluder")
LINES = (("#3f90da", "-"), ("#bd1f01", "--"), ("#832db6", ":"))  # of conditions that share a panel
LABELS |= {name: f"{name} (R² of a linear map)" for name in FACTORS}


def number(name: str, value: float) -> str:
    """A number as text: shares in percent, whole and large numbers without a fraction, the rest with three digits."""
    if name in SHARES:
        return f"{value:.1%}"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.3g}"


def finding(rows: dict[str, dict[str, list[float]]], title: str, varied: str) -> Figure:
    """One panel a number, the conditions from left to right: a dot a seed, a line through the means.

    Args:
        rows: {condition: {number: [one value a seed]}}, the same numbers in every condition.
        varied: what differs between conditions.
    """
    if spectrum_of(rows):
        return spectra(rows, title, varied)
    names = list(next(iter(rows.values())))
    columns = min(4, len(names))
    down = -(-len(names) // columns)
    wide = max(2.4, 0.75 * len(rows))
    figure, axes = plt.subplots(down, columns, figsize=(wide * columns, 2.7 * down + 0.3), squeeze=False)
    for ax, name in zip(axes.flat, names):
        places = range(len(rows))
        values = [numbers[name] for numbers in rows.values()]
        ax.plot(places, [sum(each) / len(each) for each in values], color="#3f90da", linewidth=1, alpha=0.6)
        for place, each in zip(places, values, strict=True):
            ax.plot([place] * len(each), each, "o", color="#3f90da", markersize=5, markeredgecolor="white")
        label = LABELS.get(name, name)
        ax.set_title(label.removesuffix(" of h") if "z" in rows else label, fontsize=9)  # h and z may be the conditions
        crowded = wide > 2.4 or len(rows) > 2 or sum(map(len, rows)) > 24  # letters below a panel
        ax.set_xticks(places, list(rows), rotation=30 if crowded else 0, ha="right" if crowded else "center")
        ax.margins(x=0.25 if len(rows) < 4 else 0.1, y=0.15)
        if name in SHARES:
            ax.yaxis.set_major_formatter(PercentFormatter(1))  # as many digits as the axis needs
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    figure.suptitle(title.replace("_", " "), fontsize=10)
    figure.supxlabel(varied, fontsize=9)
    figure.tight_layout()
    return figure


def whole_finding(rows: dict[str, dict[str, list[float]]], name: str, varied: str) -> Figure:
    """The figure of a whole experiment: compositions as a matrix, the others as `finding` draws them."""
    return composition_matrix(rows) if name == "composition" else finding(rows, name, varied)


def spectrum_of(rows: dict[str, dict[str, list[float]]]) -> dict[str, list[int]]:
    """{"h" or "z": places} of the singular values "σ8 of z" among the numbers."""
    found: dict[str, list[int]] = {}
    for name in next(iter(rows.values())):
        if match := re.fullmatch(r"σ(\d+) of (\w)", name):
            found.setdefault(match[2], []).append(int(match[1]))
    return found


def spectra(rows: dict[str, dict[str, list[float]]], title: str, varied: str) -> Figure:
    """The singular values of h and of z, as shares of the largest: a thin line a seed, a thick one for their mean.

    Args:
        rows: as for `finding`, with numbers "σ1 of h", "σ2 of h", "σ4 of h", ...
    """
    places = spectrum_of(rows)
    figure, axes = plt.subplots(1, len(places), figsize=(3.6 * len(places), 3.1), sharey=True, squeeze=False)
    for ax, (name, at) in zip(axes.flat, places.items()):
        for (condition, numbers), (color, style) in zip(rows.items(), LINES):
            seeds = list(zip(*(numbers[f"σ{place} of {name}"] for place in at), strict=True))
            for each in seeds:
                ax.plot(at, each, color=color, linestyle=style, linewidth=0.6, alpha=0.5)
            means = [sum(each) / len(each) for each in zip(*seeds, strict=True)]
            ax.plot(at, means, style, color=color, label=condition)
        ax.set_xscale("log", base=2), ax.set_yscale("log")
        ax.set_xticks(at, at)
        ax.set_title(f"singular values of {name}", fontsize=9)
        ax.set_xlabel("place, the largest first")
    axes[0, 0].set_ylabel("share of the largest")
    axes[0, -1].legend(title=varied, frameon=False, fontsize=8)
    figure.suptitle(title.replace("_", " "), fontsize=10)
    figure.tight_layout()
    return figure


def composition_matrix(rows: dict[str, dict[str, list[float]]], name: str = "knn") -> Figure:
    """A number of single operations on the diagonal and of pairs off it, as in figure 5 of the SimCLR paper.

    Args:
        rows: as for `finding`; conditions "a" and "a + b", one order of each pair. What is not there stays empty.
    """
    single = list(dict.fromkeys(operation for condition in rows for operation in condition.split(" + ")))
    means = {condition: sum(numbers[name]) / len(numbers[name]) for condition, numbers in rows.items()}
    means |= {f"{a} + {a}": means[a] for a in single if a in means}
    table = [[means.get(f"{a} + {b}", means.get(f"{b} + {a}", math.nan)) for b in single] for a in single]
    figure, ax = plt.subplots(figsize=(1.1 * len(single) + 1.2, 0.9 * len(single) + 0.8))
    ax.imshow(table, cmap="cividis")
    middle = (min(means.values()) + max(means.values())) / 2
    for row, values in enumerate(table):
        for column, value in enumerate(values):
            ink, shown = "white" if value < middle else "black", "–" if math.isnan(value) else number(name, value)
            ax.text(column, row, shown, ha="center", va="center", color=ink, fontsize=9)
    ax.set_xticks(range(len(single)), single), ax.set_yticks(range(len(single)), single)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_title(f"{LABELS.get(name, name)}\none operation (diagonal), or two", fontsize=9)
    figure.tight_layout()
    return figure
