"""Containers: what is put into them, unpacked from them and asked of them."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from dbsafety.facts.scopes import Binding
from dbsafety.typestate.values import EMPTY, Elements, Evaluator, Handle, Items, Value, from_other_module


def filled(resolver: Evaluator, members: Iterable[Binding]) -> frozenset[Value]:
    """A container with what is put into it, as far as that is a handle."""
    values = (v for member in members for v in resolver.evaluate(member.value, member.scope))
    inner = frozenset(from_other_module(v) for v in values if isinstance(v, Handle))
    return frozenset((Elements(inner),)) if inner else EMPTY


def unpack(values: frozenset[Value], path: tuple[int, ...]) -> frozenset[Value]:
    """What stands at `path` (indices, outermost first) in each of the values."""
    for position in path:
        values = _union(_at(value, position) for value in values)
    return values


def _at(value: Value, position: int) -> frozenset[Value]:
    if isinstance(value, Items):
        return value.items[position] if position < len(value.items) else EMPTY
    return value.inner if isinstance(value, Elements) else EMPTY


def item(base: Value, index: ast.expr) -> frozenset[Value]:
    """What `base[index]` may be."""
    match base, index:
        case Items(items=items), ast.Constant(value=int() as position) if -len(items) <= position < len(items):
            return items[position]
        case Items(), _:
            return elements_of(base)
        case Elements(inner=inner), _:
            return inner
    return EMPTY


def elements_of(value: Value) -> frozenset[Value]:
    """What iterating over the value may give."""
    if isinstance(value, Items):
        return _union(value.items)
    return value.inner if isinstance(value, Elements) else EMPTY


def shallow(values: frozenset[Value], depth: int) -> frozenset[Value]:
    """The values, with containers nested at most `depth` deep: of what lies deeper nothing is known.

    Without a bound `row = [row]` in a loop would have more and more values.
    """
    if not any(isinstance(value, Items | Elements) for value in values):
        return values
    return frozenset(_shallow(value, depth) for value in values)


def _shallow(value: Value, depth: int) -> Value:
    match value:
        case Items(items=items):
            return Items(tuple(shallow(inner, depth - 1) if depth else EMPTY for inner in items))
        case Elements(inner=inner):
            return Elements(shallow(inner, depth - 1) if depth else EMPTY)
    return value


def _union(sets: Iterable[frozenset[Value]]) -> frozenset[Value]:
    return frozenset().union(*sets)
