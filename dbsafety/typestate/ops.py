"""What each call of a function does to which connection: operations, read off the driver tables and the resolver."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import DriverSpec, Effect, HandleKind, MethodSpec
from dbsafety.facts.gather import FILLING
from dbsafety.facts.imported import text_across
from dbsafety.facts.program import Program
from dbsafety.facts.scopes import BindKind, ClassInfo, Scope
from dbsafety.facts.sql import UNKNOWN, Statement, Verb, classify
from dbsafety.typestate.allocate import method_mode
from dbsafety.typestate.attributes import has_unknown_base, method
from dbsafety.typestate.calls import is_generator_manager
from dbsafety.typestate.values import (
    Class,
    Elements,
    Evaluator,
    External,
    Function,
    Handle,
    Instance,
    Key,
    Manager,
    Mode,
    Value,
    externals,
    handles,
)


@dataclass(frozen=True, slots=True)
class Op:
    """One effect of a call on one connection.

    `opens` marks the opening of a connection (`mode` is then its mode). `weak` means that the receiver may also be
    another connection. `mode` with effect AUTOCOMMIT is the mode switched to. `sql` is the statement's text as far as
    it is known.
    """

    key: Key
    effect: Effect
    spec: DriverSpec
    handle: Handle
    statement: Statement = UNKNOWN
    sql: str | None = None
    opens: bool = False
    weak: bool = False
    mode: Mode | None = None


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of one call.

    `targets` are the project functions it may run. `passed` are the connections whose handle is an argument.
    `exits` marks a call that ends the process by SystemExit, `aborts` one that never returns in any way. `unknown`
    marks a callee of which nothing is known; `may_end` one whose name says that it ends or replaces a connection,
    `may_switch` one whose name says that it sets the mode.
    """

    ops: tuple[Op, ...] = ()
    targets: tuple[Function, ...] = ()
    passed: tuple[Key, ...] = ()
    exits: bool = False
    aborts: bool = False
    unknown: bool = False
    may_end: bool = False
    may_switch: bool = False
    owner: ClassInfo | None = None


_EXITS = frozenset({"sys.exit", "exit", "quit"})
_ABORTS = frozenset({"os._exit", "os.abort", "os.execv", "os.execve", "os.execvp"})
_ENDING_WORDS = (
    "rollback",
    "reset",
    "reconnect",
    "abort",
    "close",
    "dispose",
    "disconnect",
    "discard",
    "recover",
    "restart",
    "invalidate",
)


def call_facts(resolver: Evaluator, call: ast.Call, scope: Scope) -> CallFacts:
    """What `call` does, told from the tables and from what its parts may be."""
    ops: list[Op] = []
    targets: dict[str, Function] = {}
    known = abstract = False
    exits = aborts = False
    func, place = _unaliased(call.func, scope)
    if isinstance(func, ast.Attribute):
        receivers = handles(resolver.evaluate(func.value, place))
        for receiver in receivers:
            ops.extend(_method_ops(resolver, call, scope, receiver, func.attr, weak=_several(receivers)))
        known = bool(receivers) or (func.attr in FILLING and _is_container(resolver.evaluate(func.value, place)))
    callees = resolver.evaluate(call.func, scope) if not known else frozenset()
    for callee in (*externals(callees), *handles(callees), *_others(callees)):
        known = True
        match callee:
            case External(dotted=dotted):
                exits = exits or dotted in _EXITS
                aborts = aborts or dotted in _ABORTS
                ops.extend(_function_ops(resolver, call, scope, dotted))
            case Function() if callee.info.is_abstract:
                abstract = True
            case Function() if not is_generator_manager(resolver, callee.info):
                targets[callee.info.module.path + callee.info.qualname] = callee
            case Class(info=info):
                _add_method(resolver, info, "__init__", targets)
            case Instance(info=info):
                _add_method(resolver, info, "__call__", targets)
            case Handle():
                ops.extend(_method_ops(resolver, call, scope, callee, "__call__", weak=False))
    ops.extend(_opening_ops(resolver, call, scope, ops))
    name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
    return CallFacts(
        ops=tuple(ops),
        targets=tuple(targets[key] for key in sorted(targets)),
        passed=tuple(_passed(resolver, call, scope)),
        exits=exits,
        aborts=aborts,
        unknown=not known or (not ops and not targets and (abstract or _is_unknown(callees))),
        may_end=any(word in name.lower() for word in _ENDING_WORDS),
        may_switch="autocommit" in name.lower() or "isolation" in name.lower(),
        owner=_unknown_owner(resolver, func, scope) if not known else None,
    )


