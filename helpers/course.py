"""What a notebook knows of the course around it: your answers so far, the data set chosen, how long it may take.

`Parts` hands out the pieces of SimCLR: yours where your answer passed its check, else the reference. A passed answer
is kept as source code in data/yours/, one readable file a piece, and the later notebooks train with it.
"""

import ast
import contextlib
import importlib
import inspect
import linecache
import math
import os
import symtable
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import torch

from helpers import checks
from helpers.checks.core import NotYet, describe_error, name_of, snake_case
from helpers.files import written_whole
from helpers.machine import cap_threads

YOURS = Path(os.environ.get("COURSE_YOURS") or Path(__file__).parent.parent / "data" / "yours")
PIECES = {  # name of each piece: module that holds the reference answer
    "color_distortion": "augmentation", "simclr_transform": "augmentation", "TwoViews": "augmentation",
    "TwoViewDataset": "augmentation", "histogram_similarity": "augmentation",
    "feature_map_sizes": "encoder", "small_image_stem": "encoder", "build_encoder": "encoder",
    "ProjectionHead": "projection_head", "SimCLR": "projection_head", "linear_classifier": "projection_head",
    "nt_xent_loop": "losses", "cosine_similarities": "losses", "positive_index": "losses", "nt_xent": "losses",
    "chance_loss": "losses", "sup_con": "losses",
    "warmup_cosine": "training", "train_step": "training", "pretrain": "training",
    "extract_features": "evaluation", "knn_accuracy": "evaluation", "linear_probe": "evaluation",
    "alignment": "evaluation", "uniformity": "evaluation",
}  # fmt: skip
ANSWERS = PIECES | {"clinic": "training"}  # the clinic is an exercise too, though nothing is trained with it


def quick() -> bool:
    """True where a notebook has seconds, not minutes: under nbgrader (Validate, grading) or with COURSE_QUICK=1."""
    asked_for = os.environ.get("COURSE_QUICK", "").lower() not in ("", "0", "no", "false")
    return asked_for or bool(os.environ.get("NBGRADER_EXECUTION"))


def reading() -> bool:
    """True while the reading edition is made (COURSE_READING=1): whoever reads it cannot run a cell."""
    return bool(os.environ.get("COURSE_READING"))


def data_name() -> str:
    """The data set of 05 and 06: COURSE_DATA (for instance cifar10 or folder:PATH), else the built-in "shapes"."""
    return os.environ.get("COURSE_DATA") or "shapes"


class Parts:
    """The pieces of SimCLR by name, `my.nt_xent` for instance: yours once it passed its check, the reference until then.

    While nbgrader grades, nothing is read from or written to data/yours/: each notebook stands alone. From here on torch
    uses no more threads than a container grants.
    """

    def __init__(self):
        cap_threads()
        self._stands_alone = os.environ.get("NBGRADER_EXECUTION") == "autograde"
        self._yours, self._reasons, self._looked_up = {}, {}, set()
        self._resting = set()  # yours, but the reference stands in

    def keep(self, answer) -> None:
        """Check an answer; keep it if it passes, and say in one line which piece `my` holds from now on."""
        name = answer_name(answer)
        if not name:
            print(
                f"{name_of(answer)}: no piece of the course has this name, so nothing changes. my.keep takes an answer."
            )
            return
        if name in ANSWERS and answer is self.reference(name):
            print(f"{name}: this is the reference itself, not an answer of yours; nothing changes.")
            return
        try:
            getattr(checks, f"check_{snake_case(name)}")(answer)
        except NotYet as problem:
            earlier = self._is_yours(name)
            self._reasons[name] = str(problem)
            print(f"{name}: {'your earlier answer' if earlier else 'the reference'} stands in, because: {problem}")
            return
        self._yours[name] = answer
        lost = "" if self._stands_alone else self._save(name, answer)
        print(f"{name}: yours, {f'in this notebook alone: {lost}' if lost else 'from here on.'}")

    def __getattr__(self, name: str):
        """The piece of this name: kept in this notebook, else kept by an earlier one, else the reference."""
        if name not in ANSWERS:
            raise AttributeError(f"There is no piece called {name!r}. The pieces are: {', '.join(PIECES)}.")
        if name not in self._yours and not self._stands_alone:
            self._load(name)
        return self._yours.get(name) or self.reference(name)

    def reference(self, name: str):
        """The course's own answer."""
        return getattr(importlib.import_module(f"helpers.{ANSWERS[name]}"), name)

    def stand_in(self, name: str, reason: str) -> None:
        """Use the reference for a piece from here on; the reason appears in the table."""
        if self._is_yours(name):
            self._resting.add(name)
        self._yours[name], self._reasons[name] = self.reference(name), reason

    def table(self, names: tuple[str, ...] = tuple(PIECES)) -> None:
        """Print, piece by piece, whether it is yours or the reference, and why."""
        for name in names:
            if self._is_yours(name):
                print(f"{name:22} yours")
            else:
                because = self._reasons.get(name, "no answer of yours has passed its check yet.")
                print(f"{name:22} reference, because {because}")

    def progress(self) -> None:
        """Print the points so far: exercise by exercise, notebook by notebook, and of 100.

        An exercise counts where an answer of yours is kept, for that one passed its visible check. Some of the points
        belong to hidden tests, which are run only when you hand in, and nothing is checked again here.
        """
        names, together = {snake_case(name): name for name in ANSWERS}, 0.0
        kept = {name for name in ANSWERS if name in self._resting or self._is_yours(name)}
        for notebook, exercises in checks.POINTS.items():
            rows = [(names[exercise], points, names[exercise] in kept) for exercise, points in exercises.items()]
            earned = sum(points for _, points, yours in rows if yours)
            together += earned
            print(f"{notebook:26}{earned:4g} of {sum(exercises.values()):g}")
            for name, points, yours in rows:
                print(f"    {name:22}{points if yours else 0:4g} of {points:g}{'   kept' if yours else ''}")
        print(f"{'together':26}{together:4g} of 100")
        print("Kept: the visible check passed. The hidden tests, worth some of the points, run when you hand in.")

    def _is_yours(self, name: str) -> bool:
        return getattr(self, name) is not self.reference(name)

    def _save(self, name: str, answer) -> str:
        """Write data/yours/NAME.py for the later notebooks; or say what is in the way."""
        text, lost = source_of(answer, vars(sys.modules["__main__"]))
        if lost:
            return f"{', '.join(lost)}, which its cell uses, cannot be kept in a file. Make it inside {name}."
        if name not in given_by(text):
            return f"its cell gives nothing the name {name}. Define it there, by that name."
        try:
            with written_whole(YOURS / f"{name}.py") as file:
                file.write(text.encode())
        except OSError as problem:
            return f"{YOURS / name}.py could not be written ({problem.strerror or problem})."
        return ""

    def _load(self, name: str) -> None:
        """Run data/yours/NAME.py if it is there; what it defines becomes yours."""
        path = YOURS / f"{name}.py"
        if name in self._looked_up or not path.exists():
            return
        self._looked_up.add(name)
        namespace = {"my": self, "__name__": f"yours.{name}"}
        try:
            text = path.read_text(encoding="utf-8")
            linecache.cache[str(path)] = (len(text), None, text.splitlines(True), str(path))
            exec(compile(text, str(path), "exec"), namespace)
            self._yours[name] = namespace[name]
        except Exception as problem:
            self._reasons[name] = f"data/yours/{name}.py does not run: {describe_error(problem)}."


