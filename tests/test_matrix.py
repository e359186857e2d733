"""The oldest and the newest: which Pythons and torches are chosen, what is installed, what pytest's report is read as."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from data import record
from tests import matrix

ROOT = Path(__file__).parent.parent
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def asked_of(text: str) -> dict[str, SpecifierSet]:
    lines = [line.split("#")[0].strip() for line in text.splitlines() if line[0].isalpha()]
    return {Requirement(line).name: Requirement(line).specifier for line in lines}


def torch_versions() -> tuple[Version, Version]:
    """The oldest and the newest torch that is supported."""
    pins = matrix.supported()[1]
    return tuple(Version(pins[name][0].split("==")[1]) for name in ("oldest", "newest"))


def test_what_is_installed_lies_between_the_oldest_and_the_newest():
    (oldest, newest), stated = torch_versions(), asked_of((ROOT / "requirements.txt").read_text())
    assert oldest <= Version(str(stated["torch"]).strip("=")) <= newest
    assert HERE in matrix.supported()[0]


def test_binder_may_take_the_oldest_and_the_newest_torch():
    text = (ROOT / "binder" / "environment.yml").read_text()
    allowed = SpecifierSet(re.search(r"pytorch-cpu(\S+)", text)[1])
    assert all(version in allowed for version in torch_versions())


def test_setup_looks_for_the_pythons_that_pyproject_allows():
    text, pythons = (ROOT / "grading" / "setup.sh").read_text(), matrix.supported()[0]
    low, high = re.search(r"\(3, (\d+)\) <= sys.version_info < \(3, (\d+)\)", text).groups()
    assert pythons == [f"3.{minor}" for minor in range(int(low), int(high))]


def test_the_python_that_runs_this_is_found_and_one_that_does_not_exist_is_not():
    found = matrix.find_pythons([HERE, "3.99"])
    assert list(found) == [HERE] and matrix.version_of(found[HERE]) == HERE


def test_a_python_that_is_there_but_does_not_run_is_passed_over(tmp_path, monkeypatch):
    broken = tmp_path / "python3.99"
    broken.write_text("#!/bin/sh\necho 'not installed' >&2; exit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert str(broken) in list(matrix.places("3.99")) and matrix.find_pythons(["3.99"]) == {}


def test_a_python_of_pyenv_is_found_and_its_newest_patch_comes_first(tmp_path, monkeypatch):
    for patch in ("9.0.2", "9.0.10"):
        (tmp_path / "versions" / patch / "bin").mkdir(parents=True)
        (tmp_path / "versions" / patch / "bin" / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    found = [Path(place).parts[-3] for place in matrix.places("9.0") if place.startswith(str(tmp_path))]
    assert found == ["9.0.10", "9.0.2"]


def test_the_oldest_python_gets_the_oldest_torch_and_the_newest_the_newest():
    pins = {"oldest": ("torch==1",), "newest": ("torch==2",)}
    chosen = matrix.choose({"3.10": "ten", "3.9": "nine", "3.12": "twelve"}, pins)
    assert [(each.name, each.python, each.pins) for each in chosen] == [
        ("oldest", "nine", ("torch==1",)),
        ("newest", "twelve", ("torch==2",)),
    ]


@pytest.mark.parametrize("name", ["oldest", "newest"])
def test_torch_and_torchvision_are_replaced_and_the_rest_is_asked_for_as_before(name):
    text, pins = (ROOT / "requirements.txt").read_text(), matrix.supported()[1][name]
    before, after = asked_of(text), asked_of(matrix.replaced(text, pins))
    assert {f"{each}{after[each]}" for each in ("torch", "torchvision")} == set(pins)
    assert {each: before[each] for each in before if "torch" not in each} == {
        each: after[each] for each in after if "torch" not in each
    }
    assert "-e ." in matrix.replaced(text, pins)


def test_a_pin_of_something_the_course_does_not_ask_for_is_refused():
    with pytest.raises(ValueError, match="jax"):
        matrix.replaced("torch==2\n", ("torch==3", "jax==1"))


SUITE = """
import pytest

def test_right(): pass
@pytest.mark.parametrize("n", [1, 2])
def test_sometimes(n): assert n == 1
@pytest.mark.skip(reason="no GPU here")
def test_left_out(): pass
@pytest.fixture
def broken(): raise RuntimeError
def test_without_its_fixture(broken): pass
"""


def test_a_report_of_pytest_is_counted_with_the_names_of_what_failed_and_the_reasons_of_what_was_skipped(tmp_path):
    (tmp_path / "test_it.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "--junitxml=report.xml"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1
    told = matrix.outcome(tmp_path / "report.xml")
    assert (told["passed"], told["skipped"], told["failed"]) == (2, 1, 2)
    assert told["failing"] == ["test_it::test_sometimes[2]", "test_it::test_without_its_fixture"]
    assert told["skipped_because"] == {"no GPU here": 1}


def test_a_run_takes_the_place_of_the_last_one_of_its_name_and_the_oldest_comes_first():
    first = {"name": "newest", "passed": 1}
    runs = matrix.merged(matrix.merged([first], {"name": "oldest", "passed": 2}), {"name": "newest", "passed": 3})
    assert runs == [{"name": "oldest", "passed": 2}, {"name": "newest", "passed": 3}]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """The command, with its environments and its results file in this folder, and nowhere to install from."""
    monkeypatch.setattr(matrix, "PLACE", tmp_path / "environments")
    monkeypatch.setattr(matrix, "RESULT", tmp_path / "test_matrix.json")
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path


def test_what_cannot_be_installed_is_told_with_its_reason_and_the_next_one_is_tried(elsewhere, capfd):
    assert matrix.main([]) == 1
    runs = json.loads((elsewhere / "test_matrix.json").read_text())["runs"]
    assert [told["name"] for told in runs] == ["oldest", "newest"]
    assert all("ERROR: No matching distribution found" in told["not_installed"] for told in runs)
    assert not (elsewhere / "environments").exists()
    assert "could not be installed" in capfd.readouterr().err


def kept(elsewhere: Path, **numbers) -> None:
    """What a command leaves that was stopped after its run of the newest."""
    told = {"name": "newest", "asked": list(matrix.supported()[1]["newest"]), "command": "pytest -x", "seconds": 1}
    (elsewhere / "environments").mkdir()
    told |= {"installed": dict.fromkeys(("python", "torch", "torchvision"), "kept"), "failing": []} | numbers
    (elsewhere / "environments" / "newest.json").write_text(json.dumps(told))


def test_a_stopped_command_goes_on_after_what_it_had_finished(elsewhere, capfd):
    kept(elsewhere, passed=3, skipped=0, failed=0)
    assert matrix.main(["--only", "newest", "-x"]) == 0
    assert "3 passed" in capfd.readouterr().out
    assert not (elsewhere / "environments").exists()  # all was told, so the next command begins anew


def test_a_run_that_gave_no_result_is_tried_again(elsewhere, capfd):
    kept(elsewhere, not_run="pytest ended with -9")
    assert matrix.main(["--only", "newest", "-x"]) == 1
    assert "could not be installed" in capfd.readouterr().err


def test_without_room_on_the_disk_it_says_how_much_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, "ROOM", 10**9)
    combination = matrix.Combination("oldest", HERE, sys.executable, matrix.supported()[1]["oldest"])
    assert re.search(r"GiB are free .* needs up to", matrix.install(combination, tmp_path / "oldest"))
