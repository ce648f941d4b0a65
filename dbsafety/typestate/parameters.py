"""What a parameter may be: by annotation, by default, by the calls of this module, else by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace

from dbsafety.drivers.spec import DriverSpec, HandleKind
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.model.finding import Confidence
from dbsafety.typestate.annotations import annotated, kept
from dbsafety.typestate.evidence import by_methods, is_filled_in
from dbsafety.typestate.values import (
    EMPTY,
    Class,
    Evaluator,
    Function,
    Handle,
    Instance,
    Key,
    Mode,
    Value,
    from_other_module,
    handles,
    param_key,
)

_CONNECTION_NAMES = frozenset({"conn", "connection", "db_conn", "dbconn", "con", "cnx", "pg_conn", "db_connection"})
_CURSOR_NAMES = frozenset({"cur", "cursor", "curs", "crsr", "db_cursor", "c"})
_CLASS = "cls"
"""What a class method calls its class by."""
_MAX_CALLS = 12
_PLAIN = (ast.Constant, ast.JoinedStr, ast.Compare, ast.BinOp, ast.UnaryOp, ast.Dict, ast.List, ast.ListComp)
"""Expressions that are no handle and lead to none."""


def parameter(resolver: Evaluator, function: FunctionInfo, name: str) -> frozenset[Value]:
    """What the parameter `name` of `function` may be."""
    return _joined(resolver, function, name, _alone(resolver, function, name))


def _alone(resolver: Evaluator, function: FunctionInfo, name: str) -> frozenset[Value]:
    """What the parameter may be, whatever stands beside it."""
    if function.self_name == name and function.cls is not None and not _is_static(function):
        cls = function.cls
        return frozenset((Class(cls),)) if _is_class_method(function) else frozenset((Instance(cls),))
    key = param_key(function, name)
    argument = next((arg for arg in function.parameters if arg.arg == name), None)
    if argument is None:
        return EMPTY
    outer = function.scope.parent or function.scope
    found = annotated(resolver, argument.annotation, outer, key)
    if name in function.scope.stored:
        found = kept(resolver, found, outer)
    arguments = list(_passed(resolver, function, name))
    if found:
        # Without their modes yet, the arguments of a cycle would count as connections in transactions.
        return _with_modes(found, arguments) if _tells_mode(arguments) or resolver.is_final() else EMPTY
    passed: set[Value] = set()
    for value in arguments:
        if isinstance(value, Handle):
            passed.add(
                value if value.key.persistent else Handle(value.driver, value.kind, key, value.mode, value.confidence)
            )
        elif isinstance(value, (Instance, Function, Class)):
            passed.add(value)
    if passed:
        return _confirmed(resolver, function, name, passed)
    if not resolver.is_final():
        return EMPTY
    guessed = by_methods(resolver, function, name, key) or _by_name(resolver, function, name, key)
    return _confirmed(resolver, function, name, guessed)


def _tells_mode(arguments: Iterable[Value]) -> bool:
    return any(isinstance(value, Handle) for value in arguments)


def _with_modes(found: frozenset[Value], arguments: list[Value]) -> frozenset[Value]:
    """A declared handle takes the mode of what the callers of this module pass, if they agree."""
    modes = {value.mode for value in arguments if isinstance(value, Handle)}
    if not modes or modes == {Mode.TRANSACTION}:
        return found
    mode = modes.pop() if len(modes) == 1 else Mode.UNKNOWN
    return frozenset(replace(value, mode=mode) if isinstance(value, Handle) else value for value in found)


def _joined(resolver: Evaluator, function: FunctionInfo, name: str, values: frozenset[Value]) -> frozenset[Value]:
    """A cursor parameter beside a connection parameter of the same driver is taken to be its cursor."""
    if not any(isinstance(v, Handle) and v.kind is HandleKind.CURSOR for v in values):
        return values
    others = [arg.arg for arg in function.parameters if arg.arg not in (name, function.self_name)]
    for other in others:
        if other not in _CONNECTION_NAMES:
            continue
        found = [h for h in handles(_alone(resolver, function, other)) if h.kind is HandleKind.CONNECTION]
        if found:
            return frozenset(moved for value in values for moved in _cursors_of(found, value))
    return values


def _cursors_of(connections: list[Handle], value: Value) -> Iterator[Value]:
    """The value as a cursor of each connection of its driver; the value itself when there is none."""
    drivers = {handle.driver for handle in connections}
    if not isinstance(value, Handle) or value.driver not in drivers:
        yield value
        return
    yield from (value.moved(handle.key) for handle in connections if handle.driver == value.driver)


def _passed(resolver: Evaluator, function: FunctionInfo, name: str) -> Iterator[Value]:
    """The arguments that the calls of this module give the parameter."""
    node = function.node
    if isinstance(node, ast.Module):
        return
    called = "" if isinstance(node, ast.Lambda) else node.name
    calls = function.module.callers.get(called, [])
    if called == "__init__" and function.cls is not None:
        called = function.cls.node.name
        inside = (pair for pair in function.module.callers.get(_CLASS, ()) if pair[1].cls is function.cls)
        calls = [*function.module.callers.get(called, ()), *inside]
    for call, caller in calls[:_MAX_CALLS]:
        if caller is function:
            continue
        value = argument_for(call, function, name)
        if value is not None and not isinstance(value, _PLAIN) and _means(resolver, call, caller, function):
            yield from resolver.evaluate(value, caller.scope)
    for call, caller in _called_back(resolver, function, called):
        value = argument_for(call, function, name)
        found = resolver.evaluate(value, caller.scope) if not isinstance(value, _PLAIN) else EMPTY
        foreign = caller.module is not function.module
        yield from (from_other_module(v) for v in found) if foreign else found


def _called_back(resolver: Evaluator, function: FunctionInfo, name: str) -> Iterator[tuple[ast.Call, FunctionInfo]]:
    """The calls inside functions that this module gives `function` to, of the parameter that holds it there."""
    for call, caller in function.module.given.get(name, ())[:_MAX_CALLS]:
        for taker in resolver.evaluate(call.func, caller.scope):
            if not isinstance(taker, Function) or taker.info is function:
                continue
            for argument in taker.info.parameters:
                value = argument_for(call, taker.info, argument.arg)
                if value is not None and _names(value, name) and _is(resolver, value, caller, function):
                    calls = taker.info.module.callers.get(argument.arg, ())
                    yield from (pair for pair in calls[:_MAX_CALLS] if _is_parameter_of(taker.info, *pair))


def _names(node: ast.expr, name: str) -> bool:
    """Whether the expression is the name, or an attribute of that name."""
    match node:
        case ast.Name(id=said) | ast.Attribute(attr=said):
            return said == name
    return False


def _is(resolver: Evaluator, node: ast.expr, caller: FunctionInfo, function: FunctionInfo) -> bool:
    return any(isinstance(v, Function) and v.info is function for v in resolver.evaluate(node, caller.scope))


def _is_parameter_of(taker: FunctionInfo, call: ast.Call, caller: FunctionInfo) -> bool:
    """Whether the call is of a parameter of `taker`, by its body or one inside it."""
    return isinstance(call.func, ast.Name) and caller.scope.find(call.func.id) is taker.scope


def _means(resolver: Evaluator, call: ast.Call, caller: FunctionInfo, function: FunctionInfo) -> bool:
    """Whether the call may mean this function; an unknown receiver of a method's name is given the benefit."""
    callees = resolver.evaluate(call.func, caller.scope)
    if not callees:
        return isinstance(call.func, ast.Attribute) and function.cls is not None
    for value in callees:
        if isinstance(value, Function) and value.info is function:
            return True
        if isinstance(value, Class) and function.cls is not None and value.info is function.cls:
            return True
    return False


