"""Which locks of the program (not of the database) code runs under, told by their names or by what made them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dbsafety.facts.scopes import FunctionInfo
from dbsafety.typestate.calls import is_generator_manager
from dbsafety.typestate.values import Function, Instance, Manager, ManagerKind
from dbsafety.views.origins import origins
from dbsafety.views.view import FunctionView

_WORDS = re.compile(r"(?<![bc])lock(?!ed_by)|mutex|semaphore|synchron", re.IGNORECASE)
_MAKERS = frozenset(
    f"{module}.{name}"
    for module in ("threading", "multiprocessing", "asyncio")
    for name in ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore")
)
_DEPTH = 3


def _is_called_lock(node: ast.expr) -> bool:
    """Whether the expression is called a lock: `self._lock`, `lock_for(path)`, `self.rw.read_lock()`."""
    return _WORDS.search(ast.unparse(node)) is not None


def _is_lock(view: FunctionView, node: ast.expr) -> bool:
    """Whether the expression is called a lock, or means an object that a class of locks made."""
    return _is_called_lock(node) or any(o.dotted in _MAKERS and o.call is not None for o in origins(view, node))


def lock_name(node: ast.expr) -> str:
    """The name by which a lock is known, whoever holds it: the last part, `_lock` for `self._lock`."""
    while isinstance(node, ast.Call):
        node = node.func
    match node:
        case ast.Attribute(value=value, attr=attr):
            return attr if _WORDS.search(attr) or not _is_called_lock(value) else lock_name(value)
        case ast.Name(id=name):
            return name
        case ast.Subscript(value=value):
            return lock_name(value)
    return ast.unparse(node)


def locks_around(view: FunctionView, node: ast.AST) -> frozenset[str]:
    """The locks that are held at `node`: by `with` around it, by an `acquire()` anywhere in the function, or by a
    decorator. In doubt a lock is held.
    """
    return frozenset((*_entered(view, node, 0), *_acquired(view), *_decorating(view)))


def _entered(view: FunctionView, node: ast.AST, depth: int) -> Iterator[str]:
    inner: ast.AST = node
    for outer in view.around(node):
        if isinstance(outer, (ast.With, ast.AsyncWith)):
            before = outer.items.index(inner) if isinstance(inner, ast.withitem) else len(outer.items)
            for item in outer.items[:before]:
                yield from _of_item(view, item.context_expr, depth)
        inner = outer


def _of_item(view: FunctionView, manager: ast.expr, depth: int) -> Iterator[str]:
    if _is_lock(view, manager):
        yield lock_name(manager)
        return
    if depth == _DEPTH:
        return
    for value in view.resolver.evaluate(manager, view.scope):
        match value:
            case Manager(kind=ManagerKind.GENERATOR, function=FunctionInfo() as function):
                inside = FunctionView(view.module, function)
                for point in function.yields:
                    yield from _entered(inside, point, depth + 1)
                yield from _acquired(inside)
            case Instance(info=info):
                enter = info.methods.get("__enter__") or info.methods.get("__aenter__")
                if enter is not None:
                    yield from _acquired(FunctionView(view.module, enter))


def _acquired(view: FunctionView) -> Iterator[str]:
    for call in view.info.calls:
        match call.func:
            case ast.Attribute(value=lock, attr="acquire" | "__enter__" | "__aenter__") if _is_lock(view, lock):
                yield lock_name(lock)


def _decorating(view: FunctionView) -> Iterator[str]:
    outer = view.scope.parent or view.scope
    for decorator in view.info.decorators:
        if _is_called_lock(decorator):
            yield lock_name(decorator)
            continue
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        for value in view.resolver.evaluate(called, outer):
            if isinstance(value, Function) and not is_generator_manager(view.resolver, value.info):
                inside = f"{value.info.qualname}."
                wrappers = (f for f in value.info.module.functions if f.qualname.startswith(inside))
                for node in (part for wrapper in wrappers for part in ast.walk(wrapper.node)):
                    if isinstance(node, ast.withitem) and _is_called_lock(node.context_expr):
                        yield lock_name(node.context_expr)
