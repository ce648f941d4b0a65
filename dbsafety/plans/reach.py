"""How a handler can name the connection that failed: a variable, an attribute, the connection of a cursor (fact B8)."""

from __future__ import annotations

import ast
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.typestate.report import Swallow
from dbsafety.typestate.values import Key, Nothing, handles
from dbsafety.views.view import FunctionView

LOOPS = (ast.For, ast.AsyncFor, ast.While)
CONDITIONS = (ast.If, ast.IfExp, ast.Match, ast.ExceptHandler, *LOOPS)
"""What may keep a statement in it from running, or let it run again."""
_NAMES = (ast.Name, ast.Attribute)
_SENT = (Effect.EXECUTE, Effect.SCRIPT, Effect.COMMIT, Effect.ROLLBACK)


@dataclass(frozen=True, slots=True)
class Reach:
    """How the connection is named in the handler; `prebind` is the variable to set to None before the `try`.

    `guarded`: it may be None there. `awaited`: its methods are coroutines.
    """

    text: str
    prebind: str = ""
    guarded: bool = False
    is_cursor: bool = False
    awaited: bool = False


def reach(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> Reach | None:
    """How the handlers of `attempt` can name the connection; None when no name is sure to be it."""
    key = swallow.subject.key
    used = {ast.unparse(node) for part in attempt.body for node in ast.walk(part) if isinstance(node, _NAMES)}
    found = [_reach_of(view, node, attempt) for node in view.spellings(key) if _is_sure(view, node, key, used)]
    known = [one for one in found if one is not None]
    bound = [one for one in known if not one.prebind]
    own = own_attribute(view, key)
    if bound or own is None:
        if known:
            return min(known, key=lambda one: (bool(one.prebind), one.text not in used, "." not in one.text, one.text))
        return _by_cursor(view, swallow, attempt)
    return own


def _is_sure(view: FunctionView, node: ast.expr, key: Key, used: AbstractSet[str]) -> bool:
    """Whether the name is the connection that failed: it is never another one, or the `try` works by this name."""
    keys = {h.key for h in handles(view.resolver.evaluate(node, view.scope)) if h.kind is HandleKind.CONNECTION}
    return keys <= {key} or ast.unparse(node) in used


def own_attribute(view: FunctionView, key: Key) -> Reach | None:
    """The attribute of `self` that holds the connection, where this function need not have named it."""
    name = view.info.self_name
    if key.kind != "attr" or not name or view.scope.find(name) is not view.scope:
        return None
    owners = view.resolver.parameter(view.info, name)
    values = {value for owner in owners for value in view.resolver.attribute(owner, key.name)}
    if not values or any(h.key != key or h.kind is not HandleKind.CONNECTION for h in handles(frozenset(values))):
        return None
    if not any(h.key == key for h in handles(frozenset(values))):
        return None
    guarded = any(isinstance(value, Nothing) for value in values)
    return Reach(f"{name}.{key.name}", guarded=guarded)


def _by_cursor(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> Reach | None:
    """`cur.connection`, where the driver has it and the cursor is sure to be there."""
    cursor = swallow.spec.handles.get(HandleKind.CURSOR)
    if cursor is None or "connection" not in cursor.attributes:
        return None
    spelt = view.spellings(swallow.subject.key, HandleKind.CURSOR)
    for one in (_reach_of(view, node, attempt) for node in spelt):
        if one is not None and not one.prebind and not one.guarded:
            return Reach(f"{one.text}.connection", is_cursor=True)
    return None


def _reach_of(view: FunctionView, node: ast.expr, attempt: ast.Try) -> Reach | None:
    text = ast.unparse(node)
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name):
        return None
    owner = view.scope.find(root.id)
    if owner is None:
        return None
    guarded = view.may_be_none(node)
    if owner is not view.scope or root.id in [argument.arg for argument in view.info.parameters]:
        return Reach(text, guarded=guarded)
    if bound_before(view, root.id, attempt):
        return Reach(text, guarded=guarded)
    if root is not node or not may_prebind(view, root.id, attempt):
        return None
    return Reach(text, prebind=root.id, guarded=True)


def may_prebind(view: FunctionView, name: str, attempt: ast.Try) -> bool:
    """Whether the variable may be set to None before the `try`: what it holds by then is of no use to anybody.

    It is of use where the `try` binds it in the first turn of a loop only, or only when nothing before it has.
    """
    nodes = [b.node for b in view.scope.bindings.get(name, ()) if isinstance(b.node, ast.stmt)]
    sure = [node for node in nodes if _is_bound_by(view, node, attempt)]
    loop = next((outer for outer in view.around(attempt) if isinstance(outer, LOOPS)), None)
    if not sure:
        return loop is None and not any(node.lineno < attempt.lineno for node in nodes)
    opening = min(sure, key=lambda node: node.lineno)
    start = (opening.lineno, opening.col_offset)
    inside = set() if isinstance(opening, (ast.With, ast.AsyncWith)) else set(map(id, ast.walk(opening)))
    return not any(
        isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Load)
        and ((node.lineno, node.col_offset) < start or id(node) in inside)
        for node in ast.walk(loop or attempt)
    )


def _is_bound_by(view: FunctionView, node: ast.stmt, attempt: ast.Try) -> bool:
    """Whether the statement stands in the body of the `try`, under no condition."""
    inner: ast.AST = node
    for outer in view.around(node):
        if outer is attempt:
            return inner in attempt.body
        if isinstance(outer, CONDITIONS):
            return False
        inner = outer
    return False


def bound_before(view: FunctionView, name: str, attempt: ast.Try) -> bool:
    """Whether every way into the `try` has bound the variable: by a statement of a suite around it that comes first."""
    suites = [attempt, *(outer for outer in view.around(attempt) if isinstance(outer, ast.stmt))]
    for binding in view.scope.bindings.get(name, ()):
        node = binding.node
        if not isinstance(node, ast.stmt):
            continue
        if isinstance(node, (ast.With, ast.AsyncWith)) and node in suites:
            return True
        for outer in suites:
            suite = view.suite_of(outer)
            if node in suite and outer in suite and suite.index(node) < suite.index(outer):
                return True
    return False


def is_awaited(view: FunctionView, swallow: Swallow) -> bool | None:
    """Whether the methods of the connection are coroutines, told by how this function calls them; None: not known."""
    if swallow.spec.is_async or not view.cfg.is_async:
        return swallow.spec.is_async
    calls = [call for call, op in view.ops(swallow.subject.key) if op.effect in _SENT]
    told = {_awaits(view, view.parents.get(id(call))) for call in calls}
    return told.pop() if len(told) == 1 else None


def _awaits(view: FunctionView, outer: ast.AST | None) -> bool:
    block = view.parents.get(id(outer)) if isinstance(outer, ast.withitem) else outer
    return isinstance(block, (ast.Await, ast.AsyncWith))
