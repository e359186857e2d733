"""Install pip into an environment that Python could not give one: Debian keeps ensurepip in a package of its own.

    .venv/bin/python grading/get_pip.py

Takes the newest pip wheel from PyPI, compares its checksum, and lets it install itself.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

INDEX = "https://pypi.org/simple/pip/"


def main() -> None:
    request = urllib.request.Request(INDEX, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            files = json.load(answer)["files"]
        wheel = max(
            (file for file in files if file["filename"].endswith("-py3-none-any.whl") and not file.get("yanked")),
            key=lambda file: file["upload-time"],
        )
        with urllib.request.urlopen(wheel["url"], timeout=60) as answer:
            content = answer.read()
    except OSError as problem:
        sys.exit(
            f"pip could not be had from pypi.org ({problem}). Is there a network? Or: sudo apt install python3-venv"
        )
    if hashlib.sha256(content).hexdigest() != wheel["hashes"]["sha256"]:
        sys.exit("The pip that pypi.org sent is damaged (its checksum differs). Try again.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / wheel["filename"]
        path.write_bytes(content)
        environment = os.environ | {"PYTHONPATH": str(path)}
        install = [sys.executable, "-m", "pip", "install", "--no-index", "--quiet", str(path)]
        sys.exit(subprocess.run(install, env=environment).returncode)


if __name__ == "__main__":
    main()
