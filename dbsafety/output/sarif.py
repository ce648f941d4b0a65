"""Findings as SARIF 2.1.0 (OASIS), within what GitHub code scanning reads; the trace is a code flow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from urllib.parse import quote

from dbsafety.model.finding import Severity
from dbsafety.output.record import Note, Place, Record, Replacement, Report, Trouble
from dbsafety.rules.registry import RuleModule, all_rules

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_PROBLEMS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "recommendation"}
_MOST_RESULTS = 25_000
"""GitHub's limit for one run; what lies beyond is named in a notification."""

Json = Mapping[str, object]


def sarif(report: Report) -> Iterator[str]:
    """One log with one run."""
    rules = all_rules()
    order = {module.rule.code: index for index, module in enumerate(rules)}
    records = (*report.records, *report.suppressed)
    silenced = set(map(id, report.suppressed))
    run: dict[str, object] = {
        "tool": {
            "driver": {
                "name": "dbsafety",
                "semanticVersion": report.version,
                "rules": [_rule(module) for module in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "automationDetails": {"id": "dbsafety/"},
        "invocations": [_invocation(report, len(records))],
        "results": [_result(record, order, silenced=id(record) in silenced) for record in records[:_MOST_RESULTS]],
    }
    yield json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(module: RuleModule) -> Json:
    rule = module.rule
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.slug.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": " ".join(module.doc.partition("\n\n")[0].split())},
        "help": {"text": module.doc, "markdown": module.doc},
        "defaultConfiguration": {"enabled": rule.default, "level": _LEVELS[rule.severity]},
        "properties": {
            "tags": ["database", "error-handling", *rule.drivers],
            "precision": "high",
            "problem.severity": _PROBLEMS[rule.severity],
        },
    }


def _result(record: Record, order: Mapping[str, int], *, silenced: bool) -> Json:
    properties = {"confidence": record.confidence.value}
    if record.fix_refusal:
        properties["fixRefusal"] = record.fix_refusal
    result: dict[str, object] = {
        "ruleId": record.code,
        "level": _LEVELS[record.severity],
        "message": {"text": record.said.text},
        "locations": [_location(record.place)],
        "partialFingerprints": {
            "primaryLocationLineHash": f"{record.fingerprint[:16]}:1",
            "dbsafety/v1": record.fingerprint,
        },
        "properties": properties,
    }
    if record.code in order:
        result["ruleIndex"] = order[record.code]
    if record.trace:
        result["codeFlows"] = [{"threadFlows": [{"locations": [{"location": _stop(note)} for note in record.trace]}]}]
    if notes := (*record.trace, *record.related):
        result["relatedLocations"] = [{"id": number, **_stop(note)} for number, note in enumerate(notes, 1)]
    if record.fix is not None and record.fix.replacements:
        result["fixes"] = [
            {
                "description": {"text": f"{record.fix.title} ({record.fix.applicability})"},
                "artifactChanges": [_change(record.place.path, record.fix.replacements)],
            }
        ]
    if silenced:
        result["suppressions"] = [{"kind": "inSource"}]
    return result


def _stop(note: Note) -> dict[str, object]:
    return {**_location(note.place), "message": {"text": note.text}}


def _location(place: Place) -> Json:
    return {"physicalLocation": {"artifactLocation": _artifact(place.path), "region": _region(place)}}


def _region(place: Place) -> Json:
    return {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }


def _artifact(path: str) -> Json:
    if PurePath(path).is_absolute():
        return {"uri": PurePath(path).as_uri()}
    return {"uri": quote(path, errors="surrogateescape"), "uriBaseId": "%SRCROOT%"}


def _change(path: str, replacements: Sequence[Replacement]) -> Json:
    return {
        "artifactLocation": _artifact(path),
        "replacements": [
            {"deletedRegion": _region(item.place), "insertedContent": {"text": item.text}} for item in replacements
        ],
    }


def _invocation(report: Report, results: int) -> Json:
    notifications = [_notification(trouble) for trouble in report.troubles]
    if results > _MOST_RESULTS:
        text = f"{results} results, of which the first {_MOST_RESULTS} are listed"
        notifications.append({"level": "warning", "message": {"text": text}})
    return {
        "executionSuccessful": not any(trouble.is_fault for trouble in report.troubles),
        "toolExecutionNotifications": notifications,
    }


def _notification(trouble: Trouble) -> Json:
    notification: dict[str, object] = {
        "level": "error" if trouble.is_fault else "note",
        "message": {"text": trouble.message},
    }
    if trouble.path:
        region = {"region": {"startLine": trouble.line}} if trouble.line else {}
        notification["locations"] = [{"physicalLocation": {"artifactLocation": _artifact(trouble.path), **region}}]
    return notification
