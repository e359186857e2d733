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


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> str:
    """24 images of two classes, as files, in the words of --data."""
    from PIL import Image

    root, generator = tmp_path_factory.mktemp("images"), torch.Generator().manual_seed(0)
    for number in range(24):
        pixels = torch.randint(0, 256, (16, 16, 3), generator=generator, dtype=torch.uint8).numpy()
        (root / f"class{number % 2}").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / f"class{number % 2}" / f"{number}.png")
    return f"folder:{root}"
