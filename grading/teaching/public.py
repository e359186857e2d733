"""The course as learners may have it: no solutions, no hidden tests, no banks of answers, no grader.

    python -m grading.teaching.public ../two-views-public        a new folder, to commit and publish

It opens on Binder, on Colab, and with `make lab`. Name its address first: python -m grading.teaching.address URL.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from grading.build import GRADING

ROOT = GRADING.parent
TAKEN = (
    "helpers/", "notebooks/", "binder/", "data/", "requirements.txt", "pyproject.toml", "LICENSE", ".gitignore",
    "grading/__init__.py", "grading/lab_settings.py", "grading/nbgrader_config.py", "grading/setup.sh", "grading/get_pip.py",
)  # fmt: skip
LEFT = (
    "data/results/answer_bank",
    "data/results/hostile",
)  # what wrong answers are told, and how the grader is attacked
SECTIONS = ("Start", "Learn", "Train on your own pictures", "Words", "References")  # of README.md


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the course without solutions, for learners.")
    parser.add_argument("folder", type=Path, help="a new folder")
    folder = parser.parse_args().folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        sys.exit(
            f"{folder} is not empty. Name a new folder; of an older copy keep its .git, and move the new files there."
        )
    known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if known.returncode:
        sys.exit("This is not a git checkout, so what belongs to the course cannot be told from what lies beside it.")
    names = known.stdout.split("\0")
    publish([name for name in names if name.startswith(TAKEN) and not name.startswith(LEFT)], folder)
    print(f"{folder} holds the course for learners; its address is in pyproject.toml.")


def publish(names: list[str], folder: Path) -> None:
    """Copy these files, and write the learners' README.md and Makefile beside them."""
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name, made in (("README.md", readme), ("Makefile", makefile)):
        (folder / name).write_text(made((ROOT / name).read_text(encoding="utf-8")), encoding="utf-8")


def readme(text: str) -> str:
    """The sections for learners, without the lines about tests."""
    first, *sections = re.split(r"^(?=## )", text, flags=re.M)
    kept = [section for section in sections if section.splitlines()[0].removeprefix("## ") in SECTIONS]
    lines = [
        line for line in "".join([first, *kept]).splitlines() if "make test  " not in line and "-m pytest" not in line
    ]
    return "\n".join(lines) + "\n"


def makefile(text: str) -> str:
    """The targets up to the tests: help, setup and lab."""
    return text[: text.index("## make test ")].rstrip() + "\n"


if __name__ == "__main__":
    main()
