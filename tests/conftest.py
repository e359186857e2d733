"""What all tests share: repeatable random numbers, where the real pictures are, a fast mode for notebooks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")


def copy_checkout(folder: Path) -> None:
    """Copy the files git knows, as they are now, and nothing else of this checkout; skip where git knows nothing."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


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


@pytest.fixture(autouse=True)
def no_figure_left_open():
    """A test's figures go with it: pyplot keeps them, and warns of the twenty-first."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
