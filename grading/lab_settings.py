"""Put the course's JupyterLab settings into this Python environment: nothing in the user's home is touched.

    python -m grading.lab_settings

nbgrader's time limits hold for the Validate button; its instructor panels are out of a learner's way. JupyterLab neither
asks about news nor looks for updates: the course works without a network.
"""

import json
import shutil
import sys
from pathlib import Path

CONFIG = Path(sys.prefix) / "etc" / "jupyter"
OFFLINE = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
HIDDEN_PANELS = ["assignment-list", "course-list", "create-assignment", "formgrader", "menu"]


def main() -> None:
    """Write nbgrader_config.py and two files in labconfig/ under the environment's etc/jupyter."""
    (CONFIG / "labconfig").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).parent / "nbgrader_config.py", CONFIG / "nbgrader_config.py")
    page = CONFIG / "labconfig" / "page_config.json"
    settings = json.loads(page.read_text()) if page.exists() else {}
    settings.setdefault("disabledExtensions", {}).update(
        {f"@jupyter/nbgrader:{panel}": True for panel in HIDDEN_PANELS}
    )
    page.write_text(json.dumps(settings, indent=1) + "\n")
    defaults = CONFIG / "labconfig" / "default_setting_overrides.json"
    overrides = json.loads(defaults.read_text()) if defaults.exists() else {}
    defaults.write_text(json.dumps(overrides | OFFLINE, indent=1) + "\n")


if __name__ == "__main__":
    main()
