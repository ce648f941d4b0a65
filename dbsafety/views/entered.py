"""Connections that a function opens, enters with a block that does not close them, and never closes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import HandleKind
from dbsafety.model.rewrite import Applicability, EnsureImport, FixPlan, Rewrite, WrapItem
from dbsafety.model.span import Span
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.blocks import BlockKind
from dbsafety.typestate.calls import is_generator_manager
from dbsafety.typestate.ops import Op
from dbsafety.typestate.values import Function, Handle, Key, handles
from dbsafety.views.later import kept_reader, late_caller, reads_later
from dbsafety.views.leaks import OPEN, follow_on, is_kept, is_opened_by
from dbsafety.views.view import FunctionView

_LOOPS = (ast.For, ast.AsyncFor, ast.While)


@dataclass(frozen=True, slots=True)
class Entered:
    """A `with` item and the call, in the item itself or before it, that opens what it enters."""

    item: ast.withitem
    opening: ast.Call
    op: Op

    @property
    def direct(self) -> bool:
        """Whether the item itself opens the connection."""
        return self.item.context_expr is self.opening


def entered(view: FunctionView) -> Iterator[Entered]:
    """The first `with` item on each connection opened here whose block ends the transaction but does not close."""
    openings = [(call, op) for call, op in view.ops() if op.opens and op.handle.kind is HandleKind.CONNECTION]
    if not openings:
        return
    seen: set[int] = set()
    for item in sorted(view.frame.items(), key=lambda item: (item.context_expr.lineno, item.context_expr.col_offset)):
        for block in view.frame.blocks(item):
            if block.kind is not BlockKind.HANDLE or block.handle is None or block.with_spec is None:
                continue
            if block.handle.kind is not HandleKind.CONNECTION or block.with_spec.closes:
                continue
            found = [(call, op) for call, op in openings if op.key in block.keys]
            direct = [(call, op) for call, op in found if call is item.context_expr]
            if direct or len(found) == 1:
                call, op = (direct or found)[0]
                if id(call) not in seen:
                    seen.add(id(call))
                    yield Entered(item, call, op)


def stays_open(view: FunctionView, opening: ast.Call, handle: Handle, key: Key) -> bool:
    """Whether no way through the function closes the connection that `opening` made; in doubt no."""
    search = follow_on(view, handle, key)
    if search.over_budget:
        return False
    live = [node for node in search.parents if node.state.tx in OPEN]
    for node in live:
        # What a failed rollback leaves is closed too, but nobody closed it.
        closed = any(after.state.tx is Tx.CLOSED and after.flight is None for after in search.successors(node))
        if closed and is_opened_by(view, opening, search, node):
            return False
    return bool(live)


def is_handed_on(view: FunctionView, key: Key) -> bool:
    """Whether somebody else has the connection when the function ends: its caller, an object, a container.

    A generator's block lasts as long as the generator, so what it yields is not handed on.
    """
    if key.kind not in ("local", "site"):
        return True
    returned = (h for r in view.info.returns for h in handles(view.resolver.evaluate(r.value, view.scope)))
    return any(handle.key == key for handle in returned) or is_kept(view, key)


def is_kept_by_maker(view: FunctionView, call: ast.Call, depth: int = 3) -> bool:
    """Whether the project function that `call` gets the connection from keeps it as well, for the next caller."""
    for callee in view.resolver.evaluate(call.func, view.scope):
        if not isinstance(callee, Function) or is_generator_manager(view.resolver, callee.info):
            continue
        maker = FunctionView(view.module, callee.info)
        values = (maker.resolver.evaluate(r.value, maker.scope) for r in callee.info.returns)
        keys = {handle.key for value in values for handle in handles(value)}
        if any(key.kind not in ("local", "site") or is_kept(maker, key) for key in keys):
            return True
        openings = [inner for inner, op in maker.ops() if op.opens and op.key in keys]
        if depth and any(is_kept_by_maker(maker, inner, depth - 1) for inner in openings):
            return True
    return False


def plan_item(view: FunctionView, found: Entered) -> tuple[FixPlan | None, str]:
    """The plan `with closing(connect(...)) as conn, conn:`, or None and the reason for the refusal."""
    item = found.item
    name = item.optional_vars if found.direct else item.context_expr
    if not isinstance(name, ast.Name):
        return None, "the connection has no name to enter it by"
    block = next((outer for outer in view.around(item.context_expr) if isinstance(outer, ast.With)), None)
    if block is None:
        return None, "asynchronous code needs `async with`"
    if not found.direct and _turns_without(view, block, found.opening):
        return None, "the block is entered again and again on one connection"
    if _used_outside(view, block, found):
        return None, "the connection, or a cursor of it, is used after the block"
    if any(reads_later(view, node.value, found.op.key) for node in view.info.returns):
        return None, "what is returned reads from the connection later"
    late = late_caller(view)
    if late:
        return None, f"`{late}` enters this manager, and uses what it gives after the block"
    kept = kept_reader(view, block, found.op.key)
    if kept:
        return None, f"`{kept}` reads from the connection, and may do so after the block"
    closing = view.module.name_for("contextlib.closing", view.scope)
    rewrites: list[Rewrite] = [WrapItem(Span.of(item.context_expr), closing or "closing", name.id)]
    if closing is None:
        rewrites.append(EnsureImport("contextlib", "closing"))
    return FixPlan(f"close `{name.id}` at the end of the block", Applicability.UNSAFE, tuple(rewrites), view.name), ""


def _turns_without(view: FunctionView, block: ast.With, opening: ast.Call) -> bool:
    """Whether a loop around the block does not hold the opening."""
    outside = set(map(id, view.around(opening)))
    return any(isinstance(outer, _LOOPS) and id(outer) not in outside for outer in view.around(block))


def _used_outside(view: FunctionView, block: ast.With, found: Entered) -> bool:
    inside = {id(node) for node in (*ast.walk(block), *ast.walk(found.opening))}
    for node in ast.walk(view.info.node):
        if id(node) in inside or not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        if not found.direct and node.lineno <= block.lineno:
            continue  # between the opening and the block
        if any(h.key == found.op.key for h in handles(view.resolver.evaluate(node, view.scope))) and not _in_own_block(
            view, node, found
        ):
            return True
    return False


def _in_own_block(view: FunctionView, node: ast.expr, found: Entered) -> bool:
    """Whether the name stands in another `with` block that opens the connection anew."""
    openings = {id(call) for call, op in view.ops(found.op.key) if op.opens and call is not found.opening}
    blocks = (outer for outer in view.around(node) if isinstance(outer, ast.With))
    return any(id(part) in openings for block in blocks for item in block.items for part in ast.walk(item.context_expr))
