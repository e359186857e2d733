"""A cell of a notebook as statements that run one by one."""

import __future__

import ast
import linecache
from types import CodeType


def tree_of(source: str, where: str = "<cell>") -> ast.Module:
    """The cell's syntax tree, its lines for Jupyter (%time, !ls) left out; raises what Python raises."""
    try:
        return ast.parse(source, where)
    except SyntaxError:
        lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n")]
        return ast.parse("\n".join(lines), where)


def is_of_the_future(tree: ast.Module) -> bool:
    """Does it import from __future__? Each statement that is compiled apart has to be told."""
    return any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)


def statements(source: str, where: str, shown: bool = False) -> list[CodeType]:
    """The definitions, imports and assignments of a cell, compiled one by one; none where it is not Python.

    Args:
        shown: take the bare calls and loops too.
    """
    try:
        return [code for code, shows in all_statements(source, where) if shown or not shows]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def all_statements(source: str, where: str) -> list[tuple[CodeType, bool]]:
    """Every statement of a cell, and whether it is a bare call or a loop, which in a notebook mostly shows things."""
    linecache.cache[where] = (len(source), None, source.splitlines(True), where)
    shows = (ast.Expr, ast.For, ast.While)
    tree = tree_of(source, where)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # a notebook allows it; nothing is waited for here
    if is_of_the_future(tree):
        flags |= __future__.annotations.compiler_flag
    return [
        (compile(ast.Module([node], []), where, "exec", flags, dont_inherit=True), isinstance(node, shows))
        for node in tree.body
    ]
