"""The resolver: what an expression may be, on demand, memoised, over names, attributes, calls and annotations."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable
from typing import TypeAlias

from dbsafety.drivers.spec import HandleKind
from dbsafety.drivers.table import DriverTable
from dbsafety.facts.reaching import reaching
from dbsafety.facts.scopes import Binding, BindKind, FunctionInfo, ModuleIndex, Scope
from dbsafety.typestate import allocate, attributes, calls, containers, evidence, managers, parameters
from dbsafety.typestate.annotations import annotated
from dbsafety.typestate.fixpoint import Fixpoint
from dbsafety.typestate.memory import Memory, Store
from dbsafety.typestate.values import (
    EMPTY,
    LIMIT,
    Class,
    Elements,
    External,
    Function,
    Handle,
    Instance,
    Items,
    Key,
    Nothing,
    Value,
    borrowed_key,
    class_key,
    from_other_module,
    scope_key,
)

_BUILTINS = frozenset(dir(builtins))
_NONE: frozenset[Value] = frozenset((Nothing(),))
_MAX_DEPTH = 80
_ROUNDS = 12
_MAX_NESTING = 3
_TRANSPARENT = frozenset({"typing.Annotated", "typing_extensions.Annotated", "typing.Optional"})
"""Types that stand for the first of what they are subscripted with, where a name is given to them."""

Compute: TypeAlias = Callable[[], frozenset[Value]]


class Resolver:
    """Answers `evaluate` for one program. `memory` says which answers outlast the file."""

    def __init__(self, memory: Memory) -> None:
        self.program = memory.program
        self.table = memory.table
        self._memo: Store[tuple[int, int], frozenset[Value]] = memory.values
        self._fixpoint: Fixpoint[tuple[int, int], frozenset[Value]] = Fixpoint(
            memory, memory.values, EMPTY, depth=_MAX_DEPTH, rounds=_ROUNDS, unsettled=EMPTY
        )
        self._too_many: set[tuple[int, int]] = set()

    def evaluate(self, node: ast.expr | None, scope: Scope) -> frozenset[Value]:
        """What `node` may be when evaluated in `scope`; empty when nothing is known."""
        if node is None:
            return EMPTY
        if isinstance(node, ast.Constant):
            return _NONE if node.value is None else EMPTY
        key = (id(node), id(scope))
        known = self._memo.shared.get(key)
        return known if known is not None else self._guarded(key, lambda: self._expression(node, scope))

    @property
    def exhausted(self) -> int:
        """How many budgets were hit."""
        return self._fixpoint.exhausted

    def is_final(self) -> bool:
        """Whether an answer that is empty so far will stay so: only then may something else take its place."""
        return self._fixpoint.is_final()

    def _guarded(self, key: tuple[int, int], compute: Compute) -> frozenset[Value]:
        return self._fixpoint.ask(key, lambda: self._bounded(key, compute()))

    def _bounded(self, key: tuple[int, int], found: frozenset[Value]) -> frozenset[Value]:
        """The values, if they are not too many; once they were, they stay unknown, or a cycle would never settle."""
        found = containers.shallow(found, _MAX_NESTING)
        if len(found) > LIMIT or key in self._too_many:
            self._too_many.add(key)
            return EMPTY
        return found

    def _expression(self, node: ast.expr, scope: Scope) -> frozenset[Value]:
        match node:
            case ast.Name(id=name):
                return self._name(name, scope, node)
            case ast.Attribute(value=value, attr=attr):
                bases = self.evaluate(value, scope)
                if bases:
                    return containers.union(self._attribute_seen_from(scope, base, attr) for base in bases)
                if not self.is_final():
                    return EMPTY
                return self.nested(value, attr, scope) or self._by_owner(value, attr, scope)
            case ast.Call():
                return calls.evaluate_call(self, node, scope)
            case ast.Await(value=value) | ast.NamedExpr(value=value) | ast.Starred(value=value):
                return self.evaluate(value, scope)
            case ast.Subscript(value=value, slice=index):
                return containers.union(self._item(base, index, scope) for base in self.evaluate(value, scope))
            case ast.Lambda():
                return _lambda(node, _index_of(scope))
        return self._composed(node, scope)

    def _item(self, base: Value, index: ast.expr, scope: Scope) -> frozenset[Value]:
        if isinstance(base, External) and base.dotted in _TRANSPARENT:
            return self.evaluate(index.elts[0] if isinstance(index, ast.Tuple) else index, scope)
        if isinstance(base, External):
            return allocate.ready_made(self.table.container(base.dotted), f"{base.dotted}[{ast.unparse(index)}]")
        return containers.item(base, index)

    def _composed(self, node: ast.expr, scope: Scope) -> frozenset[Value]:
        """Displays, comprehensions, and choices between expressions."""
        match node:
            case ast.IfExp(body=body, orelse=orelse):
                return self.evaluate(body, scope) | self.evaluate(orelse, scope)
            case ast.BoolOp(values=values):
                return containers.union(self.evaluate(value, scope) for value in values)
            case ast.Tuple(elts=elts) | ast.List(elts=elts) | ast.Set(elts=elts) if len(elts) <= LIMIT:
                return frozenset((Items(tuple(self.evaluate(element, scope) for element in elts)),))
            case ast.Dict(values=values) if len(values) <= LIMIT:
                return frozenset((Elements(containers.union(self.evaluate(value, scope) for value in values)),))
            case ast.ListComp(elt=elt) | ast.GeneratorExp(elt=elt) | ast.SetComp(elt=elt):
                return frozenset((Elements(self.evaluate(elt, scope)),))
        return EMPTY

    def _name(self, name: str, scope: Scope, use: ast.expr | None = None) -> frozenset[Value]:
        owner = scope.find(name)
        if owner is not None:
            found = self.variable(owner, name, use if owner is scope else None)
            local = owner.function is not None and owner.kind == "function"
            if owner.function is not None and local and evidence.is_guess(found) and self.is_final():
                return evidence.by_handlers(self, owner.function, name, borrowed_key(owner, name), found)
            return found
        index = _index_of(scope)
        for base in index.star_imports if index is not None else ():
            found = self.dotted(f"{base}.{name}", scope.module)
            if any(not isinstance(value, External) or self._is_known(value.dotted) for value in found):
                return found
        return frozenset((External(name),)) if name in _BUILTINS else EMPTY

    def nested(self, value: ast.expr, attr: str, scope: Scope) -> frozenset[Value]:
        """`self.local.conn` or `local.conn`, where nothing is known of `local` but what code assigns to it."""
        match value:
            case ast.Name(id=base):
                owner = scope.find(base)
                name = f"{base}.{attr}"
                return self.variable(owner, name) if owner is not None and name in owner.bindings else EMPTY
            case ast.Attribute(value=ast.Name() as base, attr=outer):
                owners = self.evaluate(base, scope)
                return containers.union(
                    self.attribute(v, f"{outer}.{attr}") for v in owners if isinstance(v, Class | Instance)
                )
        return EMPTY

    def _by_owner(self, value: ast.expr, attr: str, scope: Scope) -> frozenset[Value]:
        """`something.attr`, where one class of the module alone keeps a handle under that name."""
        function = scope.module_scope().function
        owner = function.module.sole_owner(attr) if function is not None and isinstance(value, ast.Attribute) else None
        if owner is None:
            return EMPTY
        found = self.attribute(Instance(owner), attr)
        return frozenset(from_other_module(v) for v in found if isinstance(v, Handle))

    def _is_known(self, dotted: str) -> bool:
        table = self.table
        return any(
            found is not None
            for found in (
                table.constructor(dotted),
                table.function(dotted),
                table.error(dotted),
                table.handle_class(dotted),
            )
        )

    def variable(self, owner: Scope, name: str, use: ast.expr | None = None) -> frozenset[Value]:
        """What the variable `name` of the scope `owner` may be, at all or where `use` stands."""
        values: set[Value] = set()
        for binding in reaching(owner, name, use):
            values |= self.bound(binding, owner, name)
        values |= containers.filled(self, owner.members.get(name, ()))
        stored = owner.stored.get(name)
        if stored is not None:
            cls = attributes.defining_class(self, *stored)
            attribute_key = class_key(cls, stored[1])
            local = scope_key(owner, name)
            return frozenset(_rekey(value, {local}, attribute_key) for value in values)
        return frozenset(values)

    def bound(self, binding: Binding, owner: Scope, name: str) -> frozenset[Value]:
        """What one binding gives the name."""
        match binding.kind:
            case BindKind.VALUE:
                values = containers.unpack(self.evaluate(binding.value, binding.scope), binding.path)
                unknown = binding.annotation is not None and not any(isinstance(v, Handle) for v in values)
                if unknown and self.is_final():
                    values |= annotated(self, binding.annotation, owner, scope_key(owner, name))
                return values
            case BindKind.WITH:
                return containers.unpack(self.entered(self.evaluate(binding.value, binding.scope)), binding.path)
            case BindKind.ELEMENT:
                inner = containers.union(
                    containers.elements_of(value) for value in self.evaluate(binding.value, binding.scope)
                )
                return containers.unpack(inner, binding.path)
            case BindKind.IMPORT:
                return self.dotted(binding.dotted, binding.scope.module)
            case BindKind.FUNCTION if binding.function is not None:
                return frozenset((Function(binding.function),))
            case BindKind.CLASS if binding.cls is not None:
                return frozenset((Class(binding.cls),))
            case BindKind.PARAMETER if owner.function is not None:
                return self.parameter(owner.function, name)
        return EMPTY

    def dotted(self, name: str, near: str) -> frozenset[Value]:
        """What a dotted name means in the file `near`: a driver's name, a project member, or something external."""
        canonical = self.table.canonical(name)
        ready = allocate.ready_made(self.table.object(canonical), canonical)
        ready = ready or allocate.of_request(self.table.request_object(canonical))
        if ready:
            return ready
        if self._is_known(canonical) or self.table.keeps(canonical):
            return frozenset((External(canonical),))
        found = self.program.split(name, near)
        if found is None:
            return frozenset((External(canonical, near),))
        index, rest = found
        if not rest:
            return frozenset((External(name, near),))
        return self._member(index, rest)

    def _member(self, index: ModuleIndex, names: tuple[str, ...]) -> frozenset[Value]:
        values = self._guarded((id(index.scope), hash(names)), lambda: self._reached(index, names))
        return frozenset(from_other_module(value) for value in values)

    def _reached(self, index: ModuleIndex, names: tuple[str, ...]) -> frozenset[Value]:
        """The last of `names` by way of the others; it may lead back to itself."""
        *path, last = names
        if not path:
            return self._name(last, index.scope)
        return containers.union(self.attribute(value, last) for value in self._member(index, tuple(path)))

    def _attribute_seen_from(self, scope: Scope, base: Value, name: str) -> frozenset[Value]:
        found = self.attribute(base, name)
        foreign = isinstance(base, Instance | Class) and base.info.module.path != scope.module
        return frozenset(from_other_module(value) for value in found) if foreign else found

    def attribute(self, base: Value, name: str) -> frozenset[Value]:
        """What `base.name` may be."""
        match base:
            case External(dotted=dotted) if self._is_known(dotted):
                # A driver's own source, where it is at hand, would lead back to the name that its table knows.
                return frozenset((External(self.table.canonical(f"{dotted}.{name}")),))
            case External(dotted=dotted, near=near):
                return self.dotted(f"{dotted}.{name}", near)
            case Instance(info=info) | Class(info=info):
                return self._guarded((id(info), hash(name)), lambda: attributes.lookup(self, info, name))
            case Handle():
                return _handle_attribute(self.table, base, name)
        return EMPTY

    def returned(self, call: ast.Call, scope: Scope, function: Function) -> frozenset[Value]:
        """What the call of a project function may return."""
        return calls.returned(self, call, scope, function)

    def entered(self, values: Iterable[Value]) -> frozenset[Value]:
        """What `with value as name` binds."""
        return containers.union(managers.entered(self, value) for value in values)

    def parameter(self, function: FunctionInfo, name: str) -> frozenset[Value]:
        """What a parameter may be."""
        return parameters.parameter(self, function, name)


def _index_of(scope: Scope) -> ModuleIndex | None:
    """The module that the scope belongs to."""
    module = scope.module_scope()
    return module.function.module if module.function is not None else None


def _lambda(node: ast.Lambda, index: ModuleIndex | None) -> frozenset[Value]:
    return frozenset(Function(info) for info in index.functions if info.node is node) if index is not None else EMPTY


def _rekey(value: Value, old: set[Key], new: Key) -> Value:
    if isinstance(value, Handle) and (value.key in old or value.key.kind in ("site", "param")):
        return value.moved(new)
    return value


def _handle_attribute(table: DriverTable, base: Handle, name: str) -> frozenset[Value]:
    spec = table.driver(base.driver).handles.get(base.kind)
    kind = spec.attributes.get(name) if spec is not None else None
    if kind is None:
        return EMPTY
    if kind is HandleKind.POOL:
        return EMPTY
    return frozenset((Handle(base.driver, kind, base.key, base.mode, base.confidence, base.pooled),))
