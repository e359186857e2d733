"""The figures of notebook 04: the contrastive loss."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

NEGATIVE, POSITIVE, ITSELF = 0, 1, 2  # the role that a column plays for a row, in a (2N, 2N) map of roles


def similarity_picture(cosines: Tensor, roles: Tensor) -> Figure:
    """A matrix of cosines, and beside it the role of every entry: itself, positive, negative.

    Args:
        cosines: (2N, 2N) in [-1, 1].
        roles: (2N, 2N) of NEGATIVE, POSITIVE, ITSELF.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.7), layout="constrained")
    picture = left.imshow(cosines.detach().cpu().float().numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    figure.colorbar(picture, ax=left, label="cosine", shrink=0.8)
    draw_view_axes(left, "your similarities", len(cosines) // 2)
    draw_roles(right, "the role of each pair", roles)
    return figure


def role_pictures(roles: dict[str, Tensor]) -> Figure:
    """Several maps of roles side by side: {title: (2N, 2N) of NEGATIVE, POSITIVE, ITSELF}."""
    figure, axes = plt.subplots(1, len(roles), figsize=(3.9 * len(roles), 3.7), squeeze=False, layout="constrained")
    for ax, (title, one) in zip(axes.flat, roles.items(), strict=True):
        draw_roles(ax, title, one)
    return figure


def draw_roles(ax, title: str, roles: Tensor) -> None:
    """One map of roles; a sign in each square says it without colour, too."""
    colours = torch.tensor([[0.93, 0.93, 0.93], [0.25, 0.56, 0.85], [0.35, 0.35, 0.35]])
    ax.imshow(colours[roles].numpy())
    for row, line in enumerate(roles.tolist()):
        for column, role in enumerate(line):
            colour = "black" if role == NEGATIVE else "white"
            ax.text(column, row, ("-", "+", "×")[role], ha="center", va="center", color=colour)
    draw_view_axes(ax, f"{title}\n+ positive   - negative   × itself", len(roles) // 2)


def draw_view_axes(ax, title: str, n: int) -> None:
    """Name rows and columns a0, a1, ..., b0, b1, ... with a line between the views."""
    names = [f"{view}{index}" for view in "ab" for index in range(n)]
    ax.set_xticks(range(2 * n), names)
    ax.set_yticks(range(2 * n), names)
    ax.tick_params(length=0)
    ax.set_ylabel("anchor"), ax.set_xlabel("candidate")
    ax.axhline(n - 0.5, color="#444444", linewidth=0.8), ax.axvline(n - 0.5, color="#444444", linewidth=0.8)
    ax.set_title(title, fontsize=9)


def temperature_rows(cosines: Tensor, rows: dict[float, tuple[Tensor, Tensor]]) -> Figure:
    """One anchor's candidates at several temperatures: the probability of each, below it the gradient on its cosine.

    Args:
        cosines: (K,) of the candidates, the positive first.
        rows: {temperature: (probabilities (K,), gradient of the loss for each cosine (K,))}.
    """
    size = (2.9 * len(rows), 4.4)
    figure, axes = plt.subplots(2, len(rows), figsize=size, sharex=True, sharey="row", layout="constrained")
    for column, (temperature, values) in enumerate(rows.items()):
        for ax, heights, name in zip(axes[:, column], values, ("probability", "gradient on the cosine"), strict=True):
            bars = ax.bar(range(len(cosines)), heights.detach(), color="#bd1f01", width=0.75)
            bars[0].set_color("#3f90da")
            ax.axhline(0, color="#444444", linewidth=0.8)
            if column == 0:
                ax.set_ylabel(name)
        axes[0, column].set_title(f"temperature {temperature:g}", fontsize=9)
        names = [f"{value:.1f}" for value in cosines.tolist()]
        axes[1, column].set_xticks(range(len(cosines)), [f"{names[0]}  (+)", *names[1:]], fontsize=8)
        axes[1, column].set_xlabel("cosine with the anchor")
    axes[0, 0].legend([bars[0], bars[1]], ["the positive (+)", "a negative"], frameon=False, loc="upper right")
    return figure


def circle_paths(paths: dict[str, Tensor]) -> Figure:
    """Pairs of points that move on a circle: each path starts on the inner ring and ends on the outer one.

    Args:
        paths: {title: (steps + 1, 2N) angles in radians}; columns i and i + N are image i, N at most 10.
    """
    figure, axes = plt.subplots(1, len(paths), figsize=(2.6 * len(paths), 2.9), squeeze=False, layout="constrained")
    for ax, (title, angles) in zip(axes.flat, paths.items(), strict=True):
        n = angles.shape[1] // 2
        radius = torch.linspace(0.45, 1, len(angles))
        for radius_of_ring in (0.45, 1):
            ax.add_patch(plt.Circle((0, 0), radius_of_ring, fill=False, color="#cccccc", linewidth=0.8))
        for index in range(2 * n):
            x, y, colour = radius * angles[:, index].cos(), radius * angles[:, index].sin(), f"C{index % n}"
            ax.plot(x, y, color=colour, linewidth=0.9)
            marker, area = ("o", 26) if index < n else ("D", 16)
            ax.scatter(x[-1:], y[-1:], color=colour, marker=marker, s=area, zorder=3)
        ax.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_title(title, fontsize=9)
    return figure


def loss_ruler(rows: list[tuple[str, float, float, dict[str, float]]]) -> Figure:
    """How to read a loss: for each setting a bar from its floor to chance, with losses marked on it.

    Args:
        rows: (setting, floor, chance, {name: loss}).
    """
    figure, ax = plt.subplots(figsize=(7, 0.9 + 0.55 * len(rows)), layout="constrained")
    colours = {}
    for index, (_, floor, chance, marks) in enumerate(rows):
        ax.barh(index, chance - floor, left=floor, height=0.42, color="#e3e3e3")
        ends = [index - 0.33, index + 0.33]
        for place, colour, name in (
            (chance, "#bd1f01", "chance, log(2N - 1)"),
            (floor, "#444444", "positives alike, negatives at 90°"),
        ):
            ax.plot([place, place], ends, color=colour, linewidth=2, label=None if index else name)
        for name, loss in marks.items():
            first = name not in colours
            colour, marker = colours.setdefault(name, (f"C{len(colours) + 3}", "oDs^"[len(colours)]))
            ax.plot([loss], [index], marker, color=colour, label=name if first else None, linestyle="none")
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel("NT-Xent (nats)")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
