"""Judge a student's answers: which graded cells pass, and what to say of those that do not.

An answer runs in a sandbox; the check and the hidden tests run here, where it cannot reach them, on what it returns for
inputs drawn anew (grading/sandbox/wire.py). Answers that make or take modules are asked instead (grading/verdicts.py).
Only then are the course's own checks let into the sandbox, to name the mistake, and for what cannot be seen from outside.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import io
import json
import re
import symtable
import types
from dataclasses import dataclass, field
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from grading.sandbox import start, wire
from grading.sandbox.cells import is_of_the_future, statements, tree_of
from grading.verdicts import VERDICTS
from helpers import checks
from helpers.checks.core import NotYet, snake_case
from helpers.checks.own import SAME_JOB
from helpers.course import PIECES

ROOT = Path(__file__).parent.parent
SECONDS = 180  # of wall time for one exercise, many times what the slowest right answer takes
COMPUTING = 30  # of processor time in the sandbox: a busy machine cuts nobody short
PATIENCE = 2  # answers of one student that may take all of it, or a second try; after these the rest get less
LESS = {"seconds": 60, "computing": 15}
INSIDE_TOO = (*VERDICTS, "two_views", "two_view_dataset", "nt_xent", "sup_con")  # have sides that only show inside
UNSEEN = "Right on the inputs of the check, not yet on others: a case you have not seen fails."
VISIBLE_ONLY = "Right on the inputs that the notebook's check shows, wrong on all others."
STATISTICAL = ("color_distortion", "simclr_transform")  # slow: fewer seeds


@dataclass(frozen=True)
class Exercise:
    """One exercise of the instructor's notebook."""

    name: str  # nt_xent, two_views
    object: str  # nt_xent, TwoViews: what the answer is called
    module: str  # helpers.losses
    check: str  # sources of its cells
    hidden: str
    setup: str
    plain: tuple[str, ...]  # the notebook's other code before the check
    forbidden: dict[str, str] = field(hash=False, default_factory=dict)  # names of reference answers: their module


def exercises(stem: str, notebook: NotebookNode) -> list[Exercise]:
    """The exercises of an instructor's notebook, in order."""
    cells, order = {cell.id: cell.source for cell in notebook.cells}, [cell.id for cell in notebook.cells]
    started = 0
    module = f"helpers.{stem.split('_', 1)[1].replace('contrastive_loss', 'losses')}"
    found = []
    for name in checks.POINTS[stem]:
        solution, check, hidden = cells[name], cells[f"{name}_check"], cells[f"{name}_hidden"]
        hidden = hidden.split("### BEGIN HIDDEN TESTS\n")[-1].split("### END HIDDEN TESTS")[0]
        called = next(each for each in sorted(defined(solution)) if snake_case(each) == name)
        ended = order.index(f"{name}_check")
        prose = "\n".join(cell.source for cell in notebook.cells[started:ended] if cell.cell_type == "markdown")
        started = ended
        graded = [cell.id for cell in notebook.cells if cell.metadata.get("nbgrader")]
        plain = [cell.source for cell in notebook.cells[:ended] if cell.cell_type == "code" and cell.id not in graded]
        shown = [cells["setup"], *behind(f"{check}\n{hidden}", plain), solution, check, hidden]  # these must run
        given = set(re.findall(r"\bmy\.(\w+)", prose)) | names_in("\n".join(shown))
        forbidden = {each: module for each in to_forbid(name, module, called, given)}
        found.append(Exercise(name, called, module, check, hidden, cells["setup"], tuple(plain), forbidden))
    return found


def names_in(source: str) -> set[str]:
    """Attributes and imported names that occur in the source."""
    nodes = list(ast.walk(ast.parse(source)))
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return imported | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def to_forbid(exercise: str, module: str, called: str, given: set[str]) -> set[str]:
    """The reference answer, others that do its job, and what they are made of, save what the exercise hands out itself."""
    parts = importlib.import_module(module)
    whole = {called, *SAME_JOB.get(exercise, ())}
    neighbours = {name for name, place in PIECES.items() if f"helpers.{place}" == module}  # `my` offers them
    return (reachable(parts, whole) - reachable(parts, (given | neighbours) - whole)) | whole


