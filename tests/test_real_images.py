"""Notebooks 05 and 06 on real photographs: 60,000 CIFAR-10 pictures, read as a folder of one's own images."""

import os
from pathlib import Path

import pytest
from nbclient import NotebookClient

from grading.build import NOTEBOOKS, SOURCE, instructor_notebook

CIFAR = os.environ.get("TWO_VIEWS_CIFAR", "")
pytestmark = [
    pytest.mark.notebook,
    pytest.mark.skipif(
        not (Path(CIFAR) / "train").is_dir() or not CIFAR,
        reason="needs CIFAR-10 as a folder of pictures: TWO_VIEWS_CIFAR=PATH with PATH/train/CLASS/*.jpg",
    ),
]


@pytest.mark.parametrize("stem", ["05_training", "06_evaluation"])
def test_the_notebook_runs_on_a_folder_of_real_pictures(stem, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", f"folder:{CIFAR}")
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    nb = instructor_notebook(SOURCE / f"{stem}.py")
    NotebookClient(nb, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    text = "".join(out.get("text", "") for cell in nb.cells for out in cell.get("outputs", []))
    assert "50,000" in text or "50000" in text  # it says how many pictures it works on
