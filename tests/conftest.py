"""What all tests share: repeatable random numbers, where the real pictures are, a fast mode for notebooks."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
