"""What settings and the kind of file change in a finding: its confidence, its severity, the grade of its fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from dbsafety.config.settings import Settings
from dbsafety.model.finding import Confidence, Finding

_NOT_IN_TESTS = ("DBS1", "DBS2", "DBS302")
"""What a test swallows, leaks or locks matters little: its process ends with it, its database is made anew, its
connection often comes from a fixture that no call shows, and nobody else writes there.
"""
_Value = TypeVar("_Value")


def adjusted(finding: Finding, settings: Settings, *, in_test: bool) -> Finding:
    """The finding as the settings want it reported."""
    if in_test and finding.code.startswith(_NOT_IN_TESTS):
        finding = replace(finding, confidence=Confidence.LOW)
    severity = _longest(finding.code, settings.severity)
    if severity is not None:
        finding = replace(finding, severity=severity)
    grade = _longest(finding.code, settings.fix_applicability)
    if grade is not None and finding.fix is not None:
        finding = replace(finding, fix=replace(finding.fix, applicability=grade))
    return finding


def _longest(code: str, table: Mapping[str, _Value]) -> _Value | None:
    """The value of the longest beginning of the code that the table has."""
    matching = [beginning for beginning in table if code.startswith(beginning)]
    return table[max(matching, key=len)] if matching else None
