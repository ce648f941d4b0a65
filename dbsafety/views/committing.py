"""Whether a step writes to a connection or commits it, itself or in a called function."""

from __future__ import annotations

import ast

from dbsafety.flow.graph import Step, StepKind
from dbsafety.typestate.automaton import Seen, State, Tx
from dbsafety.typestate.search import Search

_HALF = State(Tx.FAILED, dirty=True)


def commits(search: Search, step: Step) -> bool:
    """Whether the step commits the transaction of the connection that the search follows."""
    match step.node:
        case ast.Call() as call if step.kind is StepKind.CALL:
            return Seen.COMMIT in search.effects.call(call, _HALF).seen
        case ast.withitem() as item if step.kind is StepKind.WITH_EXIT:
            return Seen.COMMIT in search.effects.leave(item, _HALF, None).seen
    return False


def writes(search: Search, step: Step) -> bool:
    """Whether the step is known to change rows on that connection."""
    if step.kind is not StepKind.CALL or not isinstance(step.node, ast.Call):
        return False
    return any(state.dirty for state in search.effects.call(step.node, State(Tx.OPEN)).normal)
