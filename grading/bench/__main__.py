"""`python -m grading.bench`: make an environment with the others in it, then measure. Some minutes on an idle machine.
`python -m grading.bench learn` trains instead, ours and theirs, for hours: see learn.py.

The environment, grading/.work/bench, sees everything in this one (torch is not downloaded again) and adds what only
the comparison needs; this one stays as it is.
"""

import os
import platform
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "grading" / ".work" / "bench"
PEERS = ("lightly==1.6.0", "kornia==0.9.0", "pytorch-metric-learning==2.9.0")


def environment() -> Path:
    """The Python of the environment with the others, made where it is not there yet."""
    python = PLACE / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = PLACE / "installed.txt"
    wanted = [f"python=={platform.python_version()}", *PEERS]
    if not ready.exists() or ready.read_text().split() != wanted:
        print(f"installing {', '.join(PEERS)} into {PLACE}", file=sys.stderr)
        venv.create(PLACE, clear=True, with_pip=False)
        inside = sysconfig.get_path("purelib", vars={"base": str(PLACE)})
        (Path(inside) / "course.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS]
        subprocess.run(pip, check=True)
        ready.write_text("\n".join(wanted) + "\n")
    return python


def main() -> int:
    """The exit code of the measurement."""
    module, words = ("learn", sys.argv[2:]) if sys.argv[1:2] == ["learn"] else ("measure", sys.argv[1:])
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    try:
        python = environment()
    except subprocess.CalledProcessError:
        sys.exit(f"{', '.join(PEERS)} could not be installed; pip says above why. They come from PyPI: is it reached?")
    return subprocess.run([python, "-m", f"grading.bench.{module}", *words], cwd=ROOT, env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
