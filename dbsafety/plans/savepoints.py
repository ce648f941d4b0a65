"""Plans a savepoint around the part of a transaction that may fail, so that the rest of it is kept (facts B2, B6)."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeGuard

from dbsafety.drivers.spec import DriverSpec, Effect, HandleKind
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.facts.sql import Verb
from dbsafety.model.rewrite import (
    Applicability,
    FixPlan,
    InsertBefore,
    InsertElse,
    InsertFirst,
    ReplaceExpression,
    Rewrite,
    WrapBody,
)
from dbsafety.model.span import Span
from dbsafety.plans.reach import LOOPS, bound_before, is_awaited, reach
from dbsafety.typestate.ops import Op
from dbsafety.typestate.report import Swallow
from dbsafety.typestate.values import Key, handles
from dbsafety.views.view import FunctionView

_TITLE = "give the part that may fail a savepoint"
_DIVIDES = frozenset(
    {Effect.COMMIT, Effect.ROLLBACK, Effect.CLOSE, Effect.RELEASE, Effect.SCRIPT, Effect.BEGIN, Effect.AUTOCOMMIT}
)
_DIVIDING = frozenset({Verb.COMMIT, Verb.ROLLBACK, Verb.BEGIN, Verb.SAVEPOINT})
DIVIDED = "the body of the `try` ends or divides a transaction itself, or hands the connection to code that may"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SENDING = frozenset({"execute", "executemany", "close"})
_LEAVES = (ast.Return, ast.Continue, ast.Break, ast.Raise)


def plan_savepoint(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> tuple[FixPlan | None, str]:
    """The plan for the `try` whose clause ends the error, or None and the reason for the refusal.

    A nested block of the driver where it has one that is a savepoint there; else the statements as text, with every
    clause of the `try` that ends such an error rolling back to the savepoint first.
    """
    key = swallow.subject.key
    if any(op.opens for _, op in ops_in(view, key, attempt.body)):
        return None, "the connection is opened in the `try` itself"
    if divides(view, key, attempt.body):
        return None, DIVIDED
    awaited = is_awaited(view, swallow)
    if awaited is None:
        return None, "whether statements must be awaited is not certain"
    block = _nested(view, swallow, attempt)
    if block:
        body = WrapBody(Span.of(attempt), block, is_async=awaited)
        return FixPlan(_TITLE, Applicability.UNSAFE, (body,), view.name), ""
    if not swallow.spec.aborts or swallow.spec.default_autocommit or swallow.spec.family:
        return None, f"{swallow.spec.server} has no savepoint here that would undo less than a rollback"
    same = {id(one.handler) for one in view.swallows if one.subject.key == key}
    return plan_by_text(view, swallow, attempt, [one for one in attempt.handlers if id(one) in same], awaited=awaited)


def plan_by_text(
    view: FunctionView, swallow: Swallow, attempt: ast.Try, back: Sequence[ast.ExceptHandler], *, awaited: bool
) -> tuple[FixPlan | None, str]:
    """The plan that sends the statements of a savepoint, with the clauses `back` rolling back to it first."""
    sender = _sender(view, swallow, attempt)
    if not sender:
        return None, "no cursor or connection in scope before the `try` is sure to send the savepoint"
    code = statement(sender, f"ROLLBACK TO SAVEPOINT {_name(view, attempt)}", awaited=awaited)
    clauses = [InsertFirst(Span.of(handler), f"{code}\n") for handler in back]
    return _by_text(view, attempt, sender, clauses, awaited=awaited), ""


def plan_instead(
    view: FunctionView, swallow: Swallow, attempt: ast.Try, rollbacks: Sequence[ast.Call]
) -> tuple[FixPlan | None, str]:
    """The plan that lets the handlers roll back to a savepoint instead of all the way, or the reason for a refusal."""
    if divides(view, swallow.subject.key, attempt.body):
        return None, DIVIDED
    outer = [view.parents.get(id(call)) for call in rollbacks]
    for call, parent in zip(rollbacks, outer, strict=True):
        whole = view.statement_of(call)
        if not isinstance(whole, ast.Expr) or whole.value not in (call, parent):
            return None, "the rollback is part of a larger statement"
    sender = _sender(view, swallow, attempt)
    if not sender:
        return None, "no cursor or connection in scope before the `try` is sure to send the savepoint"
    back = statement(sender, f"ROLLBACK TO SAVEPOINT {_name(view, attempt)}", awaited=False)
    clauses = [ReplaceExpression(Span.of(call), back) for call in rollbacks]
    return _by_text(view, attempt, sender, clauses, awaited=any(isinstance(one, ast.Await) for one in outer)), ""


def statement(sender: str, text: str, *, awaited: bool) -> str:
    """The expression that sends a statement."""
    return f'{"await " if awaited else ""}{sender}.execute("{text}")'


def divides(view: FunctionView, key: Key, body: Sequence[ast.stmt], depth: int = 3) -> bool:
    """Whether the statements, or a function of the project they call, end or divide the transaction themselves."""
    for call in _calls_in(view, body):
        facts = view.frame.call(call)
        mine = [op for op in facts.ops if op.key == key]
        if any(op.effect in _DIVIDES or op.statement.verb in _DIVIDING for op in mine):
            return True
        if not mine and not facts.targets and _hands_out(view, key, call):
            return True
        if depth and any(_divided_by(view, target.info, depth - 1) for target in facts.targets):
            return True
    return False


def _hands_out(view: FunctionView, key: Key, call: ast.Call) -> bool:
    """Whether the connection itself goes to code that is not seen and may commit, as pandas' `to_sql` does."""
    name = ast.unparse(call.func).rpartition(".")[2]
    if name.startswith("read") or hasattr(builtins, name):
        return False
    values = (view.resolver.evaluate(part, view.scope) for part in (*call.args, *(k.value for k in call.keywords)))
    return any(h.key == key and h.kind is HandleKind.CONNECTION for value in values for h in handles(value))


