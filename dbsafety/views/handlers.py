"""Questions about handlers: which rule speaks for a swallowed error, and what kind of handler it is."""

from __future__ import annotations

import ast
from enum import Enum

from dbsafety.typestate.report import End, Swallow
from dbsafety.typestate.values import handles
from dbsafety.views.early import is_early, writes_in
from dbsafety.views.mistaken import mistaken_rollbacks
from dbsafety.views.view import FunctionView


class Verdict(Enum):
    """What is wrong with a swallowed error; one defect has one verdict, and each verdict belongs to one rule."""

    NONE = "none"
    LEFT_ABORTED = "left aborted"
    """DBS101."""
    USED_ABORTED = "used aborted"
    """DBS102: another statement is sent inside the handler, or by the next turn of the same `try`."""
    COMMITTED = "committed"
    """DBS103: a commit follows on every swallowing path."""
    COMMITTED_EARLY = "committed early"
    """DBS104: that commit stands in the handler itself, or in the `finally` of its `try`."""
    LOST_ROWS = "lost rows"
    """DBS107: the next turn of a loop writes on, all in one transaction."""
    KEEPS_LOCK = "keeps lock"
    """DBS108."""
    MISSED = "missed"
    """DBS110: the handler rolls back another connection."""
    FAMILY = "family"
    """The rule that the driver's table names: DBS111, DBS112."""


def verdict(view: FunctionView, swallow: Swallow) -> Verdict:
    """The most telling verdict for the handler."""
    found = _plain_verdict(view, swallow)
    if found is Verdict.NONE:
        return found
    if swallow.spec.family:
        return Verdict.FAMILY
    if not isinstance(swallow.handler, ast.ExceptHandler):
        return found
    missed = mistaken_rollbacks(view, swallow.handler)
    return Verdict.MISSED if any(other.key == swallow.subject.key for other in missed) else found


def _plain_verdict(view: FunctionView, swallow: Swallow) -> Verdict:
    ends = set(swallow.paths)
    if isinstance(view.info.node, ast.Module) and view.module.ends_in_main(swallow.handler):
        ends.discard(End.FUNCTION)
    if End.INSIDE in ends:
        return Verdict.USED_ABORTED
    if not swallow.spec.aborts:
        if End.FUNCTION in ends:
            return Verdict.KEEPS_LOCK
        return _commit_verdict(view, swallow)
    if End.RETRY in ends and not _is_brought(view, swallow):
        return Verdict.LOST_ROWS if _writes(view, swallow) else Verdict.USED_ABORTED
    if End.FUNCTION in ends or End.STATEMENT in ends:
        return Verdict.LEFT_ABORTED
    return _commit_verdict(view, swallow)


def _commit_verdict(view: FunctionView, swallow: Swallow) -> Verdict:
    if End.COMMIT not in swallow.paths:
        return Verdict.NONE
    if not is_early(view, swallow):
        return Verdict.COMMITTED
    handler = swallow.handler
    foreseen = isinstance(handler, ast.ExceptHandler) and writes_in(view, handler, swallow.subject.key)
    return Verdict.NONE if foreseen else Verdict.COMMITTED_EARLY


def _writes(view: FunctionView, swallow: Swallow) -> bool:
    """Whether the statement that fails is known to write what the turn of a `for` loop brings: a row, not a retry."""
    failing = swallow.fails.get(End.RETRY)
    node = failing.node if failing is not None else None
    loop = enclosing_loop(view, node) if node is not None else None
    if not isinstance(node, ast.Call) or not isinstance(loop, (ast.For, ast.AsyncFor)):
        return False
    targets = {name.id for name in ast.walk(loop.target) if isinstance(name, ast.Name)}
    if not any(isinstance(name, ast.Name) and name.id in targets for name in ast.walk(node)):
        return False
    return any(op.statement.writes for op in view.frame.call(node).ops if op.key == swallow.subject.key)


def _is_brought(view: FunctionView, swallow: Swallow) -> bool:
    """Whether each turn of the loop brings another connection."""
    failing = swallow.fails.get(End.RETRY)
    loop = enclosing_loop(view, failing.node) if failing is not None and failing.node is not None else None
    if not isinstance(loop, (ast.For, ast.AsyncFor)):
        return False
    names = (name for name in ast.walk(loop.target) if isinstance(name, ast.Name))
    brought = (handle for name in names for handle in handles(view.resolver.evaluate(name, view.scope)))
    return any(handle.key == swallow.subject.key for handle in brought)


def enclosing_loop(view: FunctionView, node: ast.AST) -> ast.For | ast.AsyncFor | ast.While | None:
    """The innermost loop of this function around `node`."""
    return next((outer for outer in view.around(node) if isinstance(outer, (ast.For, ast.AsyncFor, ast.While))), None)


def is_broad(handler: ast.ExceptHandler, view: FunctionView) -> bool:
    """Whether the clause also catches KeyboardInterrupt and SystemExit: bare, or `BaseException`."""
    return handler.type is None or view.is_external(handler.type, "BaseException")


def reraises(handler: ast.ExceptHandler) -> bool:
    """Whether some statement of the handler raises."""
    return any(isinstance(node, ast.Raise) for statement in handler.body for node in ast.walk(statement))
