"""The figures of the findings: every number of every condition, one dot a seed."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

SHARES = {"knn", "knn of z", "contrastive", "identified", "supervised", "probe", "frozen", "fine-tuned", "from scratch"}
LABELS = {"knn": "k-NN accuracy of h", "knn of z": "k-NN accuracy of z", "contrastive": "positives found",
          "identified": "crops found again", "supervised": "accuracy with labels", "probe": "linear probe",
          "frozen": "linear probe, frozen", "gain": "fine-tuned − from scratch"}  # fmt: skip


def number(name: str, value: float) -> str:
    """A number as text: shares in percent, the rest with three digits."""
    return f"{value:.1%}" if name in SHARES else f"{value:.3g}"


def finding(rows: dict[str, dict[str, list[float]]], title: str) -> Figure:
    """One panel a number, the conditions from left to right: a dot a seed, a line through the means.

    Args:
        rows: {condition: {number: [one value a seed]}}, the same numbers in every condition.
    """
    names = list(next(iter(rows.values())))
    columns = min(4, len(names))
    down = -(-len(names) // columns)
    wide = max(2.4, 0.75 * len(rows))
    figure, axes = plt.subplots(down, columns, figsize=(wide * columns, 2.7 * down), squeeze=False)
    for ax, name in zip(axes.flat, names):
        places = range(len(rows))
        values = [numbers[name] for numbers in rows.values()]
        ax.plot(places, [sum(each) / len(each) for each in values], color="#3f90da", linewidth=1, alpha=0.6)
        for place, each in zip(places, values, strict=True):
            ax.plot([place] * len(each), each, "o", color="#3f90da", markersize=5, markeredgecolor="white")
        ax.set_title(LABELS.get(name, name), fontsize=9)
        ax.set_xticks(
            places,
            list(rows),
            rotation=30 if wide > 2.4 or len(rows) > 2 else 0,
            ha="right" if len(rows) > 2 else "center",
        )
        ax.margins(x=0.25 if len(rows) < 4 else 0.1, y=0.15)
        if name in SHARES:
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    figure.suptitle(title.replace("_", " "), fontsize=10)
    figure.tight_layout()
    return figure
