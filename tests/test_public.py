"""The copy for learners: whole enough to open anywhere, without anything that gives answers away."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest

from grading.teaching import public


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("public") / "copy"
    command = [sys.executable, "-m", "grading.teaching.public", folder]
    run = subprocess.run(command, cwd=public.ROOT, capture_output=True, text=True)
    if "not a git checkout" in run.stderr:
        pytest.skip("not a git checkout")
    assert run.returncode == 0, run.stderr
    return folder


def test_it_holds_no_solution_no_hidden_test_and_no_bank(copy):
    names = [path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()]
    assert not [
        name for name in names if name.startswith(("tests/", "grading/source", "grading/sandbox")) or "bank" in name
    ]
    for path in [*copy.rglob("*.py"), *copy.rglob("*.ipynb")]:
        assert not re.search("### BEGIN (SOLUTION|HIDDEN)", path.read_text(encoding="utf-8")), path.name


def test_every_link_in_its_pages_and_notebooks_leads_to_a_file_of_it(copy):
    pages = {path: path.read_text(encoding="utf-8") for path in (copy / "README.md", copy / "data" / "README.md")}
    for path in copy.glob("notebooks/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        pages[path] = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for path, text in pages.items():
        for target in re.findall(r"\]\(([^)\s#]+)", text):
            assert "://" in target or (path.parent / target).exists(), f"{path.name}: {target}"


def test_its_readme_speaks_to_learners_alone(copy):
    text = (copy / "README.md").read_text(encoding="utf-8")
    assert "make lab" in text and "## Learn" in text
    assert not re.search(
        r"make (test|grade|class|site|bench|bank)\b|grading/(source|grades)|grading.teaching|instructor", text
    )


def test_make_there_offers_what_is_there(copy):
    run = subprocess.run(["make", "help"], cwd=copy, capture_output=True, text=True)
    assert re.findall(r"^make (\S+)", run.stdout, flags=re.M) == ["setup", "lab"]
    planned = subprocess.run(["make", "-n", "lab"], cwd=copy, capture_output=True, text=True)
    assert planned.returncode == 0 and "grading/setup.sh" in planned.stdout


def test_binder_can_prepare_it(copy, tmp_path):
    env = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    (Path(sysconfig.get_path("purelib", vars={"base": env})) / "course.pth").write_text(sysconfig.get_path("purelib"))
    names = os.environ | {"PATH": f"{env}/bin:/usr/bin:/bin", "PIP_NO_INDEX": "1", "PYTHONPATH": ""}
    run = subprocess.run(["./binder/postBuild"], cwd=copy, env=names, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert list((copy / "data" / "cache").glob("*.npz"))


@pytest.mark.parametrize("place", [".", "mine"])
def test_a_folder_that_holds_something_or_a_file_is_left_alone(tmp_path, place):
    (tmp_path / "mine").write_text("kept")
    command = [sys.executable, "-m", "grading.teaching.public", tmp_path / place]
    run = subprocess.run(command, cwd=public.ROOT, capture_output=True, text=True)
    assert run.returncode == 1 and "is not empty" in run.stderr and "Traceback" not in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