def _divided_by(view: FunctionView, info: FunctionInfo, depth: int) -> bool:
    """Whether a called function ends the transaction of any connection: which one is not asked."""
    other = FunctionView(view.module, info)
    for call in info.calls:
        facts = other.frame.call(call)
        if any(op.effect in _DIVIDES or op.statement.verb in _DIVIDING for op in facts.ops):
            return True
        if depth and any(_divided_by(view, target.info, depth - 1) for target in facts.targets):
            return True
    return False


def _by_text(
    view: FunctionView, attempt: ast.Try, sender: str, clauses: Sequence[Rewrite], *, awaited: bool
) -> FixPlan:
    name = _name(view, attempt)
    rewrites: list[Rewrite] = [
        InsertBefore(Span.of(attempt), f"{statement(sender, f'SAVEPOINT {name}', awaited=awaited)}\n"),
        *clauses,
    ]
    if not isinstance(attempt.body[-1], _LEAVES):
        release = statement(sender, f"RELEASE SAVEPOINT {name}", awaited=awaited)
        rewrites.append(InsertElse(Span.of(attempt), f"{release}\n"))
    return FixPlan(_TITLE, Applicability.UNSAFE, tuple(rewrites), view.name)


def _name(view: FunctionView, attempt: ast.Try) -> str:
    """A name of its own in each `try` that stands in another: one that is left open would hide the outer one's."""
    name = "before_row" if any(isinstance(outer, LOOPS) for outer in view.around(attempt)) else "before_attempt"
    depth = 1
    inner: ast.AST = attempt
    for outer in view.around(attempt):
        if isinstance(outer, ast.Try) and outer.handlers and inner in outer.body:
            depth += 1
        inner = outer
    if _is_tried_by_others(view):
        name = f"{name}_in_{view.info.node.name}" if isinstance(view.info.node, _FUNCTIONS) else name
    return name if depth == 1 else f"{name}_{depth}"


def _is_tried_by_others(view: FunctionView) -> bool:
    """Whether another function of the module calls this one in a `try` that has handlers, and maybe a savepoint."""
    if not isinstance(view.info.node, _FUNCTIONS):
        return False
    calls = {id(call) for call, _ in view.module.index.callers.get(view.info.node.name, ())}
    return any(
        isinstance(outer, ast.Try) and outer.handlers
        for caller in view.module.functions
        if caller.info is not view.info
        for call in caller.info.calls
        if id(call) in calls
        for outer in caller.around(call)
    )


