"""What the syntax tree must be after a plan: the rewrites done a second time, on `ast`, to compare the text with.

This is the gate "equal outside the edits", made stricter: inside them the tree must be what the plan says, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from dbsafety.fix.tree import TreeIndex, is_docstring, suite_of, suites
from dbsafety.model.faults import FixRefused
from dbsafety.model.rewrite import (
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


def difference(old: ast.Module, plans: Sequence[FixPlan], imports: Iterable[EnsureImport], new: ast.Module) -> str:
    """Why `new` is not what the plans and the added `imports` make of `old`; "" when it is.

    Changes `old` and `new` in place. Raises FixRefused when a span names no node. `pass` does not count: a suite
    that gets its first statement loses it and one that loses its last statement gets it.
    """
    _Rewriter(old).apply(plans)
    _without_pass(old)
    _without_pass(new)
    expected, found = list(_items(old)), list(_items(new))
    for item in imports:
        added = ("import", item.module, item.name, "", "0")
        if added not in found:
            return f"the import of {item.module} did not arrive"
        found.remove(added)
    if expected == found:
        return ""
    at = next((n for n, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), -1)
    return f"the changed code is not what was planned (top-level statement {at + 1})"


class _Rewriter:
    """Does rewrites in an order in which no rewrite takes the target of another away."""

    def __init__(self, tree: ast.Module) -> None:
        self._index = TreeIndex(tree)
        self._tree = tree
        self._replacements: dict[ast.expr, ast.expr] = {}
        self._suites = {id(statement): suite for suite in suites(tree) for statement in suite}

    def apply(self, plans: Sequence[FixPlan]) -> None:
        """Carry out every rewrite. The index still knows all nodes by the spans they had in the beginning."""
        rewrites = [rewrite for plan in plans for rewrite in plan.rewrites]
        wraps = sorted((one for one in rewrites if isinstance(one, WrapInWith | WrapInTry)), key=_place_of)
        for rewrite in rewrites:
            self._expression(rewrite)
        for kind in (InsertFirst, InsertBefore):
            for rewrite in rewrites:
                if isinstance(rewrite, kind):
                    self._insert(rewrite)
        for wrap in wraps:
            self._wrap(wrap)
        for rewrite in rewrites:
            if isinstance(rewrite, Guard):
                self._guard(rewrite)
        drops = (one.drop for one in rewrites if isinstance(one, WrapInWith | WrapInTry | WrapBody))
        for span in (span for drop in drops for span in drop):
            suite, at = self._place(self._index.find(span, ast.stmt, "the statement to drop"))
            del suite[at]
        for rewrite in rewrites:
            self._branch(rewrite)
        _Replacer(self._replacements).visit(self._tree)

    def _expression(self, rewrite: Rewrite) -> None:
        match rewrite:
            case ReplaceExpression(span, text):
                self._replacements[self._index.find(span, ast.expr, "the expression")] = _expression(text)
            case SetHandlerType(handler, text):
                self._index.find(handler, ast.ExceptHandler, "the handler").type = _expression(text)
            case SetKeyword(call, name, value, position):
                set_keyword(self._index.find(call, ast.Call, "the call"), name, _expression(value), position)
            case WrapItem(span, function, then):
                wrap_item(self._tree, self._index.find(span, ast.expr, "the expression"), function, then)

    def _insert(self, rewrite: InsertFirst | InsertBefore) -> None:
        match rewrite:
            case InsertFirst(owner, code):
                block = self._index.owner(owner)
                body = suite_of(block)
                at = 1 if isinstance(block, _DOCUMENTED) and is_docstring(body[0]) else 0
                body[at:at] = ast.parse(code).body
            case InsertBefore(statement, code):
                suite, at = self._place(self._index.find(statement, ast.stmt, "the statement"))
                suite[at:at] = ast.parse(code).body

    def _move(self, rewrite: MoveToElse) -> None:
        attempt = self._index.find(rewrite.attempt, ast.stmt, "the `try`")
        statement = self._index.find(rewrite.statement, ast.stmt, "the statement")
        suite, at = self._place(statement)
        if not isinstance(attempt, ast.Try) or suite is not attempt.finalbody or attempt.orelse:
            raise FixRefused(f"the statement at line {statement.lineno} is not in a `finally` without `else`")
        del suite[at]
        attempt.orelse.append(statement)
        if rewrite.handler:
            parsed = ast.parse(f"try:\n    pass\n{rewrite.handler}").body[0]
            attempt.handlers.extend(parsed.handlers if isinstance(parsed, ast.Try) else ())

    def _branch(self, rewrite: Rewrite) -> None:
        match rewrite:
            case MoveToElse():
                self._move(rewrite)
            case InsertElse(attempt, code):
                self._try(attempt).orelse[0:0] = ast.parse(code).body
            case JoinElse(attempt, statement):
                block = self._try(attempt)
                suite, at = self._place(self._index.find(statement, ast.stmt, "the statement"))
                if not at or suite[at - 1] is not block:
                    raise FixRefused("the statement to move does not come right behind its `try`")
                block.orelse.append(suite.pop(at))
            case WrapBody(attempt):
                block = self._try(attempt)
                wrapper = ast.parse(f"{rewrite.header} pass").body[0]
                suite_of(wrapper)[:] = block.body
                block.body[:] = [wrapper]

    def _try(self, span: Span) -> ast.Try:
        node = self._index.find(span, ast.stmt, "the `try`")
        if not isinstance(node, ast.Try):
            raise FixRefused(f"there is no `try` at line {span.line}")
        return node

    def _guard(self, rewrite: Guard) -> None:
        node = self._index.find(rewrite.statement, ast.stmt, "the statement")
        suite, at = self._place(node)
        suite[at] = ast.If(_expression(rewrite.test), [node], [])

    def _wrap(self, rewrite: WrapInWith | WrapInTry) -> None:
        first = self._index.find(_place_of(rewrite), ast.stmt, "the first statement")
        last = self._index.find(rewrite.last, ast.stmt, "the last statement")
        suite, start = self._place(first)
        end = next((at for at, node in enumerate(suite) if node is last), -1)
        if end < start:
            raise FixRefused(f"lines {first.lineno} and {last.lineno} are not in this order in one block")
        header = f"with {rewrite.items}: pass" if isinstance(rewrite, WrapInWith) else "try: pass\nfinally: pass"
        block = ast.parse(header).body[0]
        body = suite_of(block)
        body[:] = suite[start + 1 : end + 1]
        self._suites.update({id(node): body for node in body})
        if isinstance(block, ast.Try) and isinstance(rewrite, WrapInTry):
            block.finalbody = ast.parse(rewrite.code).body
            suite[start + 1 : end + 1] = [block]
        else:
            suite[start : end + 1] = [block]

    def _place(self, node: ast.stmt) -> tuple[list[ast.stmt], int]:
        suite = self._suites[id(node)]
        for at, statement in enumerate(suite):
            if statement is node:
                return suite, at
        raise FixRefused(f"two changes meet at line {node.lineno}")


def _place_of(wrap: WrapInWith | WrapInTry) -> Span:
    return wrap.first if isinstance(wrap, WrapInWith) else wrap.after


_DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class _Replacer(ast.NodeTransformer):
    def __init__(self, replacements: dict[ast.expr, ast.expr]) -> None:
        self._replacements = replacements

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and node in self._replacements:
            return self._replacements[node]
        return self.generic_visit(node)


def set_keyword(call: ast.Call, name: str, value: ast.expr, position: int | None) -> None:
    """Change the call in place as `SetKeyword` says. Raises FixRefused when `*` may already fill the position."""
    for keyword in call.keywords:
        if keyword.arg == name:
            keyword.value = value
            return
    if position is not None:
        if any(isinstance(argument, ast.Starred) for argument in call.args[: position + 1]):
            raise FixRefused(f"`*` may already pass {name} in the call at line {call.lineno}")
        if position < len(call.args):
            call.args[position] = value
            return
    call.keywords.append(ast.keyword(name, value))


def wrap_item(tree: ast.Module, entered: ast.expr, function: str, then: str) -> None:
    """Change the `with` statement that enters the expression in place as `WrapItem` says.

    Raises FixRefused when no item of a `with` statement is that expression.
    """
    for block in ast.walk(tree):
        if not isinstance(block, ast.With | ast.AsyncWith):
            continue
        for at, item in enumerate(block.items):
            if item.context_expr is entered:
                item.context_expr = ast.Call(_expression(function), [entered], [])
                block.items.insert(at + 1, ast.withitem(_expression(then)))
                return
    raise FixRefused(f"no `with` enters the expression at line {entered.lineno}")


def _expression(text: str) -> ast.expr:
    return ast.parse(f"({text})", mode="eval").body


def _without_pass(tree: ast.Module) -> None:
    for suite in suites(tree):
        suite[:] = [node for node in suite if not isinstance(node, ast.Pass)]


def _items(tree: ast.Module) -> Iterator[tuple[str, ...]]:
    """The module's statements, each import of a name on its own."""
    for node in tree.body:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield ("import", alias.name, "", alias.asname or "", "0")
            case ast.ImportFrom(module=module, names=names, level=level):
                for alias in names:
                    yield ("import", module or "", alias.name, alias.asname or "", str(level))
            case _:
                yield (ast.dump(node),)
