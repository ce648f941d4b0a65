"""Findings for programs: `jsonl` is one object a line, `json` one object with them all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from dbsafety.output.record import Note, Record, Report, Trouble

SCHEMA_VERSION = 1
"""Grows when a key is removed or changes its meaning; new keys may appear at any time."""


def jsonl(report: Report) -> Iterator[str]:
    """One finding a line."""
    for record in report.records:
        yield json.dumps(_finding(record)) + "\n"


def whole(report: Report) -> Iterator[str]:
    """One object: `schema_version`, `version`, `files`, `findings`, `errors`."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "version": report.version,
        "files": report.files,
        "findings": [_finding(record) for record in report.records],
        "errors": [_error(trouble) for trouble in report.troubles if trouble.is_fault],
    }
    yield json.dumps(document, indent=2) + "\n"


def _finding(record: Record) -> Mapping[str, object]:
    place, fix = record.place, record.fix
    return {
        "path": place.path,
        "line": place.line,
        "column": place.column,
        "end_line": place.end_line,
        "end_column": place.end_column,
        "code": record.code,
        "slug": record.slug,
        "severity": record.severity.value,
        "confidence": record.confidence.value,
        "message": record.said.text,
        "headline": record.said.headline,
        "consequence": record.said.consequence or None,
        "remedy": record.said.remedy or None,
        "trace": [_note(note) for note in record.trace],
        "related": [_note(note) for note in record.related],
        "fix": {"applicability": fix.applicability, "title": fix.title} if fix is not None else None,
        "fix_refusal": record.fix_refusal or None,
        "fingerprint": record.fingerprint,
    }


def _note(note: Note) -> Mapping[str, object]:
    return {"path": note.place.path, "line": note.place.line, "column": note.place.column, "note": note.text}


def _error(trouble: Trouble) -> Mapping[str, object]:
    return {"path": trouble.path, "line": trouble.line, "message": trouble.message}
