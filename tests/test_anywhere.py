"""The first cell of every notebook: harmless where the course is, and enough where there is only the notebook."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest

from grading.build import NOTEBOOKS, repository
from helpers import colab
from tests.conftest import copy_checkout

ROOT = NOTEBOOKS.parent
STEMS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def first_cell(stem: str) -> str:
    return next(cell.source for cell in nbformat.read(NOTEBOOKS / f"{stem}.ipynb", 4).cells if cell.cell_type == "code")


@pytest.fixture(scope="module")
def without_course(tmp_path_factory) -> dict[str, str]:
    """The environment of a Python that has torch and all the rest, but not the course: much like Colab's."""
    env = tmp_path_factory.mktemp("colab") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    (Path(sysconfig.get_path("purelib", vars={"base": env})) / "torch.pth").write_text(sysconfig.get_path("purelib"))
    names = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return names | {"PATH": f"{env}/bin:/usr/bin:/bin", "PYTHONPATH": ""}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> str:
    """A git address that stands in for the repository's: what this checkout holds, committed."""
    folder = tmp_path_factory.mktemp("address") / "two-views"
    copy_checkout(folder)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", folder]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "course"]):
        subprocess.run([*git, *command], check=True)
    return folder.as_uri()


@pytest.mark.parametrize("stem", STEMS)
def test_every_notebook_starts_with_the_cell_and_the_address_pyproject_names(stem):
    assert first_cell(stem) == first_cell(STEMS[0]) and f'"{repository()}"' in first_cell(stem)


def test_where_the_course_is_installed_the_cell_changes_nothing(tmp_path):
    program = first_cell("04_contrastive_loss") + "\nprint(len(sys.path) == before)"
    run = [sys.executable, "-c", "import sys; before = len(sys.path)\n" + program]
    done = subprocess.run(run, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
    assert not list(tmp_path.iterdir())


def test_beside_the_helpers_the_cell_finds_them_without_any_network(without_course):
    program = first_cell("04_contrastive_loss") + "\nfrom helpers import losses\nprint(losses.__file__)"
    done = subprocess.run(["python", "-c", program], cwd=NOTEBOOKS, env=without_course, capture_output=True, text=True)
    assert done.stdout.strip() == str(ROOT / "helpers" / "losses.py"), done.stderr


def test_alone_in_an_empty_folder_the_cell_fetches_the_course_once(without_course, published, tmp_path):
    program = first_cell("04_contrastive_loss").replace(repository(), published)
    program += "\nfrom helpers import data\nprint(data.DATA)"
    for _ in range(2):  # the second time, as after a restart of the kernel, there is nothing to fetch
        done = subprocess.run(
            ["python", "-c", program], cwd=tmp_path, env=without_course, capture_output=True, text=True
        )
        assert done.stdout.strip() == str(tmp_path / "two-views" / "data"), done.stderr
        shutil.rmtree(tmp_path / "two-views" / ".git", ignore_errors=True)
    assert [path.name for path in tmp_path.iterdir()] == ["two-views"]


def test_on_colab_the_cell_lets_widgets_be_shown(without_course, published, tmp_path):
    colab_itself = tmp_path / "site" / "google" / "colab"
    colab_itself.mkdir(parents=True)
    (colab_itself / "__init__.py").touch()
    (colab_itself / "output.py").write_text("def enable_custom_widget_manager():\n    print('widgets on')\n")
    program = "import google.colab\n" + first_cell("04_contrastive_loss").replace(repository(), published)
    environment = without_course | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(["python", "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "widgets on\n", done.stderr


def test_answers_are_kept_where_course_yours_says(tmp_path):
    program = "from helpers import course\nprint(course.YOURS)"
    environment = os.environ | {"COURSE_YOURS": str(tmp_path / "drive"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == str(tmp_path / "drive"), done.stderr


@pytest.mark.notebook
def test_a_notebook_alone_in_an_empty_folder_runs_to_its_end(without_course, published, tmp_path):
    text = (NOTEBOOKS / "00_start_here.ipynb").read_text(encoding="utf-8").replace(repository(), published)
    (tmp_path / "00_start_here.ipynb").write_text(text, encoding="utf-8")
    program = "import nbformat, nbclient; nbclient.execute(nbformat.read('00_start_here.ipynb', 4), timeout=300)"
    done = subprocess.run(["python", "-c", program], cwd=tmp_path, env=without_course | {"COURSE_QUICK": "1"},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "two-views" / "data" / "cache").is_dir()  # it worked with the course it fetched


def test_what_colab_lacks_is_installed_as_the_course_states_it_and_torch_is_not():
    stated = (ROOT / "requirements.txt").read_text()
    wanted = colab.missing(stated, find=lambda module: None)
    assert "umap-learn==0.5.12" in wanted and not any("torch" in each or "#" in each for each in wanted)
    assert colab.missing(stated, find=lambda module: module) == []
    assert colab.missing(stated) == []