def reachable(module: types.ModuleType, names: set[str]) -> set[str]:
    """These functions and classes of a module and those they use, in turn."""
    found, left = set(), {name for name in names if hasattr(module, name)}
    while left:
        name = left.pop()
        value = getattr(module, name, None)
        if name in found or getattr(value, "__module__", None) != module.__name__:
            continue
        found.add(name)
        codes = [getattr(part, "__code__", None) for part in (value, *getattr(value, "__dict__", {}).values())]
        left |= {each for code in codes if code for each in names_of(code) if hasattr(module, each)}
    return found


def names_of(code: types.CodeType) -> set[str]:
    """Global names and attributes in a function's code, that of functions inside it too."""
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*map(names_of, inner))


def parsed(source: str) -> ast.Module:
    """The cell's syntax tree; an empty one where it is not Python."""
    try:
        return tree_of(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def defined(source: str) -> set[str]:
    """Names that a cell defines at its top level, also below an if or try: functions, classes, variables, imports."""
    names, left = set(), list(parsed(source).body)
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= imported(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {
                part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
        elif isinstance(node, ast.If | ast.Try | ast.ExceptHandler):
            left += ast.iter_child_nodes(node)
    return names


def imported(node: ast.AST) -> set[str]:
    """Names that the imports in this syntax tree bring."""
    imports = [each for each in ast.walk(node) if isinstance(each, ast.Import | ast.ImportFrom)]
    return {(alias.asname or alias.name).split(".")[0] for each in imports for alias in each.names}


def changed(source: str) -> set[str]:
    """Names whose value one statement changes, or makes in a loop or with-block: table[key] = 1, it.copies = 2, it.append(1)."""
    nodes, names = list(ast.walk(parsed(source))), set()
    if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in nodes):
        return names
    for node in nodes:
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
        ):
            base = node.value.func
        elif isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            base = node
        else:
            continue
        while isinstance(base, ast.Attribute | ast.Subscript):
            base = base.value
        names |= {base.id} if isinstance(base, ast.Name) else set()
    return names


def used(source: str) -> set[str]:
    """Names that a cell reads and that are not its functions' own."""
    try:
        left, names = [symtable.symtable(source, "<cell>", "exec")], set()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {node.id for node in ast.walk(parsed(source)) if isinstance(node, ast.Name)}
    while left:
        table = left.pop()
        left += table.get_children()
        top = table.get_type() == "module"
        names |= {each.get_name() for each in table.get_symbols() if each.is_referenced() and (top or each.is_global())}
    return names


def behind(start: str, cells: list[str], makes=defined) -> list[str]:
    """Of these cells those that make what the start uses, and what they use in turn; in their order.

    Args:
        makes: a cell -> the names it makes.
    """
    chosen, left, asked, makers = set(), [start], set(), {}
    for place, cell in enumerate(cells):
        for name in makes(cell):
            makers.setdefault(name, []).append(place)
    while left:
        wanted = (used(left.pop()) | {"*"}) - asked
        asked |= wanted
        fresh = {place for name in wanted for place in makers.get(name, ())} - chosen
        chosen |= fresh
        left += [cells[place] for place in fresh]
    return [cell for place, cell in enumerate(cells) if place in chosen]


def pieces(cells: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The statements of cells, each as a source of its own, with the place of its cell; those that share a line are one."""
    found = []
    for place, cell in cells:
        lines, tree, spans = cell.split("\n"), parsed(cell), []
        for node in tree.body:
            first = min([node.lineno, *[part.lineno for part in getattr(node, "decorator_list", [])]])
            if spans and first <= spans[-1][1]:
                spans[-1][1] = max(spans[-1][1], node.end_lineno)
            else:
                spans.append([first, node.end_lineno])
        future = "from __future__ import annotations\n" if is_of_the_future(tree) else ""
        found += [(place, future + "\n".join(lines[first - 1 : last])) for first, last in spans]
    return found


def known_at(place: int, own: list[tuple[int, str]]) -> list[str]:
    """The student's own statements as a check at this place knows them: those above it, and what is defined only below."""
    above = [piece for where, piece in own if where < place]
    made = set().union(*map(defined, above))
    return above + [piece for where, piece in own if where > place and defined(piece) - made]


def plain_python(source: str) -> str:
    """A cell as Python. What Jupyter adds to it (%time, !ls, name?, a common indent) goes, or becomes a call of nobody."""
    lines = source.split("\n")
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):  # the rest is what it times, hides or captures
        lines[first] = ""
    text = "\n".join(lines)
    odd = sum(line.lstrip().startswith(("%", "!", "?")) or line.rstrip().endswith("?") for line in lines)
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        if len(text) <= 20_000 and odd <= 20:  # it reads the cell again for each of them
            with contextlib.suppress(Exception):  # not Python either way
                return TransformerManager().transform_cell(text)
    return text


@functools.cache
def sources(with_checks: bool) -> dict[str, str]:
    """The text of helpers by path: all but the checks, of which the core alone; or the checks alone."""
    folder = ROOT / "helpers"
    text = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}
    core = ("helpers/checks/core.py",)
    if with_checks:
        return {
            path: source for path, source in text.items() if path.startswith("helpers/checks/") and path not in core
        }
    text = {path: source for path, source in text.items() if not path.startswith("helpers/checks/") or path in core}
    return text | {"helpers/checks/__init__.py": "from helpers.checks.core import NotYet, try_it, why\n"}


