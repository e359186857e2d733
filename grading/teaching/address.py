"""Name the repository's address: pyproject.toml says it once, and what is made from it follows.

python -m grading.teaching.address https://github.com/YOU/two-views
"""

import re
import subprocess
import sys

from grading.build import GRADING, repository

ROOT = GRADING.parent
MADE_FROM_IT = ("README.md",)  # besides the notebooks, which are built anew


def main() -> None:
    if len(sys.argv) != 2 or not re.fullmatch(r"https://[\w./-]+/[\w.-]+", sys.argv[1].rstrip("/")):
        sys.exit(
            "Name the address of the repository: python -m grading.teaching.address https://github.com/YOU/two-views"
        )
    old, new = repository(), sys.argv[1].rstrip("/").removesuffix(".git")
    for name in ("pyproject.toml", *MADE_FROM_IT):
        path = ROOT / name
        path.write_text(renamed(path.read_text(encoding="utf-8"), old, new), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "grading.build"], cwd=ROOT, check=True)
    if not new.startswith("https://github.com/"):
        print(f"{new} is not on GitHub, where the two badges of README.md look for it. For Binder, mybinder.org makes the "
              "right address of yours; Colab opens from GitHub only: take its badge out.")  # fmt: skip


def renamed(text: str, old: str, new: str) -> str:
    """Text in which the new repository stands wherever the old one did, in whole addresses and as owner/name."""
    short = [address.split("://")[1].split("/", 1)[1] for address in (old, new)]
    return (
        text.replace(old, new)
        .replace(f"/gh/{short[0]}/", f"/gh/{short[1]}/")
        .replace(f"/github/{short[0]}/", f"/github/{short[1]}/")
    )


if __name__ == "__main__":
    main()
