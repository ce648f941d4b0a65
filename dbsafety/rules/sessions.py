"""Questions about sessions that a function gets as an argument: who closes them, and who uses them afterwards."""

from __future__ import annotations

import ast

from dbsafety.rules.view import FunctionView
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.parameters import argument_for, default_of
from dbsafety.typestate.values import Function, Handle, handles


def handed_in(view: FunctionView, name: str) -> bool:
    """Whether a framework makes the argument for the call and closes it afterwards (FastAPI's `Depends`)."""
    parts = [default_of(view.info, name), *(a.annotation for a in view.info.parameters if a.arg == name)]
    calls = (node for part in parts if part is not None for node in ast.walk(part) if isinstance(node, ast.Call))
    return any(ast.unparse(call.func).rpartition(".")[2] == "Depends" for call in calls)


def used_by_callers(view: FunctionView, name: str) -> bool:
    """Whether some caller in this module uses the failed session on, or keeps it; also when there is no such caller."""
    node = view.info.node
    called = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else ""
    known = False
    for call, info in view.info.module.callers.get(called, ()):
        caller = next((other for other in view.module.functions if other.info is info), None)
        if caller is None or caller is view or not _means(caller, call, view):
            continue
        argument = argument_for(call, view.info, name)
        for handle in handles(caller.resolver.evaluate(argument, caller.scope)):
            known = True
            if _goes_on(caller, handle):
                return True
    return not known


def _means(caller: FunctionView, call: ast.Call, view: FunctionView) -> bool:
    values = caller.resolver.evaluate(call.func, caller.scope)
    return any(isinstance(value, Function) and value.info is view.info for value in values)


def _goes_on(caller: FunctionView, handle: Handle) -> bool:
    """Whether the caller meets a failed session that a called function has left behind."""
    search = caller.follow(handle, handle.key)
    if search.over_budget or any(sight.node.state.by == -2 for sight in search.sights):
        return True
    if not caller.outlives(handle, handle.key) or (handle.key.kind == "param" and handed_in(caller, handle.key.name)):
        return False
    end = search.frame.cfg.return_end
    return any(n.step == end and n.state.tx is Tx.FAILED and n.state.by == -2 for n in search.parents)
