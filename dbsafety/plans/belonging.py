"""Whose work waits in a transaction: what a rollback would throw away besides what failed (facts B6, B8)."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from enum import Enum

from dbsafety.drivers.spec import Effect
from dbsafety.facts.sql import Verb
from dbsafety.plans.reach import LOOPS
from dbsafety.plans.savepoints import ops_in
from dbsafety.typestate.automaton import State, Tx
from dbsafety.typestate.ops import CallFacts, Op
from dbsafety.typestate.relation import Start, Subject
from dbsafety.typestate.report import Swallow, entry_state
from dbsafety.typestate.values import Handle, Key
from dbsafety.views.view import FunctionView

_ENDS = (Effect.COMMIT, Effect.ROLLBACK)
_SENDS = (Effect.EXECUTE, Effect.SCRIPT)
_CALLERS = (
    "a caller has written to the connection before and not committed yet: a bare rollback here would throw that away; "
    "use a savepoint or let the error reach the caller"
)
_DEPTH = 4
"""How many calls up a caller is looked for."""


def work_of_others(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> str:
    """Why a rollback in the handlers of `attempt` would throw away work that is not theirs, or ""."""
    key = swallow.subject.key
    commits = any(op.effect is Effect.COMMIT for _, op in view.ops(key))
    pending = key.persistent and _is_written_by_others(view, key)
    if pending and (not swallow.spec.aborts or (not commits and _is_committed(view, key))):
        # Where the database aborts, a commit of this function would have lost the work of the others as well.
        return (
            f"another {'method' if key.kind == 'attr' else 'function'} writes to the connection and leaves the commit "
            "to somebody else: a bare rollback here would throw that away; use a savepoint or let the error reach the "
            "caller"
        )
    if not swallow.spec.aborts and key.kind not in ("attr", "global") and is_shared(view, key):
        return _CALLERS
    if any(op.effect is Effect.COMMIT for _, op in ops_in(view, key, attempt.body)):
        return ""
    if not commits and (key.kind == "param" or _is_of_outer_function(view, key)):
        if _sends_more_than_reads(view, key) and any(
            isinstance(outer, LOOPS) for caller, call in _calls(view) for outer in caller.around(call)
        ):
            return (
                "the connection belongs to a caller that goes on with it in a loop: a bare rollback here would throw "
                "away its earlier rows; use a savepoint or let the error reach the caller"
            )
        if is_shared(view, key):
            return _CALLERS
    if swallow.spec.aborts and waits(view, key, attempt):
        return (
            "the function has written to the connection before the `try` and not committed yet: a bare rollback would "
            "throw that away; use a savepoint or let the error leave the function"
        )
    return ""


def _is_of_outer_function(view: FunctionView, key: Key) -> bool:
    """Whether the connection is a variable of the function around this one."""
    return key.kind in ("local", "site") and not any(op.opens for _, op in view.ops(key))


def is_shared(view: FunctionView, key: Key, depth: int = _DEPTH) -> bool:
    """Whether a caller or another method may have written to the connection and left the commit to this function."""
    if key.persistent:
        return _is_written_by_others(view, key)
    if depth == 0 or (key.kind != "param" and not _is_of_outer_function(view, key)):
        return False
    return any(
        _waits_at(caller, passed, call, depth - 1)
        for caller, call in _calls(view)
        if caller.info is not view.info
        for passed in (key, *caller.frame.call(call).passed)
    )


def _waits_at(caller: FunctionView, key: Key, call: ast.Call, depth: int) -> bool:
    """Whether rows of the caller, or of one further up, may wait for a commit when it comes to the call."""
    handle, step = caller.module.summaries.touched(caller.info).get(key), caller.step_of(call)
    if handle is None or step is None:
        return False
    subject = Subject(key, handle)
    search = caller.module.summaries.search(caller.info, subject)
    start = entry_state(caller.info, subject)
    if start.tx is Tx.IDLE and is_shared(caller, key, depth):
        start = start._replace(tx=Tx.OPEN, dirty=True)
    search.run(Start.ENTRY, start)
    return any(node.step == step.index and node.state.dirty for node in search.parents)


class Before(Enum):
    """Whether rows wait for a commit when a `try` begins."""

    NOTHING = "nothing"
    MAYBE = "maybe"
    ROWS = "rows"
    """On every way to the `try`, so a transaction is sure to be open there."""


def before(view: FunctionView, handle: Handle, key: Key, attempt: ast.Try) -> Before:
    """Whether this function, on its way to the `try` or in an earlier turn of a loop, wrote what is not committed yet.

    What callers wrote is `is_shared`'s question.
    """
    search = view.follow(handle, key)
    found: set[State] = set()
    for node in tuple(search.parents):
        if attempt not in search.steps[node.step].tries:
            found.update(s.state for s in search.successors(node) if attempt in search.steps[s.step].tries)
    waits = [state.dirty and state.tx is not Tx.CLOSED for state in found]
    if search.over_budget or (any(waits) and not all(waits)):
        return Before.MAYBE
    return Before.ROWS if any(waits) else Before.NOTHING


def writes_in_turns(view: FunctionView, key: Key, body: Sequence[ast.stmt]) -> bool:
    """Whether a loop in these statements writes to the connection, so that turns that went well wait for a commit."""
    inside = {id(node) for part in body for node in ast.walk(part)}
    for call, facts in view.calls():
        if id(call) not in inside or not any(isinstance(o, LOOPS) and id(o) in inside for o in view.around(call)):
            continue
        sends = any(op.key == key and op.effect in _SENDS and op.statement.verb is not Verb.READ for op in facts.ops)
        if sends or is_handed_on(view, key, facts):
            return True
    return False


def is_handed_on(view: FunctionView, key: Key, facts: CallFacts) -> bool:
    """Whether a function that is called may use the connection: as an argument, an attribute, or from around it."""
    if key in facts.passed or key.persistent:
        return bool(facts.targets)
    return any(key in view.module.summaries.touched(target.info) for target in facts.targets)


def _calls(view: FunctionView) -> Iterator[tuple[FunctionView, ast.Call]]:
    """The calls of the function in its module, each with the function it stands in."""
    node = view.info.node
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    found = view.module.index.callers.get(node.name, ())
    for caller in view.module.functions:
        yield from ((caller, call) for call, info in found if info is caller.info)


def _sends_more_than_reads(view: FunctionView, key: Key) -> bool:
    sends = [op for _, op in view.ops(key) if op.effect in _SENDS]
    return not all(op.statement.verb.value == "read" for op in sends)


def waits(view: FunctionView, key: Key, place: ast.Call | ast.Try) -> bool:
    """Whether the function has written to the connection when it comes to the place, and has not ended it."""
    waits = False
    for call, op in sorted(view.ops(key), key=lambda pair: (pair[0].lineno, pair[0].col_offset)):
        if (call.lineno, call.col_offset) >= (place.lineno, place.col_offset):
            break
        if op.effect in _ENDS or op.opens:
            waits = False
        elif _writes(call, op):
            waits = True
    return waits


def _writes(call: ast.Call, op: Op) -> bool:
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    row = op.spec.handles[op.handle.kind].methods.get(method) if op.handle.kind in op.spec.handles else None
    return (op.effect in _SENDS and op.statement.writes) or (row is not None and row.writes)


def _is_written_by_others(view: FunctionView, key: Key) -> bool:
    """Whether another function of the module writes to the connection and ends no transaction on it."""
    for other in view.module.functions:
        if other.info is view.info:
            continue
        ops = list(other.ops(key))
        ends = any(op.effect in _ENDS for _, op in ops) or _ends_by_block(other, key)
        if not ends and any(_writes(call, op) for call, op in ops):
            return True
    return False


def _ends_by_block(view: FunctionView, key: Key) -> bool:
    """Whether the function does its work in a `with` block of the connection that commits it."""
    blocks = (block for item in view.frame.items() for block in view.frame.blocks(item) if key in block.keys)
    return any(block.with_spec is not None and block.with_spec.success is Effect.COMMIT for block in blocks)


def _is_committed(view: FunctionView, key: Key) -> bool:
    """Whether a function of the module commits on the connection, so that it is not one that commits by itself."""
    return any(op.effect is Effect.COMMIT for other in view.module.functions for _, op in other.ops(key))
