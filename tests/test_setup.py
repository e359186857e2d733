"""Setting up: what happens on a machine that lacks something, and that the README tells the truth about the commands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jupyterlab_server import settings_utils
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from grading import lab_settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "grading" / "docs").glob("*.md"))]


def setup(tmp_path: Path, python: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["sh", "grading/setup.sh"], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "PYTHON": python, "VENV": str(tmp_path / "venv")},
    )  # fmt: skip


def test_setup_without_a_python_that_fits_is_one_sentence_with_the_mend(tmp_path):
    run = setup(tmp_path, "no-such-python")
    assert run.returncode == 1 and not (tmp_path / "venv").exists()
    assert "make lab PYTHON=" in run.stderr and "no-such-python" in run.stderr


def test_setup_refuses_a_python_that_is_too_old(tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # what a check of the version answers on an old Python
    old.chmod(0o755)
    run = setup(tmp_path, str(old))
    assert run.returncode == 1 and not (tmp_path / "venv").exists()
    assert "No Python 3.11" in run.stderr and str(old) in run.stderr


def test_the_environment_has_the_courses_jupyter_settings():
    config = Path(sys.prefix) / "etc" / "jupyter"
    if not (config / "nbgrader_config.py").exists():
        pytest.skip("settings not installed here: python -m grading.lab_settings")
    page = json.loads((config / "labconfig" / "page_config.json").read_text())
    assert page["disabledExtensions"]["@jupyter/nbgrader:formgrader"] is True
    assert (config / "nbgrader_config.py").read_text() == (ROOT / "grading" / "nbgrader_config.py").read_text()


def test_jupyterlab_is_told_to_ask_for_no_news_and_keeps_what_else_it_was_told(tmp_path, monkeypatch):
    monkeypatch.setattr(lab_settings, "CONFIG", tmp_path)
    (tmp_path / "labconfig").mkdir()
    (tmp_path / "labconfig" / "default_setting_overrides.json").write_text('{"a": {"b": 1}}')
    lab_settings.main()
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(tmp_path))
    read = settings_utils._get_overrides(tmp_path)[0]  # as JupyterLab's server reads them
    assert read["a"] == {"b": 1}
    assert read["@jupyterlab/apputils-extension:notification"] == {"fetchNews": "false", "checkForUpdates": False}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_inside_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_conda_installs_what_pip_does():
    pip = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line[0].isalpha():
            asked = Requirement(line.split("#")[0].strip())
            pip[asked.name] = asked.specifier
    for_tests_and_style = {"ruff", "playwright", "axe-playwright-python"}
    conda = {}
    for name, versions in re.findall(
        r"^ +- ([a-z][\w-]*)(\S*)$", (ROOT / "binder/environment.yml").read_text(), flags=re.M
    ):
        conda[name.replace("pytorch-cpu", "torch").removesuffix("-base")] = re.sub(r"^=([^=]+)$", r"==\1.*", versions)
    assert set(pip) - for_tests_and_style == set(conda) - {"python", "pip", "setuptools"}
    for name, wanted in pip.items():
        if name in conda and str(wanted).startswith("=="):
            assert str(wanted).strip("=") in SpecifierSet(conda[name]), name


def test_the_cpu_build_that_the_readme_names_is_the_one_required():
    named = re.findall(r"pip install (torch==\S+) (torchvision==\S+) --index-url", (ROOT / "README.md").read_text())
    required = (ROOT / "requirements.txt").read_text()
    assert named and all(f"{word} " in required for word in named[0])


def test_every_make_target_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)(?:`| *#| PORT| *$)", (ROOT / "README.md").read_text(), flags=re.M))
    assert named and named <= targets


def test_every_module_the_readme_names_is_there():
    for module in set(re.findall(r"python -m ((?:helpers|data|grading)(?:\.\w+)+)", (ROOT / "README.md").read_text())):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module


def test_results_files_say_where_they_come_from():
    results = sorted((ROOT / "data" / "results").glob("*.json"))
    assert results
    for path in results:
        assert {"command", "seed", "versions", "machine", "date"} <= json.loads(path.read_text()).keys(), path.name


def test_the_readme_tells_of_every_results_file():
    for path in (ROOT / "data" / "results").glob("*.json"):
        assert path.name in (ROOT / "README.md").read_text(), path.name
