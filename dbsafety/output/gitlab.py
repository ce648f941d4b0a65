"""Findings as a code quality report of GitLab."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b

from dbsafety.model.finding import Severity
from dbsafety.output.record import Record, Report, one_line

_SEVERITIES = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.INFO: "info"}


def gitlab(report: Report) -> Iterator[str]:
    """An array of issues; without findings an empty array, which GitLab wants to see."""
    issues = [
        {
            "description": f"{record.code} {one_line(record.said.line)}",
            "check_name": record.code,
            "fingerprint": _unique(record),
            "severity": _SEVERITIES[record.severity],
            "location": {
                "path": record.place.path,
                "lines": {"begin": record.place.line, "end": record.place.end_line},
            },
        }
        for record in report.records
    ]
    yield json.dumps(issues, indent=2) + "\n"


def _unique(record: Record) -> str:
    """GitLab wants fingerprints that are unique in the report: ours are unique in a file."""
    text = f"{record.place.path}\0{record.fingerprint}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
