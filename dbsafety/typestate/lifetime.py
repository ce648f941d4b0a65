"""Connections that live in a project object which itself lives only as long as one call of a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.facts.scopes import Binding, BindKind, ClassInfo, FunctionInfo
from dbsafety.typestate.attributes import ancestry
from dbsafety.typestate.values import Class, Evaluator, External, Function, Instance, Key, Value, handles

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_HARMLESS = (ast.Attribute, ast.If, ast.While, ast.IfExp, ast.Compare, ast.UnaryOp, ast.withitem, ast.Expr)


def dies_with_owner(resolver: Evaluator, function: FunctionInfo, key: Key) -> bool:
    """Whether the connection `key`, an attribute, belongs to an object that `function` makes and keeps to itself.

    The object must be made by its class each time, open the connection itself, and never be handed on: then it is
    dropped when the function returns, and its connection with it. In doubt the answer is no.
    """
    if key.kind != "attr":
        return False
    names = {name for name in function.scope.bindings if _is_made_here(resolver, function, name, key)}
    if not names or not _stays(function.node, names):
        return False
    if any(_holds(resolver, node, function, key) for node in _expressions(function.node, names)):
        return False
    return not any(
        handle.key == key
        for _, value in function.assigns
        for handle in handles(resolver.evaluate(value, function.scope))
    )


def _is_made_here(resolver: Evaluator, function: FunctionInfo, name: str, key: Key) -> bool:
    """Whether every value of the local variable is a new object with a connection of its own, or None."""
    owners: list[ClassInfo] = []
    for binding in function.scope.bindings[name]:
        value = binding.value
        if isinstance(value, ast.Constant) and value.value is None:
            continue
        if binding.kind not in (BindKind.VALUE, BindKind.WITH) or binding.path or not isinstance(value, ast.Call):
            return False
        found = resolver.evaluate(value.func, binding.scope)
        classes = [v.info for v in found if isinstance(v, Class)]
        if not classes or len(classes) != len(found):
            return False
        owners.extend(classes)
    return bool(owners) and all(_opens_its_own(resolver, cls, key) for cls in owners)


def _opens_its_own(resolver: Evaluator, cls: ClassInfo, key: Key) -> bool:
    """Whether each instance of the class opens the connection in `key`: no singleton, nothing that was passed in."""
    bases = list(ancestry(resolver, cls))
    if not any(base.key == key.owner for base in bases):
        return False
    opened = False
    for base in bases:
        if base.node.decorator_list or base.node.keywords or "__new__" in base.methods:
            return False
        shared = base.scope.bindings.get(key.name, ())
        if any(not (isinstance(b.value, ast.Constant) and b.value.value is None) for b in shared):
            return False
        for binding in base.attributes.get(key.name, ()):
            if isinstance(binding.value, ast.Constant):
                continue
            if not _is_fresh(resolver, binding):
                return False
            opened = True
    return opened


def _is_fresh(resolver: Evaluator, binding: Binding) -> bool:
    """Whether a method of the instance gives the attribute a connection that it has just opened."""
    method = binding.scope.function
    if binding.kind is not BindKind.VALUE or method is None or method.self_name in ("", "cls"):
        return False
    if isinstance(binding.value, ast.Name):
        local = binding.scope.bindings.get(binding.value.id, ())
        return bool(local) and all(b.kind is BindKind.VALUE and _is_opening(resolver, b) for b in local)
    return _is_opening(resolver, binding)


def _is_opening(resolver: Evaluator, binding: Binding) -> bool:
    if not isinstance(binding.value, ast.Call):
        return isinstance(binding.value, ast.Constant)
    found = resolver.evaluate(binding.value.func, binding.scope)
    return bool(found) and all(_opens(resolver, value) for value in found)


def _opens(resolver: Evaluator, value: Value) -> bool:
    """Whether the callee is a driver's constructor, or a function that returns what it has just opened."""
    match value:
        case External(dotted=dotted):
            return resolver.table.constructor(dotted) is not None
        case Function(info=info):
            returned = [h for r in info.returns for h in handles(resolver.evaluate(r.value, info.scope))]
            return bool(returned) and all(h.key.kind in ("site", "local") and not h.pooled for h in returned)
    return False


def _stays(node: ast.AST, names: set[str]) -> bool:
    """Whether the names are only asked for attributes, tested and entered, and no nested function has them."""
    for parent in ast.walk(node):
        if parent is not node and isinstance(parent, _FUNCTIONS):
            if any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(parent)):
                return False
            continue
        if isinstance(parent, _HARMLESS):
            continue
        for child in ast.iter_child_nodes(parent):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load) and child.id in names:
                return False
    return True


def _expressions(node: ast.AST, names: set[str]) -> Iterator[ast.expr]:
    """The names and attributes of the body other than `names` themselves."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) or (isinstance(part, ast.Name) and part.id not in names):
            yield part


def _holds(resolver: Evaluator, node: ast.expr, function: FunctionInfo, key: Key) -> bool:
    """Whether the expression is an object that keeps the connection."""
    return any(
        isinstance(value, Instance) and any(base.key == key.owner for base in ancestry(resolver, value.info))
        for value in resolver.evaluate(node, function.scope)
    )
