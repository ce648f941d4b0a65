"""Clauses that name a driver's error class around calls of a layer which raises its own in place of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import DriverSpec, Effect
from dbsafety.typestate.automaton import Raised
from dbsafety.typestate.catch import Match, clause_matches
from dbsafety.typestate.containers import flat
from dbsafety.typestate.ops import Op
from dbsafety.typestate.values import External, Mode, Value
from dbsafety.views.view import FunctionView

_SENDS = frozenset({Effect.EXECUTE, Effect.SCRIPT, Effect.COMMIT})


@dataclass(frozen=True, slots=True)
class Passed:
    """A clause that the errors of `failing` pass by: `raised` is the class that comes instead of the one it names."""

    handler: ast.ExceptHandler
    failing: ast.Call
    op: Op
    raised: str


def passed_by(view: FunctionView, family: str) -> Iterator[Passed]:
    """The clauses of this body that name nothing but classes of a driver below the layer of that family.

    Quiet where the driver is used directly somewhere in the module, and where another clause of the same `try` may
    catch the class that comes instead.
    """
    for attempt in view.info.tries:
        named = [(handler, _driver_class(view, handler)) for handler in attempt.handlers]
        if not any(name for _, name in named):
            continue
        sent = _sent(view, attempt, family)
        if sent is None:
            continue
        call, op = sent
        for handler, name in named:
            raised = _instead(view, name, op.spec)
            others = (other for other in attempt.handlers if other is not handler)
            if raised and not _is_used(view, name) and not any(_catches(view, other, op, raised) for other in others):
                yield Passed(handler, call, op, raised)


def _driver_class(view: FunctionView, handler: ast.ExceptHandler) -> str:
    """The class that the clause names, the first of several of one driver; "" when it may name anything else."""
    if handler.type is None:
        return ""
    found = [_dotted(view, value) for value in flat(view.resolver.evaluate(handler.type, view.scope))]
    drivers = {name.partition(".")[0] for name in found}
    return min(found) if found and all(found) and len(drivers) == 1 else ""


def _dotted(view: FunctionView, value: Value) -> str:
    """The name of a driver's class, "" for anything else, also for a class of the layer itself."""
    if not isinstance(value, External):
        return ""
    found = view.resolver.table.error(value.dotted)
    return value.dotted if found is not None and not found[0].translates else ""


def _sent(view: FunctionView, attempt: ast.Try, family: str) -> tuple[ast.Call, Op] | None:
    """The last call of the body that may fail in the database, if all connections in it belong to the layer."""
    inside = {id(node) for statement in attempt.body for node in ast.walk(statement)}
    ops = [(call, op) for call, op in view.ops() if id(call) in inside]
    if any(op.spec.family != family or not op.spec.translates or op.handle.mode is Mode.UNKNOWN for _, op in ops):
        return None
    return next((sent for sent in reversed(ops) if sent[1].effect in _SENDS), None)


def _instead(view: FunctionView, name: str, layer: DriverSpec) -> str:
    """The layer's class for the driver's class `name`, by the first of its bases that PEP 249 names; "" for none."""
    pending = [name] if name else []
    while pending:
        current = pending.pop(0)
        own = layer.translates.get(current.rpartition(".")[2])
        if own is not None:
            return own
        found = view.resolver.table.error(current)
        pending.extend(found[1].parents if found is not None else ())
    return ""


def _is_used(view: FunctionView, name: str) -> bool:
    """Whether the module works itself with a driver that raises that class."""
    return any(name in op.spec.errors for other in view.module.functions for _, op in other.ops())


def _catches(view: FunctionView, handler: ast.ExceptHandler, op: Op, raised: str) -> bool:
    """Whether the clause may catch the class `raised`."""
    if clause_matches(view.resolver, handler.type, view.scope, op.spec, Raised.DB) is Match.SURE:
        return True
    named = flat(view.resolver.evaluate(handler.type, view.scope)) if handler.type is not None else ()
    return any(isinstance(value, External) and value.dotted in _ancestry(op.spec, raised) for value in named)


def _ancestry(layer: DriverSpec, name: str) -> frozenset[str]:
    found: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        found.add(current)
        row = layer.errors.get(current)
        pending.extend(row.parents if row is not None else ())
    return frozenset(found)
