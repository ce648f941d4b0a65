"""For other programs: check and fix source, check files.

Spans are in the units of `ast`: 1-based lines, columns in UTF-8 bytes. No configuration file is read; pass `Settings`,
or `load(folder).settings` of `dbsafety.config.load`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dbsafety.check.module import check_module
from dbsafety.check.paths import absolute
from dbsafety.check.session import Session
from dbsafety.config.load import Configuration
from dbsafety.config.settings import Settings
from dbsafety.model.finding import Finding
from dbsafety.project.run import RunResult, run

if TYPE_CHECKING:
    import os
    from concurrent.futures import Executor

    from dbsafety.fix.loop import FixOutcome

__all__ = ["RunResult", "Settings", "check_paths", "check_source", "fix_source"]


def check_source(source: str | bytes, path: str = "<string>", settings: Settings | None = None) -> list[Finding]:
    """The findings of one source, sorted by place.

    `path` names it in findings, decides whether it is a test and which package it belongs to; it need not exist. Source
    that Python cannot parse is one finding of DBS001. Raises ConfigFault for settings that name no rule and RuleCrash
    for a defect of dbsafety.
    """
    session = _session(path, settings)
    result = check_module(_bytes(source), path, session, named=True)
    if result.faults:
        raise result.faults[0]
    return list(result.findings)


def check_paths(
    paths: Iterable[str | os.PathLike[str]], settings: Settings | None = None, executor: Executor | None = None
) -> RunResult:
    """Check files and folders, in this process or in any `concurrent.futures.Executor` (Dask's, for instance).

    Patterns of the settings start at the current folder. What could not be read is in `faults`. Raises ConfigFault.
    """
    return run([str(path) for path in paths], _configuration(settings), jobs=1, executor=executor)


def fix_source(
    source: str | bytes, path: str = "<string>", settings: Settings | None = None, *, unsafe: bool = False
) -> FixOutcome:
    """Apply the safe fixes of one source, with `unsafe` also those that change behaviour on purpose.

    The outcome has the new bytes (text is encoded as UTF-8) and says what was fixed, refused and is left. Nothing is
    written. Raises what `check_source` raises.
    """
    # Here, since libcst takes a third of a second to import: programs that only check do without.
    from dbsafety.project.fixes import fixed_source

    return fixed_source(_bytes(source), path, _session(path, settings), unsafe=unsafe)


def _session(path: str, settings: Settings | None) -> Session:
    return Session.of(_configuration(settings), [path])


def _configuration(settings: Settings | None) -> Configuration:
    return Configuration(settings or Settings(), absolute(Path()))


def _bytes(source: str | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
