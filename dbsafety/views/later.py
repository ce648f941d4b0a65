"""Values that read from a connection only when they are asked: iterators, functions, methods, containers of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from dbsafety.typestate.values import Handle, Key, handles
from dbsafety.views.view import FunctionView

_LAZY = frozenset({"map", "filter", "iter", "zip", "enumerate", "islice", "chain", "partial", "reversed"})


def reads_later(view: FunctionView, value: ast.expr | None, key: Key) -> bool:
    """Whether the value is one that still has to read from the connection."""
    match value:
        case ast.Lambda(body=body):
            return _mentions(view, body, key)
        case ast.GeneratorExp(generators=generators):
            return any(_mentions(view, generator.iter, key) for generator in generators)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args) if name in _LAZY:
            return any(_mentions(view, part, key) for part in args)
        case ast.Call():
            facts = view.frame.call(value)
            return any(FunctionView(view.module, one.info).cfg.is_generator for one in facts.targets) and _mentions(
                view, value, key
            )
        case ast.Attribute(value=owner, attr=attr):
            rows = (view.spec(handle).handles.get(handle.kind) for handle in _of(view, owner, key))
            return any(row is not None and attr in row.methods for row in rows)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return any(reads_later(view, part, key) or _of(view, part, key) for part in parts)
        case ast.Dict(values=parts):
            return any(reads_later(view, part, key) or _of(view, part, key) for part in parts)
        case ast.IfExp(body=body, orelse=orelse):
            return reads_later(view, body, key) or reads_later(view, orelse, key)
        case ast.BoolOp(values=parts):
            return any(reads_later(view, part, key) for part in parts)
    return False


def kept_reader(view: FunctionView, block: ast.With, key: Key) -> str:
    """The first name in the block that holds such a value and that something behind or outside it reads, or ""."""
    inside = {id(node) for node in ast.walk(block)}
    read = {
        node.id
        for node in ast.walk(view.info.node)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in inside
    }
    read.update(node.value.id for node in view.info.returns if isinstance(node.value, ast.Name))
    outer = view.scope.outer_names
    for name, target in _bound(view, block.body, key):
        if isinstance(target, ast.Attribute | ast.Subscript) or name in read or name in outer:
            return name
    return ""


def late_caller(view: FunctionView) -> str:
    """The function of the module that enters this context manager and uses what it gives after the block, or ""."""
    name = getattr(view.info.node, "name", "")
    if not view.cfg.is_generator or not name:
        return ""
    calls = {id(call) for call, _ in view.module.index.callers.get(name, ())}
    for caller in view.module.functions:
        blocks = [node for node in ast.walk(caller.info.node) if isinstance(node, ast.With)]
        entered = [(b, item) for b in blocks for item in b.items if id(item.context_expr) in calls]
        inside = {id(node) for block, _ in entered for node in ast.walk(block)}
        if any(_is_used_after(caller, block, item, inside) for block, item in entered):
            return caller.name
    return ""


def _is_used_after(view: FunctionView, block: ast.With, item: ast.withitem, inside: AbstractSet[int]) -> bool:
    """Whether something behind the block uses the connection; what stands `inside` such a block has its own."""
    given = handles(view.resolver.entered(view.resolver.evaluate(item.context_expr, view.scope)))
    names = (node for node in ast.walk(view.info.node) if isinstance(node, ast.Name) and node.lineno > block.lineno)
    after = [node for node in names if isinstance(node.ctx, ast.Load) and id(node) not in inside]
    keys = {handle.key for handle in given}
    return any(kept_reader(view, block, key) or any(_of(view, node, key) for node in after) for key in keys)


def _bound(view: FunctionView, body: Sequence[ast.stmt], key: Key) -> Iterator[tuple[str, ast.AST]]:
    """What the block binds to such values: names with the node that binds them."""
    for node in (inner for part in body for inner in ast.walk(part)):
        match node:
            case ast.Assign(targets=targets, value=value) if reads_later(view, value, key):
                yield from ((ast.unparse(target), target) for target in targets)
            case ast.AnnAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value) if reads_later(
                view, value, key
            ):
                yield ast.unparse(target), target
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if _mentions(view, node, key):
                yield name, node


def _mentions(view: FunctionView, node: ast.AST, key: Key) -> bool:
    return any(_of(view, inner, key) for inner in ast.walk(node) if isinstance(inner, ast.expr))


def _of(view: FunctionView, node: ast.expr, key: Key) -> list[Handle]:
    """The handles of the connection that the expression may be."""
    return [handle for handle in handles(view.resolver.evaluate(node, view.scope)) if handle.key == key]