def argument_for(call: ast.Call, function: FunctionInfo, name: str) -> ast.expr | None:
    """The argument of `call` that becomes the parameter `name`, None when it is not passed plainly."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    names = [arg.arg for arg in function.parameters]
    if name not in names or any(isinstance(arg, ast.Starred) for arg in call.args):
        return None
    position = names.index(name)
    if function.self_name and not _is_static(function):
        position -= 1
    return call.args[position] if 0 <= position < len(call.args) else None


def _by_name(resolver: Evaluator, function: FunctionInfo, name: str, key: Key) -> frozenset[Value]:
    kind = kind_by_name(name)
    if kind is None:
        return EMPTY
    drivers = imported_drivers(resolver, function)
    if len(drivers) != 1 or drivers[0].is_async:
        return EMPTY
    return frozenset((Handle(drivers[0].name, kind, key, Mode.TRANSACTION, Confidence.LOW),))


def _confirmed(resolver: Evaluator, function: FunctionInfo, name: str, values: Iterable[Value]) -> frozenset[Value]:
    """The values, a guess by name no longer as a guess where the function commits: nobody commits what commits by
    itself. A parameter that a framework fills in stays a guess.
    """
    sure = _commits(function) and not is_filled_in(resolver, function, name)
    return frozenset(
        replace(value, confidence=Confidence.MEDIUM)
        if sure and isinstance(value, Handle) and value.confidence is Confidence.LOW
        else value
        for value in values
    )


def _commits(function: FunctionInfo) -> bool:
    """Whether the function itself commits a parameter that is named as a connection."""
    names = {arg.arg for arg in function.parameters} & _CONNECTION_NAMES
    called = (call.func for call in function.calls)
    return any(
        isinstance(func, ast.Attribute)
        and func.attr == "commit"
        and isinstance(func.value, ast.Name)
        and func.value.id in names
        for func in called
    )


def kind_by_name(name: str) -> HandleKind | None:
    """The kind of handle that a parameter's name speaks of."""
    return HandleKind.CONNECTION if name in _CONNECTION_NAMES else HandleKind.CURSOR if name in _CURSOR_NAMES else None


def imported_drivers(resolver: Evaluator, function: FunctionInfo) -> list[DriverSpec]:
    """The drivers that the module of the function imports."""
    roots = {dotted.partition(".")[0] for dotted in function.module.imported}
    return [spec for spec in resolver.table.drivers if spec.told_by_name and roots.intersection(spec.roots)]


def _is_static(function: FunctionInfo) -> bool:
    return _decorated(function, "staticmethod")


def _is_class_method(function: FunctionInfo) -> bool:
    return function.qualname.endswith(".__new__") or _decorated(function, "classmethod")


def _decorated(function: FunctionInfo, name: str) -> bool:
    return any(isinstance(d, ast.Name) and d.id == name for d in function.decorators)


def default_of(function: FunctionInfo, name: str) -> ast.expr | None:
    """The default value of a parameter, if it has one."""
    node = function.node
    if isinstance(node, ast.Module):
        return None
    positional = [*node.args.posonlyargs, *node.args.args]
    for argument, value in zip(reversed(positional), reversed(node.args.defaults), strict=False):
        if argument.arg == name:
            return value
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if argument.arg == name:
            return default
    return None
