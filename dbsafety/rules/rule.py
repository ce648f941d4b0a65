"""What a rule is: its metadata, its documentation, and how it makes a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.message import Message
from dbsafety.model.rewrite import Applicability, FixPlan
from dbsafety.model.span import Span


@dataclass(frozen=True, slots=True)
class Rule:
    """Identity of a rule.

    `slug` names the bad pattern and reads well after "allow". `drivers` are the names of driver tables the rule
    speaks about; empty for the tool's own codes. `fix` is the grade of its fix, None when it has none. `pylint_id`
    is frozen for ever. `since` is the version that introduced it. `default` says whether it is on by default.
    """

    code: str
    slug: str
    summary: str
    severity: Severity
    drivers: tuple[str, ...]
    pylint_id: str
    since: str
    fix: Applicability | None = None
    default: bool = True

    def at(
        self,
        path: str,
        span: Span,
        what: str,
        *,
        consequence: str = "",
        remedy: str = "",
        confidence: Confidence = Confidence.HIGH,
        trace: Sequence[Step] = (),
        fix: FixPlan | None = None,
        fix_refusal: str = "",
        scope: str = "",
        related: Sequence[Step] = (),
    ) -> Finding:
        """A finding of this rule at `span` of the file `path`; what it says is in the three parts of a `Message`."""
        return Finding(
            code=self.code,
            slug=self.slug,
            path=path,
            span=span,
            said=Message(what, consequence, remedy),
            severity=self.severity,
            confidence=confidence,
            trace=tuple(trace),
            fix=fix,
            scope=scope,
            fix_refusal=fix_refusal,
            related=tuple(related),
        )
