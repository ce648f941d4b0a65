"""What else a swallowed error leads to, beside what its finding tells: one defect, one finding, the rest as notes."""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Step
from dbsafety.rules.wording import call_text, span_of
from dbsafety.typestate.report import End, Swallow, last_statement
from dbsafety.views.early import is_early
from dbsafety.views.view import FunctionView


def others(view: FunctionView, swallow: Swallow, told: End) -> Iterator[Step]:
    """The other ends of the swallowed error, each with the code of the rule that tells it where it is the worst one."""
    for end in (End.COMMIT, End.STATEMENT, End.FUNCTION):
        if end is told or end not in swallow.paths:
            continue
        if end is End.STATEMENT and told is End.RETRY:
            continue  # what comes after the loop fails as the next turn does
        last = last_statement(swallow.paths[end])
        what = call_text(view, last.node)
        match end:
            case End.COMMIT if swallow.spec.aborts:
                code = "DBS104" if is_early(view, swallow) else "DBS103"
                note = f"{code}: {what} ends the aborted transaction, and stores nothing"
            case End.COMMIT:
                code = "DBS104" if is_early(view, swallow) else "DBS103"
                note = f"{code}: {what} stores the half that came before the error"
            case End.STATEMENT:
                note = f"DBS101: {what} fails in the aborted transaction"
            case _ if swallow.spec.aborts:
                note = "DBS101: the function may also end with the transaction aborted"
            case _:
                note = "DBS108: the function may also end with the transaction open, and its lock"
        yield Step(view.path, span_of(last.node, last.line), note)
