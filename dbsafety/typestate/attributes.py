"""Attributes of instances and classes: own methods, project bases, everything assigned to `self.<name>`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dbsafety.drivers.spec import AutocommitSwitch, Switch
from dbsafety.facts.scopes import Binding, BindKind, ClassInfo, FunctionInfo
from dbsafety.typestate.annotations import annotated
from dbsafety.typestate.containers import filled, unpack
from dbsafety.typestate.values import (
    EMPTY,
    Class,
    Evaluator,
    External,
    Function,
    Handle,
    Instance,
    Key,
    Mode,
    Nothing,
    Value,
    class_key,
    externals,
    from_other_module,
)

_MAX_BASES = 12


def ancestry(resolver: Evaluator, cls: ClassInfo) -> Iterator[ClassInfo]:
    """The class and its project bases, nearest first, each once."""
    seen: set[str] = set()
    pending = [cls]
    while pending and len(seen) < _MAX_BASES:
        current = pending.pop(0)
        if current.key in seen:
            continue
        seen.add(current.key)
        yield current
        for base in current.node.bases:
            found = resolver.evaluate(base, current.scope.parent or current.scope)
            pending.extend(sorted((v.info for v in found if isinstance(v, Class)), key=lambda c: c.key))


def has_unknown_base(resolver: Evaluator, cls: ClassInfo) -> bool:
    """Whether some base of the class is neither the project's nor known."""
    for current in ancestry(resolver, cls):
        for base in current.node.bases:
            found = resolver.evaluate(base, current.scope.parent or current.scope)
            if not found or any(isinstance(v, External) and v.dotted not in _PLAIN_BASES for v in found):
                return True
    return False


_PLAIN_BASES = frozenset(
    {"object", "abc.ABC", "typing.Protocol", "typing.Generic", "typing.NamedTuple", "enum.Enum", "threading.Thread"}
)


def defining_class(resolver: Evaluator, cls: ClassInfo, name: str) -> ClassInfo:
    """The base-most class that assigns the attribute, so that all subclasses agree on its key."""
    found = cls
    for current in ancestry(resolver, cls):
        if name in current.attributes or name in current.scope.bindings:
            found = current
    return found


def method(resolver: Evaluator, cls: ClassInfo, name: str) -> FunctionInfo | None:
    """The method that `instance.name` means, by the order of the bases."""
    for current in ancestry(resolver, cls):
        if name in current.methods:
            return current.methods[name]
    return None


def lookup(resolver: Evaluator, cls: ClassInfo, name: str) -> frozenset[Value]:
    """What `instance.name` may be."""
    found = method(resolver, cls, name)
    if found is not None:
        if is_property(found):
            values: set[Value] = set()
            for statement in found.returns:
                values |= resolver.evaluate(statement.value, found.scope)
            return frozenset(_kept(value, class_key(cls, name)) for value in values)
        return frozenset((Function(found, cls),))
    key = class_key(defining_class(resolver, cls, name), name)
    gathered: set[Value] = set()
    for current in ancestry(resolver, cls):
        for binding in (*current.attributes.get(name, ()), *current.scope.bindings.get(name, ())):
            bound = _bound(resolver, binding, key)
            foreign = current.module.path != cls.module.path
            gathered |= {from_other_module(value) for value in bound} if foreign else bound
        gathered |= filled(resolver, current.members.get(name, ()))
        gathered.update(_stored(resolver, current, name, key))
    if all(isinstance(value, Nothing) for value in gathered) and resolver.is_final():
        gathered |= {from_other_module(value) for value in _of_subclasses(resolver, cls, name)}
        gathered |= frozenset(_of_keepers(resolver, cls, name)) if not gathered else EMPTY
    return frozenset(seen_from(resolver, cls, _kept(value, key)) for value in gathered)


def _of_subclasses(resolver: Evaluator, cls: ClassInfo, name: str) -> Iterator[Value]:
    """What the classes of this module that are made of `cls` keep in the attribute, for a base that only uses it."""
    for other in cls.module.classes:
        if other is not cls and name in other.attributes and any(base is cls for base in ancestry(resolver, other)):
            yield from resolver.attribute(Instance(other), name)


def _of_keepers(resolver: Evaluator, cls: ClassInfo, name: str) -> Iterator[Value]:
    """What a base from another package keeps in the attribute for each request."""
    for current in ancestry(resolver, cls):
        for base in current.node.bases:
            for value in externals(resolver.evaluate(base, current.scope.parent or current.scope)):
                if resolver.table.keeps(resolver.table.canonical(value.dotted)):
                    yield from resolver.attribute(value, name)


