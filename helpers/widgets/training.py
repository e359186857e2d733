"""The live curves of notebook 05, and a button that stops the run. Its JavaScript is training.js.

While a cell runs, a kernel sends but does not listen, so the button asks the Jupyter server to interrupt the kernel, as the
square in the toolbar does. The curves are SVG text: drawing them takes no time from training.
"""

import base64
import html
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

from IPython.display import display
from torch import nn
from traitlets import Bool, Float, List, Unicode

from helpers.widgets.core import Widget, still_of

PANEL = (300, 130)  # width and height of a live curve, in its own units
PER_SECOND = 4  # pictures at most
DOTS = 300  # of a curve at most, as many as there are pixels


class LiveTraining(Widget):
    """Panels as SVG texts, what they show in words, how far the run is, and which kernel to interrupt."""

    script, title = "training.js", "Live training"
    panels, words = List(Unicode()).tag(sync=True), Unicode("no step yet").tag(sync=True)
    progress, running = Float(0.0).tag(sync=True), Bool(False).tag(sync=True)
    kernel, kept = Unicode().tag(sync=True), Unicode().tag(sync=True)


def live_training(
    batch_size: int,
    monitor: Callable[[nn.Module], dict[str, float]] | None = None,
    chance: float | None = None,
    before: dict | None = None,
    kept: str = "",
) -> tuple[Callable[[int, int, float], None], Callable[[nn.Module], dict[str, float]]]:
    """Show a run while it trains: loss against chance, k-NN, the path of alignment and uniformity, time left, a stop button.

    The curves after the last epoch stay as a still picture, for where the widget cannot run.

    Args:
        batch_size: N; the chance line of the loss is log(2N - 1).
        monitor: model -> {"knn": accuracy, "alignment": ..., "uniformity": ...}, any of them; None shows the loss alone.
        chance: accuracy of guessing, drawn beside the monitor's.
        before: history of the part of the run that an earlier call has behind it.
        kept: what is kept when the run is stopped, said beside the button.

    Returns:
        on_step and monitor, to be handed to pretrain.
    """
    losses, epochs = list((before or {}).get("loss", [])), list((before or {}).get("epochs", []))
    widget = LiveTraining(kernel=kernel_id(), kept=kept)
    state = {"drawn": 0.0, "total": max(1, len(losses)), "started": time.perf_counter(), "behind": len(losses)}
    ends = [len(losses) * (n + 1) // len(epochs) for n in range(len(epochs))]  # the step that each epoch ended with
    display(widget)
    still = display(still_of(widget, "", "No step yet."), display_id=True)  # None outside of a notebook

    def draw() -> None:
        state["drawn"] = time.perf_counter()
        fresh = len(losses) - state["behind"]
        seconds = state["drawn"] - state["started"]
        left = seconds / fresh * (state["total"] - len(losses)) if fresh else None
        curve = smooth(losses)
        widget.panels = live_panels(curve, state["total"], batch_size, epochs, ends, chance)
        widget.words = live_words(curve, state["total"], batch_size, epochs, seconds, left)
        widget.progress = len(losses) / state["total"]

    def keep_still() -> None:
        words = widget.words[0].upper() + widget.words[1:] + "."
        still and still.update(still_of(widget, live_picture(widget.panels, words), words))

    def on_step(step: int, total_steps: int, loss: float) -> None:
        del losses[step:]  # of an epoch that was stopped half-way and is trained again
        losses.append(loss)
        state["total"] = total_steps
        if time.perf_counter() - state["drawn"] > 1 / PER_SECOND or step + 1 == total_steps:
            draw()
        if step + 1 == total_steps:
            keep_still()
        widget.running = step + 1 < total_steps

    def watched(model: nn.Module) -> dict[str, float]:
        numbers = monitor(model) if monitor else {}
        if numbers and losses:
            epochs.append(numbers), ends.append(len(losses))
        if losses:
            draw(), keep_still()
        return numbers

    if losses:
        draw(), keep_still()
    return on_step, watched


def kernel_id() -> str:
    """The server's name for the kernel that this runs in; empty outside of one."""
    try:
        from ipykernel.connect import get_connection_file  # not there without Jupyter

        found = re.fullmatch(r"kernel-(.+)\.json", Path(get_connection_file()).name)
    except Exception:  # no kernel, or one that keeps no such file
        return ""
    return found.group(1) if found else ""


def smooth(values: list[float], weight: float = 0.9) -> list[float]:
    """Running mean that forgets: each new value counts a tenth, more at the start; the last step's noise is damped."""
    means, total, norm = [], 0.0, 0.0
    for value in values:
        total, norm = weight * total + (1 - weight) * value, weight * norm + (1 - weight)
        means.append(total / norm)
    return means


def live_words(
    losses: list[float], total: int, batch_size: int, epochs: list[dict], seconds: float, left: float | None
) -> str:
    """The panels in a sentence, as a screen reader speaks it; smooth losses, seconds so far and, where known, left."""
    if not losses:
        return "no step yet"
    chance = math.log(2 * batch_size - 1)
    parts = [f"step {len(losses)} of {total}", f"loss {losses[-1]:.2f} (chance {chance:.2f})"]
    if epochs and "knn" in epochs[-1]:
        parts.append(f"k-NN {epochs[-1]['knn']:.1%} after {len(epochs)} epoch{'s' * (len(epochs) > 1)}")
    if epochs and {"alignment", "uniformity"} <= epochs[-1].keys():
        parts.append(f"alignment {epochs[-1]['alignment']:.2f}, uniformity {epochs[-1]['uniformity']:.2f}")
    parts.append(f"{seconds:.0f} s so far" + (f", about {left:.0f} s left" if left else ""))
    return ", ".join(parts)


def live_panels(
    losses: list[float], total: int, batch_size: int, epochs: list[dict], ends: list[int], chance: float | None
) -> list[str]:
    """One SVG a panel: the loss, and what of k-NN and alignment with uniformity the epochs hold.

    Args:
        losses: one a step, smooth. total: steps of the whole run.
        epochs: the monitor's numbers, with the step each of them was taken after in `ends`.
    """
    level, steps = math.log(2 * batch_size - 1), list(range(1, len(losses) + 1))
    shown = [value for value in losses if math.isfinite(value)]
    margin = 0.1 * (max([*shown, level]) - min([*shown, level])) + 0.05
    y = min([*shown, level]) - margin, max([*shown, level]) + margin
    panels = [panel("loss, smoothed", f"step {total}", (0, total), y, steps, losses, level, f"chance {level:.2f}")]
    knn = [(end, numbers["knn"]) for end, numbers in zip(ends, epochs) if "knn" in numbers]
    if knn:
        y = 0, min(1, max(0.2, *(1.15 * value for _, value in knn)))
        name = f"chance {chance:.0%}" if chance else ""
        panels.append(panel("k-NN accuracy", f"step {total}", (0, total), y, *zip(*knn), chance, name, dots=True))
    path = [(n["alignment"], n["uniformity"]) for n in epochs if {"alignment", "uniformity"} <= n.keys()]
    if path:
        a, u = zip(*path)
        low, high = min(-0.1, *u), max(0.0, *u)
        panels.append(panel("uniformity against alignment", "alignment", (0, 1.15 * max(a) + 0.05), (1.15 * low, high), a, u, dots=True, last=True))  # fmt: skip
    return panels


def live_picture(panels: list[str], words: str) -> str:
    """The panels side by side as one <img>, black on white, with its alternative text."""
    width, height = PANEL[0] + 60, PANEL[1] + 45
    placed = "".join(
        one.replace('style="width:100%"', f'x="{width * at}" width="{width}" height="{height}"')
        for at, one in enumerate(panels)
    )
    whole = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * len(panels)}" height="{height}" viewBox="0 0 {width * len(panels)} {height}">{placed}</svg>'
    data = base64.b64encode(whole.encode()).decode()
    style = "max-width:100%;background:white"
    return f'<img alt="{html.escape(words)}" style="{style}" src="data:image/svg+xml;base64,{data}">'


