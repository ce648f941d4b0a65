"""New code as concrete syntax: parsed from text with 4 spaces and LF, then indented like the place it goes to."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import libcst as cst

from dbsafety.fix.locate import Statement
from dbsafety.model.faults import FixRefused


def statements(code: str, indent: str | None) -> list[Statement]:
    """The statements of `code`; their suites use `indent`, None for the indentation of the module they go to."""
    try:
        module = cst.parse_module(code if code.endswith("\n") else f"{code}\n")
    except cst.ParserSyntaxError as error:
        raise FixRefused(f"the planned code is not Python: {code!r}") from error
    body = [_statement(node.visit(_Indent(indent))) for node in module.body]
    if body and module.header:
        body[0] = with_leading_lines(body[0], (*module.header, *body[0].leading_lines))
    return body


def expression(text: str) -> cst.BaseExpression:
    """The expression that `text` is."""
    try:
        return cst.parse_expression(text)
    except cst.ParserSyntaxError as error:
        raise FixRefused(f"the planned expression is not Python: {text!r}") from error


def with_block(items: str, body: cst.IndentedBlock, opening: cst.SimpleStatementLine) -> cst.With:
    """`with items:` around a block, in the place of the assignment `opening`, whose value is kept as it is written."""
    node = statements(f"with {items}:\n    pass\n", None)[0]
    if not isinstance(node, cst.With):
        raise FixRefused(f"the planned header is not that of a with statement: {items!r}")
    assignment = opening.body[0]
    if isinstance(assignment, cst.Assign):
        first = node.items[0]
        kept = first.with_changes(item=_as_written(first.item, assignment.value))
        node = node.with_changes(items=[kept, *node.items[1:]])
    return node.with_changes(body=body, leading_lines=opening.leading_lines)


def _as_written(planned: cst.BaseExpression, written: cst.BaseExpression) -> cst.BaseExpression:
    """The planned expression, with `written` where it or its only argument means the same: quotes, lines, comments."""
    meaning = _meaning(written)
    if _meaning(planned) == meaning:
        return written
    if isinstance(planned, cst.Call) and len(planned.args) == 1 and _meaning(planned.args[0].value) == meaning:
        return planned.with_changes(args=[planned.args[0].with_changes(value=written)])
    return planned


def _meaning(node: cst.BaseExpression) -> str:
    return ast.dump(ast.parse(f"({cst.Module([]).code_for_node(node)}\n)", mode="eval"))


def with_leading_lines(statement: Statement, lines: Sequence[cst.EmptyLine]) -> Statement:
    """The statement with these comments and blank lines above it."""
    return statement.with_changes(leading_lines=tuple(lines))


def pass_line(lines: Sequence[cst.EmptyLine] = ()) -> cst.SimpleStatementLine:
    """A `pass` with these comments above it."""
    return cst.SimpleStatementLine([cst.Pass()], leading_lines=tuple(lines))


def _statement(node: object) -> Statement:
    if not isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement):
        raise TypeError(f"not a statement: {node!r}")
    return node


class _Indent(cst.CSTTransformer):
    """Gives every suite the indentation of the place the code goes to."""

    def __init__(self, indent: str | None) -> None:
        super().__init__()
        self._indent = indent

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> cst.CSTNodeT:
        """Called by libcst for every node, children first."""
        if isinstance(original_node, cst.IndentedBlock):
            return updated_node.with_changes(indent=self._indent)
        return updated_node
