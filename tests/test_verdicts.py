"""Verdicts of the grader on answers that make modules: what the notebook's check accepts keeps its points.

Asks run here in this process; the sandbox around them is tested in test_judge.py and test_hostile.py.
"""

import copy
import itertools

import pytest
import torch
from torch import nn

from grading.sandbox import asks
from grading.verdicts import VERDICTS
from helpers import checks, training
from helpers.checks.core import NotYet
from tests.banks.training import pretrain_with_an_iterator


def judge(exercise: str, answer, seed: int = 3) -> None:
    """What the notebook's check says of an answer, then what the grader's verdict says: NotYet where it is wrong."""
    getattr(checks, f"check_{exercise}")(answer)
    VERDICTS[exercise](lambda name, **numbers: asks.ASKS[name](answer, numbers), seed)


class HeadInOrder(nn.Module):
    """A right head that makes its three parts in any order, and uses them in the right one."""

    def __init__(self, sizes: tuple[int, int, int], order: tuple[str, ...], affine: bool, relu: bool = True):
        super().__init__()
        in_dim, hidden_dim, out_dim = sizes
        parts = {"fc1": lambda: nn.Linear(in_dim, hidden_dim), "fc2": lambda: nn.Linear(hidden_dim, out_dim),
                 "bn": lambda: nn.BatchNorm1d(hidden_dim, affine=affine)}  # fmt: skip
        for name in order:
            self.add_module(name, parts[name]())
        self.relu = relu

    def forward(self, h):
        hidden = self.bn(self.fc1(h))
        return self.fc2(hidden.relu() if self.relu else hidden)


@pytest.mark.parametrize("order", list(itertools.permutations(("fc1", "bn", "fc2"))), ids=" ".join)
@pytest.mark.parametrize("affine", [True, False])
def test_a_head_with_batch_norm_is_right_in_whatever_order_it_makes_its_parts(order, affine):
    judge("projection_head", lambda i, h, o=128: HeadInOrder((i, h, o), order, affine))


def test_a_head_with_batch_norm_and_no_relu_is_refused():
    ask = {"projection_head": lambda i, h, o=128: HeadInOrder((i, h, o), ("fc1", "fc2", "bn"), True, relu=False)}
    with pytest.raises(NotYet, match="z is not right"):
        VERDICTS["projection_head"](lambda name, **numbers: asks.ASKS[name](ask[name], numbers), 3)


class TurnedClassifier(nn.Module):
    """One linear layer on h whose weight is (width, classes), by hand."""

    def __init__(self, model: nn.Module, classes: int):
        super().__init__()
        self.encoder, width = copy.deepcopy(model.encoder).eval().requires_grad_(False), model.head.in_dim
        self.weight, self.bias = nn.Parameter(torch.zeros(width, classes)), nn.Parameter(torch.zeros(classes))

    def train(self, mode: bool = True):
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x):
        return self.encoder(x) @ self.weight + self.bias


def test_a_linear_classifier_may_hold_its_weight_turned():
    judge("linear_classifier", TurnedClassifier)


def test_an_entry_of_the_history_may_hold_more_than_the_monitors_numbers():
    def pretrain(*given, **named):
        history = pretrain_with_an_iterator(*given, **named)
        return history | {"epochs": [entry | {"loss": history["loss"][-1]} for entry in history["epochs"]]}

    judge("pretrain", pretrain)


def test_an_entry_of_the_history_without_the_monitors_number_is_refused():
    def pretrain(*given, **named):
        history = training.pretrain(*given, **named)
        return history | {"epochs": [{"epoch": entry["epoch"]} for entry in history["epochs"]]}

    with pytest.raises(NotYet, match="one entry an epoch"):
        VERDICTS["pretrain"](lambda name, **numbers: asks.ASKS[name](pretrain, numbers), 3)
