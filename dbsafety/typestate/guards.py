"""What a test says about the state of a connection: `if conn`, `if its_owner`, `is None`, `.closed`, the status."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TypeAlias

from dbsafety.drivers.spec import HandleKind
from dbsafety.facts.scopes import Scope
from dbsafety.typestate.attributes import ancestry, method
from dbsafety.typestate.automaton import State, Tx
from dbsafety.typestate.values import Evaluator, Instance, Key, Nothing, handles

Predicate: TypeAlias = Callable[[State], bool | None]
"""Whether a test is true in a state; None when the state does not tell."""

_STATUS_WORDS = (("INERROR", Tx.FAILED), ("INTRANS", Tx.OPEN), ("IDLE", Tx.IDLE), ("UNKNOWN", Tx.CLOSED))


def holds(resolver: Evaluator, test: ast.expr, scope: Scope, key: Key) -> Predicate | None:
    """The states of the connection `key` in which `test` is true; None when it says nothing about it."""
    match test:
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _compared(resolver, left, operator, right, scope, key)
        case ast.NamedExpr(value=value):
            return holds(resolver, value, scope, key)
        case ast.Name() | ast.Attribute() | ast.Call():
            return _truth(resolver, test, scope, key)
    return None


def _truth(resolver: Evaluator, node: ast.expr, scope: Scope, key: Key) -> Predicate | None:
    if _is_connection(resolver, node, scope, key):
        return _bound
    if _is_holder(resolver, node, scope, key):
        return _in_use
    if isinstance(node, ast.Attribute):
        spec_names = _attribute_names(resolver, node, scope, key)
        if spec_names is None:
            return None
        closed, status = spec_names
        if node.attr in closed:
            return _closed
        if node.attr in status:
            return _in_transaction
    return None


def _compared(
    resolver: Evaluator, left: ast.expr, operator: ast.cmpop, right: ast.expr, scope: Scope, key: Key
) -> Predicate | None:
    positive = isinstance(operator, (ast.Is, ast.Eq))
    if isinstance(operator, ast.In) and _is_namespace(right) and isinstance(left, ast.Constant):
        return _bound if left.value == key.name else None
    if not positive and not isinstance(operator, (ast.IsNot, ast.NotEq)):
        return None
    if isinstance(right, ast.Constant) and right.value is None:
        if _is_connection(resolver, left, scope, key):
            return _unbound if positive else _bound
        if _is_holder(resolver, left, scope, key):
            return _negated(_in_use) if positive else _in_use
        return None
    status = _status_of(resolver, left, right, scope, key)
    if status is not None:
        return _is(status) if positive else _is_not(status)
    if isinstance(right, ast.Constant) and isinstance(right.value, (int, bool)):
        inner = _truth(resolver, left, scope, key)
        if inner is not None and inner is not _bound:
            return inner if positive == bool(right.value) else _negated(inner)
    return None


def _status_of(resolver: Evaluator, left: ast.expr, right: ast.expr, scope: Scope, key: Key) -> Tx | None:
    """The state that `conn.info.transaction_status == X` compares with (fact B1c: `conn.status` does not tell)."""
    subject = left.func if isinstance(left, ast.Call) else left
    if not isinstance(subject, ast.Attribute) or not subject.attr.endswith("transaction_status"):
        return None
    owner = subject.value
    if isinstance(owner, ast.Attribute) and owner.attr in ("info", "pgconn"):
        owner = owner.value
    if not _is_connection(resolver, owner, scope, key):
        return None
    name = right.attr if isinstance(right, ast.Attribute) else right.id if isinstance(right, ast.Name) else ""
    return next((tx for word, tx in _STATUS_WORDS if name.endswith(word)), None)


def _attribute_names(
    resolver: Evaluator, node: ast.Attribute, scope: Scope, key: Key
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    for handle in handles(resolver.evaluate(node.value, scope)):
        if handle.key == key and handle.kind is HandleKind.CONNECTION:
            spec = resolver.table.driver(handle.driver)
            return spec.closed_attributes, spec.status_attributes
    return None


def _is_connection(resolver: Evaluator, node: ast.expr, scope: Scope, key: Key) -> bool:
    found = handles(resolver.evaluate(node, scope))
    return any(h.key == key and h.kind is HandleKind.CONNECTION for h in found) and not isinstance(node, ast.Call)


def _is_holder(resolver: Evaluator, node: ast.expr, scope: Scope, key: Key) -> bool:
    """Whether the expression is the project object that keeps the connection in an attribute, or None."""
    if key.kind != "attr" or isinstance(node, ast.Call):
        return False
    found = resolver.evaluate(node, scope)
    classes = [value.info for value in found if isinstance(value, Instance)]
    if not classes or any(not isinstance(value, (Instance, Nothing)) for value in found):
        return False
    if not any(base.key == key.owner for cls in classes for base in ancestry(resolver, cls)):
        return False
    return not any(method(resolver, cls, name) for cls in classes for name in ("__bool__", "__len__"))


def _is_namespace(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("locals", "vars", "globals", "dir")
    )


def _bound(state: State) -> bool:
    return state.tx is not Tx.UNBOUND


def _unbound(state: State) -> bool:
    return state.tx is Tx.UNBOUND


def _in_use(state: State) -> bool | None:
    """A connection in a transaction has been used, so the object that keeps it is there."""
    return True if state.tx in (Tx.OPEN, Tx.FAILED) else None


def _closed(state: State) -> bool:
    return state.tx is Tx.CLOSED


def _in_transaction(state: State) -> bool:
    return state.tx in (Tx.OPEN, Tx.FAILED)


def _negated(predicate: Predicate) -> Predicate:
    def negated(state: State) -> bool | None:
        held = predicate(state)
        return None if held is None else not held

    return negated


def _is(tx: Tx) -> Predicate:
    return lambda state: state.tx is tx


def _is_not(tx: Tx) -> Predicate:
    return lambda state: state.tx is not tx
