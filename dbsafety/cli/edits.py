"""The text of fixes for formats that show it: worked out as `fix` does, past all gates but those that check anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dbsafety.cli.records import Sources
from dbsafety.fix.edits import EditMaker
from dbsafety.model.edit import Edit
from dbsafety.model.faults import DbsafetyError, FixRefused, SourceFault
from dbsafety.model.finding import Finding
from dbsafety.model.rewrite import FixPlan
from dbsafety.model.span import Span
from dbsafety.output.record import Record, Replacement


def with_edits(records: Sequence[Record], findings: Sequence[Finding], sources: Sources) -> tuple[Record, ...]:
    """The records, one for each finding, with the replacements of their fixes; one that is refused says why instead."""
    makers: dict[str, EditMaker | DbsafetyError] = {}
    return tuple(
        _with_edits(record, finding.fix, sources, makers) for record, finding in zip(records, findings, strict=True)
    )


def _with_edits(
    record: Record, plan: FixPlan | None, sources: Sources, makers: dict[str, EditMaker | DbsafetyError]
) -> Record:
    path = record.place.path
    if plan is None or record.fix is None or record.fix_refusal:
        return record
    if path not in makers:
        makers[path] = _maker(path, sources)
    maker = makers[path]
    if isinstance(maker, DbsafetyError):
        return replace(record, fix_refusal=maker.message)
    try:
        edits = maker.fix(plan).edits
    except FixRefused as refusal:
        return replace(record, fix_refusal=refusal.message)
    replacements = tuple(_replacement(edit, path, sources) for edit in edits)
    return replace(record, fix=replace(record.fix, replacements=replacements))


def _maker(path: str, sources: Sources) -> EditMaker | DbsafetyError:
    """The maker, or why the file cannot be rewritten."""
    try:
        return EditMaker(sources.text(path).data, path)
    except (FixRefused, SourceFault) as fault:
        return fault


def _replacement(edit: Edit, path: str, sources: Sources) -> Replacement:
    text = sources.text(path)
    span = Span(*text.place_of_offset(edit.start), *text.place_of_offset(edit.end))
    return Replacement(sources.place(path, span), edit.text)
