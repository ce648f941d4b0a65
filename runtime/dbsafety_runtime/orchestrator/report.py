"""The figures an operator is promised, computed from tasks and history, and the page that shows them.

The functions are the definition of the figures; the page has its plots inside and opens without a network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.learning import patterns
from dbsafety_runtime.orchestrator.pages import page
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.lite import LiteStore

# An issue counts once it needed treatment: neither a symptom of another one, nor over before anybody acted. Escalating
# on first failure, everything that needed no action would have been a false escalation.
COUNTS: Final = """
SELECT count(*) FILTER (WHERE escalated OR resolution IN ('verified', 'approved')),
  count(*) FILTER (WHERE resolution = 'verified'), count(*) FILTER (WHERE escalated),
  count(*) FILTER (WHERE escalated AND false_alarm),
  count(*) FILTER (WHERE resolution IN ('recovered', 'symptom') OR false_alarm) FROM treated WHERE id > ?
"""
REPAIRS: Final = "SELECT seconds, phase FROM treated WHERE resolution = 'verified' AND id > ? ORDER BY id"
PHASES: Final = """
SELECT CASE WHEN escalated THEN 4 ELSE coalesce(phase, 0) END FROM treated
WHERE (escalated OR resolution IN ('verified', 'approved')) AND id > ? ORDER BY id
"""


class Figures(NamedTuple):
    """Counts, rates between 0 and 1, and times to repair in seconds."""

    issues: int
    fixed: int
    escalated: int
    false_escalations: int
    baseline_false: int
    repair_seconds: tuple[float, ...]
    known_seconds: tuple[float, ...]
    phases: tuple[int, ...]

    @property
    def fix_rate(self) -> float:
        """Verified fixes without a human / issues that needed treatment and are decided."""
        return self.fixed / self.issues if self.issues else 0.0

    @property
    def reduction(self) -> float:
        """How many fewer false escalations than escalating every first failure of the same stream."""
        return 1 - self.false_escalations / self.baseline_false if self.baseline_false else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile; NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def compute(store: LiteStore, since: int = 0) -> Figures:
    """Return the figures of all tasks after number `since`."""
    with store.reading():
        (counts,), repairs, phases = (store.rows(sql, (since,)) for sql in (COUNTS, REPAIRS, PHASES))
    issues, fixed, escalated, false_escalations, baseline_false = counts
    return Figures(
        issues, fixed, escalated, false_escalations, baseline_false,
        repair_seconds=tuple(seconds for seconds, _ in repairs),
        known_seconds=tuple(seconds for seconds, phase in repairs if phase == 1),
        phases=tuple(phase for (phase,) in phases),
    )  # fmt: skip


def build(store: IncidentStore) -> str:
    """Return the page; raises a StorageFault."""
    figures = compute(store.db)
    count, problems = ledger.verify(store.db)
    return page(
        "report.html",
        now=store.clock(),
        count=count,
        problems=problems,
        summary=summary(figures),
        seconds=figures.repair_seconds,
        phases=figures.phases,
        tasks=store.tasks(limit=2000),
        patterns=patterns(store.db),
    )


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.1f} s"


def summary(figures: Figures) -> list[tuple[str, str]]:
    """Return the headline figures as name and text."""
    return [
        ("auto-fix rate", f"{figures.fix_rate:.0%} ({figures.fixed} of {figures.issues})"),
        ("false escalations", f"{figures.false_escalations} (escalate at once: {figures.baseline_false})"),
        ("false escalations avoided", f"{figures.reduction:.0%}"),
        ("MTTR p50", _number(percentile(figures.repair_seconds, 0.5))),
        ("MTTR p95", _number(percentile(figures.repair_seconds, 0.95))),
        ("MTTR p95, known patterns", _number(percentile(figures.known_seconds, 0.95))),
    ]
