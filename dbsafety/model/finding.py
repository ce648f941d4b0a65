"""A finding: what is wrong, where, why one can be sure, and what would mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dbsafety.model.message import Message
from dbsafety.model.rewrite import FixPlan
from dbsafety.model.span import Span


class Severity(Enum):
    """How much harm the defect does when it strikes."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Confidence(Enum):
    """How the engine knows: HIGH in this module, MEDIUM with the help of another module, LOW by a heuristic."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 for LOW, 1 for MEDIUM, 2 for HIGH."""
        return _RANKS[self]

    def at_most(self, other: Confidence) -> Confidence:
        """The lower of the two."""
        return self if self.rank <= other.rank else other


_RANKS = {Confidence.LOW: 0, Confidence.MEDIUM: 1, Confidence.HIGH: 2}


@dataclass(frozen=True, slots=True)
class Step:
    """One stop of the witness: the path through the code that shows the defect."""

    path: str
    span: Span
    note: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect at one place.

    `trace` is the witness in the order of execution. `scope` is the qualified name of the enclosing function
    ("" for module level); with the code and the source line it makes the fingerprint, so a moved line keeps it.
    `related` are places where the same defect does harm of another kind, each with the code of the rule for that kind,
    which keeps quiet.
    """

    code: str
    slug: str
    path: str
    span: Span
    said: Message
    severity: Severity
    confidence: Confidence
    trace: tuple[Step, ...] = ()
    fix: FixPlan | None = None
    scope: str = ""
    fingerprint: str = ""
    fix_refusal: str = ""
    related: tuple[Step, ...] = ()

    @property
    def message(self) -> str:
        """What there is to say about it, in one sentence."""
        return self.said.text

    @property
    def sort_key(self) -> tuple[str, int, int, str, str]:
        """Order of output: path, line, column, code, message."""
        return (self.path, self.span.line, self.span.col, self.code, self.message)
