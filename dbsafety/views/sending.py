"""Which statements a call sends: itself, or by a function of the project that is handed the text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.facts.imported import text_across
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.facts.sql import Statement, is_sql, statements
from dbsafety.model.finding import Confidence
from dbsafety.typestate.attributes import method
from dbsafety.typestate.ops import CallFacts, Op
from dbsafety.typestate.parameters import argument_for
from dbsafety.typestate.values import Function
from dbsafety.views.view import FunctionView

_DEPTH = 3
_SENDING = (Effect.EXECUTE, Effect.SCRIPT)
_TEXTS = (ast.Constant, ast.JoinedStr, ast.BinOp, ast.Name, ast.Attribute, ast.Call)


@dataclass(frozen=True, slots=True)
class Sent:
    """A call that sends `sql`, which is `statements`.

    `op` is the operation on the connection, in the called function where the text is handed on; None when all that is
    known is that the object looks like a cursor. `cursor` is the expression whose `fetchone()` gives the rows, "" when
    the call itself gives them.
    """

    call: ast.Call
    sql: str
    statements: tuple[Statement, ...]
    op: Op | None
    cursor: str
    confidence: Confidence


def sent_by(view: FunctionView, call: ast.Call, facts: CallFacts) -> Sent | None:
    """What the call sends, as far as the text is known; None when it sends nothing that is known."""
    for op in facts.ops:
        if op.effect in _SENDING and op.sql is not None:
            is_cursor = op.handle.kind is HandleKind.CURSOR and isinstance(call.func, ast.Attribute)
            cursor = ast.unparse(call.func.value) if is_cursor and isinstance(call.func, ast.Attribute) else ""
            return Sent(call, op.sql, statements(op.sql), op, cursor, op.handle.confidence)
    for target in facts.targets:
        for argument in target.info.parameters:
            value = argument_for(call, target.info, argument.arg)
            text = text_across(value, view.scope, view.resolver.program) if isinstance(value, _TEXTS) else None
            if text is not None and is_sql(text):
                found = _handed_on(view, call, target, argument.arg, text)
                if found is not None:
                    return found
    return None


def _handed_on(view: FunctionView, call: ast.Call, target: Function, name: str, text: str) -> Sent | None:
    op = next(_sends_parameter(view, target.info, name, 0), None)
    if op is not None:
        return Sent(call, text, statements(text), op, "", op.handle.confidence.at_most(Confidence.MEDIUM))
    if _is_cursor_like(view, target) and isinstance(call.func, ast.Attribute):
        return Sent(call, text, statements(text), None, ast.unparse(call.func.value), Confidence.MEDIUM)
    return None


def _sends_parameter(view: FunctionView, function: FunctionInfo, name: str, depth: int) -> Iterator[Op]:
    """The operations in the function, or behind it, that send what the parameter holds."""
    if depth == _DEPTH:
        return
    frame = view.module.summaries.frame(function)
    for call in function.calls:
        names = [argument.id for argument in call.args if isinstance(argument, ast.Name)]
        names += [keyword.value.id for keyword in call.keywords if isinstance(keyword.value, ast.Name)]
        if name not in names:
            continue
        facts = frame.call(call)
        first = call.args[0] if call.args else None
        if isinstance(first, ast.Name) and first.id == name:
            yield from (op for op in facts.ops if op.effect in _SENDING and op.sql is None)
        for target in facts.targets:
            for argument in target.info.parameters:
                value = argument_for(call, target.info, argument.arg)
                if isinstance(value, ast.Name) and value.id == name:
                    yield from _sends_parameter(view, target.info, argument.arg, depth + 1)


def _is_cursor_like(view: FunctionView, target: Function) -> bool:
    """Whether it is the `execute` of a class of the project that has the methods of a cursor (PEP 249)."""
    owner = target.owner or target.info.cls
    if owner is None or target.info.qualname.rpartition(".")[2] != "execute":
        return False
    return all(method(view.resolver, owner, name) is not None for name in ("fetchone", "fetchall"))
