"""Calls of `executescript` where something else was to be stored or rolled back together with it (fact C8a)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from dbsafety.drivers.spec import Effect
from dbsafety.facts.sql import Conflict, Verb, statements
from dbsafety.typestate.automaton import State, Tx
from dbsafety.typestate.ops import Op
from dbsafety.typestate.search import Node, Search
from dbsafety.typestate.values import Key, Mode
from dbsafety.views.databases import is_private, openings_of
from dbsafety.views.view import FunctionView, ModuleView

_REPEATABLE = (Conflict.IGNORE, Conflict.NOTHING, Conflict.REPLACE)


@dataclass(frozen=True, slots=True)
class Script:
    """A call that commits what `pending` wrote or began, or, where that is None, runs inside `block` and outside of its
    transaction. `wrote`: rows wait for the commit, rather than an explicit BEGIN alone.
    """

    call: ast.Call
    op: Op
    pending: ast.AST | None
    block: ast.withitem | None
    wrote: bool = False


def scripts(view: FunctionView) -> Iterator[Script]:
    """Such calls of the function, in source order."""
    for call, op in view.ops():
        step = view.step_of(call)
        if op.effect is not Effect.SCRIPT or op.weak or step is None or _commits_nothing(view.module, op.key):
            continue
        search = view.follow(op.handle, op.key)
        if search.over_budget or is_private(view.module, op.key) or _must_stand_alone(op):
            continue
        nodes = [n for n in search.parents if n.step == step.index and n.flight is None and n.state.tx is Tx.OPEN]
        nodes = [node for node in nodes if not _was_to_be_stored(view, search, node, op.key)]
        nodes.sort(key=lambda node: not node.state.dirty)
        block = _block_around(view, call, op.key)
        if nodes:
            yield Script(call, op, _cause(search, nodes[0]), block, nodes[0].state.dirty)
        elif block is not None and op.handle.mode is not Mode.AUTOCOMMIT and _is_a_unit(op):
            yield Script(call, op, None, block)


def _commits_nothing(module: ModuleView, key: Key) -> bool:
    """Whether the connection is opened with the `autocommit` of Python 3.12: there nothing is committed first."""
    return any(keyword.arg == "autocommit" for _, call in openings_of(module, key) for keyword in call.keywords)


def _must_stand_alone(op: Op) -> bool:
    """Whether the text is what SQLite does not run in a transaction (VACUUM, PRAGMA): the commit is meant."""
    return all(part.verb is Verb.OTHER for part in statements(op.sql))


def _was_to_be_stored(view: FunctionView, search: Search, end: Node, key: Key) -> bool:
    """Whether the work is still there only because its commit has failed."""
    commits = {id(call) for call, op in view.ops(key) if op.effect is Effect.COMMIT}
    path = list(search.path(end))
    since = max((i for i, node in enumerate(path) if node.state.tx is not Tx.OPEN), default=0)
    return any(id(search.steps[node.step].node) in commits for node in path[since:])


def _cause(search: Search, end: Node) -> ast.AST | None:
    """What began the transaction, or wrote first in it, on the way to `end`."""
    path = search.path(end)
    for before, after in reversed(list(pairwise(path))):
        if _waits(after.state, end.state) and not _waits(before.state, end.state):
            return search.steps[before.step].node
    return None


def _waits(state: State, end: State) -> bool:
    return state.tx is Tx.OPEN and state.dirty is end.dirty


def _block_around(view: FunctionView, call: ast.Call, key: Key) -> ast.withitem | None:
    """The innermost `with` around the call that commits or rolls back the connection."""
    for outer in view.around(call):
        if isinstance(outer, ast.With | ast.AsyncWith):
            for item in outer.items:
                blocks = view.frame.blocks(item)
                if any(key in b.keys and b.with_spec and b.with_spec.success is Effect.COMMIT for b in blocks):
                    return item
    return None


def _is_a_unit(op: Op) -> bool:
    """Whether the text changes rows in several statements and leaves it to the block to make them one.

    One that may be run again after a failure needs no block: it only inserts rows that are not there.
    """
    parts = statements(op.sql)
    verbs = [part.verb for part in parts]
    final = any(part.verb is Verb.WRITE and part.conflict not in _REPEATABLE for part in parts)
    return len(verbs) > 1 and final and Verb.BEGIN not in verbs and Verb.UNKNOWN not in verbs
