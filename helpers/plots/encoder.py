"""The figures of notebook 02: the encoder."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor


def feature_map_ladder(image: Tensor, sides: dict[str, list[int]]) -> Figure:
    """How finely each stage of a ResNet can say where: the picture averaged down to the side of each feature map.

    Args:
        image: (3, H, W) uint8.
        sides: {stem: five sides, after the stem and after each of the four stages}.
    """
    places = ["image", "after the stem", "after stage 1", "after stage 2", "after stage 3", "after stage 4"]
    figure, axes = plt.subplots(len(sides), 6, figsize=(8.2, 1.75 * len(sides)), squeeze=False)
    for row, (stem, five) in enumerate(sides.items()):
        axes[row, 0].set_ylabel(stem, rotation=0, ha="right", va="center", fontsize=9)
        for ax, place, side in zip(axes[row], places, [image.shape[-1], *five]):
            averaged = torch.nn.functional.adaptive_avg_pool2d(image.float() / 255, int(side))  # (3, side, side)
            ax.imshow(averaged.permute(1, 2, 0), interpolation="nearest", extent=(0, side, side, 0))
            ax.set_xticks([]), ax.set_yticks([])
            ax.set_xlabel(f"{side} × {side}", fontsize=9)
            if row == 0:
                ax.set_title(place, fontsize=9)
    figure.subplots_adjust(wspace=0.12, hspace=0.3)
    return figure


def stem_maps(image: Tensor, maps: dict[str, Tensor]) -> Figure:
    """What a stem hands on: the picture, then a few channels of each stem's feature map, dark to bright.

    Args:
        image: (3, H, W) uint8.
        maps: {stem: (K, side, side)}, the same K everywhere.
    """
    columns = 1 + len(next(iter(maps.values())))
    figure, axes = plt.subplots(len(maps), columns, figsize=(1.35 * columns, 1.6 * len(maps)), squeeze=False)
    for row, (stem, channels) in enumerate(maps.items()):
        axes[row, 0].imshow(image.permute(1, 2, 0), interpolation="nearest")
        axes[row, 0].set_ylabel(stem, rotation=0, ha="right", va="center", fontsize=9)
        for ax, channel in zip(axes[row, 1:], channels):
            ax.imshow(channel.detach(), cmap="gray", interpolation="nearest")
            ax.set_xlabel(f"{channel.shape[-2]} × {channel.shape[-1]}", fontsize=8)
        for column, ax in enumerate(axes[row]):
            ax.set_xticks([]), ax.set_yticks([])
            if row == 0:
                ax.set_title("image" if column == 0 else f"channel {column - 1}", fontsize=8)
    figure.subplots_adjust(wspace=0.1, hspace=0.3)
    return figure
