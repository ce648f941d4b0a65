"""What settings and the kind of file change in a finding: its confidence, its severity, the grade of its fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeGuard, TypeVar

from dbsafety.config.settings import Settings
from dbsafety.model.finding import Confidence, Finding
from dbsafety.model.rewrite import FixPlan, Rewrite, SetKeyword

_CONNECTIONS = "DBS2"
"""Leaks, locks and timeouts matter little in a process that ends with its test (rules.md, "Severity and default")."""
_NO_TIMEOUT = "DBS201"
_Value = TypeVar("_Value")


def adjusted(finding: Finding, settings: Settings, *, in_test: bool) -> Finding:
    """The finding as the settings want it reported."""
    if in_test and finding.code.startswith(_CONNECTIONS):
        finding = replace(finding, confidence=Confidence.LOW)
    severity = _longest(finding.code, settings.severity)
    if severity is not None:
        finding = replace(finding, severity=severity)
    if finding.fix is not None:
        finding = replace(finding, fix=_plan(finding.fix, finding.code, settings))
    return finding


def _plan(plan: FixPlan, code: str, settings: Settings) -> FixPlan:
    grade = _longest(code, settings.fix_applicability)
    if grade is not None:
        plan = replace(plan, applicability=grade)
    if code == _NO_TIMEOUT:
        plan = _with_timeout(plan, str(settings.sqlite_timeout))
    return plan


def _with_timeout(plan: FixPlan, seconds: str) -> FixPlan:
    """The plan with the user's number of seconds, also in its title."""
    title = plan.title
    for rewrite in plan.rewrites:
        if _is_timeout(rewrite):
            title = title.replace(rewrite.value, seconds)
    rewrites = tuple(replace(item, value=seconds) if _is_timeout(item) else item for item in plan.rewrites)
    return replace(plan, title=title, rewrites=rewrites)


def _is_timeout(rewrite: Rewrite) -> TypeGuard[SetKeyword]:
    return isinstance(rewrite, SetKeyword) and rewrite.name == "timeout"


def _longest(code: str, table: Mapping[str, _Value]) -> _Value | None:
    """The value of the longest beginning of the code that the table has."""
    matching = [beginning for beginning in table if code.startswith(beginning)]
    return table[max(matching, key=len)] if matching else None
