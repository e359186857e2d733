"""One exercise's bank of answers, and how an answer becomes the text of a notebook cell."""

import ast
import functools
import importlib
import linecache
from dataclasses import dataclass
from pathlib import Path

from grading.build import SOURCE, instructor_notebook
from helpers import checks, course
from helpers.checks.core import NotYet, snake_case

PUBLIC = {snake_case(name): name for name in course.PIECES}  # exercise: the name it has in a notebook
SEEDS = (0, 1, 2)  # a fitted answer may pass some of these draws, not all


@dataclass(frozen=True)
class Exercise:
    """Answers to one exercise, each under a name that says what it does.

    wrong: {name: (answer, words its diagnosis contains)}; the words are empty where no mistake is claimed to be known.
        A name that starts with "fitted" marks an answer that knows the visible check: some draw must refuse it, not
        necessarily that of seed 0. "lazy" marks one that does no work, "calls the reference" one that has it done.
    right: {name: answer}; the course's own answer is not among them.
    """

    wrong: dict[str, tuple[object, str]]
    right: dict[str, object]

    def answer(self, name: str):
        return self.right[name] if name in self.right else self.wrong[name][0]


def diagnosis(exercise: str, answer, seeds: tuple[int, ...] = (0,)) -> str | None:
    """What the exercise's check says to an answer, at the first of these seeds that refuses it; None where all accept."""
    for seed in seeds:
        try:
            getattr(checks, f"check_{exercise}")(answer, seed=seed)
        except NotYet as problem:
            return str(problem)
    return None


def seeds_for(name: str) -> tuple[int, ...]:
    """The draws a wrong answer of this name is judged by: seed 0, the visible check's, unless it is fitted to that."""
    return SEEDS if name.startswith("fitted") else (0,)


def public_name(exercise: str) -> str:
    """What a notebook calls the exercise: two_views -> TwoViews."""
    return PUBLIC.get(exercise, exercise)


def source(exercise: str, name: str) -> str:
    """A notebook cell that defines the answer of this name under the exercise's own name, and all that it needs.

    The answer stands in its bank module as an expression: a function, a class, a lambda, or the call that makes one.
    The cell holds the imports and definitions which that expression uses, directly or through others, in the module's
    order, and at the end `TwoViews = <expression>` with that name for messages and my.keep. It needs nothing that the
    notebook defines.
    """
    module = bank_module(exercise)
    expression = module.entries(exercise)[name]
    public = public_name(exercise)
    needed = module.needed_by(expression)
    last = f"{public} = {ast.get_source_segment(module.text, expression)}\n{public}.__name__ = {public!r}"
    if needed.get(public) is not None:
        raise ValueError(f"The bank of {exercise} defines {public} itself; give the definition another name.")
    return "\n\n\n".join(["\n".join(module.imports(needed)), *module.definitions(needed), f"{last}\n"])


def pasted(exercise: str, name: str):
    """The answer as a notebook gets it: its cell, run where only the imports of the notebook's setup cell were run."""
    namespace, text, cell = {"__name__": "__main__"}, source(exercise, name), f"<{exercise}: {name}>"
    linecache.cache[cell] = (len(text), None, text.splitlines(True), cell)  # as a notebook does, for messages
    exec(setup_imports(notebook_of(exercise)), namespace)
    exec(compile(text, cell, "exec"), namespace)
    return namespace[public_name(exercise)]


@functools.cache
def setup_imports(notebook: str) -> str:
    cells = instructor_notebook(SOURCE / f"{notebook}.py").cells
    setup = ast.parse(next(cell.source for cell in cells if cell.id == "setup"))
    return "\n".join(ast.unparse(node) for node in setup.body if isinstance(node, ast.Import | ast.ImportFrom))


def notebook_of(exercise: str) -> str:
    return next(notebook for notebook, exercises in checks.POINTS.items() if exercise in exercises)


@functools.cache
def bank_module(exercise: str) -> "BankModule":
    """The bank's file that holds an exercise, parsed."""
    stem = notebook_of(exercise)[3:].replace("contrastive_loss", "losses")
    return BankModule(Path(importlib.import_module(f"tests.banks.{stem}").__file__).read_text(encoding="utf-8"))


class BankModule:
    """The text of a bank's file, and which statement of it binds which name."""

    def __init__(self, text: str):
        self.text, self.bound = text, {}
        for statement in ast.parse(text).body:
            for name in names_bound_by(statement):
                self.bound[name] = statement

    def entries(self, exercise: str) -> dict[str, ast.expr]:
        """{name of the answer: the expression that is it}, wrong and right."""
        bank = self.bound["BANK"].value
        made = dict(zip((key.value for key in bank.keys), bank.values))[exercise]
        wrong, right = (self.items(part) for part in made.args)
        return {name: pair.elts[0] for name, pair in wrong.items()} | right

    def items(self, node: ast.expr) -> dict[str, ast.expr]:
        """The items of a dict that is written out, named, or the union of two such."""
        if isinstance(node, ast.Name):
            return self.items(self.bound[node.id].value)
        if isinstance(node, ast.BinOp):
            return self.items(node.left) | self.items(node.right)
        return {key.value: value for key, value in zip(node.keys, node.values)}

    def needed_by(self, node: ast.AST) -> dict[str, ast.stmt]:
        """{name: statement} of everything the node uses, directly or through other statements."""
        found, waiting = {}, [node]
        while waiting:
            for part in ast.walk(waiting.pop()):
                if isinstance(part, ast.Name) and part.id in self.bound and part.id not in found:
                    found[part.id] = self.bound[part.id]
                    waiting.append(self.bound[part.id])
        return found

    def imports(self, needed: dict[str, ast.stmt]) -> list[str]:
        """One line for each imported name that is used."""
        lines = []
        for name, statement in needed.items():
            if isinstance(statement, ast.Import | ast.ImportFrom):
                alias = next(alias for alias in statement.names if (alias.asname or alias.name.split(".")[0]) == name)
                spelled = alias.name + (f" as {alias.asname}" if alias.asname else "")
                origin = f"from {statement.module} " if isinstance(statement, ast.ImportFrom) else ""
                lines.append(f"{origin}import {spelled}")
        return sorted(lines)

    def definitions(self, needed: dict[str, ast.stmt]) -> list[str]:
        """The text of each function, class and constant that is used, in the module's order."""
        lines, texts = self.text.splitlines(), []
        chosen = {id(statement): statement for statement in needed.values()}.values()
        for statement in sorted(chosen, key=lambda statement: statement.lineno):
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                first = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", []))])
                texts.append("\n".join(lines[first - 1 : statement.end_lineno]))
        return texts


def names_bound_by(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign):
        return [part.id for target in statement.targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    return []
