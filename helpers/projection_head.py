"""The projection head g and what stands around it: SimCLR's model while training, and the classifier afterwards.

It is not the loss: z leaves the head as it is, and the loss puts it on the unit sphere.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """g: h -> z, a linear layer, a ReLU, a linear layer (SimCLR, section 2.1). No normalisation.

    Args:
        in_dim: columns of h, the encoder's feature_dim.
        hidden_dim: width between the two layers; the paper takes in_dim.
        out_dim: columns of z.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int = 128):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))

    def forward(self, h: Tensor) -> Tensor:
        """h (N, in_dim) -> z (N, out_dim)."""
        return self.layers(h)


def projection_mlp(in_dim: int, widths: Sequence[int], bias: bool = True, norm: bool = False) -> nn.Sequential:
    """g with any number of layers: linear layers with ReLUs between them, and batch normalisation where wanted.

    ProjectionHead is projection_mlp(in_dim, [hidden_dim, out_dim]); SimCLR's own code has norm, also
    behind the last layer, and no bias; SimCLR v2 has three layers (Chen et al. 2020, "Big Self-Supervised Models",
    section 2); one width makes a linear head.

    Args:
        in_dim: columns of h.
        widths: of the layers, the last one columns of z; none makes the identity, so that z is h.
        bias: of all layers but the last with norm, where it would have no effect.
        norm: before every ReLU.
    """
    layers: list[nn.Module] = []
    for position, (wide_in, wide_out) in enumerate(pairwise([in_dim, *widths])):
        last = position == len(widths) - 1
        layers.append(nn.Linear(wide_in, wide_out, bias=bias and (last or not norm)))
        if not last:
            layers += [nn.BatchNorm1d(wide_out), nn.ReLU()] if norm else [nn.ReLU()]
    return nn.Sequential(*layers)


def head_for(in_dim: int, hidden_dim: int, out_dim: int, norm: bool) -> nn.Module:
    """The head g of a recipe: ProjectionHead, or with norm the same with a batch normalisation before its ReLU."""
    if hidden_dim < 1 or out_dim < 1:
        raise ValueError(
            f"hidden_dim is {hidden_dim} and out_dim {out_dim}; a layer of the head needs at least 1 number."
        )
    if norm:
        return projection_mlp(in_dim, [hidden_dim, out_dim], norm=True)
    return ProjectionHead(in_dim, hidden_dim, out_dim)


class SimCLR(nn.Module):
    """The model SimCLR trains: encoder f, then projection head g.

    Args:
        encoder: (N, 3, H, W) -> h (N, in_dim).
        head: h (N, in_dim) -> z (N, out_dim).
    """

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, 3, H, W) -> h (N, in_dim), z (N, out_dim). The loss sees z; what is kept is h."""
        h = self.encoder(x)
        return h, self.head(h)


class LinearClassifier(nn.Module):
    """A frozen encoder and one linear layer that learns; what linear_classifier returns.

    The encoder is in eval mode whatever train() says, so its batch-norm layers use the statistics they have
    and leave them alone.

    Args:
        encoder: (N, 3, H, W) -> h (N, feature_dim); copied, so the original stays trainable.
        linear: h (N, feature_dim) -> logits (N, C).
    """

    def __init__(self, encoder: nn.Module, linear: nn.Linear):
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False).eval()
        self.linear = linear

    def train(self, mode: bool = True) -> "LinearClassifier":
        """Train or eval mode for the linear layer; the encoder sleeps in both."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """x (N, 3, H, W) -> logits (N, C)."""
        with torch.no_grad():
            h = self.encoder(x)  # (N, feature_dim)
        return self.linear(h)


def linear_classifier(model: SimCLR, num_classes: int) -> LinearClassifier:
    """Throw the head away and put on h a linear layer, which alone learns (SimCLR, section 2.3).

    Args:
        model: has .encoder and .head; it stays as it was.
        num_classes: C.

    Returns:
        Images (N, 3, H, W) -> logits (N, C), on the model's device. The encoder is frozen, its batch-norm
        statistics included.

    Raises:
        ValueError: where the head holds no nn.Linear, whose in_features say how long h is.
    """
    first = next((layer for layer in model.head.modules() if isinstance(layer, nn.Linear)), None)
    if first is None:
        raise ValueError("The head holds no nn.Linear, so the length of h is unknown; give the model a ProjectionHead.")
    linear = nn.Linear(first.in_features, num_classes, device=first.weight.device, dtype=first.weight.dtype)
    return LinearClassifier(model.encoder, linear)