def _nested(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> str:
    """The call whose block is a savepoint: one (`begin_nested`), or one inside another; "" when there is none."""
    spec = swallow.spec
    connection = spec.handles.get(HandleKind.CONNECTION)
    if connection is None:
        return ""
    blocks = [name for name, row in connection.methods.items() if row.returns is HandleKind.TRANSACTION]
    nested = [name for name in blocks if connection.methods[name].savepoint]
    if not nested and (spec.default_autocommit or _inside(view, swallow.subject.key, attempt)):
        nested = blocks
    found = reach(view, swallow, attempt)
    if len(nested) != 1 or found is None or found.prebind or found.guarded or found.is_cursor:
        return ""
    return f"{found.text}.{nested[0]}()"


def _inside(view: FunctionView, key: Key, attempt: ast.Try) -> bool:
    """Whether a `with` around the `try` enters a transaction of the connection."""
    items = [i for outer in view.around(attempt) if isinstance(outer, (ast.With, ast.AsyncWith)) for i in outer.items]
    entered = (h for i in items for h in handles(view.resolver.evaluate(i.context_expr, view.scope)))
    return any(handle.key == key and handle.kind is HandleKind.TRANSACTION for handle in entered)


def _sender(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> str:
    """What has an `execute` on the connection before the `try`: the receiver that is used in it, else another."""
    key, spec = swallow.subject.key, swallow.spec
    used = {
        ast.unparse(call.func.value) for call in _calls_in(view, attempt.body) if isinstance(call.func, ast.Attribute)
    }
    for kind in (HandleKind.CURSOR, HandleKind.CONNECTION):
        if not _executes(spec, kind):
            continue
        found = [node for node in view.spellings(key, kind) if _is_ready(view, node, key, kind, attempt)]
        if found:
            return min((ast.unparse(node) for node in found), key=lambda text: (text not in used, text))
    one = reach(view, swallow, attempt)
    if one is None or one.prebind or one.guarded or one.is_cursor:
        return ""
    if _executes(spec, HandleKind.CONNECTION):
        return one.text
    return f"{one.text}.cursor()" if _executes(spec, HandleKind.CURSOR) and not spec.is_async else ""


def _executes(spec: DriverSpec, kind: HandleKind) -> bool:
    row = spec.handles[kind].methods.get("execute") if kind in spec.handles else None
    return row is not None and row.effect is Effect.EXECUTE


def _is_ready(view: FunctionView, node: ast.expr, key: Key, kind: HandleKind, attempt: ast.Try) -> bool:
    """Whether the name is sure to be an open cursor (or connection) of this connection when the `try` begins."""
    values = handles(view.resolver.evaluate(node, view.scope))
    if view.may_be_none(node) or any(h.key != key or h.kind is not kind or h.server_side for h in values):
        return False
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name) or view.scope.find(root.id) is None:
        return False
    if _is_closed(view, ast.unparse(node), attempt):
        return False
    if kind is HandleKind.CURSOR and _has_readers(view, ast.unparse(node), attempt):
        return False
    if view.scope.find(root.id) is not view.scope or root.id in {one.arg for one in view.info.parameters}:
        return True
    around = set(map(id, view.around(attempt)))
    blocks = (b.node for b in view.scope.bindings.get(root.id, ()) if isinstance(b.node, (ast.With, ast.AsyncWith)))
    return all(id(block) in around for block in blocks) and bound_before(view, root.id, attempt)


def _is_closed(view: FunctionView, text: str, attempt: ast.Try) -> bool:
    """Whether the function closes it before the end of the `try`, or in a loop around it."""
    loop = next((outer for outer in view.around(attempt) if isinstance(outer, LOOPS)), None)
    last = (loop or attempt).end_lineno or attempt.lineno
    closes = [c for c in view.info.calls if isinstance(c.func, ast.Attribute) and c.func.attr == "close"]
    return any(
        ast.unparse(c.func.value) == text and c.lineno <= last for c in closes if isinstance(c.func, ast.Attribute)
    )


def _has_readers(view: FunctionView, text: str, attempt: ast.Try) -> bool:
    """Whether the rows of the cursor are read behind the body of the `try`, or by a loop around it.

    The next statement that a cursor sends throws its rows away, and a savepoint is released in between.
    """
    sends = {id(c.func.value) for c in view.info.calls if isinstance(c.func, ast.Attribute) and c.func.attr in _SENDING}
    used = [node for node in ast.walk(view.info.node) if _is_read(node) and ast.unparse(node) == text]
    inside = {id(node) for node in ast.walk(attempt)}
    body = {id(node) for part in attempt.body for node in ast.walk(part)}
    for clause in (*attempt.handlers, *attempt.orelse, *attempt.finalbody):
        within = {id(node) for node in ast.walk(clause)}
        if _reads_first([node for node in used if id(node) in within], sends):
            return True
    last = (attempt.end_lineno or attempt.lineno, attempt.end_col_offset or 0)
    if _reads_first([n for n in used if (n.lineno, n.col_offset) > last and id(n) not in inside], sends):
        return True
    loops = [outer for outer in view.around(attempt) if isinstance(outer, LOOPS)]
    turned = {id(node) for loop in loops for node in ast.walk(loop)} - body
    return any(id(n) in turned and id(n) not in sends and (n.lineno, n.col_offset) < last for n in used)


def _is_read(node: ast.AST) -> TypeGuard[ast.Name | ast.Attribute]:
    return isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load)


def _reads_first(used: Sequence[ast.Name | ast.Attribute], sends: AbstractSet[int]) -> bool:
    """Whether the first of these uses of a cursor does not send or close."""
    first = min(used, key=lambda node: (node.lineno, node.col_offset), default=None)
    return first is not None and id(first) not in sends


def _calls_in(view: FunctionView, body: Sequence[ast.stmt]) -> Iterator[ast.Call]:
    inside = {id(node) for statement in body for node in ast.walk(statement)}
    yield from (call for call in view.info.calls if id(call) in inside)


def ops_in(view: FunctionView, key: Key, body: Sequence[ast.stmt]) -> Iterator[tuple[ast.Call, Op]]:
    """The operations on the connection in some statements of the function, in source order."""
    inside = {id(node) for statement in body for node in ast.walk(statement)}
    yield from ((call, op) for call, op in view.ops(key) if id(call) in inside)
