"""Containers: what is put into them, unpacked from them and asked of them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

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
        values = union(_at(value, position) for value in values)
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
        return union(value.items)
    return value.inner if isinstance(value, Elements) else EMPTY


def flat(values: Iterable[Value]) -> Iterator[Value]:
    """The values with tuples replaced by what they hold; a tuple stays for an element of which nothing is known."""
    for value in values:
        if isinstance(value, Items):
            yield from (inner for element in value.items for inner in (element or (value,)))
        else:
            yield value


def shallow(values: frozenset[Value], depth: int) -> frozenset[Value]:
    """The values with one container of each shape, nested at most `depth` deep: of what lies deeper nothing is known.

    Without either bound `row = [row, other]` in a loop would have more and more values.
    """
    found: set[Value] = {value for value in values if not isinstance(value, Items | Elements)}
    if len(found) == len(values):
        return values
    shapes: dict[int, list[Items]] = {}
    for value in values:
        if isinstance(value, Items):
            shapes.setdefault(len(value.items), []).append(value)
    for same in shapes.values():
        parts = zip(*(value.items for value in same), strict=True)
        found.add(Items(tuple(_inside(part, depth) for part in parts)))
    inner = [value.inner for value in values if isinstance(value, Elements)]
    if inner:
        found.add(Elements(_inside(inner, depth)))
    return frozenset(found)


def _inside(sets: Iterable[frozenset[Value]], depth: int) -> frozenset[Value]:
    return shallow(union(sets), depth - 1) if depth else EMPTY


def union(sets: Iterable[frozenset[Value]]) -> frozenset[Value]:
    """All values of the sets."""
    return frozenset().union(*sets)
