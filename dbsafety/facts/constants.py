"""Text a rule can see: the constant value of an expression, with `{}` where a part is unknown."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from dbsafety.facts.scopes import BindKind, Scope

HOLE = "{}"
"""Stands for a part of a text that is only known at run time."""

_DEPTH = 12
_TRANSPARENT = frozenset({"SQL", "text", "dedent", "cleandoc", "format", "strip", "join", "Composed", "TextClause"})


def text_of(node: ast.expr | None, scope: Scope, depth: int = 0) -> str | None:
    """The text of `node`, None when nothing of it is known.

    Follows names that are bound once, `+`, `%`, f-strings, `str.format`, and wrappers such as `sql.SQL(...)`.
    """
    if node is None or depth > _DEPTH:
        return None
    match node:
        case ast.Constant(value=value):
            return _literal(value)
        case ast.JoinedStr(values=values):
            return "".join(_part(value, scope, depth) for value in values)
        case ast.BinOp(left=left, op=ast.Mod()):
            return text_of(left, scope, depth + 1)
        case ast.BinOp(op=ast.Add()):
            return _sum(node, scope, depth)
        case ast.Name(id=name):
            return _name(name, scope, depth)
        case ast.Attribute(value=ast.Name(id=base), attr=attr):
            return _attribute(base, attr, scope, depth)
        case ast.Call():
            return _call(node, scope, depth)
        case ast.IfExp(body=body, orelse=orelse):
            first, second = text_of(body, scope, depth + 1), text_of(orelse, scope, depth + 1)
            return first if first == second else None
    return None


def _literal(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else None


def _part(value: ast.expr, scope: Scope, depth: int) -> str:
    if isinstance(value, ast.FormattedValue):
        known = text_of(value.value, scope, depth + 1)
        return HOLE if known is None else known
    return text_of(value, scope, depth + 1) or ""


def _sum(node: ast.BinOp, scope: Scope, depth: int) -> str | None:
    parts: list[ast.expr] = []
    current: ast.expr = node
    while isinstance(current, ast.BinOp) and isinstance(current.op, ast.Add):
        parts.append(current.right)
        current = current.left
    parts.append(current)
    if len(parts) > 200:
        return None
    texts = [text_of(part, scope, depth + 1) for part in reversed(parts)]
    if all(text is None for text in texts):
        return None
    return "".join(HOLE if text is None else text for text in texts)


def _name(name: str, scope: Scope, depth: int) -> str | None:
    owner = scope.find(name)
    if owner is None:
        return None
    found = owner.bindings[name]
    values = [b for b in found if b.kind is BindKind.VALUE and not b.path and b.value is not None]
    if not values or len(values) != len([b for b in found if b.kind is not BindKind.OTHER]):
        return None
    texts = {text_of(binding.value, binding.scope, depth + 1) for binding in values}
    return texts.pop() if len(texts) == 1 else _same_head(texts)


def _same_head(texts: Iterable[str | None]) -> str | None:
    """The shared beginning of several texts, so that `SELECT a` and `SELECT b` are still seen as reads."""
    known = [text for text in texts if text is not None]
    if len(known) != len(list(texts)):
        return None
    words = [text.split() for text in known]
    if not all(words) or len({w[0].upper() for w in words}) != 1:
        return None
    return f"{words[0][0]} {HOLE}"


def _attribute(base: str, attr: str, scope: Scope, depth: int) -> str | None:
    function: Scope | None = scope
    while function is not None and function.kind != "class":
        function = function.parent
    if function is None or base not in ("self", "cls"):
        return None
    bindings = function.bindings.get(attr, [])
    return text_of(bindings[0].value, function, depth + 1) if len(bindings) == 1 else None


def _call(node: ast.Call, scope: Scope, depth: int) -> str | None:
    match node.func:
        case ast.Attribute(value=receiver, attr="format" | "strip" | "replace" | "lstrip" | "rstrip"):
            return text_of(receiver, scope, depth + 1)
        case ast.Attribute(attr=name) | ast.Name(id=name) if name in _TRANSPARENT and node.args:
            return text_of(node.args[0], scope, depth + 1)
    return None
