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


def with_else_code(node: cst.Try, code: str) -> cst.Try:
    """The `try` with these statements first in its `else`. Raises FixRefused when it has no handler."""
    indent = node.body.indent if isinstance(node.body, cst.IndentedBlock) else None
    new = statements(code, indent)
    if node.orelse is None:
        return _new_else(node, new)
    body = node.orelse.body
    if not isinstance(body, cst.IndentedBlock):
        raise FixRefused("the `else` of the `try` stands on one line")
    return node.with_changes(orelse=node.orelse.with_changes(body=body.with_changes(body=[*new, *body.body])))


def with_else_joined(node: cst.Try, moved: Sequence[Statement]) -> cst.Try:
    """The `try` with these statements, which came behind it, last in its `else`. Raises FixRefused as above."""
    lines = [line for line in moved[0].leading_lines if line.comment is not None]
    new = [with_leading_lines(moved[0], lines), *moved[1:]]
    if node.orelse is None:
        return _new_else(node, new)
    body = node.orelse.body
    if not isinstance(body, cst.IndentedBlock) or any(line.comment is not None for line in body.footer):
        raise FixRefused("the `else` of the `try` stands on one line, or ends with a comment")
    return node.with_changes(orelse=node.orelse.with_changes(body=body.with_changes(body=[*body.body, *new])))


def with_body_wrapped(node: cst.Try, header: str, indent: str | None) -> cst.Try:
    """The `try` with its whole body in one `with` statement. `indent` is the indentation of the new block."""
    block = statements(f"{header}\n    pass\n", indent)[0]
    if not isinstance(block, cst.With):
        raise FixRefused(f"the planned header is not that of a with statement: {header!r}")
    old = node.body
    if isinstance(old, cst.IndentedBlock):
        # Comments at the end of the body stay where they are.
        inner = cst.IndentedBlock(old.body, indent=old.indent)
        return node.with_changes(body=old.with_changes(body=[block.with_changes(body=inner)]))
    if not isinstance(old, cst.SimpleStatementSuite):
        raise FixRefused("the body of the `try` is not a block of statements")
    line = cst.SimpleStatementLine(old.body)
    inner = cst.IndentedBlock([line], indent=indent)
    outer = cst.IndentedBlock([block.with_changes(body=inner)], header=old.trailing_whitespace, indent=indent)
    return node.with_changes(body=outer)


def _new_else(node: cst.Try, body: Sequence[Statement]) -> cst.Try:
    if not node.handlers:
        raise FixRefused("an `else` needs a handler before it")
    indent = node.body.indent if isinstance(node.body, cst.IndentedBlock) else None
    return node.with_changes(orelse=cst.Else(cst.IndentedBlock(body, indent=indent)))


def _handlers(code: str, indent: str | None) -> list[cst.ExceptHandler]:
    if not code:
        return []
    node = statements(f"try:\n    pass\n{code}", indent)[0]
    return list(node.handlers) if isinstance(node, cst.Try) else []


def _is_empty(suite: cst.BaseSuite) -> bool:
    """Whether nothing is left but a `pass` without a comment, behind the colon either."""
    if not isinstance(suite, cst.IndentedBlock) or len(suite.body) != 1 or suite.header.comment is not None:
        return False
    match suite.body[0]:
        case cst.SimpleStatementLine(body=[cst.Pass()], leading_lines=lines, trailing_whitespace=behind):
            footer = (*lines, *suite.footer)
            return behind.comment is None and all(line.comment is None for line in footer)
    return False
