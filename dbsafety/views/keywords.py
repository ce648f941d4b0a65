"""Which keywords a call may pass: plainly, through `*` and `**`, or because the callable was prepared with them."""

from __future__ import annotations

import ast

from dbsafety.facts.scopes import BindKind
from dbsafety.typestate.values import External
from dbsafety.views.view import FunctionView


def may_pass(view: FunctionView, call: ast.Call, *names: str) -> bool:
    """Whether the call passes one of the keywords, or may pass it by `*`, `**` or `functools.partial`."""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return True
    if any(keyword.arg in names for keyword in call.keywords) or is_partial(view, call.func):
        return True
    spread = (keyword.value for keyword in call.keywords if keyword.arg is None)
    return any(keys is None or keys.intersection(names) for keys in (keys_of(view, node) for node in spread))


def keys_of(view: FunctionView, node: ast.expr) -> frozenset[str] | None:
    """The keys that a local dictionary can have, None when that is not certain."""
    if not isinstance(node, ast.Name) or view.scope.find(node.id) is not view.scope:
        return None
    keys: set[str] = set()
    for binding in view.scope.bindings[node.id]:
        if binding.kind is not BindKind.VALUE or binding.path or not isinstance(binding.value, ast.Dict):
            return None
        keys |= {_text(key) for key in binding.value.keys}
    for use in ast.walk(view.info.node):
        if isinstance(use, ast.Name) and use.id == node.id and isinstance(use.ctx, ast.Load):
            parent = view.parents.get(id(use))
            if isinstance(parent, ast.Subscript) and parent.value is use:
                keys.add(_text(parent.slice))
            elif not (isinstance(parent, ast.keyword) and parent.arg is None):
                return None
    return None if "" in keys else frozenset(keys)


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_partial(view: FunctionView, func: ast.expr) -> bool:
    """Whether the callable was made by `functools.partial`, which may hold a timeout."""
    owner = view.scope.find(func.id) if isinstance(func, ast.Name) else None
    bindings = owner.bindings[func.id] if owner is not None and isinstance(func, ast.Name) else []
    made = [(b.value.func, b.scope) for b in bindings if isinstance(b.value, ast.Call)]
    found = (value for part, scope in made for value in view.resolver.evaluate(part, scope))
    return any(isinstance(value, External) and value.dotted == "functools.partial" for value in found)
