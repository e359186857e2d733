"""Notebooks 05 and 06 on real photographs: 60,000 CIFAR-10 pictures, read as a folder of one's own images."""

import os
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell

from grading.build import NOTEBOOKS, SOURCE, client, instructor_notebook

CIFAR = os.environ.get("TWO_VIEWS_CIFAR", "")
pytestmark = [
    pytest.mark.notebook,
    pytest.mark.skipif(
        not (Path(CIFAR) / "train").is_dir() or not CIFAR,
        reason="needs CIFAR-10 as a folder of pictures: TWO_VIEWS_CIFAR=PATH with PATH/train/CLASS/*.jpg",
    ),
]


@pytest.mark.parametrize("stem, holds", [("05_training", "labelled"), ("06_evaluation", "bank")])
def test_the_notebook_runs_on_a_folder_of_real_pictures(stem, holds, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", f"folder:{CIFAR}")
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    nb = instructor_notebook(SOURCE / f"{stem}.py")
    nb.cells.append(new_code_cell(f"print(*{holds}.classes)"))
    client(nb, NOTEBOOKS, timeout=600).execute()
    assert nb.cells[-1].outputs[0].text.split() == sorted(path.name for path in (Path(CIFAR) / "train").iterdir())
