"""Handles told by how they are used: a name in a `try` whose handler names a driver's error class."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from dbsafety.drivers.spec import DriverSpec, Effect, HandleKind
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.model.finding import Confidence
from dbsafety.typestate.values import EMPTY, Class, Evaluator, External, Handle, Items, Key, Mode, Value

_REMEMBERED = 256
"""Statements whose body is not walked again: the names of one function are asked for one after the other."""


def by_handlers(
    resolver: Evaluator, function: FunctionInfo, name: str, key: Key, guessed: frozenset[Value]
) -> frozenset[Value]:
    """What the otherwise unknown variable `name` must be, since the errors of a driver are expected of its statements.

    Only a name that executes something in the body of such a `try` is taken for a handle. What is `guessed` of it is
    confirmed instead, if there is such a guess. A parameter that a framework fills in is left out: it knows when the
    transaction ends, and how.
    """
    if is_filled_in(resolver, function, name):
        return guessed
    for attempt in function.tries:
        drivers = list(_drivers(resolver, attempt, function))
        if not drivers or name in _entered_in(attempt):
            continue  # the handler runs after an exit that may have ended the transaction
        for driver in drivers:
            kind = _kind(attempt, driver, lambda node: isinstance(node, ast.Name) and node.id == name)
            if kind is not None:
                return _confirmed(guessed, driver) or _made(driver, kind, key)
    return guessed


def by_methods(resolver: Evaluator, function: FunctionInfo, name: str, key: Key) -> frozenset[Value]:
    """What a parameter of `__init__` must be that the instance keeps, or of which it keeps a cursor, since the methods
    expect the errors of a driver of its statements.
    """
    if function.cls is None or not function.qualname.endswith(".__init__"):
        return EMPTY
    kept = {target.attr for target, value in function.assigns if isinstance(value, ast.Name) and value.id == name}
    cursors = {target.attr for target, value in function.assigns if _is_cursor_of(value, name)}
    for method in function.cls.methods.values() if kept or cursors else ():
        found = _used_by(resolver, method, kept | cursors)
        if found is not None:
            driver, kind = found
            return _made(driver, HandleKind.CONNECTION if cursors else kind, key)
    return EMPTY


def _used_by(resolver: Evaluator, method: FunctionInfo, names: set[str]) -> tuple[DriverSpec, HandleKind] | None:
    """The driver and kind that a method takes one of the attributes for."""
    for attempt in method.tries:
        for driver in _drivers(resolver, attempt, method):
            kind = _kind(attempt, driver, lambda node: _is_kept(node, method, names))
            if kind is not None:
                return driver, kind
    return None


def is_guess(values: frozenset[Value]) -> bool:
    """Whether nothing is known, or only what a name suggests."""
    return all(isinstance(value, Handle) and value.confidence is Confidence.LOW for value in values)


@lru_cache(maxsize=_REMEMBERED)
def _entered_in(attempt: ast.Try) -> frozenset[str]:
    """The names that a `with` block in the body of the `try` binds."""
    blocks = (n for s in attempt.body for n in ast.walk(s) if isinstance(n, (ast.With, ast.AsyncWith)))
    bound = (item.optional_vars for block in blocks for item in block.items if item.optional_vars is not None)
    return frozenset(part.id for target in bound for part in ast.walk(target) if isinstance(part, ast.Name))


@lru_cache(maxsize=_REMEMBERED)
def _method_calls(attempt: ast.Try) -> tuple[ast.Attribute, ...]:
    """The methods that the body of the `try` calls."""
    nodes = (node for statement in attempt.body for node in ast.walk(statement))
    called = (node.func for node in nodes if isinstance(node, ast.Call))
    return tuple(func for func in called if isinstance(func, ast.Attribute))


def is_filled_in(resolver: Evaluator, function: FunctionInfo, name: str) -> bool:
    """Whether the variable is a parameter of a function that an object registers: `@app.post("/")`."""
    if name not in [argument.arg for argument in function.parameters]:
        return False
    scope = function.scope.parent or function.scope
    for decorator in function.decorators:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute):
            owners = resolver.evaluate(called.value, scope)
            if not any(isinstance(owner, (External, Class)) for owner in owners):
                return True
    return False


def _is_cursor_of(value: ast.expr, name: str) -> bool:
    match value:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=used), attr="cursor")):
            return used == name
    return False


def _is_kept(node: ast.expr, method: FunctionInfo, names: set[str]) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id=owner), attr=attr):
            return owner == method.self_name and attr in names
    return False


def _confirmed(guessed: frozenset[Value], driver: DriverSpec) -> frozenset[Value]:
    """The guesses that fit the driver, no longer as guesses."""
    fitting = [value for value in guessed if isinstance(value, Handle) and value.driver == driver.name]
    return frozenset(replace(value, confidence=Confidence.MEDIUM) for value in fitting)


def _made(driver: DriverSpec, kind: HandleKind, key: Key) -> frozenset[Value]:
    mode = Mode.AUTOCOMMIT if driver.default_autocommit else Mode.TRANSACTION
    return frozenset((Handle(driver.name, kind, key, mode, Confidence.MEDIUM),))


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


def _kind(attempt: ast.Try, driver: DriverSpec, is_it: Callable[[ast.expr], bool]) -> HandleKind | None:
    """CONNECTION when the body calls a method that only connections have, CURSOR when it executes, else None."""
    connection = driver.handles[HandleKind.CONNECTION].methods
    cursor = driver.handles[HandleKind.CURSOR].methods if HandleKind.CURSOR in driver.handles else {}
    kind: HandleKind | None = None
    for func in _method_calls(attempt):
        if is_it(func.value):
            if func.attr in ("cursor", "commit") and func.attr in connection:
                return HandleKind.CONNECTION
            if func.attr in cursor and cursor[func.attr].effect is Effect.EXECUTE:
                kind = HandleKind.CURSOR
    return kind