def _stored(resolver: Evaluator, cls: ClassInfo, name: str, key: Key) -> Iterator[Value]:
    """What the module assigns to the attribute of an instance that has another name than `self`."""
    for base, binding in cls.module.stores.get(name, ()):
        owners = resolver.evaluate(base, binding.scope)
        if any(isinstance(owner, Class | Instance) and owner.info is cls for owner in owners):
            for value in _bound(resolver, binding, key):
                yield value.moved(key) if isinstance(value, Handle) else value


def seen_from(resolver: Evaluator, cls: ClassInfo, value: Value) -> Value:
    """The value as the class knows it. Its mode is unknown when a subclass switches that of an inherited connection, or
    a method that did not open it leaves it in autocommit: which was called last, the code does not say.
    """
    if not isinstance(value, Handle) or value.key.kind != "attr" or value.mode is Mode.UNKNOWN:
        return value
    switches = resolver.table.driver(value.driver).autocommit
    for current in ancestry(resolver, cls):
        own = value.key.owner in (current.key, cls.key)
        if own and value.mode is Mode.AUTOCOMMIT:
            continue
        for function in current.methods.values():
            told = list(_switched(function, value.key.name, switches))
            if told and (not own or (told[-1] and not _assigns(function, value.key.name))):
                return replace(value, mode=Mode.UNKNOWN)
    return value


def _switched(function: FunctionInfo, name: str, switches: Sequence[AutocommitSwitch]) -> Iterator[bool]:
    """For each place where the method switches the mode of its attribute, in order: whether to autocommit for sure."""
    base = f"{function.self_name}.{name}"
    places: list[tuple[int, bool]] = []
    for target, value in function.assigns:
        switch = next((s for s in switches if s.by is Switch.ATTRIBUTE and s.name == target.attr), None)
        if switch is not None and ast.unparse(target.value) == base:
            places.append((target.lineno, _is_on(value, switch)))
    for call in function.calls:
        func = call.func
        if not isinstance(func, ast.Attribute):
            continue
        switch = next((s for s in switches if s.by is Switch.METHOD and s.name == func.attr), None)
        if switch is not None and ast.unparse(func.value) == base:
            arguments = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == switch.keyword)]
            places.append((call.lineno, any(_is_on(argument, switch) for argument in arguments)))
    yield from (on for _, on in sorted(places))


def _is_on(node: ast.expr, switch: AutocommitSwitch) -> bool:
    """Whether a constant, or the name of a driver's constant, says autocommit."""
    if isinstance(node, ast.Constant):
        return any(type(entry) is type(node.value) and entry == node.value for entry in switch.on)
    last = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return any(isinstance(entry, str) and entry.rpartition(".")[2] == last for entry in switch.on)


def _assigns(function: FunctionInfo, name: str) -> bool:
    """Whether the method puts something into its attribute."""
    return any(
        target.attr == name
        and ast.unparse(target.value) == function.self_name
        and not (isinstance(value, ast.Constant) and value.value is None)
        for target, value in function.assigns
    )


def _bound(resolver: Evaluator, binding: Binding, key: Key) -> frozenset[Value]:
    values: frozenset[Value] = EMPTY
    match binding.kind:
        case BindKind.VALUE:
            values = unpack(resolver.evaluate(binding.value, binding.scope), binding.path)
        case BindKind.WITH:
            values = resolver.entered(resolver.evaluate(binding.value, binding.scope))
        case BindKind.IMPORT:
            values = resolver.dotted(binding.dotted, binding.scope.module)
        case BindKind.CLASS if binding.cls is not None:
            values = frozenset((Class(binding.cls),))
    unknown = binding.annotation is not None and not any(isinstance(v, Handle) for v in values)
    if unknown and resolver.is_final():
        values |= annotated(resolver, binding.annotation, binding.scope, key)
    return values


def _kept(value: Value, key: Key) -> Value:
    """A handle that is kept in an attribute gets the attribute's key unless it already has a lasting one."""
    if isinstance(value, Handle) and not value.key.persistent:
        return value.moved(key)
    return value


def is_property(function: FunctionInfo) -> bool:
    """Whether the method is called by naming it."""
    for decorator in function.decorators:
        name = (
            decorator.attr
            if isinstance(decorator, ast.Attribute)
            else decorator.id
            if isinstance(decorator, ast.Name)
            else ""
        )
        if name in ("property", "cached_property"):
            return True
    return False