def _others(callees: frozenset[Value]) -> Iterator[Value]:
    """The callees that cannot bring operations, whose order does not matter."""
    return (callee for callee in callees if not isinstance(callee, External | Handle))


def _unaliased(func: ast.expr, scope: Scope) -> tuple[ast.expr, Scope]:
    """The method that a variable stands for (`run = cur.execute`), with the scope its expression belongs to."""
    owner = scope.find(func.id) if isinstance(func, ast.Name) else None
    bindings = owner.bindings[func.id] if owner is not None and isinstance(func, ast.Name) else []
    if len(bindings) == 1 and bindings[0].kind is BindKind.VALUE and not bindings[0].path:
        value = bindings[0].value
        if isinstance(value, ast.Attribute):
            return value, bindings[0].scope
    return func, scope


def _is_container(values: frozenset[Value]) -> bool:
    """Whether handles are kept in the thing."""
    return any(isinstance(value, Elements) and handles(value.inner) for value in values)


def _several(receivers: tuple[Handle, ...]) -> bool:
    return len({receiver.key for receiver in receivers}) > 1


def _is_unknown(callees: frozenset[Value]) -> bool:
    return any(isinstance(value, External) and "." in value.dotted for value in callees)


def _add_method(resolver: Evaluator, info: ClassInfo, name: str, targets: dict[str, Function]) -> None:
    found = method(resolver, info, name)
    if found is not None:
        targets[found.module.path + found.qualname] = Function(found, info)


def _unknown_owner(resolver: Evaluator, func: ast.expr, scope: Scope) -> ClassInfo | None:
    """The class of `self` when an unknown method of it (from a base outside the project) is called."""
    if not isinstance(func, ast.Attribute):
        return None
    owners = (value.info for value in resolver.evaluate(func.value, scope) if isinstance(value, Instance))
    return min((cls for cls in owners if has_unknown_base(resolver, cls)), key=lambda cls: cls.key, default=None)


def _method_ops(
    resolver: Evaluator, call: ast.Call, scope: Scope, receiver: Handle, name: str, *, weak: bool
) -> Iterator[Op]:
    spec = resolver.table.driver(receiver.driver)
    handle_spec = spec.handles.get(receiver.kind)
    if handle_spec is None:
        return
    method_spec = handle_spec.methods.get(name)
    if method_spec is None:
        effect = Effect.UNKNOWN if handle_spec.open_ended else Effect.NEUTRAL
        yield Op(receiver.key, effect, spec, receiver, weak=weak)
        return
    effect = method_spec.effect
    if effect is Effect.RELEASE:
        named = (keyword.value for keyword in call.keywords[:1])
        for given in handles(resolver.evaluate(call.args[0] if call.args else next(named, None), scope)):
            yield Op(given.key, Effect.RELEASE, spec, given)
        return
    if effect is Effect.AUTOCOMMIT:
        mode = method_mode(resolver, call, scope, spec, name)
        if mode is not None:
            yield Op(receiver.key, effect, spec, receiver, weak=weak, mode=mode)
        return
    if receiver.kind is HandleKind.CURSOR and effect in (Effect.CLOSE, Effect.COMMIT, Effect.ROLLBACK):
        effect = Effect.NEUTRAL
    if receiver.kind in (HandleKind.POOL, HandleKind.FACTORY):
        return
    if receiver.server_side and effect is Effect.FETCH:
        yield Op(receiver.key, Effect.EXECUTE, spec, receiver, Statement(Verb.READ, "FETCH"), weak=weak)
        return
    text = _sql_text(call, scope, method_spec, resolver.program)
    yield Op(receiver.key, effect, spec, receiver, classify(text), text, weak=weak)


