"""The figures of notebook 05: a training run, and the clinic of broken ones."""

import math

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


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


def loss_curves(curves: dict[str, list[float]], chance_loss: float) -> Figure:
    """Several losses of one kind, step by step, with their chance line.

    Args:
        curves: {name: a loss a step}.
    """
    figure, ax = plt.subplots(figsize=(5.6, 2.8))
    for (name, values), style in zip(curves.items(), ["-", "--", "-.", ":"]):
        ax.plot(range(1, len(values) + 1), values, linestyle=style, label=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    chance_line(ax, chance_loss, f"chance, {chance_loss:.2f}")
    ax.set_xlabel("step"), ax.set_ylabel("NT-Xent")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
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
