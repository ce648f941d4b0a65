"""The gate for names: what new code reads is sure to be bound where it stands, and to mean one thing."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from dbsafety.fix.tree import bound_by
from dbsafety.model.faults import FixRefused

_Scope: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_IMPORTS = (ast.Import, ast.ImportFrom)


@dataclass(slots=True)
class _Names:
    """The names of one body: where each is read, what binds it, and which are declared to be of another scope.

    `nothing` are the binders (by `id`) that bind None, as in `except ImportError: psycopg2 = None`.
    """

    node: _Scope
    outer: _Names | None
    reads: dict[str, list[int]] = field(default_factory=dict)
    binders: dict[str, list[ast.AST]] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    nothing: set[int] = field(default_factory=set)
    has_star: bool = False


def require_bound(old: ast.Module, new: ast.Module) -> None:
    """Raises FixRefused when a body of `new` reads a name more often than that of `old`, and the name may not be bound.

    Typical are an import for type checkers only, one that comes later, and a name that is assigned something else. A
    name that the file binds nowhere is not this gate's business: something else puts it there.
    """
    bodies = _bodies(new)
    shared = {name for body in bodies for name in body.elsewhere}
    doubtful = {name for node in ast.walk(new) for name in bound_by(node)} - vars(builtins).keys() - shared
    for before, after in zip(_bodies(old), bodies, strict=True):
        for name, lines in after.reads.items():
            if len(lines) <= len(before.reads.get(name, ())):
                continue
            if not _is_sure(name, lines[0], after) and name in doubtful:
                raise FixRefused(f"the name {name}, which the fix reads at line {lines[0]}, is not bound there")


def _bodies(tree: ast.Module) -> list[_Names]:
    """The module and every class and function in it, in the order of the text, which no fix changes."""
    found: list[_Names] = []
    waiting: list[tuple[_Scope, _Names | None]] = [(tree, None)]
    while waiting:
        names = _Names(*waiting.pop())
        found.append(names)
        inner = list(_gathered(names))
        waiting.extend((node, names) for node in reversed(inner))
    return found


def _gathered(names: _Names) -> Iterator[_Scope]:
    """Fill in the names of a body; yields the scopes directly inside it."""
    body = names.node
    if not isinstance(body, ast.Module | ast.ClassDef):
        for argument in ast.walk(body.args):
            if isinstance(argument, ast.arg):
                names.binders.setdefault(argument.arg, []).append(argument)
    waiting: list[ast.AST] = list(reversed(body.body))
    while waiting:
        node = waiting.pop()
        for name in bound_by(node):
            names.binders.setdefault(name or "", []).append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
            waiting.extend(reversed(_outside(node)))
        elif isinstance(node, ast.If) and _is_for_types(node):
            waiting.extend(reversed(node.orelse))
        else:
            _note(node, names)
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def _note(node: ast.AST, names: _Names) -> None:
    """What a node says of names besides binding them."""
    match node:
        case ast.Name(id=name, ctx=ast.Load()):
            names.reads.setdefault(name, []).append(node.lineno)
        case ast.Global(names=declared) | ast.Nonlocal(names=declared):
            names.elsewhere.update(declared)
        case ast.ExceptHandler(body=body):
            assigns = (inner for inner in body if isinstance(inner, ast.Assign))
            nothing = (inner for inner in assigns if ast.unparse(inner.value) == "None")
            names.nothing.update(id(target) for inner in nothing for target in inner.targets)
        case ast.ImportFrom(names=[ast.alias(name="*")]):
            names.has_star = True


def _is_for_types(node: ast.If) -> bool:
    """`if TYPE_CHECKING:`, whose body never runs."""
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _outside(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[ast.expr]:
    """What a definition evaluates in the body it stands in."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
    defaults = (one for one in (*node.args.defaults, *node.args.kw_defaults) if one is not None)
    return [*node.decorator_list, *defaults]


def _is_sure(name: str, line: int, names: _Names) -> bool:
    """Whether a body around the line binds the name. Raises FixRefused when it does so too late or in two ways."""
    body: _Names | None = names
    while body is not None:
        hidden = body is not names and isinstance(body.node, ast.ClassDef)
        if name in body.binders and not hidden and name not in body.elsewhere:
            _require_one_way(name, line, body, in_order=body is names)
            return True
        if body.has_star:
            return True
        body = body.outer
    return False


def _require_one_way(name: str, line: int, body: _Names, *, in_order: bool) -> None:
    """`in_order` tells whether an import must come before the line: both run as the same body."""
    binders = body.binders[name]
    imports = [node.lineno for node in binders if isinstance(node, _IMPORTS)]
    others = [node for node in binders if not isinstance(node, _IMPORTS) and id(node) not in body.nothing]
    if imports and others:
        at = getattr(others[0], "lineno", 0)
        raise FixRefused(f"the name {name}, which the fix reads at line {line}, means something else at line {at}")
    if imports and in_order and min(imports) > line:
        raise FixRefused(
            f"the name {name}, which the fix reads at line {line}, is imported only at line {min(imports)}"
        )
