"""A cell of a notebook as statements that run one by one."""

import ast
import linecache


def statements(source: str, where: str) -> list:
    """The definitions, imports and assignments of a cell, compiled one by one; none where it is not Python."""
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    linecache.cache[where] = (len(source), None, [line + "\n" for line in lines], where)
    try:
        body = ast.parse("\n".join(lines)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    skipped = (ast.Expr, ast.For, ast.While)
    return [compile(ast.Module([node], []), where, "exec") for node in body if not isinstance(node, skipped)]
