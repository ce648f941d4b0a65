"""Fixes the files of a project that was checked; each change is verified before it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbsafety.check.module import check_module
from dbsafety.check.session import Session
from dbsafety.config.load import Configuration
from dbsafety.fix.apply import write_atomically
from dbsafety.fix.loop import FixOutcome, fix_file
from dbsafety.model.faults import DbsafetyError
from dbsafety.model.finding import Finding
from dbsafety.project.files import read
from dbsafety.project.run import RunResult
from dbsafety.source.text import SourceText


@dataclass(frozen=True, slots=True)
class FileFix:
    """What became of one file; `fault` tells why it was not tried."""

    path: str
    old: bytes
    outcome: FixOutcome
    fault: DbsafetyError | None = None

    @property
    def changed(self) -> bool:
        """Whether a byte differs."""
        return self.outcome.new != self.old

    @property
    def texts(self) -> tuple[str, str]:
        """The decoded text before and after."""
        return SourceText.decode(self.old).text, SourceText.decode(self.outcome.new).text

    def write(self) -> None:
        """Write the new bytes, whole or not at all. Raises FixRefused."""
        write_atomically(Path(self.path), self.old, self.outcome.new)


def fixed_files(result: RunResult, configuration: Configuration, *, unsafe: bool) -> Iterator[FileFix]:
    """The files of a checked project that have a fix to make or to refuse, in the order of their names; not written."""
    session = Session.of(configuration, roots=result.roots)
    paths = dict.fromkeys(one.path for one in result.findings if one.fix is not None or one.fix_refusal)
    for path in paths:
        yield _fixed(path, session, unsafe=unsafe)


def fixed_source(data: bytes, path: str, session: Session, *, unsafe: bool) -> FixOutcome:
    """The fixes of one source in memory. Raises DbsafetyError when it cannot be checked."""
    return fix_file(data, path, checker(path, session), unsafe=unsafe, overrides=session.settings.fix_applicability)


def _fixed(path: str, session: Session, *, unsafe: bool) -> FileFix:
    data = b""
    try:
        data = read(path)
        return FileFix(path, data, fixed_source(data, path, session, unsafe=unsafe))
    except DbsafetyError as fault:
        return FileFix(path, data, FixOutcome(data), fault)


def checker(path: str, session: Session) -> Callable[[bytes], Sequence[Finding]]:
    """What checks the bytes of that file; it raises DbsafetyError when it cannot."""

    def check(data: bytes) -> Sequence[Finding]:
        result = check_module(data, path, session, named=True)
        if result.faults:
            raise result.faults[0]
        return result.findings

    return check
