"""Questions about handlers: which rule speaks for a swallowed error, and what kind of handler it is."""

from __future__ import annotations

import ast
from enum import Enum

from dbsafety.rules.view import FunctionView
from dbsafety.typestate.report import End, Swallow


class Verdict(Enum):
    """What is wrong with a swallowed error; one defect has one verdict, and each verdict belongs to one rule."""

    NONE = "none"
    LEFT_ABORTED = "left aborted"
    """DBS101."""
    USED_ABORTED = "used aborted"
    """DBS102: another statement is sent inside the handler, or by the next turn of the same `try`."""
    COMMITTED = "committed"
    """DBS103: a commit follows on every swallowing path."""
    KEEPS_LOCK = "keeps lock"
    """DBS108."""


def verdict(swallow: Swallow) -> Verdict:
    """The most telling verdict for the handler."""
    ends = swallow.paths
    if End.INSIDE in ends:
        return Verdict.USED_ABORTED
    if not swallow.spec.aborts:
        if End.FUNCTION in ends:
            return Verdict.KEEPS_LOCK
        return Verdict.COMMITTED if End.COMMIT in ends else Verdict.NONE
    if End.STATEMENT in ends and _same_attempt(swallow):
        return Verdict.USED_ABORTED
    if End.FUNCTION in ends or End.STATEMENT in ends:
        return Verdict.LEFT_ABORTED
    return Verdict.COMMITTED if End.COMMIT in ends else Verdict.NONE


def _same_attempt(swallow: Swallow) -> bool:
    """Whether the next statement stands in the body of the `try` whose handler swallowed: a loop, a retry."""
    last = swallow.paths[End.STATEMENT][-1]
    handler = swallow.handler
    return (
        any(handler in attempt.handlers for attempt in last.tries) if isinstance(handler, ast.ExceptHandler) else False
    )


def is_broad(handler: ast.ExceptHandler, view: FunctionView) -> bool:
    """Whether the clause also catches KeyboardInterrupt and SystemExit: bare, or `BaseException`."""
    return handler.type is None or view.is_external(handler.type, "BaseException")


def reraises(handler: ast.ExceptHandler) -> bool:
    """Whether some statement of the handler raises."""
    return any(isinstance(node, ast.Raise) for statement in handler.body for node in ast.walk(statement))
