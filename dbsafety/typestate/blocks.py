"""What entering and leaving a `with` item does to a connection."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from dbsafety.drivers.spec import DriverSpec, Effect, HandleKind, WithSpec
from dbsafety.facts.scopes import FunctionInfo, Scope
from dbsafety.typestate.attributes import method
from dbsafety.typestate.parameters import argument_for
from dbsafety.typestate.values import (
    EMPTY,
    Evaluator,
    Handle,
    Instance,
    Key,
    Manager,
    ManagerKind,
    Value,
    handles,
)


class BlockKind(Enum):
    """How a manager acts."""

    HANDLE = "handle"
    CLOSING = "closing"
    SUPPRESS = "suppress"
    GENERATOR = "generator"
    CLASS = "class"


@dataclass(frozen=True, slots=True)
class Block:
    """One manager of a `with` item, or one that was entered on its ExitStack.

    `keys` are the connections it acts on; empty for GENERATOR and CLASS, whose functions say it. `inner` maps the key
    in the caller to the key inside a generator that opens the connection itself. `flags` are the parameters of a
    generator that the call makes true or false: `with self.db(commit=True)`.
    """

    kind: BlockKind
    keys: tuple[Key, ...] = ()
    handle: Handle | None = None
    spec: DriverSpec | None = None
    with_spec: WithSpec | None = None
    types: tuple[ast.expr, ...] = ()
    function: FunctionInfo | None = None
    enter: FunctionInfo | None = None
    inner: tuple[tuple[Key, Key], ...] = ()
    flags: tuple[tuple[str, bool], ...] = ()


def blocks_of(resolver: Evaluator, item: ast.withitem, scope: Scope, function: FunctionInfo) -> tuple[Block, ...]:
    """The managers that `item` enters, in order; they are left in reverse."""
    found: list[Block] = []
    for value in _ordered(resolver.evaluate(item.context_expr, scope)):
        if isinstance(value, Manager) and value.kind is ManagerKind.STACK:
            found.extend(_on_stack(resolver, item, scope, function))
        else:
            found.extend(_block(resolver, value, scope))
    return tuple(found)


def _ordered(values: frozenset[Value]) -> list[Value]:
    return sorted(values, key=lambda value: (type(value).__name__, _position(value)))


def _position(value: Value) -> tuple[str, ...]:
    match value:
        case Handle():
            return (*value.key, value.kind.value)
        case Instance(info=info):
            return (info.key,)
        case Manager(call=call):
            return (f"{call.lineno:08}{call.col_offset:06}", value.kind.value)
    return ("",)


def _block(resolver: Evaluator, value: Value, scope: Scope) -> Iterator[Block]:
    match value:
        case Handle(kind=HandleKind.POOL | HandleKind.FACTORY | HandleKind.CURSOR):
            return  # leaving them says nothing about the transaction (fact B4b)
        case Handle():
            yield from _handle_block(resolver, value)
        case Manager():
            yield from _manager_block(resolver, value, scope)
        case Instance(info=info):
            leave = method(resolver, info, "__exit__") or method(resolver, info, "__aexit__")
            enter = method(resolver, info, "__enter__") or method(resolver, info, "__aenter__")
            if leave is not None:
                yield Block(BlockKind.CLASS, function=leave, enter=enter)


def _handle_block(resolver: Evaluator, value: Handle) -> Iterator[Block]:
    spec = resolver.table.driver(value.driver)
    handle_spec = spec.handles.get(value.kind)
    if handle_spec is not None and handle_spec.with_block is not None:
        with_spec = _SAVEPOINT if value.savepoint else handle_spec.with_block
        yield Block(BlockKind.HANDLE, (value.key,), value, spec, with_spec)


_SAVEPOINT = WithSpec(success=Effect.NEUTRAL, error=Effect.ROLLBACK)
"""A savepoint undoes the failing part alone; what is left can be committed like a transaction just begun."""


def _manager_block(resolver: Evaluator, value: Manager, scope: Scope) -> Iterator[Block]:
    match value:
        case Manager(kind=ManagerKind.CLOSING, inner=inner):
            closed = [h for h in handles(inner) if h.kind is HandleKind.CONNECTION]
            for handle in closed:
                yield Block(BlockKind.CLOSING, (handle.key,), handle, resolver.table.driver(handle.driver))
        case Manager(kind=ManagerKind.SUPPRESS, call=call):
            yield Block(BlockKind.SUPPRESS, types=tuple(call.args))
        case Manager(kind=ManagerKind.GENERATOR, call=call, function=function) if function is not None:
            inner_keys, flags = _inner_keys(resolver, value, function), tuple(_flags(call, function))
            yield Block(BlockKind.GENERATOR, function=function, inner=inner_keys, flags=flags)
        case Manager(kind=ManagerKind.NULL, inner=inner):
            for wrapped in _ordered(inner if not handles(inner) else EMPTY):
                yield from _block(resolver, wrapped, scope)


def _flags(call: ast.Call, function: FunctionInfo) -> Iterator[tuple[str, bool]]:
    """The parameters that get a constant, by the call or by default, and that the function does not bind again."""
    if not isinstance(function.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    plain = [*function.node.args.posonlyargs, *function.node.args.args]
    given = function.node.args.defaults
    defaults: dict[str, ast.expr | None] = {
        argument.arg: value for argument, value in zip(plain[len(plain) - len(given) :], given, strict=True)
    }
    named = zip(function.node.args.kwonlyargs, function.node.args.kw_defaults, strict=True)
    defaults.update({argument.arg: value for argument, value in named})
    plainly = not any(isinstance(a, ast.Starred) for a in call.args) and all(k.arg for k in call.keywords)
    for argument in function.parameters:
        value = argument_for(call, function, argument.arg) or (defaults.get(argument.arg) if plainly else None)
        if isinstance(value, ast.Constant) and len(function.scope.bindings.get(argument.arg, ())) == 1:
            yield argument.arg, bool(value.value)


def _inner_keys(resolver: Evaluator, value: Manager, function: FunctionInfo) -> tuple[tuple[Key, Key], ...]:
    outer = handles(resolver.entered((value,)))
    inside: list[Handle] = []
    for node in function.yields:
        inside.extend(handles(resolver.evaluate(node.value, function.scope)))
    return tuple(
        (told.key, own.key)
        for told in outer
        for own in inside
        if own.driver == told.driver and own.key != told.key and not own.key.persistent
    )


def _on_stack(resolver: Evaluator, item: ast.withitem, scope: Scope, function: FunctionInfo) -> Iterator[Block]:
    """Everything that is entered on the stack or given to it as a callback inside this function."""
    name = item.optional_vars
    if not isinstance(name, ast.Name):
        return
    for call in function.calls:
        func = call.func
        if not (isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == name.id):
            continue
        if func.attr in ("enter_context", "enter_async_context") and call.args:
            for value in _ordered(resolver.evaluate(call.args[0], scope)):
                yield from _block(resolver, value, scope)
        elif func.attr == "callback" and call.args and isinstance(call.args[0], ast.Attribute):
            yield from _callback(resolver, call.args[0], scope)


def _callback(resolver: Evaluator, node: ast.Attribute, scope: Scope) -> Iterator[Block]:
    for handle in handles(resolver.evaluate(node.value, scope)):
        spec = resolver.table.driver(handle.driver)
        handle_spec = spec.handles.get(handle.kind)
        known = handle_spec.methods.get(node.attr) if handle_spec is not None else None
        if handle.kind is HandleKind.CONNECTION and known is not None:
            effect = known.effect
            with_spec = WithSpec(success=effect, error=effect, closes=effect is Effect.CLOSE)
            yield Block(BlockKind.HANDLE, (handle.key,), handle, spec, with_spec)
