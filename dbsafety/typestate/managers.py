"""What `with value as name` binds."""

from __future__ import annotations

from dataclasses import replace

from dbsafety.drivers.spec import HandleKind
from dbsafety.typestate.attributes import method
from dbsafety.typestate.values import (
    EMPTY,
    Evaluator,
    Function,
    Handle,
    Instance,
    Manager,
    ManagerKind,
    Value,
)


def entered(resolver: Evaluator, value: Value) -> frozenset[Value]:
    """The value that entering one manager binds."""
    match value:
        case Handle(enters=HandleKind() as kind):
            return frozenset((replace(value, kind=kind, enters=None),))
        case Handle(kind=HandleKind.TRANSACTION):
            return EMPTY
        case Handle():
            return frozenset((value,))
        case Instance(info=info):
            enter = method(resolver, info, "__enter__") or method(resolver, info, "__aenter__")
            if enter is None:
                return EMPTY
            found: set[Value] = set()
            for statement in enter.returns:
                found |= resolver.evaluate(statement.value, enter.scope)
            return frozenset(found)
        case Manager(kind=ManagerKind.CLOSING | ManagerKind.NULL, inner=inner):
            return inner
        case Manager(kind=ManagerKind.STACK):
            return frozenset((value,))
        case Manager(kind=ManagerKind.GENERATOR, function=function) if function is not None:
            return resolver.returned(value.call, value.scope, Function(function))
    return EMPTY
