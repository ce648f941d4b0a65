"""How a function leaves a suite: with what it wrote not committed yet, and with work to do after a close."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from dbsafety.drivers.spec import Effect
from dbsafety.facts.sql import Verb
from dbsafety.plans.reach import CONDITIONS, LOOPS
from dbsafety.typestate.ops import Op
from dbsafety.views.view import FunctionView

_ENDS = frozenset({Effect.COMMIT, Effect.ROLLBACK})
_END_TEXTS = frozenset({Verb.COMMIT, Verb.ROLLBACK})
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


def leaving(node: ast.AST, *, in_loop: bool = False) -> Iterator[ast.stmt]:
    """The statements in `node` that leave the suite it stands in, without an exception."""
    match node:
        case ast.Return():
            yield node
        case ast.Break() | ast.Continue() if not in_loop:
            yield node
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() | ast.ClassDef():
            return
        case _:
            inner = in_loop or isinstance(node, LOOPS)
            for child in ast.iter_child_nodes(node):
                yield from leaving(child, in_loop=inner)


def is_left_uncommitted(
    view: FunctionView, opening: Op, ops: Sequence[tuple[ast.Call, Op]], body: Sequence[ast.stmt]
) -> bool:
    """Whether `body` may be left behind a write of `ops`, without a commit or rollback in between.

    Closing the connection then undoes the write (facts A3, C3a); a `with` block would commit it. A handler that
    ends an error and goes on to the end of the body is such a way, too.
    """
    transacts = opening.mode is not None and opening.mode.value == "transaction"
    if not transacts and not any(op.statement.verb is Verb.BEGIN for _, op in ops):
        return False
    ends = [node for node, op in ops if op.effect in _ENDS or op.statement.verb in _END_TEXTS]
    sends = [(node, op) for node, op in ops if op.effect in (Effect.EXECUTE, Effect.SCRIPT)]
    writes = [node for node, op in sends if op.statement.writes or op.statement.verb is Verb.UNKNOWN]
    exits = [exit_ for part in body for exit_ in leaving(part)]
    for exit_ in exits:
        if any(_is_pending(view, write, exit_, ends) for write in writes):
            return True
    handlers = [node for part in body for node in ast.walk(part) if isinstance(node, ast.ExceptHandler)]
    silent = [handler for handler in handlers if not isinstance(handler.body[-1], _LEAVES)]
    return any(
        _is_pending(view, write, handler.body[-1], ends) and not any(_comes_behind(view, end, handler) for end in ends)
        for handler in silent
        for write in writes
    )


def works_after_close(view: FunctionView, closes: Sequence[ast.Call], body: Sequence[ast.stmt]) -> bool:
    """Whether a suite inside one of `body` closes the connection and then does more than leave or return a value."""
    for call in closes:
        statement = view.statement_of(call)
        suite = view.suite_of(statement) if statement is not None else []
        if statement is None or statement in body or statement not in suite:
            continue
        for after in suite[suite.index(statement) + 1 :]:
            inner = [node for node in ast.walk(after) if isinstance(node, ast.Call)]
            mine = any(view.frame.call(node).targets for node in inner)
            if mine or (inner and not isinstance(after, (ast.Return, ast.Raise))):
                return True
    return False


def _is_pending(view: FunctionView, write: ast.Call, exit_: ast.stmt, ends: Sequence[ast.Call]) -> bool:
    """Whether the write may wait for a commit when the statement is reached."""
    if _position(write) > _position(exit_) or _is_in_other_branch(view, write, exit_):
        return False
    attempts = [view.parents.get(id(one)) for one in view.around(exit_) if isinstance(one, ast.ExceptHandler)]
    tried = any(_is_inside(write, getattr(one, "body", ())) for one in attempts)
    if tried and _is_settled_at_once(view, write, ends):
        return False
    return not any(
        _position(write) < _position(end) and _comes_by(view, end, exit_) and _position(end) <= _last(exit_)
        for end in ends
    ) and not any(_is_in_finally(view, end, exit_) for end in ends)


def _comes_by(view: FunctionView, end: ast.Call, exit_: ast.stmt) -> bool:
    """Whether every way to the statement passes the call that comes first in the text."""
    around = set(map(id, view.around(exit_)))
    if any(id(outer) not in around for outer in view.around(end) if isinstance(outer, CONDITIONS)):
        return False
    attempts = [view.parents.get(id(one)) for one in view.around(exit_) if isinstance(one, ast.ExceptHandler)]
    return not any(_is_inside(end, getattr(one, "body", ())) for one in attempts)


def _is_settled_at_once(view: FunctionView, write: ast.Call, ends: Sequence[ast.Call]) -> bool:
    """Whether the next statement is the commit: where the write itself fails, it leaves nothing."""
    statement = view.statement_of(write)
    suite = view.suite_of(statement) if statement is not None else []
    if statement not in suite or not isinstance(write.func, ast.Attribute) or write.func.attr != "execute":
        return False
    return any(_is_inside(end, suite[suite.index(statement) + 1 :][:1]) for end in ends)


def _comes_behind(view: FunctionView, end: ast.Call, handler: ast.ExceptHandler) -> bool:
    """Whether the call stands behind the `try` of the handler, under no condition that the `try` is not under, too."""
    attempt = view.parents.get(id(handler))
    if not isinstance(attempt, ast.stmt) or _position(end) <= _last(attempt):
        return _is_inside(end, getattr(attempt, "finalbody", ()))
    around = set(map(id, view.around(attempt)))
    return all(id(outer) in around for outer in view.around(end) if isinstance(outer, CONDITIONS))


def _is_in_finally(view: FunctionView, end: ast.Call, exit_: ast.stmt) -> bool:
    attempts = [outer for outer in view.around(exit_) if isinstance(outer, ast.Try)]
    return any(_is_inside(end, one.finalbody) for one in attempts)


def _is_inside(node: ast.AST, body: Sequence[ast.stmt]) -> bool:
    return any(inner is node for part in body for inner in ast.walk(part))


def _is_in_other_branch(view: FunctionView, one: ast.AST, other: ast.AST) -> bool:
    """Whether an `if` has the nodes in different branches."""
    around = set(map(id, view.around(other)))
    for outer in view.around(one):
        if isinstance(outer, ast.If) and id(outer) in around:
            return _is_inside(one, outer.body) is not _is_inside(other, outer.body)
    return False


def _position(node: ast.expr | ast.stmt) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _last(node: ast.stmt) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or 0
