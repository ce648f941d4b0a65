"""Questions about blocks of a framework that a database error breaks (Django's `atomic`, fact B10c)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeGuard

from dbsafety.drivers.spec import DriverSpec, HandleKind
from dbsafety.facts.scopes import FunctionInfo, Scope
from dbsafety.typestate.containers import flat
from dbsafety.typestate.values import External, Handle, Value, externals
from dbsafety.views.view import FunctionView

_OWN_WAY = ("rollback", "savepoint")


def caught(view: FunctionView, handler: ast.ExceptHandler, family: str) -> DriverSpec | None:
    """The table of that family whose error the clause names, if such an error breaks the block."""
    if handler.type is None:
        return None
    for value in externals(flat(view.resolver.evaluate(handler.type, view.scope))):
        found = view.resolver.table.error(value.dotted)
        if found is not None and found[0].family == family and found[1].aborts:
            return found[0]
    return None


def leaves_otherwise(view: FunctionView, attempt: ast.Try, handler: ast.ExceptHandler) -> bool:
    """Whether the code says itself what becomes of the transaction, or ends the process."""
    for node in (*_inside(attempt.body), *_inside(handler.body)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if any(word in name for word in _OWN_WAY) or view.frame.call(node).exits:
                return True
    return False


def block_around(view: FunctionView, attempt: ast.Try, spec: DriverSpec) -> ast.expr | None:
    """The expression that opens the block directly around the `try`: of a `with` item or a decorator."""
    for outer in view.around(attempt):
        for item in outer.items if isinstance(outer, (ast.With, ast.AsyncWith)) else ():
            if _is_block(view, item.context_expr, view.scope, spec):
                return item.context_expr
    return _decorator(view, view.info, spec)


def _decorator(view: FunctionView, info: FunctionInfo, spec: DriverSpec) -> ast.expr | None:
    outer = info.scope.parent or info.scope
    return next((node for node in info.decorators if _is_block(view, node, outer, spec)), None)


def _is_block(view: FunctionView, node: ast.expr, scope: Scope, spec: DriverSpec) -> bool:
    """Whether the expression makes such a block: the driver's constructor or a call of it."""
    for value in view.resolver.evaluate(node, scope):
        match value:
            case Handle(kind=HandleKind.TRANSACTION, driver=driver) if driver == spec.name:
                return True
            case External(dotted=dotted):
                made = spec.constructors.get(view.resolver.table.canonical(dotted))
                if made is not None and made.kind is HandleKind.TRANSACTION:
                    return True
    return False


def inner_block(view: FunctionView, block: ast.expr, spec: DriverSpec) -> str:
    """The call that opens a block inside `block`, on the same database; "" when it is not certain how.

    Only the database is taken over: an inner block that is `durable`, or no savepoint, would not do.
    """
    maker = block.func if isinstance(block, ast.Call) else block
    values = view.resolver.evaluate(maker, view.scope)
    made = [spec.constructors.get(view.resolver.table.canonical(one.dotted)) for one in values if _is_outside(one)]
    if len(values) != 1 or [one.kind for one in made if one is not None] != [HandleKind.TRANSACTION]:
        return ""
    arguments: list[str] = []
    if isinstance(block, ast.Call):
        if any(isinstance(one, ast.Starred) for one in block.args) or any(one.arg is None for one in block.keywords):
            return ""
        arguments += [_written(one) for one in block.args[:1]]
        arguments += [f"using={_written(one.value)}" for one in block.keywords if one.arg == "using"]
    return f"{ast.unparse(maker)}({', '.join(arguments)})"


def _written(node: ast.expr) -> str:
    """The text of an expression; a plain string in the quotes that most code uses."""
    text = node.value if isinstance(node, ast.Constant) else None
    return f'"{text}"' if isinstance(text, str) and text.isidentifier() else ast.unparse(node)


def _is_outside(value: Value) -> TypeGuard[External]:
    return isinstance(value, External)


def sent(view: FunctionView, attempt: ast.Try, spec: DriverSpec) -> ast.Call | None:
    """The first call in the body that sends a statement; None too when some part of the body protects itself."""
    found: ast.Call | None = None
    for node in _inside(attempt.body):
        if isinstance(node, ast.withitem) and _is_block(view, node.context_expr, view.scope, spec):
            return None
        if not isinstance(node, ast.Call):
            continue
        if any(_decorator(view, target.info, spec) is not None for target in view.frame.call(node).targets):
            return None
        if isinstance(node.func, ast.Attribute) and node.func.attr in spec.sends:
            found = found or node
    return found


def _inside(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes of the statements in the order of the source, without functions and classes that they define."""
    pending: list[ast.AST] = list(reversed(body))
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            continue
        yield node
        pending.extend(reversed(list(ast.iter_child_nodes(node))))


def blocks(view: FunctionView, spec: DriverSpec) -> Iterator[tuple[ast.expr, list[ast.stmt]]]:
    """The blocks of the framework in this body with their statements: `with atomic():`, and the decorated function."""
    node = view.info.node
    for item in view.frame.items():
        outer = view.parents.get(id(item))
        if isinstance(outer, ast.With | ast.AsyncWith) and _is_block(view, item.context_expr, view.scope, spec):
            yield item.context_expr, outer.body
    decorator = _decorator(view, view.info, spec)
    if decorator is not None and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield decorator, node.body


def calls_inside(body: list[ast.stmt]) -> list[ast.Call]:
    """The calls of the statements in the order of the source, without those of functions that they define."""
    return [node for node in _inside(body) if isinstance(node, ast.Call)]
