"""What a block of a framework has written before a call in it, told from the methods' names (Django's models)."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from dbsafety.drivers.spec import DriverSpec, HandleKind
from dbsafety.flow.graph import Step, StepKind
from dbsafety.typestate.values import externals, handles
from dbsafety.views.atomic import blocks
from dbsafety.views.view import FunctionView

_OF_TEXT = frozenset({"execute", "executemany"})
_OF_ONE = frozenset({"acreate", "adelete", "asave", "create", "delete", "save"})
"""Methods of models and managers without positional arguments: those of caches, files and images have some."""
_OF_SETS = frozenset({"aget_or_create", "aupdate", "aupdate_or_create", "get_or_create", "update", "update_or_create"})
"""Methods of query sets whose names others have, too."""
_MODELS = frozenset({"models", "objects"})


def is_write(view: FunctionView, call: ast.Call, spec: DriverSpec) -> bool:
    """Whether the call is taken to change rows: a statement that writes, or a method of a model or a query set."""
    if not isinstance(call.func, ast.Attribute):
        return False
    name, receiver = call.func.attr, call.func.value
    if name in _OF_TEXT:
        return any(op.statement.writes for op in view.frame.call(call).ops)
    if name in _OF_SETS:
        return any(isinstance(node, ast.Attribute) and node.attr == "objects" for node in ast.walk(receiver))
    if name not in spec.sends or (name in _OF_ONE and any(not isinstance(a, ast.Starred) for a in call.args)):
        return False
    if any(k.arg == "commit" and isinstance(k.value, ast.Constant) and not k.value.value for k in call.keywords):
        return False  # a form that only makes the object
    known = [value.dotted.split(".") for value in externals(view.resolver.evaluate(receiver, view.scope))]
    own = {root.partition(".")[0] for root in spec.roots}
    return not any(parts[0] in own and _MODELS.isdisjoint(parts) for parts in known)


def only_writes(view: FunctionView, attempt: ast.Try, spec: DriverSpec) -> bool:
    """Whether each statement of the body is a write, so that whatever its handlers are meant for, they are meant for
    the errors of the database too.
    """
    body = attempt.body
    while len(body) == 1 and isinstance(body[0], ast.With) and all(_opens_cursor(view, i) for i in body[0].items):
        body = body[0].body
    return all(_is_written(view, statement, spec) for statement in body)


def _opens_cursor(view: FunctionView, item: ast.withitem) -> bool:
    made = handles(view.resolver.evaluate(item.context_expr, view.scope))
    return bool(made) and all(handle.kind is HandleKind.CURSOR for handle in made)


def _is_written(view: FunctionView, statement: ast.stmt, spec: DriverSpec) -> bool:
    match statement:
        case (
            ast.Expr(value=ast.Call() as call)
            | ast.Assign(value=ast.Call() as call)
            | ast.AnnAssign(value=ast.Call() as call)
            | ast.Return(value=ast.Call() as call)
        ):
            return is_write(view, call, spec)
    return False


def written_before(
    view: FunctionView, opened: ast.expr, writes: Sequence[ast.Call], call: ast.Call, spec: DriverSpec
) -> ast.Call | None:
    """The first of the writes from which control may come to the call without leaving the block `opened`, and without
    an exception that leaves a block inside of it, which rolls the write back.
    """
    others = [expression for expression, _ in blocks(view, spec) if expression is not opened]
    return next((write for write in writes if write is not call and _leads(view, opened, others, write, call)), None)


def _leads(view: FunctionView, opened: ast.expr, others: Sequence[ast.expr], write: ast.Call, call: ast.Call) -> bool:
    steps = view.cfg.steps
    pending = [edge.target for step in steps if step.node is write for edge in step.succ]
    seen: set[int] = set()
    while pending:
        step = steps[pending.pop()]
        if step.index in seen:
            continue
        seen.add(step.index)
        if step.node is call:
            return True
        left = step.node if step.kind is StepKind.WITH_EXIT and isinstance(step.node, ast.withitem) else None
        if left is not None and left.context_expr is opened:
            continue
        pending.extend(edge.target for edge in step.succ)
        if step.exc is not None and not (left is not None and _rolls_back(step, left, others, write)):
            pending.append(step.exc)
    return False


def _rolls_back(step: Step, item: ast.withitem, others: Sequence[ast.expr], write: ast.Call) -> bool:
    """Whether an exception that leaves the block undoes the write inside of it."""
    if step.arg is None or not any(item.context_expr is other for other in others):
        return False
    return any(node is write for node in ast.walk(step.arg))
