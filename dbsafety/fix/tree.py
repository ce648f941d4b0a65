"""Finds the nodes of the syntax tree that a plan names by their spans, and the imports a plan lacks."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TypeAlias, TypeVar

from dbsafety.model.faults import FixRefused
from dbsafety.model.rewrite import DeleteComment, EnsureImport, FixPlan, Rewrite, WrapBody, WrapInTry, WrapInWith
from dbsafety.model.span import Span

Located: TypeAlias = ast.stmt | ast.expr | ast.ExceptHandler
Node = TypeVar("Node", ast.stmt, ast.expr, ast.Call, ast.ExceptHandler)


class TreeIndex:
    """The nodes of a tree by span. The tree may be changed in place afterwards; the index keeps its nodes."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self._nodes: dict[Span, list[Located]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt | ast.expr | ast.ExceptHandler):
                self._nodes.setdefault(Span.of(node), []).append(node)

    def find(self, span: Span, kind: type[Node], what: str) -> Node:
        """The one node of this kind at exactly this span. Raises FixRefused when there is none or more than one."""
        found = [node for node in self._nodes.get(span, ()) if isinstance(node, kind)]
        if len(found) != 1:
            raise FixRefused(f"{what} at line {span.line} is not found exactly once")
        return found[0]

    def owner(self, span: Span) -> ast.ExceptHandler | ast.stmt:
        """The handler or compound statement at this span. Raises FixRefused as `find` does."""
        handlers = [node for node in self._nodes.get(span, ()) if isinstance(node, ast.ExceptHandler)]
        if handlers:
            return self.find(span, ast.ExceptHandler, "the handler")
        return self.find(span, ast.stmt, "the block")


def suite_of(owner: ast.ExceptHandler | ast.stmt) -> list[ast.stmt]:
    """The first suite of a handler or compound statement. Raises FixRefused for a statement without one."""
    body = getattr(owner, "body", None)
    if not isinstance(body, list):
        raise FixRefused(f"the statement at line {owner.lineno} has no body")
    return body


def suites(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """Every list of statements in the tree."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            value = getattr(node, name, None)
            if isinstance(value, list):
                yield value


def first_line(node: ast.stmt | ast.ExceptHandler) -> int:
    """The line a statement starts on, its decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min(node.lineno, *(one.lineno for one in decorators)) if decorators else node.lineno


def is_docstring(node: ast.stmt) -> bool:
    """Whether the statement is a lone string, which is a docstring when it comes first."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def missing_imports(tree: ast.Module, plans: Iterable[FixPlan]) -> tuple[EnsureImport, ...]:
    """The imports that the plans ask for and the module does not make before their first change.

    Raises FixRefused when the name that an import binds, or would bind, means something else anywhere in the module.
    """
    missing: dict[EnsureImport, None] = {}
    for plan in plans:
        wanted = [rewrite for rewrite in plan.rewrites if isinstance(rewrite, EnsureImport)]
        changed = min((span.line for rewrite in plan.rewrites for span in spans_of(rewrite)), default=1)
        for item in wanted:
            _require_free(tree, item)
            if not any(node.lineno < changed and _binds(node, item) for node in tree.body):
                missing[item] = None
    return tuple(missing)


def spans_of(rewrite: Rewrite) -> tuple[Span, ...]:
    """Every span a rewrite names."""
    if isinstance(rewrite, EnsureImport):
        return ()
    if isinstance(rewrite, WrapInWith):
        return (rewrite.first, rewrite.last, *rewrite.drop)
    if isinstance(rewrite, WrapInTry):
        return (rewrite.after, rewrite.last, *rewrite.drop)
    if isinstance(rewrite, WrapBody):
        return (rewrite.attempt, *rewrite.drop)
    if isinstance(rewrite, DeleteComment):
        return (rewrite.span,)
    for name in ("span", "handler", "call", "owner", "statement", "attempt"):
        span = getattr(rewrite, name, None)
        if isinstance(span, Span):
            return (span,)
    raise TypeError(f"unknown rewrite {rewrite!r}")


def _binds(node: ast.stmt, item: EnsureImport) -> bool:
    """Whether the import statement makes `item` available under its own name."""
    match node:
        case ast.Import(names=names) if not item.name:
            own = [alias.name for alias in names if alias.asname in (None, alias.name)]
            return any(f"{name}.".startswith(f"{item.module}.") for name in own)
        case ast.ImportFrom(module=item.module, names=names, level=0) if item.name:
            return any(alias.name == item.name and alias.asname in (None, item.name) for alias in names)
        case _:
            return False


def bound_name(item: EnsureImport) -> str:
    """The name an import binds."""
    return item.name or item.module.split(".")[0]


def _require_free(tree: ast.Module, item: EnsureImport) -> None:
    name = bound_name(item)
    for node in ast.walk(tree):
        if name in bound_by(node) and not (isinstance(node, ast.stmt) and _binds(node, item)):
            line = getattr(node, "lineno", 1)
            raise FixRefused(f"the name {name}, which the fix needs to import, means something else at line {line}")


def bound_by(node: ast.AST) -> tuple[str | None, ...]:
    """The names that a node itself binds, not what is inside it."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            return (name,)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return (name,)
        case ast.ExceptHandler(name=name) | ast.MatchAs(name=name) | ast.MatchStar(name=name):
            return (name,)
        case ast.MatchMapping(rest=name):
            return (name,)
        case ast.Import(names=names):
            return tuple(alias.asname or alias.name.split(".")[0] for alias in names)
        case ast.ImportFrom(names=names):
            return tuple(alias.asname or alias.name for alias in names)
        case _:
            return ()
