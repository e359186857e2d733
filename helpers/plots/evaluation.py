"""The figures of notebook 06: measures of a representation, and maps of it."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

MARKERS = "osD^vPX<>p"  # the classes differ in marker as well as in colour


def maps(points: list[list[Tensor]], titles: list[list[str]], labels: Tensor, classes: tuple[str, ...]) -> Figure:
    """Maps of representations in the plane: rows of panels, one dot an image, coloured by its class.

    Args:
        points: for each row, (M, 2) tensors between 0 and 1; with a title for each.
        labels: (M,) positions in classes.
    """
    figure, axes = plt.subplots(
        len(points), len(points[0]), figsize=(2.6 * len(points[0]), 2.75 * len(points) + 0.5), squeeze=False
    )
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    for ax, place, title in zip(axes.flat, [p for row in points for p in row], [t for row in titles for t in row]):
        for label in range(len(classes)):
            x, y = place[labels == label].T
            style = {"color": colours[label % len(colours)], "marker": MARKERS[label % len(MARKERS)], "linewidths": 0}
            ax.scatter(x, y, s=11, alpha=0.75, label=classes[label], **style)
        ax.set_xticks([]), ax.set_yticks([])
        ax.set_title(title, fontsize=9)
        ax.spines[["top", "right"]].set_visible(True)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.tight_layout()
    figure.legend(
        handles,
        names,
        ncols=min(5, len(names)),
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        frameon=False,
        markerscale=2,
    )
    return figure


def label_curve(counts: list[int], accuracies: dict[str, list[float]], chance: float) -> Figure:
    """Accuracy against the number of labelled images, a line a way of using them.

    Args:
        counts: labelled images, ascending.
        accuracies: {name: fractions in [0, 1]}, one for each count.
        chance: drawn as a dashed line.
    """
    figure, ax = plt.subplots(figsize=(5.6, 3.4))
    for (name, values), marker in zip(accuracies.items(), MARKERS):
        ax.plot(counts, [100 * value for value in values], marker=marker, label=name)
    ax.axhline(100 * chance, color="#717581", linestyle="--", linewidth=1, label="chance")
    ax.set_xscale("log")
    ax.set_xticks(counts, [f"{count:,}" for count in counts], minor=False)
    ax.minorticks_off()
    ax.set_xlabel("labelled images (log scale)")
    ax.set_ylabel("validation accuracy (%)")
    ax.set_ylim(0, 100)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def accuracy_bars(rows: list[tuple[str, float, float]], chance: float, split: str) -> Figure:
    """k-NN and linear probe side by side for each representation.

    Args:
        rows: (name, k-NN accuracy, probe accuracy), fractions in [0, 1].
        chance: drawn as a dashed line.
        split: which images were asked for, for the axis.
    """
    figure, ax = plt.subplots(figsize=(6.2, 0.8 + 0.5 * len(rows)))
    for offset, column, name in ((-0.2, 1, "k-NN"), (0.2, 2, "linear probe")):
        bars = ax.barh(
            [index + offset for index in range(len(rows))], [100 * row[column] for row in rows], height=0.38, label=name
        )
        ax.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    ax.axvline(100 * chance, color="#717581", linestyle="--", linewidth=1, label="chance")
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel(f"{split} accuracy (%)")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def alignment_uniformity_plane(points: dict[str, tuple[float, float]]) -> Figure:
    """Each representation as a point: alignment to the right, uniformity upwards; both are best low and left.

    Args:
        points: {name: (alignment, uniformity)}.
    """
    figure, ax = plt.subplots(figsize=(5.2, 3.6))
    for (name, (x, y)), marker in zip(points.items(), MARKERS):
        ax.scatter([x], [y], marker=marker, s=60, label=name, zorder=3)
    ax.set_xlim(left=-0.05)
    ax.set_xlabel("alignment (0: both views in one place)")
    ax.set_ylabel("uniformity (lower: more even)")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    ax.annotate(
        "better", (0.03, 0.03), (0.16, 0.16), xycoords="axes fraction", arrowprops={"arrowstyle": "->"}, fontsize=8
    )
    return figure
