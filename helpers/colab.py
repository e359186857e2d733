"""What the course needs on Google Colab beyond what is there. Colab's own torch stays; nothing happens elsewhere."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

NOTEBOOKS_NEED = {  # what notebooks import besides torch, torchvision and numpy: its name on PyPI
    "anywidget": "anywidget",
    "ipywidgets": "ipywidgets",
    "matplotlib": "matplotlib",
    "psutil": "psutil",
    "safetensors": "safetensors",
    "sklearn": "scikit-learn",
    "tqdm": "tqdm",
    "umap": "umap-learn",
}


def prepare() -> None:
    """Install what is missing, and let Colab show widgets that it does not know."""
    wanted = missing((Path(__file__).parent.parent / "requirements.txt").read_text(encoding="utf-8"))
    if wanted:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], check=True)
    from google.colab import output  # only Colab has it

    output.enable_custom_widget_manager()


def missing(requirements: str, find: Callable[[str], object] = importlib.util.find_spec) -> list[str]:
    """The requirements, as requirements.txt states them, of modules that cannot be found here.

    Args:
        find: module name -> None where it is not installed.
    """
    stated = {match[1]: match[0] for match in re.finditer(r"^([\w-]+)[^\s#]*", requirements, flags=re.M)}
    return [stated[name] for module, name in NOTEBOOKS_NEED.items() if name in stated and find(module) is None]
