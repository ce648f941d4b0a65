"""The small algebra of changes a rule may ask for: spans and code text, never tree nodes.

A rule returns a `FixPlan`; `fix/recipes.py` knows how each rewrite is carried out with libcst, with the file's own
indentation and newlines. Spans name `ast` nodes exactly (same start and end); if the node is not found exactly once
the plan is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from dbsafety.model.span import Span


class Applicability(Enum):
    """How far a fix may be trusted: SAFE by default, UNSAFE on request, DISPLAY is never applied."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    DISPLAY = "display"


@dataclass(frozen=True, slots=True)
class ReplaceExpression:
    """Put `text` in the place of the expression at `span`."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class SetHandlerType:
    """Make the handler at `handler` (span of the `except` clause) catch `text`; its name, body and comments stay."""

    handler: Span
    text: str


@dataclass(frozen=True, slots=True)
class SetKeyword:
    """Give the call at `call` the keyword `name=value`, replacing that keyword or positional argument `position`."""

    call: Span
    name: str
    value: str
    position: int | None = None


@dataclass(frozen=True, slots=True)
class InsertFirst:
    """Make the statements in `code` the first of the handler (or other compound statement) at `owner`.

    `code` is complete Python text with 4-space indentation and LF; the recipe adapts it to the file.
    """

    owner: Span
    code: str


@dataclass(frozen=True, slots=True)
class InsertBefore:
    """Put the statements in `code` before the statement at `statement`, in the same suite."""

    statement: Span
    code: str


@dataclass(frozen=True, slots=True)
class WrapInWith:
    """Turn statement `first` (an assignment that opens a connection) and what follows it in its suite, up to and
    including statement `last`, into one `with` block whose header items are `items`.

    The statement at `first` is replaced by the header. Statements in `drop` (such as a lone `conn.close()`, anywhere
    below) are removed; a suite left empty gets `pass`.
    """

    first: Span
    last: Span
    items: str
    drop: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class WrapInTry:
    """Put what follows statement `after` in its suite, up to and including statement `last`, into a `try` whose
    `finally` is `code`.

    Statements in `drop` (what `code` does instead of them) are removed; a suite left empty gets `pass`.
    """

    after: Span
    last: Span
    code: str
    drop: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class WrapItem:
    """Hand the expression of the `with` item at `span` to `function`, and enter `then` as an item right after it.

    `with connect() as conn:` becomes `with closing(connect()) as conn, conn:` for `closing` and `conn`.
    """

    span: Span
    function: str
    then: str


@dataclass(frozen=True, slots=True)
class MoveToElse:
    """Move the statement at `statement` from the `finally` of the `try` at `attempt` into its `else`.

    `handler` is the code of a handler to put behind those there are, its `except` line and its body; "" for none. A
    `finally` that is left empty goes.
    """

    attempt: Span
    statement: Span
    handler: str = ""


@dataclass(frozen=True, slots=True)
class JoinElse:
    """Move `statement`, which comes right behind the `try` at `attempt` in its suite, to the end of its `else`."""

    attempt: Span
    statement: Span


@dataclass(frozen=True, slots=True)
class InsertElse:
    """Make the statements in `code` the first of the `else` of the `try` at `attempt`, which may have none yet."""

    attempt: Span
    code: str


@dataclass(frozen=True, slots=True)
class WrapBody:
    """Put the whole body of the `try` at `attempt` into one `with` block (`async with`) whose items are `items`.

    Statements in `drop` (such as the commit that the end of the block makes) are removed.
    """

    attempt: Span
    items: str
    is_async: bool = False
    drop: tuple[Span, ...] = ()

    @property
    def header(self) -> str:
        """The first line of the block."""
        return f"{'async ' if self.is_async else ''}with {self.items}:"


@dataclass(frozen=True, slots=True)
class Guard:
    """Put the expression statement at `statement` under `if test:`."""

    statement: Span
    test: str


@dataclass(frozen=True, slots=True)
class DeleteComment:
    """Remove the text from `span` (part of a comment); a comment left empty goes as a whole, with the blanks before."""

    span: Span
    replacement: str = ""


@dataclass(frozen=True, slots=True)
class EnsureImport:
    """Make `from module import name` (or `import module` when `name` is empty) available at module level."""

    module: str
    name: str = ""


Rewrite: TypeAlias = (
    ReplaceExpression
    | SetHandlerType
    | SetKeyword
    | InsertFirst
    | InsertBefore
    | WrapInWith
    | WrapInTry
    | WrapItem
    | MoveToElse
    | JoinElse
    | InsertElse
    | WrapBody
    | Guard
    | DeleteComment
    | EnsureImport
)


@dataclass(frozen=True, slots=True)
class FixPlan:
    """What would mend a finding.

    `title` says it in the imperative. `group` names the unit that must change together (plans of one group that
    overlap are applied in separate rounds). A plan is data: it is realised, verified, and only then written.
    """

    title: str
    applicability: Applicability
    rewrites: tuple[Rewrite, ...]
    group: str = ""
