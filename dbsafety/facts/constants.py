"""Text a rule can see: the constant value of an expression, with `{}` where a part is unknown."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from dbsafety.facts.formatting import HOLE, braces, joined, percent
from dbsafety.facts.reaching import reaching
from dbsafety.facts.scopes import Binding, BindKind, ClassInfo, Scope

__all__ = ["HOLE", "text_of"]

_DEPTH = 12
# What a name with several values costs of the depth: without it a chain `x = x.replace(...)` in branches takes
# as many steps as there are ways through it.
_FORK = 5
_TRANSPARENT = frozenset({"SQL", "text", "dedent", "cleandoc", "format", "strip", "TextClause"})


def text_of(node: ast.expr | None, scope: Scope, depth: int = 0) -> str | None:
    """The text of `node`, None when nothing of it is known.

    Follows names to what they are bound to where they stand, attributes of `self`, `+`, `+=`, `%`, f-strings,
    `str.format`, `join` of a written-out list, `str()`, and wrappers such as `sql.SQL(...)`, whose identifiers it
    quotes.
    """
    if node is None or depth > _DEPTH:
        return None
    match node:
        case ast.Constant(value=value):
            return _literal(value)
        case ast.JoinedStr(values=values):
            return "".join(_part(value, scope, depth) for value in values)
        case ast.BinOp(left=left, op=ast.Mod(), right=right):
            return _percent(text_of(left, scope, depth + 1), right, scope, depth)
        case ast.BinOp(op=ast.Add()):
            return _sum(node, scope, depth)
        case ast.Name():
            return _name(node, scope, depth)
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


def _texts(nodes: Iterable[ast.expr], scope: Scope, depth: int) -> list[str | None]:
    return [text_of(node, scope, depth + 1) for node in nodes]


def _percent(text: str | None, right: ast.expr, scope: Scope, depth: int) -> str | None:
    if text is None:
        return None
    match right:
        case ast.Tuple(elts=elements):
            return percent(text, _texts(elements, scope, depth), {})
        case ast.Dict(keys=keys, values=values):
            names = [key.value if isinstance(key, ast.Constant) else None for key in keys]
            known = zip(names, _texts(values, scope, depth), strict=True)
            return percent(text, (), {name: value for name, value in known if isinstance(name, str)})
    return percent(text, [text_of(right, scope, depth + 1)], {})


def _sum(node: ast.BinOp, scope: Scope, depth: int) -> str | None:
    parts: list[ast.expr] = []
    current: ast.expr = node
    while isinstance(current, ast.BinOp) and isinstance(current.op, ast.Add):
        parts.append(current.right)
        current = current.left
    parts.append(current)
    if len(parts) > 200:
        return None
    texts = _texts(reversed(parts), scope, depth)
    return joined("", texts) if any(text is not None for text in texts) else None


def _name(node: ast.Name, scope: Scope, depth: int) -> str | None:
    owner = scope.find(node.id)
    if owner is None:
        return None
    found = reaching(owner, node.id, node if owner is scope else None)
    if len(found) == 1 and isinstance(found[0].node, ast.AugAssign):
        return _grown(found[0].node, scope, depth)
    values = [b for b in found if b.kind is BindKind.VALUE and not b.path and b.value is not None]
    if not values or len(values) != len([b for b in found if b.kind is not BindKind.OTHER]):
        return None
    below = depth + (1 if len(values) == 1 else _FORK)
    texts = {text_of(binding.value, binding.scope, below) for binding in values}
    text = texts.pop() if len(texts) == 1 else _same_head(texts)
    grows = any(isinstance(binding.node, ast.AugAssign) for binding in found)
    return f"{text} {HOLE}" if grows and text is not None else text


def _grown(node: ast.AugAssign, scope: Scope, depth: int) -> str | None:
    """What the variable holds after `name += value`."""
    if not isinstance(node.target, ast.Name) or not isinstance(node.op, ast.Add):
        return None
    before = _name(node.target, scope, depth + 1)
    return None if before is None else joined("", [before, text_of(node.value, scope, depth + 1)])


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
    """The only text that the class, or one of its methods, gives the attribute."""
    if base not in ("self", "cls"):
        return None
    bindings: Sequence[Binding] = ()
    place: Scope | None = scope
    while place is not None and not bindings:
        if place.kind == "class":
            bindings = place.bindings.get(attr, ())
        cls: ClassInfo | None = place.function.cls if place.function is not None else None
        if cls is not None and not bindings:
            bindings = (*cls.scope.bindings.get(attr, ()), *cls.attributes.get(attr, ()))
        place = place.parent
    values = [binding for binding in bindings if binding.kind is BindKind.VALUE and not binding.path]
    texts = {text_of(binding.value, binding.scope, depth + 1) for binding in values}
    return texts.pop() if len(texts) == 1 and len(values) == len(bindings) else None


def _call(node: ast.Call, scope: Scope, depth: int) -> str | None:
    match node.func:
        case ast.Attribute(value=receiver, attr="format"):
            return _formatted(text_of(receiver, scope, depth + 1), node, scope, depth)
        case ast.Attribute(value=receiver, attr="strip" | "replace" | "lstrip" | "rstrip"):
            return text_of(receiver, scope, depth + 1)
        case ast.Attribute(value=receiver, attr="join") if len(node.args) == 1:
            return _list(node.args[0], text_of(receiver, scope, depth + 1), scope, depth)
        case ast.Attribute(attr="Composed") | ast.Name(id="Composed") if len(node.args) == 1:
            return _list(node.args[0], "", scope, depth)
        case ast.Attribute(attr="Identifier") | ast.Name(id="Identifier"):
            return ".".join(f'"{HOLE if part is None else part}"' for part in _texts(node.args, scope, depth))
        case ast.Attribute(attr="Literal" | "Placeholder") | ast.Name(id="Literal" | "Placeholder"):
            return "%s"
        case ast.Name(id="str") if len(node.args) == 1 and not node.keywords:
            return text_of(node.args[0], scope, depth + 1)
        case ast.Attribute(attr=name) | ast.Name(id=name) if name in _TRANSPARENT and node.args:
            return text_of(node.args[0], scope, depth + 1)
    return None


def _formatted(text: str | None, node: ast.Call, scope: Scope, depth: int) -> str | None:
    if text is None:
        return None
    whole = not any(isinstance(argument, ast.Starred) for argument in node.args)
    parts = _texts(node.args, scope, depth) if whole else []
    named = {keyword.arg: text_of(keyword.value, scope, depth + 1) for keyword in node.keywords if keyword.arg}
    return braces(text, parts, named)


def _list(node: ast.expr, separator: str | None, scope: Scope, depth: int) -> str | None:
    """The elements of a list or tuple that is written out, joined."""
    if not isinstance(node, ast.List | ast.Tuple) or any(isinstance(part, ast.Starred) for part in node.elts):
        return None
    return joined(separator, _texts(node.elts, scope, depth))
