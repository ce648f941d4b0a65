"""Keys and modes of connections where they are opened (facts B5a, C6b, C6c)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.drivers.spec import AutocommitSwitch, ConstructorSpec, DriverSpec, HandleKind, RequestSpec, Switch
from dbsafety.facts.scopes import FunctionInfo, Scope, Target
from dbsafety.typestate.attributes import defining_class, method
from dbsafety.typestate.parameters import argument_for, default_of
from dbsafety.typestate.values import (
    EMPTY,
    Evaluator,
    External,
    Function,
    Handle,
    Key,
    Mode,
    Nothing,
    Value,
    class_key,
    merge_modes,
    param_key,
    scope_key,
)


def opened(
    resolver: Evaluator,
    call: ast.Call,
    scope: Scope,
    spec: DriverSpec,
    kind: HandleKind,
    made: ConstructorSpec | None = None,
) -> Handle:
    """The handle that a constructor call makes; `made` is the constructor's row."""
    mode = opening_mode(resolver, call, scope, spec)
    if made is not None and made.autocommit is not None:
        mode = Mode.AUTOCOMMIT if made.autocommit else Mode.TRANSACTION
    return Handle(spec.name, kind, key_for(resolver, call, scope), mode)


def ready_made(found: tuple[DriverSpec, HandleKind] | None, name: str) -> frozenset[Value]:
    """The handle that a driver's module offers under a dotted name (`django.db.connection`)."""
    if found is None:
        return EMPTY
    spec, kind = found
    module, _, last = name.rpartition(".")
    mode = Mode.AUTOCOMMIT if spec.default_autocommit else Mode.TRANSACTION
    return frozenset((Handle(spec.name, kind, Key("global", module, last), mode),))


def of_request(found: tuple[DriverSpec, RequestSpec] | None) -> frozenset[Value]:
    """The handle that an object of another package keeps for each request (`db.session` of Flask-SQLAlchemy)."""
    if found is None:
        return EMPTY
    spec, kept = found
    owner, _, name = kept.of.rpartition(".")
    return frozenset((Handle(spec.name, kept.kind, Key("global", owner, name), Mode.TRANSACTION),))


def key_for(resolver: Evaluator, call: ast.Call, scope: Scope, suffix: str = "") -> Key:
    """The key of what `call` opens: the variable or attribute it is bound to, else the place itself."""
    target = target_of(call, scope)
    if target is None:
        place = f"{call.lineno}:{call.col_offset}"
        return Key("site", scope.module, f"{place}:{suffix}" if suffix else place)
    if target.cls is not None:
        return class_key(defining_class(resolver, target.cls, target.name), target.name)
    return kept_key(resolver, target.scope, target.name)


def kept_key(resolver: Evaluator, scope: Scope, name: str) -> Key:
    """The key of what a variable holds, perhaps on its way into an attribute or a container."""
    stored = scope.stored.get(name)
    if stored is not None:
        cls, attribute = stored
        return class_key(defining_class(resolver, cls, attribute), attribute)
    return variable_key(scope, name)


def variable_key(scope: Scope, name: str) -> Key:
    """The key of what a variable holds; a parameter that is assigned again keeps its own."""
    function = scope.function
    if scope.kind == "function" and function is not None and name in [arg.arg for arg in function.parameters]:
        return param_key(function, name)
    return scope_key(scope, name)


def target_of(call: ast.Call, scope: Scope) -> Target | None:
    """What the value of `call` is bound to directly."""
    holder = scope.module_scope().function
    return holder.module.targets.get(id(call)) if holder is not None else None


def opening_mode(resolver: Evaluator, call: ast.Call, scope: Scope, spec: DriverSpec) -> Mode:
    """The mode that the keywords of the constructor and the switches of the same function give the connection."""
    mode = Mode.AUTOCOMMIT if spec.default_autocommit else Mode.TRANSACTION
    for switch in spec.autocommit:
        if switch.by is not Switch.KEYWORD:
            continue
        for keyword in call.keywords:
            values = [keyword.value] if keyword.arg == switch.name else []
            if keyword.arg is None:
                values = list(_spread(resolver, keyword.value, scope, switch.name))
            for value in values:
                told = told_mode(resolver, value, scope, spec, switch)
                mode = mode if told is None else told
    return switched_mode(resolver, call, scope, spec) or mode


