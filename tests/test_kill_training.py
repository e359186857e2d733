"""A training run that is killed and resumed ends as if nothing had happened; the long form is `make kills`."""

import sys

import pytest
import torch

from tests.kill_training import disturb, same


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_a_run_killed_at_three_moments_ends_as_the_undisturbed_one_to_the_last_bit(tmp_path):
    result = disturb(3, tmp_path, epochs=8, twice=False)
    assert result["kills"] == 3 and result["runs"] >= 1 and result["resumed"] >= 1
    assert result["identical"] and result["left"] == 0


def test_one_bit_in_one_weight_is_noticed():
    kept = {"model": {"weight": torch.ones(3)}, "history": {"loss": [1.0, 2.0]}, "area": (0.2, 1.0)}
    other = {
        "model": {"weight": torch.tensor([1.0, 1.0, 1.0 + 2**-23])},
        "history": kept["history"],
        "area": (0.2, 1.0),
    }
    assert same(kept, kept) and not same(kept, other)
    assert not same(kept, kept | {"history": {"loss": [1.0]}})
