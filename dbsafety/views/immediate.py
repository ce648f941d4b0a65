"""Plans BEGIN IMMEDIATE for a deferred BEGIN, and sees to a ROLLBACK that would fail when it fails (fact C2)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.drivers.spec import HandleKind
from dbsafety.facts.sql import Verb
from dbsafety.model.rewrite import Applicability, FixPlan, Guard, ReplaceExpression, Rewrite
from dbsafety.model.span import Span
from dbsafety.typestate.ops import Op
from dbsafety.typestate.values import Key
from dbsafety.views.upgrades import Begin, Kind, immediate
from dbsafety.views.view import FunctionView

_ENDS = (Verb.ROLLBACK, Verb.COMMIT)
_REFUSALS = {
    Kind.BEGIN: "the text of the BEGIN does not stand in a call of this file",
    Kind.SAVEPOINT: "begin a transaction with BEGIN IMMEDIATE around the savepoint",
    Kind.ALWAYS: "`autocommit=False` refuses an explicit BEGIN IMMEDIATE; open with isolation_level=None",
}
_ENDED_ELSEWHERE = (
    "where BEGIN IMMEDIATE finds the database locked, the ROLLBACK or COMMIT as text in the handler would fail, too: "
    "begin before the `try`"
)


def plan_immediate(view: FunctionView, begin: Begin, node: ast.Call | ast.withitem) -> tuple[FixPlan | None, str]:
    """BEGIN IMMEDIATE in the place of the text that the call `node` holds, or None and the reason for the refusal.

    A deferred BEGIN does not fail when the file is locked, so a handler around it may send ROLLBACK; that statement
    fails without a transaction and hides the error, so it gets a condition.
    """
    if begin.kind is not Kind.BEGIN or not isinstance(node, ast.Call) or node is not begin.statement:
        return None, _REFUSALS[begin.kind]
    match node.args[:1]:
        case [ast.Constant(value=str(text)) as argument]:
            rewrites: list[Rewrite] = [ReplaceExpression(Span.of(argument), immediate(text))]
        case _:
            return None, _REFUSALS[begin.kind]
    home = FunctionView(view.module, begin.function)
    for call, op in _endings(home, node, begin.key):
        guard = _guard(home, call, op)
        if guard is None:
            return None, _ENDED_ELSEWHERE
        rewrites.append(guard)
    if any(True for caller, place in _callers(home) for _ in _endings(caller, place, None)):
        return None, _ENDED_ELSEWHERE
    title = "begin with BEGIN IMMEDIATE"
    return FixPlan(title, Applicability.UNSAFE, tuple(rewrites), begin.function.qualname), ""


def _endings(view: FunctionView, place: ast.Call, key: Key | None) -> Iterator[tuple[ast.Call, Op]]:
    """The statements as text that end a transaction (of the connection) on the way of an error raised at `place`."""
    inner: ast.AST = place
    for outer in view.around(place):
        if isinstance(outer, ast.Try) and inner in outer.body:
            clauses = [*outer.handlers, *outer.finalbody]
            inside = {id(node) for clause in clauses for node in ast.walk(clause)}
            for call, op in view.ops(key):
                ends = op.statement.verb in _ENDS and op.sql is not None
                if ends and id(call) in inside and not _is_prepared(view, call, outer):
                    yield call, op
        inner = outer


def _is_prepared(view: FunctionView, call: ast.Call, attempt: ast.Try) -> bool:
    """Whether the statement is only sent in a transaction, or a clause inside the `try` catches its error."""
    inner: ast.AST = call
    for outer in view.around(call):
        if outer is attempt:
            return False
        if isinstance(outer, ast.Try) and outer.handlers and inner in outer.body:
            return True
        if isinstance(outer, ast.If) and "in_transaction" in ast.unparse(outer.test):
            return True
        if isinstance(outer, ast.With) and any("suppress" in ast.unparse(item) for item in outer.items):
            return True
        inner = outer
    return False


def _guard(view: FunctionView, call: ast.Call, op: Op) -> Guard | None:
    """The condition for a statement that stands alone, sent by the connection or a cursor of it."""
    whole = view.parents.get(id(call))
    if not isinstance(whole, ast.Expr) or not isinstance(call.func, ast.Attribute):
        return None
    connection = ast.unparse(call.func.value)
    if op.handle.kind is HandleKind.CURSOR:
        connection = f"{connection}.connection"
    return Guard(Span.of(whole), f"{connection}.in_transaction")


def _callers(view: FunctionView) -> Iterator[tuple[FunctionView, ast.Call]]:
    """The calls of the function in its module."""
    for caller in view.module.functions:
        for call, facts in caller.calls():
            if any(target.info is view.info for target in facts.targets):
                yield caller, call
