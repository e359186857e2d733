"""The figures of the findings: every number of every condition, one dot a seed."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

SHARES = {"knn", "knn of z", "contrastive", "identified", "supervised", "probe", "frozen", "fine-tuned", "from scratch"}
LABELS = {"knn": "k-NN accuracy of h", "knn of z": "k-NN accuracy of z", "contrastive": "positives found",
          "identified": "crops found again", "supervised": "accuracy with labels", "probe": "linear probe",
          "frozen": "linear probe, frozen", "gain": "fine-tuned − from scratch"}  # fmt: skip
FACTORS = ("position", "scale", "brightness", "rotation", "occluder")  # of the built-in pictures, asked of h and z
LABELS |= {name: f"{name} (R² of a linear map)" for name in FACTORS}


def number(name: str, value: float) -> str:
    """A number as text: shares in percent, whole and large numbers without a fraction, the rest with three digits."""
    if name in SHARES:
        return f"{value:.1%}"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.3g}"


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
        label = LABELS.get(name, name)
        ax.set_title(label.removesuffix(" of h") if "z" in rows else label, fontsize=9)  # h and z may be the conditions
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


def composition_matrix(rows: dict[str, dict[str, list[float]]], name: str = "knn") -> Figure:
    """A number of single operations on the diagonal and of pairs off it, as in figure 5 of the SimCLR paper.

    Args:
        rows: as for `finding`; conditions "a" and "a + b", one order of each pair.
    """
    single = [condition for condition in rows if " + " not in condition]
    means = {condition: sum(numbers[name]) / len(numbers[name]) for condition, numbers in rows.items()}
    table = [[means.get(f"{a} + {b}", means.get(f"{b} + {a}", means[a])) for b in single] for a in single]
    figure, ax = plt.subplots(figsize=(1.1 * len(single) + 1.2, 0.9 * len(single) + 0.8))
    ax.imshow(table, cmap="cividis")
    middle = (min(means.values()) + max(means.values())) / 2
    for row, values in enumerate(table):
        for column, value in enumerate(values):
            ink = "white" if value < middle else "black"
            ax.text(column, row, number(name, value), ha="center", va="center", color=ink, fontsize=9)
    ax.set_xticks(range(len(single)), single), ax.set_yticks(range(len(single)), single)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_title(f"{LABELS.get(name, name)}\none operation (diagonal), or two", fontsize=9)
    figure.tight_layout()
    return figure
