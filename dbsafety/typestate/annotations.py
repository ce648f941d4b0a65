"""Handles told by annotations: classes of drivers and of the project, also quoted, optional and in unions."""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import cache

from dbsafety.facts.scopes import Scope
from dbsafety.typestate.values import EMPTY, Class, Elements, Evaluator, External, Handle, Instance, Key, Mode, Value

_TRANSPARENT = frozenset({"Optional", "Union", "Annotated", "Final", "ClassVar"})
_CONTAINERS = frozenset(
    {
        "Iterator",
        "Generator",
        "Iterable",
        "AsyncIterator",
        "AsyncGenerator",
        "list",
        "List",
        "Sequence",
        "dict",
        "Dict",
        "deque",
    }
)
_MAX_DEPTH = 6


def annotated(resolver: Evaluator, node: ast.expr | None, scope: Scope, key: Key, depth: int = 0) -> frozenset[Value]:
    """What a thing declared as `node` may be; a handle gets `key`."""
    if node is None or depth > _MAX_DEPTH:
        return EMPTY
    match node:
        case ast.Constant(value=str() as text):
            return annotated(resolver, _quoted(text), scope, key, depth + 1)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return annotated(resolver, left, scope, key, depth + 1) | annotated(resolver, right, scope, key, depth + 1)
        case ast.Subscript(value=value, slice=inner):
            return _subscript(resolver, value, inner, scope, key, depth)
        case ast.Name() | ast.Attribute():
            return _named(resolver, node, scope, key)
    return EMPTY


@cache
def _quoted(text: str) -> ast.expr | None:
    """The expression in quotes, kept for good: the resolver knows expressions by identity."""
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return None


def _subscript(
    resolver: Evaluator, value: ast.expr, inner: ast.expr, scope: Scope, key: Key, depth: int
) -> frozenset[Value]:
    name = value.attr if isinstance(value, ast.Attribute) else value.id if isinstance(value, ast.Name) else ""
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name in _TRANSPARENT:
        found: frozenset[Value] = EMPTY
        for part in parts:
            found |= annotated(resolver, part, scope, key, depth + 1)
        return found
    if name in _CONTAINERS and parts:
        part = parts[-1] if name in ("dict", "Dict") else parts[0]
        return frozenset((Elements(annotated(resolver, part, scope, key, depth + 1)),))
    return _named(resolver, value, scope, key)


def _named(resolver: Evaluator, node: ast.expr, scope: Scope, key: Key) -> frozenset[Value]:
    found: set[Value] = set()
    for value in resolver.evaluate(node, scope):
        if isinstance(value, Class):
            found.add(Instance(value.info))
        elif isinstance(value, External):
            known = resolver.table.handle_class(value.dotted)
            if known is not None:
                driver, kind = known
                mode = Mode.AUTOCOMMIT if driver.default_autocommit else Mode.TRANSACTION
                found.add(Handle(driver.name, kind, key, mode))
    return kept(resolver, frozenset(found), scope) if key.kind == "attr" else frozenset(found)


def kept(resolver: Evaluator, values: frozenset[Value], scope: Scope) -> frozenset[Value]:
    """Declared handles that an object keeps: where the module sends BEGIN as text, they may commit by themselves."""
    drivers = {v.driver for v in values if isinstance(v, Handle) and resolver.table.driver(v.driver).keeps_lock}
    if not drivers or not _begins(scope):
        return values
    return frozenset(
        replace(value, mode=Mode.UNKNOWN) if isinstance(value, Handle) and value.driver in drivers else value
        for value in values
    )


def _begins(scope: Scope) -> bool:
    """Whether the module sends BEGIN as text."""
    body = scope.module_scope().function
    texts = (
        call.args[0] for info in (body.module.functions if body is not None else ()) for call in info.calls if call.args
    )
    return any(
        isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value.lstrip()[:6].upper() == "BEGIN "
        for text in texts
    )
