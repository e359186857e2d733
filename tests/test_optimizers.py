"""LARS and Muon against slow and independent forms of the same rules."""

import copy

import pytest
import torch
from torch import nn

from helpers import optimizers
from helpers.machine import has_bfloat16
from helpers.optimizers import LARS, Muon, orthogonal


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.Flatten(), nn.Linear(32, 5)
    )


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> float:
    """Mean squared error after some steps on one batch."""
    x, y = torch.randn(16, 3, 6, 6, generator=seeded(1)), torch.randn(16, 5, generator=seeded(2))
    for _ in range(steps + 1):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_lars_follows_its_rule_number_by_number(model):
    optimizer = LARS(model.parameters(), lr=0.7, momentum=0.8, weight_decay=0.01, trust=0.05)
    weights = [weight.detach().double().clone() for weight in model.parameters()]
    last = [torch.zeros_like(weight) for weight in weights]
    for seed in range(3):
        for k, weight in enumerate(model.parameters()):
            weight.grad = torch.randn(weight.shape, generator=seeded(10 * seed + k))
            gradient, rate = weight.grad.double(), 0.7
            if weights[k].ndim > 1:
                gradient = gradient + 0.01 * weights[k]
                rate *= 0.05 * weights[k].square().sum().sqrt() / gradient.square().sum().sqrt()
            last[k] = 0.8 * last[k] + rate * gradient
            weights[k] = weights[k] - last[k]
        optimizer.step()
    for ours, wanted in zip(model.parameters(), weights, strict=True):
        torch.testing.assert_close(ours.detach().double(), wanted, atol=1e-6, rtol=1e-5)


def test_the_length_of_a_gradient_does_not_matter_to_lars():
    moved = []
    for scale in (1.0, 1000.0):
        weight = nn.Parameter(torch.ones(3, 4))
        weight.grad = scale * torch.randn(3, 4, generator=seeded(3))
        LARS([weight], lr=1.0, weight_decay=0).step()
        moved.append(weight.detach())
    torch.testing.assert_close(*moved)


def test_lars_moves_a_layer_of_zeros():
    weight = nn.Parameter(torch.zeros(3, 4))
    weight.grad = torch.ones(3, 4)
    LARS([weight], lr=0.5).step()
    assert (weight == -0.5).all()


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16)])
def test_orthogonal_keeps_the_directions_of_an_svd_and_levels_the_values(shape):
    matrix = torch.randn(shape, generator=seeded(4))
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    ours = orthogonal(matrix, steps=5)
    values = torch.linalg.svdvals(ours)
    assert 0.5 < values.min() and values.max() < 1.35
    assert (ours * (u @ vh)).sum() / (ours.norm() * (u @ vh).norm()) > 0.95


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (5, 5)])
def test_orthogonal_is_newton_schulz_on_the_matrix_itself(shape, monkeypatch):
    monkeypatch.setattr(optimizers, "has_bfloat16", lambda device: False)
    matrix = torch.randn(shape, generator=seeded(4))
    x = matrix.double() / matrix.norm()
    for _ in range(3):
        x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
    torch.testing.assert_close(orthogonal(matrix), x.float(), atol=1e-5, rtol=0)


@pytest.mark.skipif(has_bfloat16(torch.device("cpu")), reason="this processor multiplies bfloat16 itself")
def test_orthogonal_does_not_round_to_a_bfloat16_that_would_be_emulated():
    matrix = torch.randn(8, 30, generator=seeded(4))
    torch.testing.assert_close(orthogonal(matrix), orthogonal(matrix.double()).float(), atol=1e-4, rtol=1e-4)


def test_muon_treats_all_matrices_but_the_first_as_such(model):
    matrices, rest = Muon(model, lr=0.003).param_groups
    assert [tuple(weight.shape) for weight in matrices["params"]] == [(8, 6, 3, 3), (5, 32)]
    assert len(rest["params"]) == len(list(model.parameters())) - 2


def test_muon_trains_a_weight_without_axes():
    model = torch.nn.Linear(3, 2)
    model.temperature = torch.nn.Parameter(torch.tensor(0.5))
    optimizer = Muon(model, lr=0.01)
    (model(torch.ones(1, 3)).sum() / model.temperature).backward()
    optimizer.step()
    assert model.temperature.item() != 0.5


