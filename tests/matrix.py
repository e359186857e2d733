"""Run the suite on the oldest and the newest Python and torch that the course supports: `make test-matrix`.

    python -m tests.matrix                                     both, every test
    python -m tests.matrix -m "not browser and not notebook"   what stands here goes to pytest
    python -m tests.matrix --only newest                       one of the two

pyproject.toml says what is supported: Python under requires-python, torch under [tool.two-views]. Each of the two gets an
environment of its own in .venv-matrix/, some gigabytes, which is removed when its tests are over. A stopped command goes
on: an environment that is there is used again, and what was finished is not run again. data/results/
test_matrix.json keeps the last run of each, also of one that could not be installed, and why.
"""

import argparse
import datetime
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from data.record import RESULTS, write_result

ROOT = Path(__file__).parent.parent
PLACE = ROOT / ".venv-matrix"
RESULT = RESULTS / "test_matrix.json"
ROOM = 10  # GiB on disk while one environment is made: torch with CUDA's libraries, and what pip downloads


@dataclass(frozen=True)
class Combination:
    """One Python with one torch."""

    name: str  # oldest or newest
    version: str  # of Python, as 3.11
    python: str  # where it is
    pins: tuple[str, ...]  # torch and torchvision, as in requirements.txt


def supported() -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The Pythons that pyproject.toml allows, oldest first, and the pins of the oldest and the newest torch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    allowed = SpecifierSet(project["project"]["requires-python"])
    pythons = [f"3.{minor}" for minor in range(100) if f"3.{minor}" in allowed]
    return pythons, {name: tuple(pins) for name, pins in project["tool"]["two-views"].items()}


def places(version: str) -> Iterator[str]:
    """Where a Python of this version may be: this one, on PATH, in pyenv, in uv; the newest patch first."""
    yield sys.executable
    for folder in os.get_exec_path():
        yield str(Path(folder, f"python{version}"))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    yield from sorted(map(str, [*pyenv.glob("*/bin/python3"), *uv.glob("*/bin/python3")]), key=numbers, reverse=True)


def numbers(text: str) -> list[int]:
    """The numbers in a text: 3.13 comes after 3.9."""
    return [int(each) for each in re.findall(r"\d+", text)]


def find_pythons(versions: list[str]) -> dict[str, str]:
    """{version: a Python of that version which runs}, without those that are not on this machine."""
    found = {}
    for version in versions:
        runs = (place for place in places(version) if version_of(place) == version)
        if (place := next(runs, None)) is not None:
            found[version] = place
    return found


def version_of(python: str) -> str | None:
    """As 3.11; None where there is no Python, or one that does not run."""
    program = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        return subprocess.run([python, "-c", program], capture_output=True, text=True).stdout.strip() or None
    except OSError:
        return None


def choose(pythons: dict[str, str], pins: dict[str, tuple[str, ...]]) -> list[Combination]:
    """The oldest Python with the oldest torch, the newest with the newest."""
    ends = sorted(pythons, key=numbers)
    return [Combination(name, end, pythons[end], pins[name]) for name, end in
            (("oldest", ends[0]), ("newest", ends[-1]))]  # fmt: skip


def replaced(requirements: str, pins: tuple[str, ...]) -> str:
    """requirements.txt in which these pins stand for what it asks of the same packages."""
    lines, left = [], {Requirement(pin).name: pin for pin in pins}
    for line in requirements.splitlines():
        name = re.match(r"[\w.-]*", line)[0]
        lines.append(left.pop(name, line))
    if left:
        raise ValueError(f"requirements.txt does not ask for {', '.join(left)}, which pyproject.toml pins")
    return "\n".join(lines) + "\n"