def _spread(resolver: Evaluator, node: ast.expr, scope: Scope, name: str) -> Iterator[ast.expr]:
    """What the mapping given as `**node` holds under `name`, as far as this function, and the one that makes the
    mapping, put it there.
    """
    if not isinstance(node, ast.Name) or scope.function is None:
        yield from _held_in(node, name)
        return
    for binding in scope.bindings.get(node.id, ()):
        if isinstance(binding.value, ast.Call):
            makers = [v.info for v in resolver.evaluate(binding.value.func, scope) if isinstance(v, Function)]
            for maker in sorted(makers, key=lambda info: (info.module.path, info.qualname)):
                yield from _held_in(maker.node, name)
        if binding.value is not None:
            yield from _held_in(binding.value, name)
    yield from (v for target, v in _stored_in(scope.function.node, name) if ast.unparse(target.value) == node.id)


def _held_in(node: ast.AST, name: str) -> Iterator[ast.expr]:
    """The values that displays, `dict(name=...)` and assignments to a key inside `node` give to `name`."""
    for part in ast.walk(node):
        match part:
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                yield from (v for k, v in pairs if isinstance(k, ast.Constant) and k.value == name)
            case ast.Call(func=ast.Name(id="dict"), keywords=keywords):
                yield from (keyword.value for keyword in keywords if keyword.arg == name)
    yield from (value for _, value in _stored_in(node, name))


def _stored_in(node: ast.AST, name: str) -> Iterator[tuple[ast.Subscript, ast.expr]]:
    """The assignments `mapping[name] = value` inside `node`."""
    for part in ast.walk(node):
        for target in part.targets if isinstance(part, ast.Assign) else ():
            match target:
                case ast.Subscript(slice=ast.Constant(value=value)) if value == name and isinstance(part, ast.Assign):
                    yield target, part.value


def switched_mode(resolver: Evaluator, call: ast.Call, scope: Scope, spec: DriverSpec) -> Mode | None:
    """The mode that the function holding `call` switches the result to, None when it does not."""
    modes = list(_switched(resolver, call, scope, spec))
    return merge_modes(modes) if modes else None


def _switched(resolver: Evaluator, call: ast.Call, scope: Scope, spec: DriverSpec) -> Iterator[Mode]:
    target = target_of(call, scope)
    function = scope.function
    if target is None or function is None:
        return
    names = _spellings(target)
    for value, switch in _switches(function, names, spec):
        yield told_mode(resolver, value, scope, spec, switch) or Mode.UNKNOWN
    for call_on in function.calls:
        for called, there in _called(resolver, call_on, scope, target, names):
            for value, switch in _switches(called, frozenset({there}), spec):
                given, place = _given(call_on, called, value, scope)
                yield told_mode(resolver, given, place, spec, switch) or Mode.UNKNOWN


def _switches(
    function: FunctionInfo, names: frozenset[str], spec: DriverSpec
) -> Iterator[tuple[ast.expr, AutocommitSwitch]]:
    """What the function sets the mode of the connection spelled `names` to, and by which switch."""
    attributes = {switch.name: switch for switch in spec.autocommit if switch.by is Switch.ATTRIBUTE}
    for attribute, value in function.assigns:
        switch = attributes.get(attribute.attr)
        if switch is not None and ast.unparse(attribute.value) in names:
            yield value, switch
    methods = {switch.name: switch for switch in spec.autocommit if switch.by is Switch.METHOD}
    for call_on in function.calls:
        func = call_on.func
        switch = methods.get(func.attr) if isinstance(func, ast.Attribute) else None
        if switch is None or not isinstance(func, ast.Attribute) or ast.unparse(func.value) not in names:
            continue
        argument = switch_argument(call_on, switch)
        if argument is not None:
            yield argument, switch


