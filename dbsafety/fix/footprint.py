"""Which lines of a file a plan works on: what it claims for itself, and where its edits may lie."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from dbsafety.fix.tree import TreeIndex, first_line, suite_of
from dbsafety.model.rewrite import (
    DeleteComment,
    EnsureImport,
    FixPlan,
    Guard,
    InsertBefore,
    InsertElse,
    InsertFirst,
    JoinElse,
    MoveToElse,
    ReplaceExpression,
    Rewrite,
    SetHandlerType,
    SetKeyword,
    WrapBody,
    WrapInTry,
    WrapInWith,
    WrapItem,
)
from dbsafety.model.span import Span
from dbsafety.source.text import SourceText


@dataclass(frozen=True, slots=True, order=True)
class Lines:
    """A closed range of 1-based lines."""

    first: int
    last: int

    def meets(self, other: Lines) -> bool:
        """Whether the ranges share a line."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Footprint:
    """`claims` must not meet the claims of another plan of the same round; edits must lie in `allowed`."""

    claims: tuple[Lines, ...]
    allowed: tuple[Lines, ...]

    @property
    def start(self) -> int:
        """The first line claimed."""
        return min((lines.first for lines in self.claims), default=1)

    def meets(self, other: Footprint) -> bool:
        """Whether two plans claim the same line."""
        return any(mine.meets(other_lines) for mine in self.claims for other_lines in other.claims)


def footprint(plan: FixPlan, index: TreeIndex, text: SourceText) -> Footprint:
    """The lines of a plan. Raises FixRefused when a span names no node."""
    pairs = [_lines(rewrite, index, text) for rewrite in plan.rewrites if not isinstance(rewrite, EnsureImport)]
    allowed = [lines for _, lines in pairs]
    if len(pairs) < len(plan.rewrites):
        allowed.append(import_lines(index.tree, text))
    return Footprint(tuple(lines for lines, _ in pairs), tuple(allowed))


def import_lines(tree: ast.Module, text: SourceText) -> Lines:
    """Where imports may be added: from the top to the first statement that is neither docstring nor import."""
    body = tree.body[1:] if ast.get_docstring(tree, clean=False) is not None else tree.body
    first = next((node for node in body if not isinstance(node, ast.Import | ast.ImportFrom)), None)
    return Lines(1, first_line(first) if first is not None else text.line_count)


def _lines(rewrite: Rewrite, index: TreeIndex, text: SourceText) -> tuple[Lines, Lines]:
    """What a rewrite claims and where its edits may lie."""
    match rewrite:
        case ReplaceExpression(span) | SetKeyword(call=span) | WrapItem(span):
            return _both(_span(span))
        case DeleteComment(span):
            # When the last line goes and had no line end, the one before it loses its own.
            above = 1 if span.line == text.line_count else 0
            return _span(span), Lines(span.line - above, span.end_line)
        case SetHandlerType(handler):
            node = index.find(handler, ast.ExceptHandler, "the handler")
            end = (node.type.end_lineno or node.lineno) if node.type is not None else node.lineno
            return Lines(node.lineno, end), Lines(node.lineno, max(end, node.body[0].lineno))
        case InsertFirst(owner):
            block = index.owner(owner)
            return Lines(first_line(block), first_line(suite_of(block)[0])), _span(owner)
        case InsertBefore(statement):
            line = first_line(index.find(statement, ast.stmt, "the statement"))
            return Lines(line, line), Lines(_leading(line, text), line)
        case Guard(statement):
            return _both(_span(statement))
        case WrapInWith(first, last) | WrapInTry(first, last):
            return _both(Lines(first.line, last.end_line))
        case MoveToElse() | WrapBody() | InsertElse() | JoinElse():
            return _branch(rewrite, index, text)
        case EnsureImport():
            return _both(import_lines(index.tree, text))


def _branch(
    rewrite: MoveToElse | WrapBody | InsertElse | JoinElse, index: TreeIndex, text: SourceText
) -> tuple[Lines, Lines]:
    attempt = rewrite.attempt
    match rewrite:
        case WrapBody():
            handlers = [node.lineno for node in getattr(index.owner(attempt), "handlers", ())]
            return _both(Lines(attempt.line, max(attempt.line, min(handlers, default=attempt.end_line + 1) - 1)))
        case InsertElse():
            return Lines(attempt.end_line, attempt.end_line), Lines(attempt.line, _trailing(attempt.end_line, text))
        case JoinElse(statement=statement):
            return _both(Lines(attempt.line, statement.end_line))
    return _both(_span(attempt))


def _span(span: Span) -> Lines:
    return Lines(span.line, span.end_line)


def _both(lines: Lines) -> tuple[Lines, Lines]:
    return lines, lines


def _trailing(line: int, text: SourceText) -> int:
    """The last of the blank lines and comments directly below a line."""
    while line < text.line_count and text.line(line + 1).strip()[:1] in ("", "#"):
        line += 1
    return line


def _leading(line: int, text: SourceText) -> int:
    """The first of the blank lines and comments directly above a line."""
    while line > 1 and text.line(line - 1).strip()[:1] in ("", "#"):
        line -= 1
    return line
