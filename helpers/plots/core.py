"""What the figures of several notebooks share: the style, how a figure is shown, the map of the course, grids of pictures.

One style everywhere: ten colours that stay apart for colour-blind readers (petroff10), labelled axes.
"""

import base64
import html
import io

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML, display
from matplotlib.figure import Figure
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
    display(HTML(picture(figure, alt)))


def picture(figure: Figure, alt: str) -> str:
    """The figure as an <img> with its alternative text; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", facecolor="white")
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" style="max-width:100%" src="data:image/png;base64,{data}">'


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
    ax.set_xlabel("R² of a linear map, on images it was not fitted on (1: all of the factor, 0: none)")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
