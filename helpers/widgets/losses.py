"""The loss bench of notebook 04: embeddings on a circle to drag. Its JavaScript is losses.js, and computes everything."""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor
from traitlets import Float, Int, List

from helpers import losses, plots
from helpers.widgets.core import Widget


class LossBench(Widget):
    """2N embeddings on the unit circle; `angles`, `temperature` and `loss` follow what happens in the browser."""

    script, title = "losses.js", "Loss bench"
    angles = List(Float()).tag(sync=True)  # (2N,) radians, z_a then z_b
    temperature = Float(0.5).tag(sync=True)
    anchor = Int(0).tag(sync=True)
    loss = Float(0.0).tag(sync=True)  # as the browser computed it
    exported = ("angles", "temperature", "anchor", "loss")

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """z_a and z_b, (N, 2) each, float64."""
        return on_circle(torch.tensor(self.angles, dtype=torch.float64)).chunk(2)


def loss_bench(angles: list[float] | None = None, temperature: float = 0.5) -> LossBench:
    """The bench with these embeddings, or with three images of which one pair lies apart.

    Args:
        angles: 2N radians, the N of z_a and then the N of z_b; N from 2 to 5.
        temperature: between 0.02 and 5.
    """
    angles = [0.3, 2.2, 4.3, 1.2, 2.6, 5.6] if angles is None else list(angles)
    if len(angles) % 2 or not 4 <= len(angles) <= 10:
        raise ValueError(f"{len(angles)} angles are given; two for each image are wanted, for 2 to 5 images.")
    z_a, z_b = on_circle(torch.tensor(angles, dtype=torch.float64)).chunk(2)
    loss = losses.nt_xent(z_a, z_b, temperature).item()
    return LossBench(angles=[angle % (2 * math.pi) for angle in angles], temperature=temperature, loss=loss)


def loss_bench_still(bench: LossBench) -> Figure:
    """The bench's matrix of cosines and the role of each pair, as a matplotlib Figure."""
    z, n = torch.cat(bench.embeddings()), len(bench.angles) // 2
    roles = torch.full((2 * n, 2 * n), plots.NEGATIVE)
    roles[range(2 * n), losses.positive_index(n).tolist()] = plots.POSITIVE
    return plots.similarity_picture(losses.cosine_similarities(z), roles.fill_diagonal_(plots.ITSELF))


def on_circle(angles: Tensor) -> Tensor:
    """(M,) radians -> (M, 2) unit vectors."""
    return torch.stack([angles.cos(), angles.sin()], dim=1)
