"""Binder: what repo2docker would build, the script after the build in a clean environment, and 2 GB of memory."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from grading.build import repository
from grading.teaching import address
from tests.conftest import copy_checkout

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / ".venv-site" / "bin" / "python"  # repo2docker lives with the other tools
CGROUP = Path("/sys/fs/cgroup")
RENDER = """
import json
from repo2docker.app import Repo2Docker
app = Repo2Docker()
for kind in app.buildpacks:
    pack = kind(app.base_image)
    if pack.detect():
        break
pack.platform = "linux/amd64"
print(json.dumps([type(pack).__name__, pack.render({"NB_UID": "1000", "NB_USER": "jovyan"})]))
"""


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """The files git knows, and nothing else of this checkout."""
    folder = tmp_path_factory.mktemp("binder") / "repo"
    copy_checkout(folder)
    return folder


def test_repo2docker_takes_the_conda_environment_and_runs_the_script_behind_it(clean):
    if not TOOLS.exists() or subprocess.run([TOOLS, "-c", "import repo2docker"], capture_output=True).returncode:
        pytest.skip("no repo2docker here: make .venv-site/ready")
    run = subprocess.run([TOOLS, "-c", RENDER], cwd=clean, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    kind, steps = json.loads(run.stdout.splitlines()[-1])
    assert kind == "CondaBuildPack"
    environment, everything, script = (steps.index(step) for step in (
        '--file "binder/environment.yml"', "COPY --chown=1000:1000 src/ ${REPO_DIR}/\n", "RUN ./binder/postBuild"))  # fmt: skip
    assert environment < everything < script  # a change of the course does not build the environment again


def test_the_image_has_no_cuda_and_no_local_path():
    text = (ROOT / "binder" / "environment.yml").read_text()
    assert "pytorch-cpu" in text and "cuda" not in text and "- -e" not in text


def test_the_script_behind_the_build_leaves_nothing_to_download(clean, tmp_path):
    env = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    (Path(sysconfig.get_path("purelib", vars={"base": env})) / "course.pth").write_text(sysconfig.get_path("purelib"))
    names = os.environ | {"PATH": f"{env}/bin:/usr/bin:/bin", "PIP_NO_INDEX": "1", "PYTHONPATH": ""}
    offline = ["unshare", "-n"] if os.geteuid() == 0 and shutil.which("unshare") else []
    run = subprocess.run([*offline, "./binder/postBuild"], cwd=clean, env=names, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert list((clean / "data" / "cache").glob("*.npz"))
    assert (env / "etc" / "jupyter" / "nbgrader_config.py").exists()
    where = [env / "bin" / "python", "-c", "import helpers; print(helpers.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=names, capture_output=True, text=True).stdout
    assert found.startswith(str(clean))


def memory_group() -> Path | None:
    """A fresh group of processes held to 2 GiB, where this machine lets us make one."""
    for parent, file in ((CGROUP / "memory", "memory.limit_in_bytes"), (CGROUP, "memory.max")):
        group = parent / f"two-views-{os.getpid()}"
        try:
            group.mkdir()
            (group / file).write_text(str(2 * 2**30))
        except OSError:
            shutil.rmtree(group, ignore_errors=True)
            continue
        return group
    return None


def test_every_notebook_was_measured_to_fit_with_its_server_into_2_gib():
    measured = json.loads((ROOT / "data" / "results" / "timings.json").read_text())
    for name, each in measured["notebooks"].items():
        assert each["peak_mib"] + measured["server_mib"] < 2048, name


@pytest.mark.notebook
def test_the_notebook_that_needs_most_memory_runs_within_2_gib(tmp_path):
    measured = json.loads((ROOT / "data" / "results" / "timings.json").read_text())["notebooks"]
    largest = max(measured, key=lambda name: measured[name]["peak_mib"])
    group = memory_group()
    if group is None:
        pytest.skip("no control group for memory can be made here")
    program = f"""
from pathlib import Path
from grading.build import NOTEBOOKS, execute, write_instructor_notebooks
path, = write_instructor_notebooks(Path({str(tmp_path)!r}), [{largest[:2]!r}])
execute(path, NOTEBOOKS)
"""
    enter = f'echo $$ > {group}/cgroup.procs && exec {sys.executable} -c "$PROGRAM"'
    names = os.environ | {"PROGRAM": program, "COURSE_YOURS": str(tmp_path / "yours")}
    run = subprocess.run(["sh", "-c", enter], cwd=ROOT, env=names, capture_output=True, text=True)
    group.rmdir()
    assert run.returncode == 0, run.stderr


def test_every_badge_leads_to_the_repository_that_pyproject_names():
    short = repository().removeprefix("https://github.com/")
    text = (ROOT / "README.md").read_text()
    named = re.findall(
        r"mybinder\.org/v2/gh/([\w-]+/[\w-]+)/|colab\.research\.google\.com/github/([\w-]+/[\w-]+)/", text
    )
    assert len(named) == 2 + 7 and {one or other for one, other in named} == {short}


def test_a_new_address_reaches_every_badge():
    text = (ROOT / "README.md").read_text() + (ROOT / "pyproject.toml").read_text()
    moved = address.renamed(text, repository(), "https://github.com/ada/other")
    assert repository().removeprefix("https://github.com/") not in moved and moved.count("ada/other") == 3 + 7