@functools.cache
def clinic(with_key: bool) -> dict:
    record = json.loads((ROOT / "data/results/clinic.json").read_text(encoding="utf-8"))
    return record if with_key else {name: value for name, value in record.items() if name not in ("key", "salt")}


def seed_of(secret: str, *words: object) -> int:
    """A number that nobody knows who does not know the secret."""
    return int.from_bytes(hashlib.sha256("/".join([secret, *map(str, words)]).encode()).digest()[:3], "big")


def as_exception(kind: str, text: str, notyet: bool) -> Exception:
    """What an answer raised, as the checks expect it."""
    if notyet:
        return NotYet(text)
    if kind == "NotImplementedError":
        return NotImplementedError(text)
    return type(kind[:60] if kind.isidentifier() else "Exception", (Exception,), {})(text)


@dataclass
class Judge:
    """Judges answers one after the other; starts its sandbox when it needs one."""

    secret: str
    bare: bool = False  # without a sandbox: answers run with the rights of who grades
    sandbox: start.Sandbox | None = None
    stopped: int = 0  # answers of this student that took all the time there is, or ended their process twice

    def next_student(self) -> None:
        """The next one gets a sandbox of their own, and all the time again."""
        self.close()
        self.stopped = 0

    def close(self) -> None:
        if self.sandbox:
            self.sandbox.close()
        self.sandbox = None

    def judge(self, exercise: Exercise, own: list[str], answers: dict[str, str]) -> dict[str, str | None]:
        """{check and hidden: None for passed, else what to say}.

        Args:
            own: the statements of the student's own cells that this exercise may need, as known_at gives them.
            answers: sources of all solution cells of the notebook, by exercise, as plain_python gives them.
        """
        if exercise.name not in answers:
            return dict.fromkeys(("check", "hidden"), "this exercise is not written yet.")
        ask = functools.partial(self.ask, exercise, own, answers)
        outside = self.by_verdict if exercise.name in VERDICTS else self.by_check
        said, stopped = {"check": None, "hidden": None}, self.stopped
        said |= ask(outside, inside=False)
        in_time = self.stopped == stopped
        if exercise.name in INSIDE_TOO and in_time and (exercise.name in VERDICTS or said["check"] is None):
            inside = ask(self.by_cells, inside=True)
            said = {part: inside.get(part) or said[part] for part in said}
        if said["check"] is not None:
            said["hidden"] = said["hidden"] or said["check"]
        return said

    def ask(self, exercise: Exercise, own: list[str], answers: dict[str, str], way, inside: bool) -> dict:
        """Run one way of judging on a fresh fork; a fork that dies or hangs is a wrong answer, with its reason.

        A machine short of memory may have ended one that dies by itself: it gets a second try, in a fresh sandbox.

        Raises:
            OSError: no sandbox takes the exercise, which says nothing of the answer.
        """
        answer = answers[exercise.name]
        others = {source: name for name, source in answers.items() if source != answer}  # one cell may hold two answers
        modules = set().union(
            *[imported(parsed(cell)) for cell in [exercise.setup, *own]]
        )  # torch.manual_seed(0) makes no torch
        needed = behind(answer, [*others, *own], lambda cell: defined(cell) | (changed(cell) - modules))
        text = "\n".join([exercise.check, exercise.hidden, answer, *needed])
        request = {
            "name": exercise.object, "around": [exercise.setup, *behind(text, list(exercise.plain))],
            "own": [each for each in needed if each not in others],
            "answers": [*[(others[each], each) for each in needed if each in others], (exercise.object, answer)],
            "forbidden": exercise.forbidden, "seed": seed_of(self.secret, exercise.name, "theirs"),
            "checks": sources(True) if inside else None,
        }  # fmt: skip
        said, why = self.attempt(exercise, request, way)
        if why == wire.ENDED and self.stopped < PATIENCE:
            self.close()
            said, why = self.attempt(exercise, request, way)
        self.stopped += why in (wire.TIME_IS_UP, wire.ENDED, start.LATE)
        return said

    def attempt(self, exercise: Exercise, request: dict, way) -> tuple[dict, str]:
        """(what one try says, why it was stopped); the second is empty where it was not."""
        peer = self.opened(request)
        try:
            answer = peer.receive()["yours"]
            said = way(exercise, peer, answer)
        except Exception as problem:
            said = {"check": str(problem)}
        alive, killed = self.sandbox.done(peer), self.sandbox.killed
        if not alive or killed:
            self.close()
        why = peer.broken and (killed or peer.broken)
        if why:
            part = "hidden" if "hidden" in said and said["check"] is None else "check"
            said[part] = f"it was stopped: {why}."
        return said, why

    def opened(self, request: dict) -> wire.Peer:
        """The line to an exercise that has been started; a sandbox that does not take it is replaced, once."""
        limits = {"seconds": SECONDS, "computing": COMPUTING} if self.stopped < PATIENCE else LESS
        for tries_left in (1, 0):
            try:
                if self.sandbox is None:
                    self.sandbox = start.Sandbox(sources(False), clinic(False), self.bare)
                return self.sandbox.open(request, **limits, error=as_exception)
            except OSError:
                self.close()
                if not tries_left:
                    raise

    def by_check(self, exercise: Exercise, peer: wire.Peer, answer) -> dict[str, str | None]:
        """The cells of the notebook, run here on the answer there; then the check on inputs nobody knows."""
        name_it(answer, exercise.object)
        namespace = surroundings(exercise) | {exercise.object: answer}
        said = {"check": passes(lambda: exec(exercise.check, namespace))}
        if said["check"] is None:
            seeds = [
                seed_of(self.secret, exercise.name, number)
                for number in range(1 if exercise.name in STATISTICAL else 3)
            ]
            check = getattr(checks, f"check_{exercise.name}")
            right = [passes(lambda: check(answer, seed=seed)) is None for seed in seeds]
            if not any(right):
                return {"check": VISIBLE_ONLY}
            all_right = all(right) and passes(lambda: exec(exercise.hidden, namespace)) is None
            said["hidden"] = None if all_right else UNSEEN
        return said

    def by_verdict(self, exercise: Exercise, peer: wire.Peer, answer) -> dict[str, str | None]:
        """The asks of grading/verdicts.py, twice."""

        def ask(name: str, **numbers) -> dict:
            return peer.ask({"do": "ask", "name": name, "numbers": numbers})

        for number in range(2):
            said = passes(lambda: VERDICTS[exercise.name](ask, seed_of(self.secret, exercise.name, number)))
            if said is not None:
                return {"check": said}
        return {}

    def by_cells(self, exercise: Exercise, peer: wire.Peer, answer) -> dict[str, str | None]:
        """The check cell inside, whose words may be shown, and the hidden cell, of which only a yes or no comes out."""
        said = {"check": passes(lambda: peer.ask({"do": "cell", "source": exercise.check}))}
        if said["check"] is None and exercise.name in VERDICTS:
            hidden = passes(lambda: peer.ask({"do": "cell", "source": exercise.hidden}))
            said["hidden"] = None if hidden is None else UNSEEN
        return said


def name_it(answer, name: str) -> None:
    """Give the stand-in the answer's name, which the checks' messages use."""
    with contextlib.suppress(AttributeError, TypeError):
        answer.__name__ = name


def surroundings(exercise: Exercise) -> dict:
    """What the cells of the notebook that the check needs define, made afresh here."""
    namespace: dict = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()):
        text = f"{exercise.check}\n{exercise.hidden}"
        for place, source in enumerate([exercise.setup, *behind(text, list(exercise.plain))]):
            for statement in statements(source, f"<setup {place}>"):
                with contextlib.suppress(Exception):  # the answers of others are not here
                    exec(statement, namespace)
    return namespace


def passes(test) -> str | None:
    """None, or in one sentence why not."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            test()
    except AssertionError as problem:  # NotYet is one; a reason is never empty, for None alone means passed
        return str(problem) or "an assertion of the check fails."
    except Exception as problem:
        return f"it stopped with {type(problem).__name__}: {str(problem)[:200]}."
    return None
