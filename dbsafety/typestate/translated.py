"""Whether a clause for the project's own errors can meet a failed statement: only if somebody raises one for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.facts.scopes import ClassInfo, FunctionInfo, Scope
from dbsafety.typestate.attributes import ancestry
from dbsafety.typestate.frame import Frame
from dbsafety.typestate.summaries import Summaries
from dbsafety.typestate.values import Class, Evaluator, Function

_REACH = 60
"""Functions that are looked into; beyond it the clause is taken to meet the error."""


def may_meet(summaries: Summaries, frame: Frame, attempt: ast.Try, handler: ast.ExceptHandler) -> bool:
    """Whether the handler of `attempt` may end the error of a statement.

    One that names nothing but classes of the project does so only if the body of the `try`, or a function that it
    calls, raises such a class while it handles another error.
    """
    names = {cls.key for cls in _own_classes(frame.resolver, handler.type, frame.scope)}
    if not names:
        return True
    if any(_translates(frame.resolver, part, frame.scope, names) for part in attempt.body):
        return True
    pending = list(_called(frame, attempt))
    seen: set[int] = set()
    while pending:
        function = pending.pop()
        if id(function) in seen:
            continue
        if len(seen) >= _REACH:
            return True
        seen.add(id(function))
        if _translates(frame.resolver, function.node, function.scope, names):
            return True
        pending.extend(target.info for target in summaries.frame(function).targets())
        around = (v for d in function.decorators for v in frame.resolver.evaluate(_called_in(d), function.scope))
        pending.extend(value.info for value in around if isinstance(value, Function))
    return False


def _own_classes(resolver: Evaluator, node: ast.expr | None, scope: Scope) -> list[ClassInfo]:
    """The classes that the clause names when all of them are the project's, else nothing."""
    parts = node.elts if isinstance(node, ast.Tuple) else [node] if node is not None else []
    found: list[ClassInfo] = []
    for part in parts:
        values = resolver.evaluate(part, scope)
        own = [value.info for value in values if isinstance(value, Class)]
        if not own or len(own) != len(values):
            return []
        found.extend(own)
    return found


def _called(frame: Frame, attempt: ast.Try) -> Iterator[FunctionInfo]:
    """The project functions that the body of the `try` calls, those of its `with` managers among them."""
    for part in (node for statement in attempt.body for node in ast.walk(statement)):
        if isinstance(part, ast.Call):
            yield from (target.info for target in frame.call(part).targets)
        elif isinstance(part, ast.withitem):
            blocks = frame.blocks(part)
            yield from (f for block in blocks for f in (block.function, block.enter) if f is not None)


def _translates(resolver: Evaluator, node: ast.AST, scope: Scope, names: set[str]) -> bool:
    """Whether some handler inside `node` raises one of the classes, a subclass, or something that is not known."""
    handlers = (part for part in ast.walk(node) if isinstance(part, ast.ExceptHandler))
    raised = (part.exc for handler in handlers for part in ast.walk(handler) if isinstance(part, ast.Raise))
    return any(_is_one_of(resolver, error, scope, names) for error in raised if error is not None)


def _called_in(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def _is_one_of(resolver: Evaluator, error: ast.expr, scope: Scope, names: set[str]) -> bool:
    called = error.func if isinstance(error, ast.Call) else error
    values = resolver.evaluate(called, scope)
    classes = [value.info for value in values if isinstance(value, Class)]
    if not values:
        return not isinstance(error, ast.Name)
    return any(base.key in names for cls in classes for base in ancestry(resolver, cls))
