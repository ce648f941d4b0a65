"""Flags: what a local variable is known to hold on the way to a test, `failed = True` in a handler for example."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from enum import Enum

from dbsafety.flow.graph import Step, StepKind


class Held(Enum):
    """What the variable holds as far as tests can tell."""

    TRUE = "true"
    """Something true; not None."""
    FALSE = "false"
    """Something false other than None."""
    NONE = "none"


def truth(test: ast.expr, way: Sequence[Step]) -> bool | None:
    """Whether the test of a local variable is true, told by its last assignment on the `way` to the test; None when it
    cannot be told.
    """
    match test:
        case ast.Name(id=name):
            held = _held(name, way)
            return None if held is None else held is Held.TRUE
        case ast.Compare(left=ast.Name(id=name), ops=[operator], comparators=[ast.Constant(value=None)]):
            held = _held(name, way)
            return None if held is None else (held is Held.NONE) is isinstance(operator, (ast.Is, ast.Eq))
    return None


def _held(name: str, way: Sequence[Step]) -> Held | None:
    for place in range(len(way) - 1, -1, -1):
        step = way[place]
        if step.kind is StepKind.HANDLER and isinstance(step.node, ast.ExceptHandler) and step.node.name == name:
            return Held.TRUE  # an exception
        if step.kind in (StepKind.BIND, StepKind.UNBIND) and name in _bound(step.node):
            value = step.node.value if isinstance(step.node, (ast.Assign, ast.AnnAssign)) else None
            match value:
                case ast.Constant(value=None):
                    return Held.NONE
                case ast.Constant(value=constant):
                    return Held.TRUE if constant else Held.FALSE
                case ast.Name(id=other) if other != name:
                    return _held(other, way[:place])
            return None
    return None


def _bound(node: ast.AST | None) -> set[str]:
    """The names that a step gives a value, or takes it from."""
    targets: list[ast.AST] = []
    match node:
        case ast.Assign() | ast.Delete():
            targets = list(node.targets)
        case ast.AnnAssign() | ast.AugAssign() | ast.NamedExpr() | ast.For() | ast.AsyncFor() | ast.comprehension():
            targets = [node.target]
        case ast.withitem(optional_vars=ast.expr() as target):
            targets = [target]
        case ast.Name():
            targets = [node]
    return {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