def panel(
    title: str, x_name: str, x_range: tuple[float, float], y_range: tuple[float, float], xs, ys,
    level: float | None = None, name: str = "", dots: bool = False, last: bool = False,
) -> str:  # fmt: skip
    """One curve inside its axes, with a dashed line at a level, dots where there are few points, a ring at the last."""
    width, height = PANEL
    (left, right), (low, high) = x_range, y_range

    def place(x: float, y: float) -> tuple[str, str]:
        return f"{width * (x - left) / (right - left):.1f}", f"{20 + height * (1 - (y - low) / (high - low)):.1f}"

    pairs = [(x, y) for x, y in zip(xs, ys) if math.isfinite(y)]
    every = max(1, len(pairs) // DOTS)
    points = [place(x, y) for x, y in pairs[::every] + pairs[-1:]]
    parts = [
        f'<text x="0" y="12" font-weight="bold">{html.escape(title)}</text>',
        f'<path d="M0 20v{height}h{width}" stroke="currentColor" fill="none" opacity="0.6"/>',
        f'<text x="-4" y="28" text-anchor="end">{high:.2g}</text><text x="-4" y="{20 + height}" text-anchor="end">{low:.2g}</text>',
        f'<text x="0" y="{height + 35}">{left:.2g}</text>',
        f'<text x="{width}" y="{height + 35}" text-anchor="end">{html.escape(x_name)}{f" {right:.2g}" if last else ""}</text>',
        f'<polyline points="{" ".join(",".join(point) for point in points)}" fill="none" stroke="#3f90da" stroke-width="2"/>',
    ]
    if level is not None:
        y = place(0, level)[1]
        parts.append(f'<path d="M0 {y}h{width}" stroke="var(--warn, #b2460f)" stroke-dasharray="5 4"/>')
        parts.append(
            f'<text x="{width}" y="{float(y) - 4:.1f}" text-anchor="end" fill="var(--warn, #b2460f)">{html.escape(name)}</text>'
        )
    if dots:
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="#3f90da"/>' for x, y in points]
    if last and points:
        x, y = points[-1]
        parts.append(f'<circle cx="{x}" cy="{y}" r="7" fill="none" stroke="currentColor" stroke-width="1.5"/>')
        beside = float(x) + 12 if float(x) < width - 30 else float(x) - 36
        parts.append(f'<text x="{beside:.1f}" y="{float(y) + 4:.1f}">now</text>')
    return (
        f'<svg aria-hidden="true" viewBox="-46 0 {width + 60} {height + 45}" style="width:100%" '
        f'font-family="sans-serif" font-size="11" fill="currentColor">{"".join(parts)}</svg>'
    )
