"""Findings as workflow commands of GitHub Actions, which show them beside the code."""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Severity
from dbsafety.output.record import Record, Report, counts

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_ORDER = tuple(_COMMANDS)


def github(report: Report) -> Iterator[str]:
    """One command a finding, the worst first, since GitHub shows only ten of each level in a step."""
    for record in sorted(report.records, key=lambda record: _ORDER.index(record.severity)):
        place = record.place
        properties = {
            "file": place.path,
            "line": str(place.line),
            "endLine": str(place.end_line),
            "col": str(place.column),
            "endColumn": str(place.end_column),
            "title": f"{record.code} {record.slug}",
        }
        listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        yield f"::{_COMMANDS[record.severity]} {listed}::{_data(_message(record))}\n"


def step_summary(report: Report) -> str:
    """A table in Markdown for the summary page of a step."""
    rows = [f"| {code} | {slug} | {count} |" for (code, slug), count in counts(report).items()]
    return "\n".join(["| code | rule | findings |", "|---|---|---|", *rows, ""])


def _message(record: Record) -> str:
    notes = [
        f"{number}. {note.place.path}:{note.place.line}: {note.text}" for number, note in enumerate(record.trace, 1)
    ]
    notes += [f"also {note.place.path}:{note.place.line}: {note.text}" for note in record.related]
    why = [f"why: {record.said.consequence}"] if record.said.consequence else []
    remedy = [f"help: {record.said.remedy}"] if record.said.remedy else []
    return "\n".join([record.said.headline, *notes, *why, *remedy])


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
