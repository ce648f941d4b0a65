"""Flags: what a local variable is known to hold on the way to a test, `failed = True` in a handler for example."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from enum import Enum

from dbsafety.flow.graph import Step, StepKind


class Held(Enum):
    """What the variable holds as far as tests can tell."""

    TRUE = "true"
    """Something true, not None, that is not known further."""


def truth(test: ast.expr, way: Sequence[Step]) -> bool | None:
    """Whether the test of a local variable, or of a key of a dict in one, is true, told by its last assignment on the
    `way` to the test; None when it cannot be told.
    """
    match test:
        case ast.Name() | ast.Subscript():
            held = _held(test, way)
            return None if held is None else held is Held.TRUE or bool(held[0])
        case ast.Compare(left=left, ops=[operator], comparators=[ast.Constant(value=constant)]):
            held = _held(left, way)
            if held is None or not isinstance(operator, (ast.Is, ast.Eq, ast.IsNot, ast.NotEq)):
                return None
            if held is Held.TRUE:
                return None if constant is not None else isinstance(operator, (ast.IsNot, ast.NotEq))
            return (held[0] == constant) is isinstance(operator, (ast.Is, ast.Eq))
    return None


def is_empty(items: ast.expr, way: Sequence[Step]) -> bool:
    """Whether a local variable holds an empty display on the `way` to a loop over it, and nothing has touched it."""
    if not isinstance(items, ast.Name):
        return False
    for step in reversed(way):
        if step.kind in (StepKind.BIND, StepKind.UNBIND) and items.id in _bound(step.node):
            value = _value(step.node, items.id)
            if isinstance(value, (ast.List, ast.Tuple)):
                return not value.elts
            return isinstance(value, ast.Dict) and not value.keys
        if step.kind is StepKind.CALL and step.node is not None and _may_fill(step.node, items.id):
            return False
    return False


def _may_fill(call: ast.AST, name: str) -> bool:
    """Whether the call may put something into the variable: by a method of it, or by getting it as an argument."""
    if not isinstance(call, ast.Call):
        return False
    if isinstance(call.func, ast.Name) and call.func.id == "len":
        return False
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    given = (owner, *call.args, *(keyword.value for keyword in call.keywords))
    return any(isinstance(node, ast.Name) and node.id == name for node in given)


def _held(node: ast.expr, way: Sequence[Step]) -> Held | tuple[object] | None:
    """What a variable holds (a constant in a tuple of its own), None when it is not known."""
    if isinstance(node, ast.Constant):
        return (node.value,)
    name = node.value if isinstance(node, ast.Subscript) else node
    if not isinstance(name, ast.Name):
        return None
    for place in range(len(way) - 1, -1, -1):
        step = way[place]
        if step.kind is StepKind.HANDLER and isinstance(step.node, ast.ExceptHandler) and step.node.name == name.id:
            return Held.TRUE if node is name else None  # an exception
        if step.kind in (StepKind.BIND, StepKind.UNBIND) and name.id in _bound(step.node):
            return _told(node, _value(step.node, name.id), way[:place])
    return None


def _value(node: ast.AST | None, name: str) -> ast.expr | None:
    """What the statement assigns to the name itself, not to a part of it or to one of several names."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)):
        return None
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return node.value if any(isinstance(t, ast.Name) and t.id == name for t in targets) else None


def _told(node: ast.expr, value: ast.expr | None, before: Sequence[Step]) -> Held | tuple[object] | None:
    """What `node`, a name or a key of a name, holds after the name was given `value`."""
    match node, value:
        case ast.Name(), ast.Constant():
            return _held(value, before)
        case ast.Name(id=name), ast.Name(id=other) if other != name:
            return _held(value, before)
        case ast.Subscript(slice=ast.Constant(value=key)), ast.Dict(keys=keys, values=values):
            found = [v for k, v in zip(keys, values, strict=True) if isinstance(k, ast.Constant) and k.value == key]
            plain = all(isinstance(k, ast.Constant) for k in keys)
            return _held(found[-1], before) if found and plain and isinstance(found[-1], ast.Constant) else None
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
