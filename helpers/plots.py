"""Every figure of the course: tensors in, a matplotlib Figure out, shown with alternative text. Nothing is measured here.

One style everywhere: ten colours that stay apart for colour-blind readers (petroff10), labelled axes.
"""

import base64
import html
import io
import math

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML, display
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

plt.style.use(["petroff10", {"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False, "font.size": 9}])

STATIONS = (  # of the map: key, symbol, name, notebook
    ("augmentation", "x → x_a, x_b", "two views", "01"),
    ("encoder", "f → h", "encoder", "02"),
    ("projection_head", "g → z", "projection head", "03"),
    ("contrastive_loss", "NT-Xent", "contrastive loss", "04"),
    ("training", "↻", "training", "05"),
    ("evaluation", "k-NN, probe", "evaluation", "06"),
)


def show(figure: Figure, alt: str) -> None:
    """Display a figure as a picture that a screen reader can read, and close it.

    Args:
        alt: one or two sentences that say what a sighted reader sees.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", facecolor="white")
    plt.close(figure)
    picture = base64.b64encode(buffer.getvalue()).decode()
    display(HTML(f'<img alt="{html.escape(alt)}" style="max-width:100%" src="data:image/png;base64,{picture}">'))


def course_map(here: str) -> None:
    """Display the map of SimCLR, one box a notebook, the current one marked "you are here".

    Args:
        here: "start" or one of augmentation, encoder, projection_head, contrastive_loss, training, evaluation.
    """
    boxes = []
    for index, (key, symbol, name, notebook) in enumerate(STATIONS):
        x, current = 10 + 128 * index, key == here
        boxes.append(
            f'<rect x="{x}" y="24" width="108" height="58" rx="7" stroke="#3f90da" stroke-width="{3 if current else 1}" '
            f'fill="{"#3f90da" if current else "#ffffff"}"/>'
            f'<g fill="{"#ffffff" if current else "#1b1b1b"}" text-anchor="middle">'
            f'<text x="{x + 54}" y="42" font-size="11">{notebook}</text>'
            f'<text x="{x + 54}" y="58" font-size="13" font-weight="bold">{symbol}</text>'
            f'<text x="{x + 54}" y="74" font-size="11">{name}</text></g>'
        )
        if index:
            boxes.append(f'<path d="M{x - 18} 53h14m-5 -4l5 4l-5 4" stroke="#777" fill="none" stroke-width="1.5"/>')
        if current:
            boxes.append(
                f'<text x="{x + 54}" y="16" font-size="11" text-anchor="middle" fill="#b2460f">you are here</text>'
            )
    names = {key: name for key, _, name, _ in STATIONS}
    alt = "Map of the course: image, two views, encoder, projection head, contrastive loss, training, evaluation."
    alt += f" You are at: {names.get(here, 'the start')}."
    display(
        HTML(
            f'<svg role="img" aria-label="{alt}" viewBox="0 0 780 90" style="max-width:780px;width:100%;'
            f'background:#ffffff;border-radius:8px" font-family="sans-serif">{"".join(boxes)}</svg>'
        )
    )


def image_grid(
    images: Tensor, titles: list[str] | None = None, columns: int = 8, row_labels: list[str] | None = None
) -> Figure:
    """Pictures in a grid, pixels kept square and sharp.

    Args:
        images: (M, 3, H, W) uint8, or float in [0, 1]; channels RGB.
        titles: M short texts above the pictures.
        row_labels: one text a row, left of it.
    """
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.15 * columns, (1.35 if titles else 1.15) * rows), squeeze=False
    )
    for index, ax in enumerate(axes.flat):
        ax.set_xticks([]), ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_visible(False)
        if index < len(images):
            pixels = images[index].permute(1, 2, 0).cpu()  # (H, W, 3)
            ax.imshow(pixels if pixels.dtype == torch.uint8 else pixels.float().clamp(0, 1), interpolation="nearest")
            if titles:
                ax.set_title(titles[index], fontsize=8, pad=3)
        if row_labels and index % columns == 0 and index // columns < len(row_labels):
            ax.set_ylabel(row_labels[index // columns], rotation=0, ha="right", va="center", fontsize=8)
    figure.subplots_adjust(wspace=0.08, hspace=0.3 if titles else 0.08)
    return figure


def neighbour_grid(
    queries: Tensor, query_names: list[str], neighbours: Tensor, neighbour_names: list[list[str]], title: str = ""
) -> Figure:
    """One row a query: the query, then its nearest neighbours, each with its true class; a bar and ✓ mark the same class.

    Args:
        queries: (Q, 3, H, W) uint8, with Q query_names.
        neighbours: (Q, k, 3, H, W) uint8, nearest first, with Q lists of k neighbour_names.
    """
    rows, k = neighbours.shape[:2]
    widths = [1, 0.25, *[1] * k]  # a gap between the query and its neighbours
    figure, axes = plt.subplots(
        rows, k + 2, figsize=(0.95 * (k + 1.25), 1.2 * rows), squeeze=False, gridspec_kw={"width_ratios": widths}
    )
    for row in range(rows):
        axes[row, 1].set_axis_off()
        draw_picture(axes[row, 0], queries[row], query_names[row], "#1b1b1b")
        for column in range(k):
            same = neighbour_names[row][column] == query_names[row]
            name = f"{neighbour_names[row][column]} {'✓' if same else '✗'}"
            draw_picture(
                axes[row, column + 2], neighbours[row, column], name, "#3f90da" if same else "#bd1f01", line=same
            )
    axes[0, 0].annotate("query", (0.5, 1.35), xycoords="axes fraction", ha="center", fontsize=8, fontweight="bold")
    axes[0, 2].annotate(
        f"nearest by {title}", (0, 1.35), xycoords="axes fraction", ha="left", fontsize=8, fontweight="bold"
    )
    figure.subplots_adjust(wspace=0.08, hspace=0.35)
    return figure


def draw_picture(ax, image: Tensor, name: str, colour: str, line: bool = False) -> None:
    """An image (3, H, W) uint8 on an axes without ticks, its name above in a colour, framed where `line` says so."""
    ax.imshow(image.permute(1, 2, 0).cpu(), interpolation="nearest")
    ax.set_xticks([]), ax.set_yticks([])
    ax.set_title(name, fontsize=7.5, pad=3, color=colour)
    for spine in ax.spines.values():
        spine.set_visible(line)
        spine.set_edgecolor(colour), spine.set_linewidth(2.5)


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


def factor_bars(scores: dict[str, dict[str, float]]) -> Figure:
    """How much of each factor a linear map reads off each representation: R², one group of bars a factor.

    Args:
        scores: {representation: {factor: R²}}, the same factors everywhere; below 0 is drawn as 0.
    """
    names, factors = list(scores), list(next(iter(scores.values())))
    figure, ax = plt.subplots(figsize=(7, 0.5 + 0.34 * len(factors) * len(names) / 2))
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        y = [row + height * (index - (len(names) - 1) / 2) for row in range(len(factors))]
        ax.barh(y, [max(0, scores[name][factor]) for factor in factors], height=height, label=name)
    ax.set_yticks(range(len(factors)), [factor.replace("_", " ") for factor in factors])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("R² on images the map was not fitted on (1: all of the factor, 0: nothing)")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
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


# Notebook 04: the contrastive loss ----------------------------------------------------------------------------------

NEGATIVE, POSITIVE, ITSELF = 0, 1, 2  # the role that a column plays for a row, in a (2N, 2N) map of roles


def similarity_picture(cosines: Tensor, roles: Tensor) -> Figure:
    """A matrix of cosines, and beside it the role of every entry: itself, positive, negative.

    Args:
        cosines: (2N, 2N) in [-1, 1].
        roles: (2N, 2N) of NEGATIVE, POSITIVE, ITSELF.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.7), layout="constrained")
    picture = left.imshow(cosines.detach().cpu().float(), cmap="RdBu_r", vmin=-1, vmax=1)
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
    ax.imshow(colours[roles])
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


def schedule(rates: list[float]) -> Figure:
    """A learning rate, step by step."""
    figure, ax = plt.subplots(figsize=(5, 2.2))
    ax.plot(rates)
    ax.set_xlabel("step"), ax.set_ylabel("learning rate"), ax.set_ylim(bottom=min(0, *rates))
    return figure


def loss_curve(values: list[float], chance_loss: float) -> Figure:
    """A loss, step by step, with its chance line."""
    figure, ax = plt.subplots(figsize=(5, 2.4))
    ax.plot(range(1, len(values) + 1), values, marker=".")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    chance_line(ax, chance_loss, f"chance, {chance_loss:.2f}")
    ax.set_xlabel("step"), ax.set_ylabel("NT-Xent")
    return figure


def chance_line(ax, level: float, name: str) -> None:
    """A dashed line across, with its name at its right end."""
    ax.axhline(level, color="#5b5b5b", linestyle="--", linewidth=1)
    place = {"xycoords": ("axes fraction", "data"), "xytext": (0, 3), "textcoords": "offset points", "ha": "right"}
    ax.annotate(name, (1, level), **place, fontsize=8)


def training_curves(
    history: dict, chance_loss: float, untrained: float | None = None, chance: float | None = None
) -> Figure:
    """Loss with its chance line, learning rate, and, where there is one, the k-NN monitor of a run.

    Args:
        history: as pretrain returns it.
        untrained: what the monitor says before the first step, drawn as epoch 0.
        chance: the accuracy of guessing, a dashed line in the monitor's panel.
    """
    knn = [(entry["epoch"], entry["knn"]) for entry in history["epochs"] if "knn" in entry]
    figure, axes = plt.subplots(1, 3 if knn else 2, figsize=(9, 2.5), constrained_layout=True)
    axes[0].plot(history["loss"], linewidth=0.8)
    chance_line(axes[0], chance_loss, f"chance, {chance_loss:.2f}")
    axes[0].set_xlabel("step"), axes[0].set_ylabel("NT-Xent")
    axes[1].plot(history["lr"])
    axes[1].set_xlabel("step"), axes[1].set_ylabel("learning rate")
    if knn:
        before = [(0, untrained)] if untrained is not None else []
        axes[2].plot(*zip(*before, *knn, strict=True), marker="o")
        if chance is not None:
            chance_line(axes[2], chance, f"chance, {chance:.0%}")
        axes[2].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[2].set_xlabel("epoch (0: untrained)" if before else "epoch")
        axes[2].set_ylabel("k-NN accuracy"), axes[2].set_ylim(bottom=0)
    return figure


CLINIC_ROWS = {  # of the clinic's figure: what it is called there
    "loss": "loss", "knn": "k-NN\naccuracy", "alignment": "alignment",
    "uniformity": "uniformity", "std": "spread\nof z", "batch_norm": "means kept by\nbatch-norm",
    "lr": "learning\nrate",
}  # fmt: skip


def clinic(record: dict) -> Figure:
    """Six broken runs, one a column, the healthy one behind each in grey; one row a measure, all on one scale.

    Args:
        record: curves (by letter, and "healthy") and batch_size, as `python -m grading.clinic` writes them.
    """
    curves = record["curves"]
    letters = sorted(letter for letter in curves if letter != "healthy")
    size = (10, 1.45 * len(CLINIC_ROWS))
    figure, axes = plt.subplots(
        len(CLINIC_ROWS), len(letters), figsize=size, sharex="row", sharey="row", layout="constrained"
    )
    for column, letter in enumerate(letters):
        for row, (name, title) in enumerate(CLINIC_ROWS.items()):
            ax, by_step = axes[row, column], name in ("loss", "lr")
            for run, color in (("healthy", "#b3b3b3"), (letter, "#3f90da")):
                label = "the healthy run" if run == "healthy" else "this run"
                ax.plot(curves[run][name], color=color, linewidth=1.2, marker="" if by_step else ".", label=label)
            ax.set_xlabel("step" if by_step else "epoch")
            if name == "loss":
                chance = math.log(2 * record["batch_size"] - 1)
                ax.axhline(chance, color="#5b5b5b", linestyle="--", linewidth=0.8, label="chance loss")
                ax.set_title(letter, fontweight="bold")
            if name == "batch_norm":
                ax.set_yscale("symlog", linthresh=1)  # a straight scale up to 1, so that 0 can be told from a little
            if name == "lr":
                ax.set_yscale("log")
            if column == 0:
                ax.set_ylabel(title)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend([handles[1], handles[0], handles[2]], [names[1], names[0], names[2]], ncols=3, frameon=False,
                  loc="outside upper center")  # fmt: skip
    return figure


def clinic_in_words(record: dict) -> str:
    """The clinic's figure for who can't see it: how each measure begins and ends, run by run."""
    chance = math.log(2 * record["batch_size"] - 1)
    sentences = [f"Curves of a healthy run and six broken ones; chance loss {chance:.2f}."]
    for name, curves in sorted(record["curves"].items(), key=lambda item: (item[0] != "healthy", item[0])):
        parts = [
            f"{row} {values[0]:.2g} to {values[-1]:.2g}, lowest {min(values):.2g}, highest {max(values):.2g}"
            for row, values in ((row, curves[row]) for row in CLINIC_ROWS)
        ]
        sentences.append(f"{name}: {'; '.join(parts)}.")
    return " ".join(sentences)
