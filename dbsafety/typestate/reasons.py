"""Why a receiver is, or is not, a connection: the chain of bindings up to the link that is not known."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from dbsafety.facts.scopes import Binding, BindKind, ClassInfo, FunctionInfo, Scope
from dbsafety.flow.draw import code
from dbsafety.typestate.attributes import ancestry, has_unknown_base, method
from dbsafety.typestate.describe import handle_words
from dbsafety.typestate.frame import Frame
from dbsafety.typestate.parameters import argument_for, imported_drivers, kind_by_name
from dbsafety.typestate.values import (
    Class,
    Elements,
    Evaluator,
    External,
    Function,
    Handle,
    Instance,
    Items,
    Manager,
    Nothing,
    Value,
    handles,
)

_LONGEST_CHAIN = 5
"""Bindings that are followed before the explanation ends with "and so on"."""


def receivers(frame: Frame) -> Iterator[tuple[tuple[int, ...], str, str]]:
    """Lines, code and explanation of everything whose method the function calls, in source order, each code once."""
    found: dict[str, list[ast.expr]] = {}
    for call in sorted(frame.info.calls, key=lambda node: (node.lineno, node.col_offset)):
        receiver = receiver_of(call, frame.scope)
        if receiver is not None:
            found.setdefault(ast.unparse(receiver), []).append(receiver)
    for nodes in sorted(found.values(), key=lambda nodes: (nodes[0].lineno, nodes[0].col_offset)):
        lines = tuple(dict.fromkeys(node.lineno for node in nodes))
        yield lines, code(nodes[0]), Chain(frame.resolver, frame.info.module.path).told(nodes[0], frame.scope)


def receiver_of(call: ast.Call, scope: Scope) -> ast.expr | None:
    """What the method belongs to, also when a variable stands for the method (`run = cur.execute`)."""
    func = call.func
    if isinstance(func, ast.Name):
        owner = scope.find(func.id)
        bindings = owner.bindings[func.id] if owner is not None else []
        if len(bindings) == 1 and bindings[0].kind is BindKind.VALUE and bindings[0].scope is scope:
            func = bindings[0].value or func
    return func.value if isinstance(func, ast.Attribute) else None


class Chain:
    """Explanations for a reader of the file `path`."""

    def __init__(self, resolver: Evaluator, path: str) -> None:
        self.resolver = resolver
        self.path = path

    def told(self, node: ast.expr, scope: Scope) -> str:
        """What the expression is: the handles it may be, or what else it is, or what is missing to know."""
        values = self.resolver.evaluate(node, scope)
        found = [handle_words(handle, self.path) for handle in handles(values)]
        if found:
            return "; or ".join(found)
        if values or isinstance(node, (ast.Constant, ast.JoinedStr)):
            return f"no connection: {self._others(values) or 'a constant'}"
        return f"unknown: {self._why(node, scope, 0)}"

    def _link(self, node: ast.expr, scope: Scope, depth: int) -> str:
        values = self.resolver.evaluate(node, scope)
        return (
            self._others(values) if values and not isinstance(node, ast.Constant) else self._why(node, scope, depth + 1)
        )

    def _others(self, values: frozenset[Value]) -> str:
        return " or ".join(sorted({self._words(value) for value in values}))

    def _words(self, value: Value) -> str:
        match value:
            case Handle():
                return f"a {value.driver} {value.kind.value}"
            case External(dotted=dotted):
                return f"{'built-in' if hasattr(builtins, dotted) else 'external'} name `{dotted}`"
            case Function(info=info):
                return f"the project's function {info.qualname} ({self._where(info.scope, info.node)})"
            case Class(info=cls):
                return f"the project's class {cls.qualname} ({self._where(cls.scope, cls.node)})"
            case Instance(info=cls):
                return f"an instance of the project's class {cls.qualname} ({self._where(cls.scope, cls.node)})"
            case Nothing():
                return "None"
            case Items() | Elements():
                return "a container"
            case Manager():
                return f"a context manager of kind {value.kind.value}"

    def _where(self, scope: Scope, node: ast.AST) -> str:
        line = getattr(node, "lineno", 1)
        return f"line {line}" if scope.module == self.path else f"{scope.module}:{line}"

    def _why(self, node: ast.expr, scope: Scope, depth: int) -> str:
        """The first thing that is missing to know `node`."""
        if depth > _LONGEST_CHAIN:
            return "and so on"
        match node:
            case ast.Name(id=name):
                owner = scope.find(name)
                return self._variable(owner, name, depth) if owner is not None else f"{code(node)} - no binding found"
            case ast.Attribute():
                return self._attribute(node, scope, depth)
            case ast.Call():
                return self._call(node, scope, depth)
            case ast.Await(value=value) | ast.NamedExpr(value=value) | ast.Starred(value=value):
                return self._why(value, scope, depth)
            case ast.Subscript(value=value):
                return f"an element of {code(value)}; {self._link(value, scope, depth)}"
            case ast.Constant() | ast.JoinedStr():
                return "a constant"
        return f"{code(node)} is computed, which is not followed"

    def _variable(self, owner: Scope, name: str, depth: int) -> str:
        bindings = owner.bindings.get(name, [])
        if not bindings:
            return f"`{name}` - no binding found"
        known = (binding for binding in bindings if binding.kind is not BindKind.OTHER)
        return self._binding(next(known, bindings[0]), f"`{name}`", depth)

    def _binding(self, binding: Binding, name: str, depth: int) -> str:
        where = self._where(binding.scope, binding.node)
        if binding.kind is BindKind.PARAMETER and binding.scope.function is not None:
            return self._parameter(binding, binding.scope.function, name, depth)
        if binding.kind is BindKind.IMPORT:
            return self._import(binding.dotted, binding.scope.module, name, where, depth)
        if binding.value is None:
            if binding.annotation is not None:
                return (
                    f"{name}, declared {code(binding.annotation)} ({where}), which is no class of a driver or project"
                )
            return f"{name} is bound in {where} to what no connection can be"
        verb = {BindKind.WITH: "is what entering", BindKind.ELEMENT: "is an element of"}.get(binding.kind, "is")
        verb = "is a part of" if binding.path else verb
        gives = " gives" if binding.kind is BindKind.WITH and not binding.path else ""
        return (
            f"{name} {verb} {code(binding.value)}{gives} ({where}); {self._link(binding.value, binding.scope, depth)}"
        )

    def _import(self, dotted: str, near: str, name: str, where: str, depth: int) -> str:
        found = self.resolver.program.split(dotted, near)
        if found is None or not found[1]:
            return f"{name}, imported in {where}: external name `{dotted}`"
        index, rest = found
        if rest[0] not in index.scope.bindings:
            return f"{name}, imported in {where}: {index.path} binds no `{rest[0]}`"
        return f"{name}, imported in {where}; {self._variable(index.scope, rest[0], depth + 1)}"

    def _parameter(self, binding: Binding, function: FunctionInfo, name: str, depth: int) -> str:
        plain = name.strip("`")
        if plain not in [argument.arg for argument in function.parameters]:
            return f"parameter {name} collects arguments, which is not followed"
        annotation = binding.annotation
        head = f"parameter {name} with no annotation"
        if annotation is not None:
            head = f"parameter {name}, declared {code(annotation)}, which is no class of a driver or project"
        for call, caller in _callers(function):
            value = argument_for(call, function, plain)
            if value is not None and caller is not function:
                where = self._where(caller.scope, call)
                return f"{head}; given {code(value)} in {where}; {self._link(value, caller.scope, depth)}"
        no_caller = (" and" if annotation is None else "; there is") + " no caller in this module"
        if kind_by_name(plain) is None:
            return f"{head}{no_caller}"
        drivers = " and ".join(spec.name for spec in imported_drivers(self.resolver, function)) or "no driver"
        return f"{head}{no_caller}; its name cannot tell the driver, the module imports {drivers}"

    def _attribute(self, node: ast.Attribute, scope: Scope, depth: int) -> str:
        bases = self.resolver.evaluate(node.value, scope)
        if not bases:
            return self._why(node.value, scope, depth)
        for base in sorted(bases, key=self._words):
            match base:
                case Instance(info=cls) | Class(info=cls):
                    return self._member(node, cls, depth)
                case External(dotted=dotted):
                    return self._import(f"{dotted}.{node.attr}", scope.module, code(node), f"line {node.lineno}", depth)
        return f"{code(node)} - `{node.attr}` of {self._others(bases)} is no connection"

    def _member(self, node: ast.Attribute, cls: ClassInfo, depth: int) -> str:
        """Why nothing is known of an attribute of an instance or class of the project."""
        found = method(self.resolver, cls, node.attr)
        if found is not None:
            return f"{code(node)} is a property ({self._where(found.scope, found.node)}); {self._result(found, depth)}"
        for current in ancestry(self.resolver, cls):
            for binding in (*current.attributes.get(node.attr, ()), *current.scope.bindings.get(node.attr, ())):
                return self._binding(binding, code(node), depth)
        outside = has_unknown_base(self.resolver, cls)
        unseen = ", which has a base outside the project" if outside else " or its bases"
        return f"{code(node)} - no assignment found in class {cls.qualname}{unseen}"

    def _call(self, node: ast.Call, scope: Scope, depth: int) -> str:
        func = node.func
        receiver = handles(self.resolver.evaluate(func.value, scope)) if isinstance(func, ast.Attribute) else ()
        if receiver and isinstance(func, ast.Attribute):
            return f"`{func.attr}` of {self._words(receiver[0])} returns no connection"
        callees = self.resolver.evaluate(func, scope)
        if not callees:
            return self._why(func, scope, depth)
        for callee in sorted(callees, key=self._words):
            if isinstance(callee, Function):
                return f"{self._words(callee)}; {self._result(callee.info, depth)}"
        return f"{self._others(callees)} makes no connection that a driver table knows"

    def _result(self, function: FunctionInfo, depth: int) -> str:
        values = [node.value for node in (*function.returns, *function.yields) if node.value is not None]
        if isinstance(function.node, ast.Lambda):
            values.append(function.node.body)
        if not values:
            return "it returns nothing"
        return f"it returns {code(values[0])}; {self._link(values[0], function.scope, depth)}"


def _callers(function: FunctionInfo) -> list[tuple[ast.Call, FunctionInfo]]:
    """The calls in the module of what bears the function's name (or, for `__init__`, its class's)."""
    if isinstance(function.node, (ast.Lambda, ast.Module)):
        return []
    called = function.node.name
    if called == "__init__" and function.cls is not None:
        called = function.cls.node.name
    return function.module.callers.get(called, [])