def _sql_text(call: ast.Call, scope: Scope, spec: MethodSpec, program: Program) -> str | None:
    if spec.sql is None:
        return None
    for keyword in call.keywords:
        if spec.sql_keyword is not None and keyword.arg == spec.sql_keyword:
            return text_across(keyword.value, scope, program)
    return text_across(call.args[spec.sql], scope, program) if spec.sql < len(call.args) else None


def _function_ops(resolver: Evaluator, call: ast.Call, scope: Scope, dotted: str) -> Iterator[Op]:
    found = resolver.table.function(dotted)
    if found is None:
        return
    spec, function = found
    if function.handle is None or function.handle >= len(call.args):
        return
    given = handles(resolver.evaluate(call.args[function.handle], scope))
    text = None
    if function.sql is not None and function.sql < len(call.args):
        text = text_across(call.args[function.sql], scope, resolver.program)
    for handle in given:
        if handle.driver == spec.name:
            yield Op(handle.key, function.effect, spec, handle, classify(text), text, weak=_several(given))


def _opening_ops(resolver: Evaluator, call: ast.Call, scope: Scope, ops: list[Op]) -> Iterator[Op]:
    """The connections that come fresh out of the call: opened here, taken from a pool, or returned by a factory."""
    if any(op.handle.kind is HandleKind.CURSOR or op.effect is not Effect.MAKE for op in ops):
        return
    used = {op.key for op in ops}
    for made in handles(resolver.evaluate(call, scope)):
        fresh = HandleKind.CONNECTION in (made.kind, made.enters)
        fresh = fresh or (made.kind is HandleKind.CURSOR and not used)
        if not fresh or made.key in used or not _born_here(resolver, call, scope, made):
            continue
        yield Op(made.key, Effect.MAKE, resolver.table.driver(made.driver), made, opens=True, mode=made.mode)


def _born_here(resolver: Evaluator, call: ast.Call, scope: Scope, made: Handle) -> bool:
    """Whether the call itself gives birth to the connection rather than fetching one that lives elsewhere."""
    func = call.func
    callees = resolver.evaluate(func, scope)
    constructor = any(isinstance(c, External) and resolver.table.constructor(c.dotted) is not None for c in callees)
    if constructor:
        return True
    makers = (*callees, *(resolver.evaluate(func.value, scope) if isinstance(func, ast.Attribute) else ()))
    if any(maker.kind in (HandleKind.POOL, HandleKind.FACTORY) for maker in handles(makers)):
        return True
    if made.key.persistent:
        return any(isinstance(c, Function) and _returns_fresh(resolver, c) for c in callees) and made.key.kind == "attr"
    own = made.key.kind == "site" or (made.key.kind == "local" and made.key.owner == f"{scope.module}:{scope.qualname}")
    return own and any(isinstance(c, Function) for c in (*callees, *_begun(resolver, call, scope, callees)))


def _begun(resolver: Evaluator, call: ast.Call, scope: Scope, callees: frozenset[Value]) -> frozenset[Value]:
    """The generator that `next(...)` begins, if its argument makes one: `db = next(get_db())`."""
    if External("next") not in callees or not call.args or not isinstance(call.args[0], ast.Call):
        return frozenset()
    return resolver.evaluate(call.args[0].func, scope)


def _returns_fresh(resolver: Evaluator, function: Function) -> bool:
    """Whether all that the function returns was opened inside it and kept nowhere."""
    found = [h for r in function.info.returns for h in handles(resolver.evaluate(r.value, function.info.scope))]
    return bool(found) and not any(h.key.persistent or h.key.kind == "param" for h in found)


def _passed(resolver: Evaluator, call: ast.Call, scope: Scope) -> Iterator[Key]:
    seen: set[Key] = set()
    for node in (*call.args, *(keyword.value for keyword in call.keywords)):
        inner = node.value if isinstance(node, ast.Starred) else node
        if isinstance(inner, (ast.Constant, ast.JoinedStr)):
            continue
        for value in resolver.evaluate(inner, scope):
            found = handles((value,)) if isinstance(value, Handle) else ()
            if isinstance(value, Manager):
                found = handles(value.inner)
            for handle in found:
                if handle.key not in seen:
                    seen.add(handle.key)
                    yield handle.key
