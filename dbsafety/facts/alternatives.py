"""Which parts of an expression its value may come from."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def alternatives(value: ast.expr) -> Iterator[ast.expr]:
    """The expressions whose value `value` may be: the arms of `or` and of a conditional, the awaited call."""
    pending = [value]
    while pending:
        part = pending.pop()
        yield part
        match part:
            case ast.BoolOp():
                pending.extend(part.values)
            case ast.IfExp():
                pending.extend((part.body, part.orelse))
            case ast.Await() | ast.NamedExpr():
                pending.append(part.value)
            case ast.Call(
                func=ast.Attribute(attr="closing" | "enter_context" | "nullcontext") | ast.Name(id="closing"),
                args=[only],
            ):
                pending.append(only)