def test_muons_other_weights_follow_torchs_adam(model):
    twin = copy.deepcopy(model)
    ours, theirs = Muon(model, lr=0.003), torch.optim.Adam(twin.parameters(), lr=0.003, betas=(0.9, 0.95))
    for seed in range(4):
        for a, b in zip(model.parameters(), twin.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=seeded(seed))
            b.grad = a.grad.clone()
        ours.step(), theirs.step()
    for k in (0, 1):  # the stem, the batch norm
        for a, b in zip(model[k].parameters(), twin[k].parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_a_muon_step_on_a_filter_is_independent_of_the_filters_length():
    steps = []
    for scale in (1.0, 7.0):
        model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, bias=False))
        with torch.no_grad():
            model[1].weight.copy_(scale * torch.randn(6, 4, 3, 3, generator=seeded(5)))
        model[1].weight.grad = torch.randn(6, 4, 3, 3, generator=seeded(6))
        Muon(model, lr=0.003).step()
        steps.append(model[1].weight.detach())
    torch.testing.assert_close(*steps)


def test_three_muon_steps_are_those_of_its_rule_written_out():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, bias=False), nn.Linear(5, 20, bias=False)).double()
    optimizer, lr, momentum, ratio = Muon(net, lr=0.002), 0.002, 0.9, 30
    filters, matrix = (net[k].weight for k in (1, 2))
    mine, sums = [filters.detach().clone(), matrix.detach().clone()], [0.0, 0.0]
    for step in range(3):
        for place, weight in enumerate((filters, matrix)):
            gradient = torch.randn(weight.shape, generator=seeded(10 * step + place), dtype=torch.float64)
            weight.grad = gradient.clone()
            sums[place] = momentum * sums[place] + gradient
            move = orthogonal((gradient + momentum * sums[place]).flatten(1)).view_as(weight)  # Nesterov
            if weight.ndim == 4:
                mine[place] = mine[place] * 6**0.5 / mine[place].norm()  # six filters
            else:
                move = move * (20 / 5) ** 0.5  # taller than wide
            mine[place] = mine[place] - lr * ratio * move
        optimizer.step()
    for weight, wanted in zip((filters, matrix), mine, strict=True):
        torch.testing.assert_close(weight.detach(), wanted, atol=1e-9, rtol=1e-9)


def test_muon_moves_a_convolution_of_zeros():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3))
    nn.init.zeros_(net[1].weight)
    net[1].weight.grad = torch.ones_like(net[1].weight)
    Muon(net, 1e-3).step()
    assert net[1].weight.isfinite().all() and net[1].weight.any()


@pytest.mark.parametrize("make", [lambda m: LARS(m.parameters(), lr=0.5), lambda m: Muon(m, lr=7e-4)])
def test_what_an_optimizer_keeps_follows_the_weights_when_it_is_loaded(model, make):
    """A checkpoint lies on the CPU in float32; doubles stand in for a GPU."""
    optimizer = make(model)
    learn(model, optimizer, 1)
    moved = copy.deepcopy(model).double()
    loaded = make(moved)
    loaded.load_state_dict(optimizer.state_dict())
    kept = [value for state in loaded.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    assert kept and {value.dtype for value in kept} == {torch.float64}


@pytest.mark.parametrize(
    "make", [lambda m: LARS(m.parameters(), lr=5.0), lambda m: Muon(m, lr=7e-4)], ids=["LARS", "Muon"]
)
def test_the_loss_falls_and_a_saved_state_goes_on_the_same(model, make):
    start = copy.deepcopy(model.state_dict())
    optimizer = make(model)
    first = learn(model, optimizer, 0)
    learn(model, optimizer, 20)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    ended = learn(model, optimizer, 20)
    assert ended < 0.7 * first
    model.load_state_dict(start)
    again = make(model)
    model.load_state_dict(saved[0]), again.load_state_dict(saved[1])
    assert learn(model, again, 20) == pytest.approx(ended, rel=1e-5)


def test_weights_without_a_gradient_stay(model):
    before = copy.deepcopy(model.state_dict())
    LARS(model.parameters(), lr=1.0).step(), Muon(model, lr=0.03).step()
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
