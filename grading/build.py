"""Build the notebooks: grading/source/NN_*.py -> instructor notebooks -> notebooks/, the same bytes every time.

    python -m grading.build                    all of them, as `make notebooks` does
    python -m grading.build 04                 only 04
    python -m grading.build --execute 04       and run the instructor version, which must not fail

The source is jupytext's percent format. A cell's role stands on its marker line: exercise="name" (the answer, with
the solution), check="name" points=3, hidden="name" points=1, locked="name". nbgrader strips solutions and hidden tests.
"""

import argparse
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from traitlets.config import PyFileConfigLoader

GRADING = Path(__file__).parent
SOURCE, NOTEBOOKS = GRADING / "source", GRADING.parent / "notebooks"
ASSIGNMENT = "simclr"
ROLES = {  # role on the marker line: (suffix of the grade_id, nbgrader's flags)
    "exercise": ("", {"grade": False, "solution": True, "locked": False}),
    "check": ("_check", {"grade": True, "solution": False, "locked": True}),
    "hidden": ("_hidden", {"grade": True, "solution": False, "locked": True}),
    "locked": ("", {"grade": False, "solution": False, "locked": True}),
}
HIDDEN = """# Your answer meets inputs here that you have not seen, when your notebook is graded.
### BEGIN HIDDEN TESTS
{}
### END HIDDEN TESTS"""

ANYWHERE = """# Safe to run anywhere. Where the course's files are missing, as on Colab, it fetches them, once.
def find_course():
    import importlib.util, subprocess, sys
    from pathlib import Path

    if importlib.util.find_spec("helpers") is None:
        place = next((p for p in map(Path, ("..", ".", "two-views")) if (p / "helpers").is_dir()), Path("two-views"))
        if not place.is_dir():
            subprocess.run(["git", "clone", "--quiet", "--depth=1", "{}", str(place)], check=True)
        sys.path.insert(0, str(place.resolve()))
    if "google.colab" in sys.modules:
        importlib.import_module("helpers.colab").prepare()


find_course()"""


def repository() -> str:
    """Where the course lives on the web: pyproject.toml is the one place that says it."""
    settings = tomllib.loads((GRADING.parent / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["project"]["urls"]["Repository"].rstrip("/")


def sources(numbers: list[str]) -> list[Path]:
    """The source files whose names start with one of the numbers, or all."""
    return [path for path in sorted(SOURCE.glob("*.py")) if not numbers or path.name.startswith(tuple(numbers))]


def instructor_notebook(source: Path) -> NotebookNode:
    """The notebook with solutions and hidden tests; cell ids and metadata depend on the source text alone."""
    notebook = jupytext.read(source)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "generated": f"from grading/source/{source.name} by `make notebooks`; do not edit",
    }
    for index, cell in enumerate(notebook.cells):
        role = next((role for role in ROLES if role in cell.metadata), None)
        metadata, cell.metadata = cell.metadata, NotebookNode()
        cell.id = f"cell-{index:03d}"
        if role:
            suffix, flags = ROLES[role]
            cell.id = metadata[role] + suffix
            cell.metadata["nbgrader"] = {"schema_version": 3, "task": False, "grade_id": cell.id, **flags}
            if flags["grade"]:
                cell.metadata["nbgrader"]["points"] = metadata["points"]
        if role == "hidden":
            cell.source = HIDDEN.format(cell.source)
    notebook.cells.insert(1, nbformat.v4.new_code_cell(ANYWHERE.format(repository()), id="colab"))
    nbformat.validate(notebook)
    return notebook


def write_instructor_notebooks(folder: Path, numbers: list[str] = ()) -> list[Path]:
    """Write FOLDER/NN_*.ipynb with solutions; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for source in sources(numbers):
        paths.append(folder / f"{source.stem}.ipynb")
        nbformat.write(instructor_notebook(source), paths[-1])
    return paths


def course(root: Path, exchange: Path | None = None) -> NbGraderAPI:
    """nbgrader with the course's settings, its folders and gradebook under root, and a class's exchange if there is one."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls `alembic`
    settings = PyFileConfigLoader("nbgrader_config.py", path=str(GRADING)).load_config()
    settings.CourseDirectory.root = str(root)
    if exchange:
        settings.Exchange.root, settings.ExchangeReleaseAssignment.force = str(exchange), True
    return NbGraderAPI(CourseDirectory(config=settings), config=settings)


def release(root: Path, numbers: list[str] = ()) -> list[Path]:
    """Strip the notebooks with nbgrader under root/; returns the released ones."""
    write_instructor_notebooks(root / "source" / ASSIGNMENT, numbers)
    outcome = course(root).generate_assignment(ASSIGNMENT, force=True)
    if not outcome["success"]:
        sys.exit(f"nbgrader could not strip the notebooks:\n{outcome.get('error') or outcome.get('log')}")
    return sorted((root / "release" / ASSIGNMENT).glob("*.ipynb"))


def client(notebook: NotebookNode, folder: Path, **settings) -> NotebookClient:
    """What runs a notebook in a fresh kernel, in the given working folder; settings are those of NotebookClient."""
    place = {"metadata": {"path": str(folder)}}
    return NotebookClient(notebook, kernel_name="python3", resources=place, **({"timeout": 1200} | settings))


def execute(path: Path, folder: Path) -> None:
    """Run a notebook from top to bottom in place, in the given working folder; an error stops it."""
    notebook = nbformat.read(path, as_version=4)
    try:
        client(notebook, folder).execute()
    finally:
        nbformat.write(notebook, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the course's notebooks.")
    parser.add_argument("numbers", nargs="*", help="only these, for instance 04 05")
    parser.add_argument("--execute", action="store_true", help="run the instructor versions into grading/instructor/")
    options = parser.parse_args()
    if not sources(options.numbers):
        sys.exit(f"No source in {SOURCE} starts with {' or '.join(options.numbers)}.")
    with tempfile.TemporaryDirectory() as root:
        released = release(Path(root), options.numbers)
        NOTEBOOKS.mkdir(exist_ok=True)
        for path in released:
            shutil.copyfile(path, NOTEBOOKS / path.name)
            print(f"built notebooks/{path.name}")
    if options.execute:
        os.environ["COURSE_YOURS"] = str(GRADING / "instructor" / "yours")  # not among your own answers
        for path in write_instructor_notebooks(GRADING / "instructor", options.numbers):
            execute(path, NOTEBOOKS)
            print(f"ran grading/instructor/{path.name}")


if __name__ == "__main__":
    main()