def answer_name(answer) -> str:
    """The piece that an answer is for: its own name, or the one that the notebook gives it; "" where neither is a piece."""
    given = (name for name in ANSWERS if vars(sys.modules["__main__"]).get(name) is answer)
    return name_of(answer) if name_of(answer) in ANSWERS else next(given, "")


def source_of(answer, namespace: dict) -> tuple[str, list[str]]:
    """Python source that defines the answer again: its cell, and before it the imports and other cells it needs.

    Args:
        answer: a function or class defined in a notebook cell or a file.
        namespace: the globals of the notebook, where the names it uses are looked up.

    Returns:
        the source, and the names in it whose values no line of source gives: a tensor, say, or a class without methods.
    """
    first, cells, seen, lost = set(), [], set(), set()

    def add(definition) -> None:
        try:
            text = cell_source(definition)
        except (OSError, StopIteration, TypeError):  # nothing in it knows where it was written
            lost.add(name_of(definition))
            return
        if text in seen:
            return
        seen.add(text)
        for name in sorted((globals_of(text) & namespace.keys()) - {"my"}):
            value = namespace[name]
            if isinstance(value, FunctionType | type) and value.__module__ == namespace["__name__"]:
                add(value)
            elif line := line_for(name, value):
                first.add(line)
            elif name not in given_by(text):
                lost.add(name)
        cells.append(text)  # after what it uses

    add(answer)
    return "\n".join(sorted(first)) + "\n\n\n" + "\n\n\n".join(cells) + "\n", sorted(lost)


def line_for(name: str, value) -> str:
    """A line that gives the name this value, an import or a constant; "" where there is none."""
    if isinstance(value, ModuleType):
        return f"import {value.__name__} as {name}"
    if isinstance(value, torch.dtype | torch.device):
        return f"import torch; {name} = torch.{repr(value).removeprefix('torch.')}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name} = float('{value}')"
    with contextlib.suppress(Exception):  # what repr shows need not be a constant
        if ast.literal_eval(repr(value)) == value:
            return f"{name} = {value!r}"
    called = getattr(value, "__name__", name)
    places = (getattr(value, "__module__", None), *sys.modules)  # some of torch's functions do not know their module
    here = (place for place in places if place in sys.modules and not place.startswith("__"))  # nor this notebook
    homes = (place for place in here if getattr(sys.modules[place], "__dict__", {}).get(called) is value)
    home = next(homes, None)
    return f"from {home} import {called} as {name}" if home else ""


def given_by(text: str) -> set[str]:
    """The names that a cell itself gives a value, outside its functions."""
    symbols = symtable.symtable(text, "answer", "exec").get_symbols()
    return {s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_namespace()}


def globals_of(text: str) -> set[str]:
    """The names a cell takes from the notebook around it: neither parameters nor names given inside a function."""
    found, tables = set(), [symtable.symtable(text, "answer", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        outermost = table.get_type() == "module"
        found |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (outermost or s.is_global())}
    return found


def cell_source(definition) -> str:
    """The text of the cell or file in which a function or class was written."""
    functions = vars(definition).values() if isinstance(definition, type) else [definition]
    functions = map(inspect.unwrap, functions)  # behind a decorator such as torch.no_grad()
    code = next(function.__code__ for function in functions if isinstance(function, FunctionType))
    lines = linecache.getlines(code.co_filename)
    return "".join(lines).strip() if lines else inspect.getsource(definition)
