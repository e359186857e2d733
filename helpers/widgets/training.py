"""The live curves of notebook 05: HTML and SVG, so that drawing them takes no time from training."""

import html
import math
import time
from collections.abc import Callable

import ipywidgets
from IPython.display import display
from torch import nn

PANEL = (300, 130)  # width and height of a live curve, in its own units
PER_SECOND = 4  # pictures at most, so that drawing takes no time from training


def live_training(
    batch_size: int, monitor: Callable[[nn.Module], dict[str, float]] | None = None, chance: float | None = None
) -> tuple[Callable[[int, int, float], None], Callable[[nn.Module], dict[str, float]]]:
    """Show a run while it trains: the loss against its chance line, and the k-NN monitor epoch by epoch.

    Args:
        batch_size: N; the chance line of the loss is log(2N - 1).
        monitor: model -> {"knn": accuracy, ...}; None shows the loss alone.
        chance: accuracy of guessing, drawn beside the monitor's.

    Returns:
        on_step and monitor, to be handed to pretrain in place of the monitor alone.
    """
    picture = ipywidgets.HTML()
    picture.layout.width = "100%"
    steps, losses, epochs, knn = [], [], [], []
    state = {"drawn": 0.0, "total": 1, "started": time.perf_counter()}
    display(picture)

    def draw() -> None:
        state["drawn"] = time.perf_counter()
        picture.value = live_picture(
            steps,
            smooth(losses),
            state["total"],
            math.log(2 * batch_size - 1),
            epochs,
            knn,
            chance,
            state["drawn"] - state["started"],
        )

    def on_step(step: int, total_steps: int, loss: float) -> None:
        steps.append(step), losses.append(loss)
        state["total"] = total_steps
        if time.perf_counter() - state["drawn"] > 1 / PER_SECOND or step + 1 == total_steps:
            draw()

    def watched(model: nn.Module) -> dict[str, float]:
        numbers = monitor(model) if monitor else {}
        if "knn" in numbers and steps:
            epochs.append(steps[-1]), knn.append(numbers["knn"])
            draw()
        return numbers

    return on_step, watched


def smooth(values: list[float], weight: float = 0.9) -> list[float]:
    """Running mean that forgets: each new value counts a tenth, more at the start; the last step's noise is damped."""
    means, total, norm = [], 0.0, 0.0
    for value in values:
        total, norm = weight * total + (1 - weight) * value, weight * norm + (1 - weight)
        means.append(total / norm)
    return means


def live_picture(
    steps: list[int],
    losses: list[float],
    total: int,
    chance_loss: float,
    epochs: list[int],
    knn: list[float],
    chance: float | None,
    seconds: float,
) -> str:
    """Two curves as one SVG picture, with what they show as its label and as a line of text below."""
    now = (
        f"step {steps[-1] + 1} of {total}, loss {losses[-1]:.2f} (chance {chance_loss:.2f})" if steps else "no step yet"
    )
    now += f", k-NN {knn[-1]:.1%} after {len(knn)} epoch{'s' * (len(knn) > 1)}" if knn else ""
    now += f", {seconds:.0f} s"
    finite = [value for value in losses if math.isfinite(value)]
    low, high = min([*finite, chance_loss]), max([*finite, chance_loss])
    margin = 0.1 * (high - low) + 0.05
    left = panel(
        0, "loss (smoothed)", steps, losses, total, low - margin, high + margin, chance_loss, f"{chance_loss:.2f}"
    )
    top = max([0.2, *(1.15 * value for value in knn)])
    right = panel(
        PANEL[0] + 60, "k-NN accuracy", epochs, knn, total, 0, min(1, top), chance, f"{chance:.0%}" if chance else ""
    )
    return (
        f'<svg role="img" aria-label="{html.escape(now)}" viewBox="-46 0 {2 * PANEL[0] + 130} {PANEL[1] + 50}" '
        f'style="max-width:820px;width:100%" font-family="sans-serif" font-size="11" '
        f'fill="currentColor">{left}{right}</svg>'
        f"<div>{html.escape(now)}</div>"
    )


def panel(
    x: float,
    title: str,
    steps: list[int],
    values: list[float],
    total: int,
    low: float,
    high: float,
    level: float | None,
    name: str,
) -> str:
    """One curve over the steps of the run, inside its axes, with a dashed line for chance."""
    width, height = PANEL

    def place(step: float, value: float) -> str:
        return f"{x + width * step / max(1, total):.1f},{20 + height * (1 - (value - low) / (high - low)):.1f}"

    every = max(1, len(steps) // 300)  # as many points as there are pixels
    shown = [(s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    points = " ".join(place(s + 1, v) for s, v in shown[::every] + shown[-1:])
    parts = [
        f'<text x="{x}" y="12" font-weight="bold">{title}</text>',
        f'<path d="M{x} 20v{height}h{width}" stroke="currentColor" fill="none" opacity="0.6"/>',
        f'<text x="{x - 4}" y="28" text-anchor="end">{high:.2g}</text><text x="{x - 4}" y="{20 + height}" '
        f'text-anchor="end">{low:.2g}</text>',
        f'<text x="{x + width}" y="{height + 35}" text-anchor="end">step {total}</text>',
        f'<polyline points="{points}" fill="none" stroke="#3f90da" stroke-width="2"/>',
    ]
    if level is not None:
        y = place(0, level).split(",")[1]
        parts.append(f'<path d="M{x} {y}h{width}" stroke="#b2460f" stroke-dasharray="5 4"/>')
        parts.append(
            f'<text x="{x + width}" y="{float(y) - 4:.1f}" text-anchor="end" fill="#b2460f">chance {name}</text>'
        )
    parts += (
        [f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3" fill="#3f90da"/>' for p in points.split()]
        if "k-NN" in title
        else []
    )
    return "".join(parts)
