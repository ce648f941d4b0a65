"""Reads of `lastrowid` that are reached from an insert with a conflict clause without a test of `rowcount`."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.facts.sql import Conflict
from dbsafety.flow.graph import EdgeKind, Step, StepKind
from dbsafety.typestate.values import Handle, handles
from dbsafety.views.view import FunctionView

_RISKY = (Conflict.IGNORE, Conflict.NOTHING, Conflict.UPDATE)
_COMPOUND = frozenset(
    {
        StepKind.RETURN_END,
        StepKind.WITH_ENTER,
        StepKind.WITH_EXIT,
        StepKind.HANDLER,
        StepKind.DISPATCH,
        StepKind.FINALLY,
        StepKind.TRY,
    }
)
"""Steps whose node is more than what the step does."""
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Read:
    """One read: `node` is `cursor.lastrowid`, `insert` the call before it, `test` the test that it decides, if any."""

    node: ast.Attribute
    cursor: str
    insert: ast.Call
    conflict: Conflict
    handle: Handle
    test: ast.expr | None


def stale_reads(view: FunctionView) -> Iterator[Read]:
    """Each such read once, in source order."""
    found: dict[int, Read] = {}
    for call, op in view.ops():
        conflict = op.statement.conflict
        if conflict is None or conflict not in _RISKY or op.effect is not Effect.EXECUTE or not op.spec.keeps_lock:
            continue
        for node, test in _reads(view, call, conflict):
            cursor = ast.unparse(node.value) if not isinstance(node.value, ast.Call) else "cursor"
            known = found.get(id(node))
            if known is None or (known.test is None and test is not None):
                found[id(node)] = Read(node, cursor, call, conflict, op.handle, test)
    yield from sorted(found.values(), key=lambda read: (read.node.lineno, read.node.col_offset))


def _reads(view: FunctionView, call: ast.Call, conflict: Conflict) -> Iterator[tuple[ast.Attribute, ast.expr | None]]:
    direct = view.parents.get(id(call))
    if isinstance(direct, ast.Attribute) and direct.attr == "lastrowid":
        yield direct, None
        return
    names = cursor_names(view, call)
    start = view.step_of(call)
    if not names or start is None:
        return
    seen = {start.index}
    queue = deque(edge.target for edge in start.succ)
    while queue:
        index = queue.popleft()
        if index in seen:
            continue
        seen.add(index)
        step = view.cfg.steps[index]
        if step.kind is StepKind.CALL and isinstance(step.node, ast.Call) and _overwrites(view, step.node, names):
            continue
        for node in _lastrowids(step, names):
            if _chosen(view, node, names, conflict) or _is_asserted(view, node):
                continue
            yield node, step.node if step.kind is StepKind.TEST and isinstance(step.node, ast.expr) else None
        for edge in step.succ:
            if not _tested(step, edge.kind, names, conflict):
                queue.append(edge.target)


def cursor_names(view: FunctionView, call: ast.Call) -> frozenset[str]:
    """How the cursor that ran the insert is spelled: the receiver, or what the call's result is bound to."""
    names: set[str] = set()
    if isinstance(call.func, ast.Attribute):
        receivers = handles(view.resolver.evaluate(call.func.value, view.scope))
        if any(h.kind is HandleKind.CURSOR for h in receivers):
            names.add(ast.unparse(call.func.value))
    statement = view.parents.get(id(call))
    if isinstance(statement, ast.Await):
        statement = view.parents.get(id(statement))
    if isinstance(statement, ast.Assign):
        names.update(target.id for target in statement.targets if isinstance(target, ast.Name))
    return frozenset(names)


def _overwrites(view: FunctionView, call: ast.Call, names: frozenset[str]) -> bool:
    """Whether the call runs another statement on the same cursor."""
    if not isinstance(call.func, ast.Attribute) or ast.unparse(call.func.value) not in names:
        return False
    return any(op.effect in (Effect.EXECUTE, Effect.SCRIPT) for op in view.frame.call(call).ops)


def _lastrowids(step: Step, names: frozenset[str]) -> list[ast.Attribute]:
    if step.node is None or step.kind in _COMPOUND or isinstance(step.node, _DEFINITIONS):
        return []
    found = (n for n in ast.walk(step.node) if isinstance(n, ast.Attribute) and n.attr == "lastrowid")
    return [node for node in found if ast.unparse(node.value) in names]


def _tested(step: Step, kind: EdgeKind, names: frozenset[str], conflict: Conflict) -> bool:
    """Whether the edge is taken only when a row was inserted."""
    if step.kind is not StepKind.TEST or conflict is Conflict.UPDATE or not isinstance(step.node, ast.expr):
        return False
    return _says_inserted(step.node, names) is (kind is EdgeKind.TRUE)


def _says_inserted(test: ast.expr, names: frozenset[str]) -> bool | None:
    """Whether the test is true when a row was inserted (True) or when none was (False); None when it tells nothing."""
    match test:
        case ast.Attribute(attr="rowcount", value=value) if ast.unparse(value) in names:
            return True
        case ast.Compare(
            left=ast.Attribute(attr="rowcount", value=value), ops=[operator], comparators=[ast.Constant(value=number)]
        ) if ast.unparse(value) in names:
            return _means_inserted(operator, number)
    return None


def _chosen(view: FunctionView, node: ast.expr, names: frozenset[str], conflict: Conflict) -> bool:
    """Whether a conditional expression reads the id only when a row was inserted."""
    inner: ast.AST = node
    for outer in view.around(node):
        if isinstance(outer, ast.stmt):
            break
        if isinstance(outer, ast.IfExp) and inner in (outer.body, outer.orelse):
            return conflict is not Conflict.UPDATE and _says_inserted(outer.test, names) is (inner is outer.body)
        inner = outer
    return False


def _is_asserted(view: FunctionView, node: ast.expr) -> bool:
    """Whether the read only states what is expected: in `assert`, or as an argument of `assertEqual` and its like."""
    return any(
        isinstance(outer, ast.Assert)
        or (
            isinstance(outer, ast.Call)
            and isinstance(outer.func, ast.Attribute)
            and outer.func.attr.startswith("assert")
        )
        for outer in view.around(node)
    )


def asks_for_insert(test: ast.expr) -> bool:
    """Whether the test of a `lastrowid` is meant to be true when a row was inserted."""
    match test:
        case ast.Attribute(attr="lastrowid"):
            return True
        case ast.Compare(left=ast.Attribute(attr="lastrowid"), ops=[operator], comparators=[ast.Constant(value=value)]):
            if value is None:
                return isinstance(operator, (ast.IsNot, ast.NotEq))
            return _means_inserted(operator, value) is True
    return False


def _means_inserted(operator: ast.cmpop, value: object) -> bool | None:
    """What the truth of `rowcount <operator> value` says; None when it says nothing."""
    if not isinstance(value, int):
        return None
    match operator, value:
        case (ast.Eq(), 1) | (ast.Gt(), 0) | (ast.GtE(), 1) | (ast.NotEq(), 0):
            return True
        case (ast.Eq(), 0) | (ast.Lt(), 1) | (ast.LtE(), 0) | (ast.NotEq(), 1):
            return False
    return None
