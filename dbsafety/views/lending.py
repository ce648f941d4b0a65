"""Connections that a pool lends: how each is given back, and the ways on which it is not (facts B4e, B4f)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import HandleKind
from dbsafety.flow.graph import Step, StepKind
from dbsafety.typestate.automaton import Raised, State, Tx
from dbsafety.typestate.calls import is_generator_manager
from dbsafety.typestate.ops import Op
from dbsafety.typestate.relation import Start, Subject
from dbsafety.typestate.values import Function, handles
from dbsafety.views.entered import is_handed_on, is_kept_by_maker, stays_open
from dbsafety.views.leaks import OPEN, closing_steps, follow_on, is_opened_by, leak_in, leak_of
from dbsafety.views.view import FunctionView

_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Loan:
    """A call that takes a connection out of a pool; `back` is the method that gives it back: `putconn`, `close`."""

    call: ast.Call
    op: Op
    back: str


@dataclass(frozen=True, slots=True)
class Loss:
    """How a loan is not given back.

    `failing` is the step whose error skips it and `handler` the one that ends the error (None: it leaves the
    function); `left` is the step by which the function ends without an error. Neither: no way gives it back.
    """

    failing: Step | None = None
    handler: Step | None = None
    left: Step | None = None


def loans(view: FunctionView) -> Iterator[Loan]:
    """The connections that this body takes out of a pool and keeps to itself."""
    for call, op in view.ops():
        if not op.opens or op.handle.kind is not HandleKind.CONNECTION or op.key.kind not in ("local", "site"):
            continue
        back = _lender(view, call)
        if not back or is_handed_on(view, op.key) or _is_captured(view, op.key.name) or is_kept_by_maker(view, call):
            continue
        yield Loan(call, op, back)


def loss_of(view: FunctionView, loan: Loan) -> Loss | None:
    """The most telling way on which the connection is not given back, None when there is none."""
    handle, key = loan.op.handle, loan.op.key
    left = _left_with(view, loan)
    if left is not None and stays_open(view, loan.call, handle, key):
        return Loss()
    if loan.op.spec.family:  # what its cursors do is not followed
        works = _works_with(view, loan)
        search = view.follow(handle, key)
        leak = leak_in(view, loan.call, search, Raised.OTHER, lambda step: id(step.node) in works)
    else:
        leak = leak_of(view, loan.call, handle, key)
    if leak is not None:
        return Loss(leak.failing, leak.handler)
    thrown = _thrown_in(view, loan)
    if thrown is not None:
        return Loss(thrown)
    return Loss(left=left) if left is not None else None


def returns_of(view: FunctionView, loan: Loan) -> list[ast.Call]:
    """The calls that give the connection back, themselves or by a project function, in source order."""
    search = follow_on(view, loan.op.handle, loan.op.key)
    nodes = {search.steps[index].node for index in closing_steps(search)}
    return sorted((n for n in nodes if isinstance(n, ast.Call)), key=lambda call: (call.lineno, call.col_offset))


def _lender(view: FunctionView, call: ast.Call, depth: int = 3) -> str:
    """The method that gives back what the call, or the project function it calls, takes out of a pool; "" for none."""
    if isinstance(call.func, ast.Attribute):
        for handle in handles(view.resolver.evaluate(call.func.value, view.scope)):
            row = view.spec(handle).handles[handle.kind].methods.get(call.func.attr)
            if row is not None and row.lends:
                return row.lends
    for callee in view.resolver.evaluate(call.func, view.scope) if depth else ():
        if not isinstance(callee, Function) or is_generator_manager(view.resolver, callee.info):
            continue
        maker = FunctionView(view.module, callee.info)
        values = (maker.resolver.evaluate(r.value, maker.scope) for r in callee.info.returns)
        keys = {handle.key for value in values for handle in handles(value)}
        for inner, op in maker.ops():
            back = _lender(maker, inner, depth - 1) if op.opens and op.key in keys else ""
            if back:
                return back
    return ""


def _is_captured(view: FunctionView, name: str) -> bool:
    """Whether a nested function speaks of the variable: it may give the connection back."""
    nested = (n for n in ast.walk(view.info.node) if isinstance(n, _NESTED) and n is not view.info.node)
    return any(isinstance(part, ast.Name) and part.id == name for node in nested for part in ast.walk(node))


def _left_with(view: FunctionView, loan: Loan) -> Step | None:
    """The step by which the function ends normally, no handler on the way, with the connection still out."""
    search = view.follow(loan.op.handle, loan.op.key)
    ending = closing_steps(search)
    for node in () if search.over_budget else tuple(search.parents):
        if node.step != view.cfg.return_end or node.state.tx not in OPEN:
            continue
        path = [search.steps[point.step] for point in search.path(node)]
        dealt = any(step.kind in (StepKind.HANDLER, StepKind.DISPATCH) or step.index in ending for step in path)
        if not dealt and is_opened_by(view, loan.call, search, node):
            return next((step for step in reversed(path) if step.kind is StepKind.RETURN), path[-1])
    return None


def _thrown_in(view: FunctionView, loan: Loan) -> Step | None:
    """The `yield` of the connection at which an exception of the block leaves it out of its pool."""
    key = loan.op.key
    for given in view.info.yields:
        if not any(h.key == key for h in handles(view.resolver.evaluate(given.value, view.scope))):
            continue
        search = view.module.summaries.search(view.info, Subject(key, loan.op.handle))
        search.run(Start.THROW_DB, State(Tx.OPEN))
        ends = (view.cfg.raise_end, view.cfg.return_end)
        if not search.over_budget and any(n.step in ends and n.state.tx in OPEN for n in search.parents):
            return view.step_of(given)
    return None


def _works_with(view: FunctionView, loan: Loan) -> frozenset[int]:
    """`id` of the calls of methods of the connection, or of what is made from it, and of calls that get it."""
    names = {loan.op.key.name}
    grown = True
    while grown:
        made = {
            target.id
            for node in ast.walk(view.info.node)
            if isinstance(node, ast.Assign) and _speaks_of(node.value, names)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        grown = not made <= names
        names |= made
    return frozenset(
        id(call) for call in view.info.calls if call is not loan.call and _speaks_of(call, names) and not _ends(call)
    )


def _speaks_of(node: ast.expr, names: set[str]) -> bool:
    """Whether a call is made on one of the names, or given one."""
    if not isinstance(node, ast.Call):
        return False
    receiver = node.func
    while isinstance(receiver, ast.Attribute | ast.Call):
        receiver = receiver.value if isinstance(receiver, ast.Attribute) else receiver.func
    said = [receiver, *node.args, *(keyword.value for keyword in node.keywords)] if receiver is not node.func else []
    return any(isinstance(part, ast.Name) and part.id in names for part in (said or [*node.args]))


def _ends(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in ("close", "rollback", "cursor")
