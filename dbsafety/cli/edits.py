"""The text of fixes for formats that show it: worked out as `fix` does, and past all its gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dbsafety.check.session import Session
from dbsafety.cli.records import Sources
from dbsafety.fix.edits import EditMaker
from dbsafety.fix.loop import refused_alone
from dbsafety.model.edit import Edit
from dbsafety.model.faults import DbsafetyError, FixRefused
from dbsafety.model.finding import Finding
from dbsafety.model.rewrite import FixPlan
from dbsafety.model.span import Span
from dbsafety.output.record import Record, Replacement
from dbsafety.project.fixes import checker


class _File:
    """What is known of the fixes of one file: their maker, and which of them a gate stops."""

    def __init__(self, path: str, data: bytes, session: Session) -> None:
        """Raises DbsafetyError when the file cannot be checked or rewritten."""
        self._maker = EditMaker(data, path)
        self._refused = refused_alone(data, path, checker(path, session))

    def edits(self, plan: FixPlan) -> Sequence[Edit]:
        """The edits of a plan. Raises FixRefused."""
        reason = self._refused.get(plan.rewrites)
        if reason is not None:
            raise FixRefused(reason)
        return self._maker.fix(plan).edits


def with_edits(
    records: Sequence[Record], findings: Sequence[Finding], sources: Sources, session: Session
) -> tuple[Record, ...]:
    """The records, one for each finding, with the replacements of their fixes; one that is refused says why instead."""
    files: dict[str, _File | DbsafetyError] = {}
    return tuple(
        _with_edits(record, finding.fix, sources, session, files)
        for record, finding in zip(records, findings, strict=True)
    )


def _with_edits(
    record: Record, plan: FixPlan | None, sources: Sources, session: Session, files: dict[str, _File | DbsafetyError]
) -> Record:
    path = record.place.path
    if plan is None or record.fix is None or record.fix_refusal:
        return record
    if path not in files:
        files[path] = _file(path, sources, session)
    file = files[path]
    if isinstance(file, DbsafetyError):
        return replace(record, fix_refusal=file.message)
    try:
        edits = file.edits(plan)
    except FixRefused as refusal:
        return replace(record, fix_refusal=refusal.message)
    replacements = tuple(_replacement(edit, path, sources) for edit in edits)
    return replace(record, fix=replace(record.fix, replacements=replacements))


def _file(path: str, sources: Sources, session: Session) -> _File | DbsafetyError:
    """The file, or why it cannot be rewritten."""
    try:
        return _File(path, sources.text(path).data, session)
    except DbsafetyError as fault:
        return fault


def _replacement(edit: Edit, path: str, sources: Sources) -> Replacement:
    text = sources.text(path)
    span = Span(*text.place_of_offset(edit.start), *text.place_of_offset(edit.end))
    return Replacement(sources.place(path, span), edit.text)
