"""The figures of notebook 03: the projection head."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor


def head_along_a_line(position: Tensor, z: Tensor) -> Figure:
    """A few entries of z while h walks along a straight line: what the head bends, bounds or cuts off.

    Args:
        position: (M,) where on the line.
        z: (M, K) the entries; K up to 6 are drawn.
    """
    figure, ax = plt.subplots(figsize=(5.6, 3.1))
    ax.axhline(0, color="#717581", linewidth=0.8)
    for column, style in zip(range(min(6, z.shape[1])), ["-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1))]):
        ax.plot(position, z[:, column], linestyle=style, label=f"z[{column}]")
    ax.set_xlabel("position of h on a straight line")
    ax.set_ylabel("entry of z")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def statistics_before_after(before: Tensor, after: dict[str, Tensor]) -> Figure:
    """Batch-norm means before and after some training steps, a panel a classifier; unchanged ones lie on the diagonal.

    Args:
        before: (C,) running means; after: {classifier: (C,) running means}.
    """
    figure, axes = plt.subplots(1, len(after), figsize=(3.1 * len(after), 2.9), squeeze=False, sharex=True, sharey=True)
    for ax, (name, means) in zip(axes[0], after.items()):
        low, high = float(min(before.min(), means.min())), float(max(before.max(), means.max()))
        ax.plot([low, high], [low, high], color="#717581", linewidth=1, linestyle="--", label="unchanged")
        ax.scatter(before, means, s=14, zorder=3, linewidths=0)
        ax.set_title(name, fontsize=9)
        ax.set_xlabel("running mean before")
    axes[0, 0].set_ylabel("running mean after")
    axes[0, 0].legend(frameon=False, loc="upper left")
    figure.tight_layout()
    return figure
