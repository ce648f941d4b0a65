"""The report: one HTML page with its plots inside; it opens without a network."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from html import escape
from typing import Final

from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.figures import Figures, compute, percentile
from dbsafety_runtime.orchestrator.learning import patterns
from dbsafety_runtime.orchestrator.store import IncidentStore

PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Orchestrator report</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2733; }}
h1, h2 {{ font-weight: 600; }} h2 {{ margin-top: 2rem; }}
.cards {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
.card {{ border: 1px solid #d5dde5; border-radius: .5rem; padding: .7rem 1rem; min-width: 9rem; }}
.card b {{ display: block; font-size: 1.6rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ border-bottom: 1px solid #e3e9ef; padding: .3rem .5rem; text-align: left; vertical-align: top; }}
svg {{ max-width: 100%; height: auto; }} .ok {{ color: #1a7f4b; }} .bad {{ color: #b3261e; }}
</style></head><body>
<h1>Orchestrator report</h1><p>{when}. Audit trail: {audit}.</p>
<div class="cards">{cards}</div>
<h2>Time to repair</h2>{times}
<h2>Phase that answered</h2>{phases}
<h2>Issues</h2><table><tr><th>#</th><th>service</th><th>issue</th><th>seen</th><th>state</th><th>phase</th><th>how</th></tr>
{rows}</table>
<h2>Patterns</h2><table><tr><th>kind of issue</th><th>recipe</th><th>worked</th><th>failed</th><th>trusted</th></tr>
{patterns}</table>
</body></html>
"""
WIDTH: Final = 900
HEIGHT: Final = 180
COLOURS: Final = ("#9aa7b4", "#1a7f4b", "#3b7dd8", "#8957c9", "#c77700")


def build(store: IncidentStore) -> str:
    """Return the page; raises a StorageFault."""
    figures = compute(store.db)
    count, problems = ledger.verify(store.db)
    audit = f'<span class="ok">{count} rows, complete</span>'
    if problems:
        audit = f'<span class="bad">{escape("; ".join(problems[:5]))}</span>'
    return PAGE.format(
        when=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(store.clock())),
        audit=audit,
        cards="".join(_card(name, value) for name, value in summary(figures)),
        times=_dots(figures.repair_seconds, "seconds from first sight to verified"),
        phases=_steps(figures.phases),
        rows="\n".join(_task_rows(store)),
        patterns="\n".join(
            f"<tr><td>{escape(item.signature)}</td><td>{escape(item.recipe)}</td><td>{item.successes}</td>"
            f"<td>{item.failures}</td><td>{'yes' if item.promoted else 'no'}</td></tr>"
            for item in patterns(store.db)
        ),
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


def _card(name: str, value: str) -> str:
    return f'<div class="card">{escape(name)}<b>{escape(value)}</b></div>'


def _task_rows(store: IncidentStore) -> list[str]:
    return [
        f"<tr><td>{task.id}</td><td>{escape(task.issue.target)}</td>"
        f"<td>{escape(task.issue.type)}: {escape(task.issue.message[:200])}</td><td>{task.occurrences}</td>"
        f"<td>{task.status}</td><td>{task.phase}</td><td>{escape(_how(task.resolution, task.github_ref))}</td></tr>"
        for task in store.tasks(limit=2000)
    ]


def _how(resolution: str | None, ref: str | None) -> str:
    return ", ".join(part for part in (resolution or "", f"issue {ref}" if ref else "") if part)


def _frame(body: str, label: str, top: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH + 70} {HEIGHT + 40}" role="img" aria-label="{escape(label)}">'
        f'<line x1="60" y1="{HEIGHT}" x2="{WIDTH + 60}" y2="{HEIGHT}" stroke="#9aa7b4"/>'
        f'<line x1="60" y1="10" x2="60" y2="{HEIGHT}" stroke="#9aa7b4"/>'
        f'<text x="4" y="20" font-size="13">{escape(top)}</text>'
        f'<text x="60" y="{HEIGHT + 25}" font-size="13">{escape(label)}</text>'
        f"{body}</svg>"
    )


def _dots(values: Sequence[float], label: str) -> str:
    if not values:
        return "<p>Nothing was repaired yet.</p>"
    highest, step = max(*values, 1.0), WIDTH / len(values)
    dots = [
        f'<circle cx="{60 + step * (number + 0.5):.1f}" cy="{HEIGHT - (HEIGHT - 20) * value / highest:.1f}" r="4" '
        f'fill="{COLOURS[2]}"><title>{value:.1f} s</title></circle>'
        for number, value in enumerate(values)
    ]
    return _frame("".join(dots), label, f"{highest:.0f} s")


def _steps(phases: Sequence[tuple[float, int]]) -> str:
    if not phases:
        return "<p>Nothing was decided yet.</p>"
    step = WIDTH / len(phases)
    bars = []
    for number, (_, phase) in enumerate(phases):
        height = (HEIGHT - 20) * max(phase, 0.1) / 4
        bars.append(
            f'<rect x="{60 + step * number:.1f}" y="{HEIGHT - height:.1f}" width="{max(step - 1, 0.5):.1f}" '
            f'height="{height:.1f}" fill="{COLOURS[phase]}"><title>phase {phase}</title></rect>'
        )
    return _frame("".join(bars), "issues in the order they were first seen; 1 known pattern, 4 human", "phase 4")
