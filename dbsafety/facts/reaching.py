"""Which assignment of a local variable a use sees, where straight-line code makes it plain."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from dbsafety.facts.scopes import Binding, Scope

_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def reaching(owner: Scope, name: str, use: ast.expr | None) -> Sequence[Binding]:
    """The one binding of the variable that every way to `use` passes last, alone; all when there is no such one.

    `use` stands in the body of the function whose scope `owner` is.
    """
    bindings = owner.bindings.get(name, ())
    node = owner.function.node if owner.function is not None else None
    if use is None or len(bindings) < 2 or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return bindings
    return _last(bindings, use, node.body)


def _last(bindings: Sequence[Binding], use: ast.expr, body: Sequence[ast.stmt]) -> Sequence[Binding]:
    place = _start(use)
    found: Binding | None = None
    nodes = [binding.node for binding in bindings if not isinstance(binding.node, _LOOPS)]
    by_node = {id(binding.node): binding for binding in bindings if nodes.count(binding.node) == 1}
    suite: Sequence[ast.stmt] | None = body
    while suite is not None:
        around = next((stmt for stmt in suite if _start(stmt) <= place < _end(stmt)), None)
        if around is None:
            return bindings
        for statement in suite:
            if statement is around:
                break
            found = by_node.get(id(statement), found)
        if isinstance(around, _LOOPS) and any(_start(around) <= _start(b.node) < _end(around) for b in bindings):
            found = None
        if isinstance(around, (ast.With, ast.AsyncWith)) and _start(around.body[0]) <= place:
            found = by_node.get(id(around), found)
        suite = _suite_around(around, place)
    if found is None or any(_start(found.node) < _start(b.node) < place for b in bindings):
        return bindings
    return (found,)


def _suite_around(statement: ast.stmt, place: tuple[int, int]) -> Sequence[ast.stmt] | None:
    """The suite of the statement that holds the place; None when the statement itself does, or a nested scope."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return None
    suites: list[list[ast.stmt]] = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    suites += [handler.body for handler in getattr(statement, "handlers", [])]
    suites += [case.body for case in getattr(statement, "cases", [])]
    return next((s for s in suites if s and _start(s[0]) <= place < _end(s[-1])), None)


def _start(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def _end(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "end_lineno", None) or 0, getattr(node, "end_col_offset", None) or 0