def inside(folder: Path) -> str:
    """The Python of an environment."""
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def surroundings(folder: Path) -> dict[str, str]:
    """The variables of a process that works in this environment, with the helpers of this checkout."""
    path = os.pathsep.join([str(Path(inside(folder)).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}


def install(combination: Combination, folder: Path) -> str | None:
    """Make the environment, unless it is there; why that could not be done, or None."""
    wanted = replaced((ROOT / "requirements.txt").read_text(encoding="utf-8"), combination.pins)
    asked, ready = PLACE / f"{combination.name}.txt", folder / "ready"
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return None
    free = shutil.disk_usage(ROOT).free / 2**30
    if free < ROOM:
        return f"{free:.1f} GiB are free on this disk, and an environment needs up to {ROOM} while it is made."
    asked.write_text(wanted, encoding="utf-8")
    pip = [inside(folder), "-m", "pip", "install"]  # its own: this Python's may be too old to run on a newer one
    steps = (
        [combination.python, "-m", "venv", "--clear", str(folder)],
        [*pip, "--no-cache-dir", "--quiet", "--disable-pip-version-check", "-r", str(asked)],
        [inside(folder), "-m", "grading.lab_settings"],
    )
    for step in steps:
        run = subprocess.run(step, cwd=ROOT, env=surroundings(folder), capture_output=True, text=True)
        if run.returncode:
            said = (run.stderr or run.stdout).strip().splitlines()
            return "\n".join([shlex.join(step), *([each for each in said if "ERROR" in each] or said[-5:])])
    ready.write_text(wanted, encoding="utf-8")
    asked.unlink()
    return None


def installed(folder: Path) -> dict[str, str]:
    """The versions of Python and of everything in requirements.txt, as this environment has them."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [re.match(r"[\w.-]+", line)[0] for line in lines if line[0].isalpha()]
    program = f"""
import importlib.metadata, json, platform
print(json.dumps({{"python": platform.python_version()}} | {{n: importlib.metadata.version(n) for n in {names!r}}}))
"""
    command = [inside(folder), "-c", program]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def outcome(report: Path) -> dict:
    """What pytest's JUnit report counts: passed, skipped (and why), failed (and which). An error counts as a failure."""
    passed, skipped, failing = 0, Counter(), []
    for case in ElementTree.parse(report).iter("testcase"):
        said = {child.tag: child.get("message", "") for child in case}
        if "failure" in said or "error" in said:
            failing.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in said:
            skipped[said["skipped"]] += 1
        else:
            passed += 1
    because = dict(skipped.most_common())
    return {"passed": passed, "skipped": skipped.total(), "failed": len(failing), "failing": failing,
            "skipped_because": because}  # fmt: skip


def run(combination: Combination, arguments: list[str]) -> dict:
    """Install, run the suite, remove the environment: what the results file says of this combination."""
    folder, start = PLACE / combination.name, time.monotonic()
    told = {"name": combination.name, "date": datetime.date.today().isoformat(), "python": combination.version}
    told |= {"asked": list(combination.pins), "command": shlex.join(["pytest", *arguments])}
    print(f"{combination.name}: Python {combination.version} ({combination.python}) with "
          f"{' and '.join(combination.pins)}; installing", flush=True)  # fmt: skip
    problem = install(combination, folder)
    if problem is not None:
        print(f"{combination.name}: could not be installed.\n{problem}", file=sys.stderr)
        (PLACE / f"{combination.name}.txt").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        return told | {"not_installed": problem}
    told |= {"installed": installed(folder), "install_seconds": round(time.monotonic() - start)}
    told["environment_gib"] = round(sum(path.lstat().st_size for path in folder.rglob("*")) / 2**30, 1)
    start, report = time.monotonic(), folder / "report.xml"
    report.unlink(missing_ok=True)
    command = [inside(folder), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=surroundings(folder)).returncode
    told["seconds"] = round(time.monotonic() - start)
    if not report.exists():
        return told | {"not_run": f"pytest ended with {ended} before it wrote its report"}
    told |= outcome(report)
    shutil.rmtree(folder)
    return told


def finished(combination: Combination) -> Path:
    """Where a command keeps its run of this combination until the other one is finished too."""
    return PLACE / f"{combination.name}.json"


def earlier(combination: Combination, arguments: list[str]) -> dict | None:
    """The run of a command that was stopped before it came to its end, if it was the same run."""
    if not finished(combination).exists():
        return None
    told = json.loads(finished(combination).read_text(encoding="utf-8"))
    same = (told["asked"], told["command"]) == (list(combination.pins), shlex.join(["pytest", *arguments]))
    if not same or "passed" not in told:
        return None
    print(f"{combination.name}: finished before the stop; remove {PLACE.name}/ to run it again.")
    return told


def good(told: dict) -> bool:
    return told.get("failed") == 0 and told["passed"] > 0


def merged(runs: list[dict], told: dict) -> list[dict]:
    """The runs of the results file with this one in the place of the last one of its name; the oldest first."""
    others = [each for each in runs if each["name"] != told["name"]]
    return sorted([*others, told], key=lambda each: each["name"], reverse=True)


def line(told: dict) -> str:
    """One run in one line."""
    if "passed" not in told:
        return f"{told['name']}: {told.get('not_installed') or told['not_run']}"
    versions = ", ".join(f"{name} {told['installed'][name]}" for name in ("python", "torch", "torchvision"))
    counts = ", ".join(f"{told[name]} {name}" for name in ("passed", "skipped", "failed"))
    return "\n    ".join([f"{told['name']} ({versions}): {counts}, {told['seconds']} s", *told["failing"]])


def main(words: list[str] | None = None) -> int:
    """Exit code 1 where a combination could not be installed or a test failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["oldest", "newest"], help="one of the two (default: both)")
    options, arguments = parser.parse_known_args(words)
    versions, pins = supported()
    pythons = find_pythons(versions)
    missing = [version for version in versions if version not in pythons]
    for version in missing:
        print(f"Python {version} was not found: python{version} on PATH, in ~/.pyenv/versions, in uv's folder.")
    if not pythons:
        print(f"None of Python {', '.join(versions)} is on this machine.", file=sys.stderr)
        return 1
    PLACE.mkdir(exist_ok=True)
    chosen = [each for each in choose(pythons, pins) if options.only in (None, each.name)]
    told = {}
    for combination in chosen:
        told[combination.name] = earlier(combination, arguments) or run(combination, arguments)
        finished(combination).write_text(json.dumps(told[combination.name]), encoding="utf-8")
        runs = json.loads(RESULT.read_text(encoding="utf-8"))["runs"] if RESULT.exists() else []
        numbers = {"python_not_found": missing, "runs": merged(runs, told[combination.name])}
        write_result("test_matrix", "make test-matrix", 0, numbers)
    for combination in chosen:
        finished(combination).unlink()
    if not any(PLACE.iterdir()):
        PLACE.rmdir()
    print("\n".join(map(line, told.values())))
    return int(not all(map(good, told.values())))


if __name__ == "__main__":
    sys.exit(main())
