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
a, b = torch.randn(2, 12, 7, generator=torch.Generator().manual_seed(5))
labels = torch.arange(12) % 4
both, once = torch.cat([a, b]), torch.arange(12).repeat(2)
triplet = losses.TripletMarginLoss(margin=0.4, distance=distances.CosineSimilarity(), reducer=reducers.MeanReducer())
print(json.dumps({
    "nt_xent, lightly": NTXentLoss(temperature=0.3)(a, b).item(),
    "nt_xent, pytorch-metric-learning": losses.NTXentLoss(temperature=0.3)(both, once).item(),
    "sup_con": losses.SupConLoss(temperature=0.3)(both, labels.repeat(2)).item(),
    "decoupled": DCLLoss(temperature=0.3)(a, b).item(),
    "margin_triplet": triplet(both, once).item(),
}))
"""


@pytest.mark.skipif(
    not PYTHON.exists(), reason="lightly and pytorch-metric-learning are not there; make bench installs them"
)
def test_losses_equal_those_of_lightly_and_pytorch_metric_learning():
    run = subprocess.run([PYTHON, "-c", THEIRS], capture_output=True, text=True, check=True)
    theirs = json.loads(run.stdout.splitlines()[-1])
    a, b = torch.randn(2, 12, 7, generator=torch.Generator().manual_seed(5))
    ours = {
        "nt_xent, lightly": losses.nt_xent(a, b, 0.3),
        "nt_xent, pytorch-metric-learning": losses.nt_xent(a, b, 0.3),
        "sup_con": losses.sup_con(a, b, torch.arange(12) % 4, 0.3),
        "decoupled": losses.decoupled(a, b, 0.3),
        "margin_triplet": losses.margin_triplet(a, b, 0.4),
    }
    for name, value in ours.items():
        assert value.item() == pytest.approx(theirs[name], abs=1e-6), name
