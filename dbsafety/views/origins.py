"""Which call of the outside world made the object that an expression means, told from its bindings."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from dbsafety.facts.scopes import Binding, BindKind, Scope
from dbsafety.typestate.attributes import ancestry
from dbsafety.typestate.values import External, Instance
from dbsafety.views.view import FunctionView

_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Origin:
    """The dotted name of what was called or meant, and the call, None where the name itself is meant.

    `dotted` holds the attributes taken since: `openai.OpenAI.chat.completions` for `client.chat.completions`.
    """

    dotted: str
    call: ast.Call | None


def origins(view: FunctionView, node: ast.expr, scope: Scope | None = None, depth: int = _DEPTH) -> list[Origin]:
    """Where the value of `node` comes from, as far as it comes from outside the project."""
    place = scope or view.scope
    known = {value.dotted for value in view.resolver.evaluate(node, place) if isinstance(value, External)}
    if known or depth == 0:
        return [Origin(dotted, None) for dotted in sorted(known)]
    match node:
        case ast.Call(func=func):
            return [Origin(found.dotted, node) for found in origins(view, func, place, depth - 1)]
        case ast.Await(value=value):
            return origins(view, value, place, depth - 1)
        case ast.Name(id=name):
            owner = place.find(name)
            return _bound(view, owner.bindings[name] if owner is not None else [], depth)
        case ast.Attribute(value=value, attr=attr):
            kept = _kept(view, value, attr, place, depth)
            inner = [] if kept else origins(view, value, place, depth - 1)
            return kept or [Origin(f"{found.dotted}.{attr}", found.call) for found in inner]
    return []


def _kept(view: FunctionView, value: ast.expr, attr: str, scope: Scope, depth: int) -> list[Origin]:
    """What is kept in the attribute of an instance of the project."""
    found: list[Origin] = []
    for owner in view.resolver.evaluate(value, scope):
        if isinstance(owner, Instance):
            for base in ancestry(view.resolver, owner.info):
                bindings = [*base.attributes.get(attr, ()), *base.scope.bindings.get(attr, ())]
                found.extend(_bound(view, bindings, depth))
    return found


def _bound(view: FunctionView, bindings: list[Binding], depth: int) -> list[Origin]:
    values = (b for b in bindings if b.kind in (BindKind.VALUE, BindKind.WITH) and not b.path and b.value is not None)
    found = (o for b in values if b.value is not None for o in origins(view, b.value, b.scope, depth - 1))
    return list(dict.fromkeys(found))
