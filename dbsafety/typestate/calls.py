"""What a call may return: handles from constructors and methods, values of project functions, managers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from dbsafety.drivers.spec import Effect, HandleKind, MethodSpec
from dbsafety.facts.scopes import FunctionInfo, Scope
from dbsafety.typestate import allocate
from dbsafety.typestate.annotations import annotated
from dbsafety.typestate.attributes import seen_from
from dbsafety.typestate.parameters import argument_for
from dbsafety.typestate.values import (
    EMPTY,
    Class,
    Elements,
    Evaluator,
    External,
    Function,
    Handle,
    Instance,
    Items,
    Key,
    Manager,
    ManagerKind,
    Mode,
    Value,
    from_other_module,
    handles,
)

_MANAGERS = {
    "contextlib.closing": ManagerKind.CLOSING,
    "contextlib.aclosing": ManagerKind.CLOSING,
    "contextlib.suppress": ManagerKind.SUPPRESS,
    "contextlib.nullcontext": ManagerKind.NULL,
    "contextlib.ExitStack": ManagerKind.STACK,
    "contextlib.AsyncExitStack": ManagerKind.STACK,
}
_TAKING = frozenset({"get", "get_nowait", "pop", "popleft", "setdefault"})
"""Methods of containers that give something out of it."""
_CACHES = frozenset({"functools.lru_cache", "functools.cache"})
_GENERATOR_MANAGERS = frozenset({"contextlib.contextmanager", "contextlib.asynccontextmanager"})
_PASS_THROUGH = frozenset({"typing.cast", "next", "iter", "reversed", "sorted", "list", "tuple", "enumerate"})


def evaluate_call(resolver: Evaluator, call: ast.Call, scope: Scope) -> frozenset[Value]:
    """What the call may return."""
    func = call.func
    found: set[Value] = set()
    if isinstance(func, ast.Attribute):
        if func.attr == "__new__" and call.args:
            made = resolver.evaluate(call.args[0], scope)
            return frozenset(Instance(v.info) for v in made if isinstance(v, Class))
        bases = resolver.evaluate(func.value, scope)
        direct = [_of_base(resolver, call, scope, func.attr, base) for base in bases]
        found.update(*direct)
        if direct and all(direct):
            return frozenset(found)
    for callee in resolver.evaluate(func, scope):
        found |= _called(resolver, call, scope, callee)
    return frozenset(found)


def _of_base(resolver: Evaluator, call: ast.Call, scope: Scope, name: str, base: Value) -> frozenset[Value]:
    """What the method `name` of a handle, a container or a stack of managers returns."""
    match base:
        case Handle():
            return frozenset(_method(resolver, call, scope, base, name))
        case Manager(kind=ManagerKind.STACK) if name in ("enter_context", "enter_async_context") and call.args:
            return resolver.entered(resolver.evaluate(call.args[0], scope))
        case Elements(inner=inner) if name in _TAKING:
            return inner
        case Elements() if name == "values":
            return frozenset((base,))
        case Elements(inner=inner) if name == "items":
            return frozenset((Elements(frozenset((Items((EMPTY, inner)),))),))
    return EMPTY


def _called(resolver: Evaluator, call: ast.Call, scope: Scope, callee: Value) -> frozenset[Value]:
    match callee:
        case External(dotted=dotted) if resolver.table.keeps(dotted):
            return frozenset((callee,))
        case External(dotted=dotted):
            return _external(resolver, call, scope, dotted)
        case Function(info=info):
            if is_generator_manager(resolver, info):
                return frozenset((Manager(ManagerKind.GENERATOR, call, scope, EMPTY, info),))
            return resolver.returned(call, scope, callee)
        case Class(info=info):
            return frozenset((Instance(info),))
        case Handle():
            return _method(resolver, call, scope, callee, "__call__")
        case Instance(info=info):
            method = info.methods.get("__call__")
            return resolver.returned(call, scope, Function(method, info)) if method is not None else EMPTY
    return EMPTY


def _external(resolver: Evaluator, call: ast.Call, scope: Scope, dotted: str) -> frozenset[Value]:
    constructor = resolver.table.constructor(dotted)
    if constructor is not None:
        spec, made = constructor
        return frozenset((allocate.opened(resolver, call, scope, spec, made.kind, made),))
    kind = _MANAGERS.get(dotted)
    if kind is not None:
        inner = resolver.evaluate(call.args[0], scope) if call.args and kind is not ManagerKind.SUPPRESS else EMPTY
        return frozenset((Manager(kind, call, scope, inner),))
    if dotted == "functools.partial" and call.args:
        return resolver.evaluate(call.args[0], scope)
    if dotted == "dataclasses.field":
        return _of_field(resolver, call, scope)
    if dotted == "getattr" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        name = call.args[1].value
        bases = resolver.evaluate(call.args[0], scope)
        if not bases and resolver.is_final():
            return resolver.nested(call.args[0], str(name), scope)
        return frozenset().union(*(resolver.attribute(base, str(name)) for base in bases))
    if dotted == "super":
        return _super(resolver, scope)
    if dotted in _PASS_THROUGH and call.args:
        values = resolver.evaluate(call.args[-1 if dotted == "typing.cast" else 0], scope)
        if dotted == "next":
            return frozenset().union(*(v.inner for v in values if isinstance(v, Elements)))
        return values
    return EMPTY


def _of_field(resolver: Evaluator, call: ast.Call, scope: Scope) -> frozenset[Value]:
    """What the field of a dataclass holds when nothing else is given."""
    found: set[Value] = set()
    for keyword in call.keywords:
        if keyword.arg == "default":
            found |= resolver.evaluate(keyword.value, scope)
        elif keyword.arg == "default_factory":
            found.update(*(_called(resolver, call, scope, maker) for maker in resolver.evaluate(keyword.value, scope)))
    return frozenset(found)


def _super(resolver: Evaluator, scope: Scope) -> frozenset[Value]:
    current: Scope | None = scope
    while current is not None and (current.function is None or current.function.cls is None):
        current = current.parent
    if current is None or current.function is None or current.function.cls is None:
        return EMPTY
    cls = current.function.cls
    found: set[Value] = set()
    for base in cls.node.bases:
        values = resolver.evaluate(base, cls.scope.parent or cls.scope)
        found |= {Instance(value.info) for value in values if isinstance(value, Class)}
    return frozenset(found)


def _method(resolver: Evaluator, call: ast.Call, scope: Scope, base: Handle, name: str) -> frozenset[Value]:
    spec = resolver.table.driver(base.driver)
    handle_spec = spec.handles.get(base.kind)
    method = handle_spec.methods.get(name) if handle_spec is not None else None
    if method is None:
        return EMPTY
    if method.returns_self:
        mode = allocate.method_mode(resolver, call, scope, spec, name)
        return frozenset((replace(base, mode=mode) if mode is not None else base,))
    if method.returns is None:
        return EMPTY
    if base.kind in (HandleKind.POOL, HandleKind.FACTORY) and method.effect in (Effect.MAKE, Effect.BEGIN):
        made = allocate.opened(resolver, call, scope, spec, method.returns)
        pooled = base.kind is HandleKind.POOL
        mode = Mode.UNKNOWN if method.raw else base.mode
        told = replace(made, pooled=pooled, mode=mode, confidence=base.confidence, enters=method.enters)
        return frozenset((told,))
    made = replace(base, kind=method.returns, enters=method.enters, savepoint=method.savepoint)
    return frozenset((replace(made, server_side=_is_server_side(call, method)),))


def _is_server_side(call: ast.Call, method: MethodSpec) -> bool:
    """Whether the parameter is given that makes the cursor a server-side one."""
    if method.server_side is None:
        return False
    given = [*call.args[:1], *(k.value for k in call.keywords if k.arg == method.server_side)]
    return any(not (isinstance(node, ast.Constant) and node.value is None) for node in given)


def returned(resolver: Evaluator, call: ast.Call, scope: Scope, function: Function) -> frozenset[Value]:
    """What the call of a project function may return, told in terms of the caller."""
    info = function.info
    generator = bool(info.yields)
    values: set[Value] = set(_declared(resolver, info))
    if isinstance(info.node, ast.Lambda):
        values |= resolver.evaluate(info.node.body, info.scope)
    for yielded in info.yields:
        values |= resolver.evaluate(yielded.value, info.scope)
    for statement in info.returns if not generator else ():
        values |= resolver.evaluate(statement.value, info.scope)
    cached = any(_is_cache(resolver, decorator, info) for decorator in info.decorators)
    told = frozenset(v for value in values for v in _told(resolver, value, call, scope, info, cached=cached))
    if function.owner is not None:
        told = frozenset(seen_from(resolver, function.owner, value) for value in told)
    if info.module.path != scope.module:
        told = frozenset(from_other_module(value) for value in told)
    if generator and not is_generator_manager(resolver, info):
        return frozenset((Elements(told),))
    return told


def _told(
    resolver: Evaluator, value: Value, call: ast.Call, scope: Scope, info: FunctionInfo, *, cached: bool
) -> Iterator[Value]:
    if not isinstance(value, Handle) or value.key.persistent:
        yield value
        return
    owner = f"{info.module.path}:{info.qualname}"
    key = value.key
    if key.kind == "param" and key.owner == owner:
        argument = argument_for(call, info, key.name)
        given = handles(resolver.evaluate(argument, scope))
        yield from (replace(value, key=passed.key, mode=passed.mode) for passed in given)
        if not given and resolver.is_final():
            # Not under the key it has inside: that is another connection each time the function is called.
            kept = allocate.key_for(resolver, call, scope)
            yield value.moved(kept if kept.persistent else kept._replace(kind="borrowed"))
    elif cached:
        yield value.moved(Key("global", info.module.path, info.qualname))
    elif key.kind == "site" or (key.kind == "local" and key.owner == owner):
        mode = allocate.switched_mode(resolver, call, scope, resolver.table.driver(value.driver))
        key = allocate.key_for(resolver, call, scope, key.name if key.kind == "local" else "")
        yield replace(value, key=key, mode=mode or value.mode)
    else:
        yield value


def _declared(resolver: Evaluator, info: FunctionInfo) -> frozenset[Value]:
    """What a function without a body, in a stub or a protocol, is declared to return; each call the same object."""
    node = info.node
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or not all(_is_nothing(s) for s in node.body):
        return EMPTY
    key = Key("global", info.module.path, info.qualname)
    return annotated(resolver, node.returns, info.scope.parent or info.scope, key)


def _is_nothing(statement: ast.stmt) -> bool:
    """Whether the statement is a docstring or `...`."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def is_generator_manager(resolver: Evaluator, info: FunctionInfo) -> bool:
    """Whether the function is decorated as a generator context manager."""
    if not info.yields:
        return False
    return any(_decorates(resolver, decorator, info, _GENERATOR_MANAGERS) for decorator in info.decorators)


def _is_cache(resolver: Evaluator, decorator: ast.expr, info: FunctionInfo) -> bool:
    node = decorator.func if isinstance(decorator, ast.Call) else decorator
    return _decorates(resolver, node, info, _CACHES)


def _decorates(resolver: Evaluator, node: ast.expr, info: FunctionInfo, names: frozenset[str]) -> bool:
    outer = info.scope.parent or info.scope
    return any(isinstance(v, External) and v.dotted in names for v in resolver.evaluate(node, outer))


def is_recovering(resolver: Evaluator, info: FunctionInfo) -> bool:
    """Whether a decorator of the project wraps the function in code that handles exceptions."""
    outer = info.scope.parent or info.scope
    for decorator in info.decorators:
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        for value in resolver.evaluate(node, outer):
            if isinstance(value, Function) and _has_handling_wrapper(value.info):
                return True
    return False


def _has_handling_wrapper(decorator: FunctionInfo) -> bool:
    inside = f"{decorator.qualname}."
    return any(info.has_handlers and info.qualname.startswith(inside) for info in decorator.module.functions)
