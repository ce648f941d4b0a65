"""Handles told by how they are used: a name in a `try` whose handler names a driver's error class."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from dbsafety.drivers.spec import DriverSpec, Effect, HandleKind
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.model.finding import Confidence
from dbsafety.typestate.values import EMPTY, Evaluator, External, Handle, Items, Key, Mode, Value


def by_handlers(resolver: Evaluator, function: FunctionInfo, name: str, key: Key) -> frozenset[Value]:
    """What the otherwise unknown variable `name` must be, since the errors of a driver are expected of its statements.

    Only a name that executes something in the body of such a `try` is taken for a handle.
    """
    for attempt in function.tries:
        for driver in _drivers(resolver, attempt, function):
            kind = _kind(attempt, name, driver)
            if kind is not None:
                mode = Mode.AUTOCOMMIT if driver.default_autocommit else Mode.TRANSACTION
                return frozenset((Handle(driver.name, kind, key, mode, Confidence.MEDIUM),))
    return EMPTY


def _drivers(resolver: Evaluator, attempt: ast.Try, function: FunctionInfo) -> Iterator[DriverSpec]:
    for handler in attempt.handlers:
        if handler.type is None:
            continue
        for dotted in _classes(resolver.evaluate(handler.type, function.scope)):
            found = resolver.table.error(dotted)
            if found is not None and not found[0].is_async:
                yield found[0]


def _classes(values: frozenset[Value]) -> Sequence[str]:
    """The dotted names of the classes from outside the project that a handler names, alone or in a tuple."""
    tuples = (item for value in values if isinstance(value, Items) for item in value.items)
    named = (*values, *(value for item in tuples for value in item))
    # Never sorted by `str`: the text of a value holds all that it refers to, which may be the whole project.
    return sorted(value.dotted for value in named if isinstance(value, External))


def _kind(attempt: ast.Try, name: str, driver: DriverSpec) -> HandleKind | None:
    """CONNECTION when the body calls a method that only connections have, CURSOR when it executes, else None."""
    connection = driver.handles[HandleKind.CONNECTION].methods
    cursor = driver.handles[HandleKind.CURSOR].methods if HandleKind.CURSOR in driver.handles else {}
    kind: HandleKind | None = None
    for statement in attempt.body:
        for node in ast.walk(statement):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=used), attr=attr)) if used == name:
                    if attr in ("cursor", "commit") and attr in connection:
                        return HandleKind.CONNECTION
                    if attr in cursor and cursor[attr].effect is Effect.EXECUTE:
                        kind = HandleKind.CURSOR
    return kind
