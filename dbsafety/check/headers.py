"""Which lines speak for a statement: its header, where a suppression comment may stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.source.module import SourceModule
from dbsafety.source.text import SourceText


class Headers:
    """The header of each statement, `except` clause and `case` of a module, found by line.

    A header runs from the first line (decorators included) to the line before the body, blank lines and comments before
    the body not counted; a statement without a body is all header.
    """

    def __init__(self, module: SourceModule) -> None:
        self._by_line: dict[int, range] = {}
        for first, last in _headers(module.tree, module.text):
            lines = range(first, last + 1)
            # Inner statements come after outer ones and take over the lines they share.
            self._by_line.update(dict.fromkeys(lines, lines))

    def of(self, line: int) -> range:
        """The lines of the innermost header that `line` belongs to; that line alone when there is none."""
        return self._by_line.get(line, range(line, line + 1))


def _headers(tree: ast.Module, text: SourceText) -> Iterator[tuple[int, int]]:
    """First and last line of each header, outer before inner; a loop, since code may nest deeper than the stack."""
    waiting: list[ast.stmt | ast.ExceptHandler | ast.match_case] = list(tree.body)
    while waiting:
        node = waiting.pop()
        first = _first_line(node)
        inner = tuple(_inner(node))
        if inner:
            last = min(_first_line(child) for child in inner) - 1
            while last > first and text.line(last).lstrip()[:1] in ("", "#"):
                last -= 1
            yield first, max(first, last)
        else:
            yield first, _last_line(node)
        waiting.extend(inner)


def _inner(
    node: ast.stmt | ast.ExceptHandler | ast.match_case,
) -> Iterator[ast.stmt | ast.ExceptHandler | ast.match_case]:
    for name in ("body", "handlers", "cases", "orelse", "finalbody"):
        yield from getattr(node, name, ())


def _first_line(node: ast.stmt | ast.ExceptHandler | ast.match_case) -> int:
    match node:
        case ast.match_case(pattern=pattern):
            return pattern.lineno
        case ast.FunctionDef(decorator_list=[first, *_]):
            return first.lineno
        case ast.AsyncFunctionDef(decorator_list=[first, *_]):
            return first.lineno
        case ast.ClassDef(decorator_list=[first, *_]):
            return first.lineno
        case _:
            return node.lineno


def _last_line(node: ast.stmt | ast.ExceptHandler | ast.match_case) -> int:
    end = None if isinstance(node, ast.match_case) else node.end_lineno
    return end if end is not None else _first_line(node)
