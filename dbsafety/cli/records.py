"""From findings to the records that writers write: positions in characters, with the source lines they stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dbsafety import __version__
from dbsafety.model.faults import DbsafetyError, SourceFault, UnreadableFault
from dbsafety.model.finding import Finding, Step
from dbsafety.model.span import Span
from dbsafety.output.record import FixNote, Note, Place, Record, Report, Trouble
from dbsafety.project.files import read
from dbsafety.project.run import RunResult
from dbsafety.source.text import SourceText


class Sources:
    """The text of the files that findings stand in, read when asked for; `given` holds what is not on disk."""

    def __init__(self, given: Mapping[str, bytes] | None = None) -> None:
        self._given = dict(given or {})
        self._texts: dict[str, SourceText] = {}

    def text(self, path: str) -> SourceText:
        """The text of a file; where it does not decode, with replacement characters; empty if it is gone."""
        if path not in self._texts:
            self._texts[path] = _decoded(self._given.get(path), path)
        return self._texts[path]

    def place(self, path: str, span: Span) -> Place:
        """A span in 1-based character columns."""
        text = self.text(path)
        return Place(
            path,
            span.line,
            text.character_column(span.line, span.col) + 1,
            span.end_line,
            text.character_column(span.end_line, span.end_col) + 1,
        )


def report(result: RunResult, sources: Sources) -> Report:
    """The run as the writers want it."""
    return Report(
        tuple(record(finding, sources) for finding in result.findings),
        tuple(record(finding, sources) for finding in result.suppressed),
        tuple(troubles(result.faults, result.notes)),
        result.files,
        __version__,
    )


def record(finding: Finding, sources: Sources) -> Record:
    """One finding as the writers want it."""
    return Record(
        sources.place(finding.path, finding.span),
        finding.code,
        finding.slug,
        finding.severity,
        finding.confidence,
        finding.said,
        sources.text(finding.path).line(finding.span.line),
        tuple(_note(step, sources) for step in finding.trace),
        FixNote(finding.fix.applicability.value, finding.fix.title) if finding.fix is not None else None,
        finding.fix_refusal,
        finding.fingerprint,
        tuple(_note(step, sources) for step in finding.related),
    )


def _note(step: Step, sources: Sources) -> Note:
    return Note(sources.place(step.path, step.span), step.note, sources.text(step.path).line(step.span.line))


def troubles(faults: Iterable[DbsafetyError], notes: Iterable[Finding]) -> Iterable[Trouble]:
    """Faults and notes of a run."""
    yield from (Trouble(fault.path, fault.line, fault.message) for fault in faults)
    for note in notes:
        yield Trouble(note.path, note.span.line, f"{note.code} {note.message}", is_fault=False)


def _decoded(data: bytes | None, path: str) -> SourceText:
    try:
        if data is None:
            data = read(path)
        return SourceText.decode(data, path)
    except UnreadableFault:
        return SourceText.of("")
    except SourceFault:
        return SourceText.of((data or b"").decode("utf-8", "replace"))
