"""The report: one HTML page with its plots inside; it opens without a network."""

from __future__ import annotations

import math

from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.figures import Figures, compute, percentile
from dbsafety_runtime.orchestrator.learning import patterns
from dbsafety_runtime.orchestrator.pages import page
from dbsafety_runtime.orchestrator.store import IncidentStore


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
        ("reduction", f"{figures.reduction:.0%}"),
        ("MTTR p50", _number(percentile(figures.repair_seconds, 0.5))),
        ("MTTR p95", _number(percentile(figures.repair_seconds, 0.95))),
        ("MTTR p95, known patterns", _number(percentile(figures.known_seconds, 0.95))),
    ]
