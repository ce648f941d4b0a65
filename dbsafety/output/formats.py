"""The output formats by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from dbsafety.output.github import github
from dbsafety.output.gitlab import gitlab
from dbsafety.output.json import jsonl, whole
from dbsafety.output.record import Report
from dbsafety.output.sarif import sarif
from dbsafety.output.style import Style
from dbsafety.output.text import concise, full

FOR_PEOPLE: Mapping[str, Callable[[Report, Style], Iterator[str]]] = {"full": full, "concise": concise}
FOR_PROGRAMS: Mapping[str, Callable[[Report], Iterator[str]]] = {
    "json": whole,
    "jsonl": jsonl,
    "sarif": sarif,
    "github": github,
    "gitlab": gitlab,
}
WITH_EDITS = frozenset({"sarif"})
"""Formats that show the text of fixes, for which fixes must be worked out."""


def written(report: Report, name: str, style: Style) -> Iterator[str]:
    """The report in a format, piece by piece. Raises KeyError for a name that is no format."""
    if name in FOR_PEOPLE:
        return FOR_PEOPLE[name](report, style)
    return FOR_PROGRAMS[name](report)