def _called(
    resolver: Evaluator, call: ast.Call, scope: Scope, target: Target, names: frozenset[str]
) -> Iterator[tuple[FunctionInfo, str]]:
    """The own methods, and the functions handed the connection, that the call means, and what it is spelled there."""
    function, func = scope.function, call.func
    stored = (target.cls, target.name) if target.cls is not None else target.scope.stored.get(target.name)
    if function is None or stored is None:
        return
    if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == function.self_name:
        found = method(resolver, stored[0], func.attr)
        if found is not None and found is not function:
            yield found, f"{found.self_name}.{stored[1]}"
    if any(isinstance(part, (ast.Name, ast.Attribute)) and ast.unparse(part) in names for part in call.args):
        for found in (value.info for value in resolver.evaluate(func, scope) if isinstance(value, Function)):
            for name in (argument.arg for argument in found.parameters):
                passed = argument_for(call, found, name)
                if passed is not None and ast.unparse(passed) in names:
                    yield found, name


def _given(call: ast.Call, called: FunctionInfo, value: ast.expr, scope: Scope) -> tuple[ast.expr, Scope]:
    """The value, or what the call gives for it where it is a parameter of the called function, and its scope."""
    if isinstance(value, ast.Name):
        argument = argument_for(call, called, value.id)
        if argument is not None:
            return argument, scope
        default = default_of(called, value.id)
        if default is not None:
            return default, called.scope
    return value, called.scope


def _spellings(target: Target) -> frozenset[str]:
    if target.cls is not None:
        owner = target.scope.function.self_name if target.scope.function is not None else ""
        return frozenset({f"{owner or 'self'}.{target.name}", f"{target.cls.node.name}.{target.name}"})
    stored = target.scope.stored.get(target.name)
    also = {f"self.{stored[1]}"} if stored is not None else set()
    return frozenset({target.name, *also})


def switch_argument(call: ast.Call, switch: AutocommitSwitch) -> ast.expr | None:
    """The argument of a mode-setting method that tells the mode."""
    for keyword in call.keywords:
        if keyword.arg == switch.keyword:
            return keyword.value
    if switch.position is not None and switch.position < len(call.args):
        return call.args[switch.position]
    return None


def method_mode(resolver: Evaluator, call: ast.Call, scope: Scope, spec: DriverSpec, name: str) -> Mode | None:
    """The mode that the call of the method `name` of a handle sets, None when it sets none."""
    for switch in spec.autocommit:
        if switch.by is Switch.METHOD and switch.name == name:
            argument = switch_argument(call, switch)
            if argument is not None:
                return told_mode(resolver, argument, scope, spec, switch)
    return None


def told_mode(
    resolver: Evaluator, node: ast.expr, scope: Scope, spec: DriverSpec, switch: AutocommitSwitch
) -> Mode | None:
    """The mode that a value says: by constant or by a driver's constant; UNKNOWN for anything else."""
    if isinstance(node, ast.Constant):
        return _by_constant(node.value, switch)
    values = resolver.evaluate(node, scope)
    return merge_modes(_mode_of(value, spec, switch) for value in values) if values else Mode.UNKNOWN


def _mode_of(value: Value, spec: DriverSpec, switch: AutocommitSwitch) -> Mode:
    if isinstance(value, Nothing):
        return _by_constant(None, switch)
    if not isinstance(value, External):
        return Mode.UNKNOWN
    if value.dotted in switch.on:
        return Mode.AUTOCOMMIT
    if value.dotted in switch.off or value.dotted in spec.constants:
        constant = spec.constants.get(value.dotted)
        return _by_constant(constant, switch) if constant is not None else Mode.TRANSACTION
    return Mode.UNKNOWN


def _by_constant(value: object, switch: AutocommitSwitch) -> Mode:
    same = [entry for entry in switch.on if type(entry) is type(value) and entry == value]
    if same:
        return Mode.AUTOCOMMIT
    different = [entry for entry in switch.off if type(entry) is type(value) and entry == value]
    return Mode.TRANSACTION if different or switch.off == () else Mode.UNKNOWN
