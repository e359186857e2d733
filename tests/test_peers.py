"""Our losses beside independent implementations, where `make bench` (or .ci/run) has installed them."""

import json
import subprocess

import pytest
import torch

from grading.bench.__main__ import PLACE
from helpers import losses

PYTHON = PLACE / "bin/python"
THEIRS = """
import json, warnings; warnings.simplefilter("ignore")
import torch
from lightly.loss import DCLLoss, NTXentLoss
from pytorch_metric_learning import distances, losses, reducers

def told(n, d, t):
    a, b = torch.randn(2, n, d, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    a, b = a.requires_grad_(), b.requires_grad_()
    labels = torch.arange(n) % 4
    once = torch.arange(n).repeat(2)
    cosine = distances.CosineSimilarity()
    triplet = losses.TripletMarginLoss(margin=t, distance=cosine, reducer=reducers.MeanReducer())
    values = {
        "nt_xent, lightly": NTXentLoss(temperature=t)(a, b),
        "nt_xent, pytorch-metric-learning": losses.NTXentLoss(temperature=t)(torch.cat([a, b]), once),
        "sup_con": losses.SupConLoss(temperature=t)(torch.cat([a, b]), labels.repeat(2)),
        "decoupled": DCLLoss(temperature=t)(a, b),
        "margin_triplet": triplet(torch.cat([a, b]), once),
    }
    slopes = {name: [each.tolist() for each in torch.autograd.grad(value, (a, b))] for name, value in values.items()}
    return {name: (value.item(), slopes[name]) for name, value in values.items()}

print(json.dumps([told(*draw) for draw in DRAWS]))
"""
DRAWS = [(12, 7, 0.3), (5, 32, 1.0), (64, 16, 0.1)]  # images, dimensions, temperature (of triplets: the margin)


@pytest.fixture(scope="module")
def theirs() -> list[dict]:
    """What the peers say to every draw: {name: (value, gradient for both views)}."""
    code = THEIRS.replace("DRAWS", repr(DRAWS))
    run = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.skipif(
    not PYTHON.exists(), reason="lightly and pytorch-metric-learning are not there; make bench installs them"
)
@pytest.mark.parametrize("draw", range(len(DRAWS)))
def test_losses_equal_those_of_lightly_and_pytorch_metric_learning(theirs, draw):
    n, d, t = DRAWS[draw]
    a, b = torch.randn(2, n, d, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    a, b = a.requires_grad_(), b.requires_grad_()
    ours = {
        "nt_xent, lightly": losses.nt_xent(a, b, t),
        "nt_xent, pytorch-metric-learning": losses.nt_xent(a, b, t),
        "sup_con": losses.sup_con(a, b, torch.arange(n) % 4, t),
        "decoupled": losses.decoupled(a, b, t),
        "margin_triplet": losses.margin_triplet(a, b, t),
    }
    for name, value in ours.items():
        wanted, slopes = theirs[draw][name]
        assert value.item() == pytest.approx(wanted, abs=1e-6), name
        for slope, other in zip(torch.autograd.grad(value, (a, b)), slopes, strict=True):
            assert torch.allclose(slope, torch.tensor(other, dtype=torch.float64), atol=1e-6), name
