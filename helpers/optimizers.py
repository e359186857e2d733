"""Two optimizers beside AdamW: LARS, the paper's for large batches, and Muon, which learns fastest in few steps.

Both take one look at a weight: matrices and convolutions are treated as such, biases and the gains and shifts of
normalisation layers (one axis) more simply.
"""

import math

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from helpers.machine import has_bfloat16


def optimizer_for(model: nn.Module, recipe) -> Optimizer:
    """The optimizer that a recipe names, for all weights of a model.

    Args:
        recipe: a training.Recipe; of it .optimizer, .base_lr and, for AdamW, .weight_decay.

    Raises:
        ValueError: for a name other than "adamw", "muon" and "lars".
    """
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=recipe.base_lr, weight_decay=recipe.weight_decay)
    if recipe.optimizer == "muon":
        return Muon(model, recipe.base_lr)
    if recipe.optimizer == "lars":
        return LARS(model.parameters(), recipe.base_lr)
    raise ValueError(f'There is no optimizer {recipe.optimizer!r}; choose "adamw", "muon" or "lars".')


class LARS(Optimizer):
    """SGD with momentum whose step on every layer is in proportion to that layer's weights (You et al. 2017).

    The rate of a layer is lr · trust · |w| / |g + weight_decay · w|. As in SimCLR (section 2.2 and its code), weights
    with one axis are left out of the decay and of the scaling: they get plain SGD with momentum.

    Args:
        params: weights.
        lr: > 0; SimCLR takes 0.3 · batch size / 256, or 0.075 · √batch size.
        momentum: share of the last step that goes into the next.
        weight_decay: times w, added to the gradient.
        trust: how far a layer may move in one step, as a share of its length, at lr 1.
    """

    def __init__(self, params, lr: float, momentum: float = 0.9, weight_decay: float = 1e-6, trust: float = 1e-3):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                direction, rate = weight.grad, group["lr"]
                if weight.ndim > 1:
                    direction = direction + group["weight_decay"] * weight
                    lengths = weight.norm(), direction.norm()
                    rate = rate * torch.where(
                        lengths[0] * lengths[1] > 0, group["trust"] * lengths[0] / lengths[1], 1.0
                    )
                state = self.state[weight]
                last = state.get("move", torch.zeros_like(weight))  # "step" would stay on the CPU when it is loaded
                state["move"] = group["momentum"] * last + rate * direction
                weight -= state["move"]


class Muon(Optimizer):
    """Momentum whose step on a matrix has singular values of much the same size (Jordan et al. 2024), Adam for the rest.

    A convolution (O, I, h, w) counts as a matrix (O, I·h·w), and is rescaled to length √O before its step: batch
    normalisation makes the length of a filter meaningless, so it is kept where the step has the same effect all along.
    Where none follows a convolution, its length does mean something: take AdamW for such a network.

    Args:
        model: its weights with more than one axis are the matrices, but for the first, which meets pixels.
        lr: of Adam, as large as Adam takes alone; the matrices have lr · ratio.
        momentum: of the matrices.
        ratio: how much farther a matrix moves; 1 in every singular value is much for a step of Adam.
    """

    def __init__(self, model: nn.Module, lr: float, momentum: float = 0.9, ratio: float = 30):
        weights = list(model.parameters())
        first = next(weight for weight in weights if weight.ndim > 1)
        matrices = [weight for weight in weights if weight.ndim > 1 and weight is not first]
        rest = [weight for weight in weights if weight.ndim < 2 or weight is first]
        groups = [{"params": matrices, "matrices": True}, {"params": rest, "matrices": False}]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "ratio": ratio, "betas": (0.9, 0.95)})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    move = self.matrix_step if group["matrices"] else self.adam_step
                    move(weight, self.state[weight], group)

    def matrix_step(self, weight: Tensor, state: dict, group: dict) -> None:
        """Nesterov momentum, made orthogonal."""
        sum_of_gradients = state.setdefault("momentum", torch.zeros_like(weight))
        sum_of_gradients.mul_(group["momentum"]).add_(weight.grad)
        direction = orthogonal((weight.grad + group["momentum"] * sum_of_gradients).flatten(1))  # (O, I·h·w)
        if weight.ndim == 4:
            weight.mul_(math.sqrt(len(weight)) / weight.norm().clamp(min=1e-12))
        else:
            direction *= max(1, direction.shape[0] / direction.shape[1]) ** 0.5
        weight.sub_(direction.view_as(weight), alpha=group["lr"] * group["ratio"])

    def adam_step(self, weight: Tensor, state: dict, group: dict) -> None:
        """Adam without decay (Kingma & Ba 2015, algorithm 1)."""
        first, second = group["betas"]
        state["steps"] = state.get("steps", 0) + 1
        mean = state.setdefault("mean", torch.zeros_like(weight)).lerp_(weight.grad, 1 - first)
        square = state.setdefault("square", torch.zeros_like(weight)).lerp_(weight.grad.square(), 1 - second)
        length = (square / (1 - second ** state["steps"])).sqrt_().add_(1e-8)
        rate = group["lr"] / (1 - first ** state["steps"])
        weight.addcdiv_(mean, length, value=-rate)


def orthogonal(matrix: Tensor, steps: int = 3) -> Tensor:
    """The matrix U Vᵀ of a matrix U S Vᵀ, roughly: small singular values raised, none above 1.3, without an SVD.

    A polynomial of odd degree pushes every singular value towards 1, a few times over (Newton–Schulz, with the
    coefficients of Jordan et al. 2024): x becomes P x, where P is a polynomial in the Gram matrix x xᵀ. All those P
    commute, so the steps are taken on the small Gram matrix alone, and x is multiplied once, by their product. That is
    half the arithmetic for a wide matrix. In bfloat16 where the hardware has it, as rounding does no harm to a direction;
    where it is emulated, it would cost more than all the rest of a training step. Three steps raise a singular value
    41-fold at most: one below a hundredth of the matrix's length stays below 0.5.

    Args:
        matrix: (M, N).
    """
    x = matrix.bfloat16() if has_bfloat16(matrix.device) else matrix
    x = x / (x.norm() + 1e-7)
    x = x.T if len(matrix) > matrix.shape[1] else x  # the smaller Gram matrix
    gram = x @ x.T
    product = last = newton_schulz(gram)
    for _ in range(steps - 1):
        gram = last @ gram @ last
        last = newton_schulz(gram)
        product = last @ product
    x = product @ x
    return (x.T if len(matrix) > matrix.shape[1] else x).to(matrix.dtype)


def newton_schulz(gram: Tensor) -> Tensor:
    """P of a Gram matrix x xᵀ (M, M), where x has singular values in [0, 1]: P x has the small ones up to 3.44 times as
    large, and the large ones between about 0.7 and 1.2."""
    polynomial = 2.0315 * gram @ gram - 4.7750 * gram
    polynomial.diagonal().add_(3.4445)
    return polynomial
