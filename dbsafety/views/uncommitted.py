"""Connections that a function opens, writes to, and lets go without a commit (facts B7a, C3a, B10b)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.facts.sql import Verb
from dbsafety.flow.graph import StepKind
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.ops import CallFacts, Op
from dbsafety.typestate.search import Search
from dbsafety.typestate.values import Class, Handle, Key, Manager, Mode, handles
from dbsafety.views.committing import commits
from dbsafety.views.databases import is_private
from dbsafety.views.leaks import is_kept
from dbsafety.views.view import FunctionView

_ENDING = (Verb.ROLLBACK, Verb.ROLLBACK_TO, Verb.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """The first write on a connection, the call that opened it, and the line after which it is gone."""

    write: ast.Call
    opening: ast.Call
    key: Key
    handle: Handle
    gone: int


def uncommitted_writes(view: FunctionView) -> Iterator[Uncommitted]:
    """The first write of each connection of this function that no path commits."""
    openings: dict[Key, tuple[ast.Call, Op]] = {}
    for call, op in view.ops():
        if op.opens:
            openings.setdefault(op.key, (call, op))
    for key, (call, op) in openings.items():
        write = _first_write(view, key)
        if write is None or not _is_own(view, key, op.handle) or _may_end_otherwise(view, key):
            continue
        if not _has_engine(view, call):
            continue
        search = view.follow(op.handle, key)
        if search.over_budget or any(commits(search, step) for step in search.steps):
            continue
        if _is_lost(search, op):
            yield Uncommitted(write, call, key, op.handle, _gone(view, search, key))


def _first_write(view: FunctionView, key: Key) -> ast.Call | None:
    return next((call for call, op in view.ops(key) if op.statement.writes or _adds(call, op)), None)


def _adds(call: ast.Call, op: Op) -> bool:
    """Whether the method itself changes rows, whatever its arguments (`session.add`)."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    spec = op.spec.handles.get(op.handle.kind)
    method = spec.methods.get(name) if spec is not None else None
    return method is not None and method.writes


def _is_own(view: FunctionView, key: Key, handle: Handle) -> bool:
    """Whether the connection is the function's own: opened here, not returned, kept or given to anybody who may."""
    own = f"{view.info.module.path}:{view.info.qualname}"
    here = key.kind == "site" or (key.kind == "local" and key.owner == own)
    script = key.kind == "global" and isinstance(view.info.node, ast.Module) and view.module.is_script
    if not (here or script) or view.outlives(handle, key) or is_kept(view, key) or is_private(view.module, key):
        return False
    if any(op.key == key for other in view.module.functions if other is not view for _, op in other.ops()):
        return False
    return not any(key in facts.passed and _may_keep(view, call, facts) for call, facts in view.calls())


def _has_engine(view: FunctionView, opening: ast.Call) -> bool:
    """Whether what the constructor is bound to, if it is bound to something, makes connections: a session on a
    connection that is there already is part of that one's transaction (an Alembic migration's).
    """
    made = view.constructor(opening)
    if made is None or "bind" not in made.positions.values():
        return True
    bound = [*opening.args[:1], *(keyword.value for keyword in opening.keywords if keyword.arg == "bind")]
    found = handles(v for node in bound for v in view.resolver.evaluate(node, view.scope))
    return any(handle.kind is HandleKind.FACTORY for handle in found)


def _may_keep(view: FunctionView, call: ast.Call, facts: CallFacts) -> bool:
    """Whether what is called is not known, or makes an object of the project; `closing` keeps nothing."""
    if any(isinstance(value, Class) for value in view.resolver.evaluate(call.func, view.scope)):
        return True
    return facts.unknown and not any(isinstance(v, Manager) for v in view.resolver.evaluate(call, view.scope))


def _may_end_otherwise(view: FunctionView, key: Key) -> bool:
    """Whether the function rolls back on purpose, or sends something that may commit."""
    for call, op in view.ops(key):
        if op.effect in (Effect.ROLLBACK, Effect.SCRIPT, Effect.UNKNOWN, Effect.AUTOCOMMIT):
            return True
        if op.effect is not Effect.EXECUTE or _adds(call, op):
            continue
        if op.sql is not None and op.statement.verb in _ENDING:
            return True
        if op.sql is None and op.spec.handles[op.handle.kind].methods[_name(call)].sql is not None:
            return True
        if op.spec.family and op.statement.writes and isinstance(call.args[0] if call.args else None, ast.Constant):
            return True  # SQLAlchemy before 2.0 takes plain text, and commits it by itself
    return False


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else "__call__"


def _is_lost(search: Search, op: Op) -> bool:
    """Whether some way on from the write ends the function with the write waiting for its commit."""
    if op.spec.family:
        return op.handle.mode is Mode.TRANSACTION
    return any(node.state.tx is Tx.OPEN and node.state.dirty for node in search.parents)


def _gone(view: FunctionView, search: Search, key: Key) -> int:
    """The line of the close, the last of the block that closes, else that of the end of the function."""
    closes = [call.lineno for call, op in view.ops(key) if op.effect in (Effect.CLOSE, Effect.RELEASE)]
    blocks = [
        _last_line(view, s.node)
        for s in search.steps
        if s.kind is StepKind.WITH_EXIT and isinstance(s.node, ast.withitem) and _holds(view, s.node, key)
    ]
    return closes[-1] if closes else blocks[0] if blocks else search.steps[search.frame.cfg.return_end].line


def _last_line(view: FunctionView, item: ast.withitem) -> int:
    block = view.statement_of(item)
    return (block.end_lineno or block.lineno) if block is not None else item.context_expr.lineno


def _holds(view: FunctionView, item: ast.withitem, key: Key) -> bool:
    return any(key in block.keys for block in view.frame.blocks(item))
