"""The figures of notebook 01: two views."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor


def histogram_pairs(
    pairs: dict[str, tuple[Tensor, Tensor]], histograms: dict[str, tuple[Tensor, Tensor]], bins: int = 32
) -> Figure:
    """One row a pair: its two views, then the histograms of their red, green and blue, one over the other.

    Args:
        pairs: {name: (x_a, x_b)}, (3, H, W) each, float in [0, 1].
        histograms: {name: (shares_a, shares_b)}, (3, bins) each.
    """
    figure, axes = plt.subplots(
        len(pairs),
        5,
        figsize=(9, 1.55 * len(pairs)),
        squeeze=False,
        gridspec_kw={"width_ratios": [1, 1, 1.7, 1.7, 1.7]},
    )
    edges = torch.linspace(0, 1, bins + 1)
    for row, name in enumerate(pairs):
        for ax, view in zip(axes[row], pairs[name], strict=False):
            ax.imshow(view.permute(1, 2, 0).cpu(), interpolation="nearest")
            ax.set_xticks([]), ax.set_yticks([])
            ax.spines[:].set_visible(False)
        axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6)
        for channel, ax in enumerate(axes[row, 2:]):
            shares_a, shares_b = (shares[channel].cpu() for shares in histograms[name])
            ax.stairs(shares_a, edges, fill=True, alpha=0.35, color="#3f90da", label="$x_a$")
            ax.stairs(shares_b, edges, color="#b2460f", linewidth=1.5, label="$x_b$")
            ax.set_yticks([])
            if row == 0:
                ax.set_title(("red", "green", "blue")[channel] + ", share of pixels", fontsize=9)
    for ax, title in zip(axes[0], ("$x_a$", "$x_b$"), strict=False):
        ax.set_title(title, fontsize=9)
    axes[0, 4].legend(frameon=False, fontsize=8)
    for ax in axes[-1, 2:]:
        ax.set_xlabel("value", fontsize=8)
    figure.subplots_adjust(wspace=0.15, hspace=0.25)
    return figure


def shortcut_curve(strengths: list[float], accuracies: Tensor, crop_only: Tensor, chance: float) -> Figure:
    """Contrastive accuracy of the colour histogram against the strength of the distortion: mean and every draw.

    Args:
        accuracies: (S, draws), one row a strength. crop_only: (draws,) without any colour distortion.
    """
    figure, ax = plt.subplots(figsize=(5.6, 3))
    ax.plot(strengths, accuracies.mean(dim=1), color="#3f90da", label="crop, flip and colour distortion")
    ax.scatter(
        torch.tensor(strengths).repeat_interleave(accuracies.shape[1]), accuracies.flatten(), s=9, color="#3f90da"
    )
    ax.axhline(crop_only.mean(), color="#b2460f", linestyle="--", label="crop and flip only")
    ax.axhline(chance, color="#1b1b1b", linestyle=":", label="chance")
    ax.set_xlabel("strength of the colour distortion"), ax.set_ylabel("right partner found")
    ax.set_ylim(0, 1), ax.legend(frameon=False, fontsize=8)
    return figure
