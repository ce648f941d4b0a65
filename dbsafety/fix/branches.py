"""Adds branches to a `try` statement: an `else`, a handler."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from dbsafety.fix.locate import Statement
from dbsafety.fix.snippets import statements, with_leading_lines
from dbsafety.model.faults import FixRefused


def with_else(node: cst.Try, moved: Sequence[Statement], handler: str) -> cst.Try:
    """The `try` with the statements `moved`, which have left its `finally`, in a new `else`, and with one more handler.

    Raises FixRefused when there is an `else`, and when neither handler nor `finally` would be left.
    """
    if node.orelse is not None or not moved:
        raise FixRefused("the `try` has an `else` already, or the statement to move is not in its `finally`")
    indent = node.body.indent if isinstance(node.body, cst.IndentedBlock) else None
    lines = [line for line in moved[0].leading_lines if line.comment is not None]
    body = [with_leading_lines(moved[0], lines), *moved[1:]]
    handlers = [*node.handlers, *_handlers(handler, indent)]
    final = None if node.finalbody is None or _is_empty(node.finalbody.body) else node.finalbody
    if not handlers:
        raise FixRefused("an `else` needs a handler before it")
    orelse = cst.Else(cst.IndentedBlock(body, indent=indent))
    return node.with_changes(handlers=handlers, orelse=orelse, finalbody=final)


def _handlers(code: str, indent: str | None) -> list[cst.ExceptHandler]:
    if not code:
        return []
    node = statements(f"try:\n    pass\n{code}", indent)[0]
    return list(node.handlers) if isinstance(node, cst.Try) else []


def _is_empty(suite: cst.BaseSuite) -> bool:
    """Whether nothing is left but a `pass` without a comment."""
    if not isinstance(suite, cst.IndentedBlock) or len(suite.body) != 1:
        return False
    match suite.body[0]:
        case cst.SimpleStatementLine(body=[cst.Pass()], leading_lines=lines, trailing_whitespace=behind):
            footer = (*lines, *suite.footer)
            return behind.comment is None and all(line.comment is None for line in footer)
    return False
