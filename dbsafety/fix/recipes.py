"""Carries out rewrites with libcst: plans become changes to nodes, and one pass over the tree makes them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import libcst as cst

from dbsafety.fix.arguments import set_keyword
from dbsafety.fix.branches import with_body_wrapped, with_else, with_else_code
from dbsafety.fix.imports import add_imports
from dbsafety.fix.items import wrapped
from dbsafety.fix.locate import AnyStatement, Handler, ParsedFile, Statement
from dbsafety.fix.snippets import expression, pass_line
from dbsafety.fix.suites import SuiteChanges, Wrap, edited, touched
from dbsafety.model.faults import FixRefused
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

_BLANK = cst.SimpleWhitespace(" ")
_STATEMENT = (cst.BaseSmallStatement, cst.BaseCompoundStatement)
_HANDLER = (cst.ExceptHandler, cst.ExceptStarHandler)
_DOCUMENTED = (cst.FunctionDef, cst.ClassDef)


def rewritten(parsed: ParsedFile, plans: Iterable[FixPlan], imports: Sequence[EnsureImport]) -> str:
    """The text of the file after the rewrites of all plans and with the given imports added.

    Raises FixRefused when a span does not name exactly one node or a rewrite does not fit its place.
    """
    changes = _Changes(imports=tuple(imports))
    for plan in plans:
        for rewrite in plan.rewrites:
            changes.add(rewrite, parsed)
    try:
        code = parsed.module.visit(_Pass(changes)).code
    except RecursionError as error:
        raise FixRefused("the code is nested too deeply to be rewritten") from error
    if changes.suites.targets() - changes.suites.done:
        raise FixRefused("a statement to change is not in a block of statements")
    if changes.items:
        raise FixRefused("an expression to wrap is not entered by a `with` statement")
    return code


@dataclass(slots=True)
class _Changes:
    """What the pass has to do, by node of the tree as it was parsed."""

    imports: tuple[EnsureImport, ...]
    suites: SuiteChanges = field(default_factory=SuiteChanges)
    nodes: dict[cst.CSTNode, list[Callable[[cst.CSTNode], cst.CSTNode]]] = field(default_factory=dict)
    comments: dict[cst.Comment, str] = field(default_factory=dict)
    items: dict[cst.BaseExpression, WrapItem] = field(default_factory=dict)

    def add(self, rewrite: Rewrite, parsed: ParsedFile) -> None:
        """Translate one rewrite. Raises FixRefused when its span does not name exactly one node."""
        match rewrite:
            case ReplaceExpression(span, text):
                old = parsed.find(span, cst.BaseExpression, "the expression")
                self._then(old, lambda node: _replaced(node, text))
            case SetHandlerType(handler, text):
                clauses: tuple[type[Handler], ...] = _HANDLER
                clause = parsed.find(handler, clauses, "the handler")
                self._then(clause, lambda node: _retyped(node, text))
            case SetKeyword(call, name, value, position):
                self._keyword(parsed, call, name, value, position)
            case WrapItem(span):
                self.items[parsed.find(span, cst.BaseExpression, "the expression")] = rewrite
            case DeleteComment(span, replacement):
                comment, start, end = parsed.comment(span)
                text = self.comments.get(comment, comment.value)
                if text is not comment.value:
                    raise FixRefused(f"two changes meet in the comment at line {span.line}")
                self.comments[comment] = (text[:start] + replacement + text[end:]).strip()
            case MoveToElse(attempt, statement, handler):
                moved = _statement(parsed, statement)
                self.suites.moves[moved] = []
                block = parsed.find(attempt, cst.Try, "the `try`")
                self._then(block, lambda node: self._else(node, moved, handler))
            case WrapBody() | InsertElse() | JoinElse():
                self._branch(rewrite, parsed)
            case EnsureImport():
                pass  # decided for the file as a whole
            case _:
                self._suite(rewrite, parsed)

    def _branch(self, rewrite: WrapBody | InsertElse | JoinElse, parsed: ParsedFile) -> None:
        block = parsed.find(rewrite.attempt, cst.Try, "the `try`")
        match rewrite:
            case WrapBody(drop=drop):
                self.suites.drops.update(_statement(parsed, span) for span in drop)
                self._then(block, lambda node: with_body_wrapped(cst.ensure_type(node, cst.Try), rewrite.header, None))
            case InsertElse(code=code):
                self._then(block, lambda node: with_else_code(cst.ensure_type(node, cst.Try), code))
            case JoinElse(statement=statement):
                self.suites.joins[_statement(parsed, statement)] = block

    def _suite(self, rewrite: InsertFirst | InsertBefore | Guard | WrapInWith | WrapInTry, parsed: ParsedFile) -> None:
        match rewrite:
            case InsertFirst(owner, code):
                kinds: tuple[type[cst.CSTNode], ...] = (*_HANDLER, cst.BaseCompoundStatement)
                block = parsed.find(owner, kinds, "the block")
                body = getattr(block, "body", None)
                if not isinstance(body, cst.BaseSuite):
                    raise FixRefused(f"the statement at line {owner.line} has no body")
                self.suites.first[body] = (code, isinstance(block, _DOCUMENTED))
            case InsertBefore(statement, code):
                node = _statement(parsed, statement)
                self.suites.before[node] = self.suites.before.get(node, "") + code.rstrip("\n") + "\n"
            case Guard(statement, test):
                self.suites.guards[_statement(parsed, statement)] = test
            case WrapInTry(after, last, code, drop):
                wrap = Wrap(_statement(parsed, after), _statement(parsed, last), final=code)
                self.suites.wraps.append(wrap)
                self.suites.drops.update(_statement(parsed, span) for span in drop)
            case WrapInWith(first, last, items, drop):
                wrap = Wrap(_statement(parsed, first), _statement(parsed, last), items)
                self.suites.wraps.append(wrap)
                self.suites.drops.update(_statement(parsed, span) for span in drop)

    def _keyword(self, parsed: ParsedFile, call: Span, name: str, value: str, position: int | None) -> None:
        def change(node: cst.CSTNode) -> cst.CSTNode:
            return set_keyword(cst.ensure_type(node, cst.Call), name, value, position, call.line)

        self._then(parsed.find(call, cst.Call, "the call"), change)

    def _else(self, node: cst.CSTNode, moved: AnyStatement, handler: str) -> cst.CSTNode:
        return with_else(cst.ensure_type(node, cst.Try), self.suites.moves[moved], handler)

    def _then(self, node: cst.CSTNode, change: Callable[[cst.CSTNode], cst.CSTNode]) -> None:
        self.nodes.setdefault(node, []).append(change)


def _statement(parsed: ParsedFile, span: Span) -> AnyStatement:
    kinds: tuple[type[AnyStatement], ...] = _STATEMENT
    return parsed.find(span, kinds, "the statement")


class _Pass(cst.CSTTransformer):
    """The one pass over the tree: children first, so that a change sees its node with the changes inside it."""

    def __init__(self, changes: _Changes) -> None:
        super().__init__()
        self._changes = changes
        self._targets = changes.suites.targets()
        self._indents: list[str | None] = [None]

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Called by libcst on the way down; keeps the indentation of the block around."""
        if isinstance(node, cst.IndentedBlock):
            self._indents.append(node.indent)
        return True

    def on_leave(
        self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT
    ) -> cst.CSTNodeT | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNodeT]:
        """Called by libcst on the way up with the node as parsed and as changed so far."""
        if isinstance(original_node, cst.IndentedBlock):
            self._indents.pop()
        node: cst.CSTNode = updated_node
        for change in self._changes.nodes.get(original_node, ()):
            node = change(node)
        if isinstance(original_node, cst.With) and isinstance(node, cst.With):
            node = wrapped(original_node, node, self._changes.items)
        elif isinstance(original_node, cst.EmptyLine | cst.TrailingWhitespace):
            line = self._uncommented(original_node, node)
            if line is None:
                return cst.RemoveFromParent()
            node = line
        elif isinstance(original_node, cst.BaseSuite | cst.Module):
            node = self._suite(original_node, node)
        # libcst's signature wants the class of the node; a suite on one line may become a block.
        return cast("cst.CSTNodeT", node)

    def _uncommented(self, original: cst.EmptyLine | cst.TrailingWhitespace, node: cst.CSTNode) -> cst.CSTNode | None:
        comment = original.comment
        if comment is None or comment not in self._changes.comments:
            return node
        text = self._changes.comments[comment]
        if text:
            return node.with_changes(comment=cst.Comment(text))
        if isinstance(original, cst.EmptyLine):
            return None
        return node.with_changes(comment=None, whitespace=cst.SimpleWhitespace(""))

    def _suite(self, original: cst.BaseSuite | cst.Module, node: cst.CSTNode) -> cst.CSTNode:
        changes = self._changes.suites
        indent = original.indent if isinstance(original, cst.IndentedBlock) else self._indents[-1]
        match original, node:
            case cst.Module(), cst.Module():
                if touched(original, changes, self._targets):
                    body, carried = edited(original, node, changes, indent)
                    node = node.with_changes(body=body or [pass_line()], footer=(*carried, *node.footer))
                if self._changes.imports:
                    old = cast("list[Statement]", node.body)
                    node = node.with_changes(body=add_imports(old, self._changes.imports))
            case cst.IndentedBlock(), cst.IndentedBlock() if touched(original, changes, self._targets):
                body, carried = edited(original, node, changes, indent)
                if not body:
                    return node.with_changes(body=[pass_line(carried)])
                return node.with_changes(body=body, footer=(*carried, *node.footer))
            case cst.SimpleStatementSuite(), cst.SimpleStatementSuite() if touched(original, changes, self._targets):
                body, _ = edited(original, node, changes, indent)
                # The comment of the line may silence a finding of the header, so it stays with the header.
                return cst.IndentedBlock(body or [pass_line()], header=node.trailing_whitespace, indent=indent)
        return node


def _replaced(node: cst.CSTNode, text: str) -> cst.CSTNode:
    """The new expression inside the parentheses of the old one, which its span does not cover."""
    new = expression(text)
    if not isinstance(node, cst.BaseExpression):
        raise TypeError(f"not an expression: {node!r}")
    return new.with_changes(lpar=(*node.lpar, *new.lpar), rpar=(*new.rpar, *node.rpar))


def _retyped(node: cst.CSTNode, text: str) -> cst.CSTNode:
    if not isinstance(node, _HANDLER):
        raise TypeError(f"not a handler: {node!r}")
    name = node.name
    if name is not None and not _is_space(name.whitespace_before_as):
        name = name.with_changes(whitespace_before_as=_BLANK)
    space = node.whitespace_after_except if _is_space(node.whitespace_after_except) else _BLANK
    return node.with_changes(type=expression(text), name=name, whitespace_after_except=space)


def _is_space(space: cst.BaseParenthesizableWhitespace) -> bool:
    return not space.empty
