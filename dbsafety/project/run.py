"""Checks a project: finds the files, drops those that cannot have findings, checks the rest, here or in processes."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dbsafety.check.module import ModuleResult
from dbsafety.check.paths import import_roots
from dbsafety.check.session import Session
from dbsafety.config.load import Configuration
from dbsafety.model.faults import DbsafetyError, UnreadableFault
from dbsafety.model.finding import Finding
from dbsafety.project.discover import discover
from dbsafety.project.files import Checker, SourceFile, screened

if TYPE_CHECKING:
    from concurrent.futures import Executor

PARALLEL_FROM = 40
"""Files to analyse from which processes pay for their start."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What there is to say about a project; everything sorted, the same for any number of processes.

    `files` counts the files looked at, `faults` make the exit code 2, `notes` are findings of DBS004, `remarks` are
    for the user alone. `roots` are the folders that imports started from; `leftovers` those in which a killed run of
    `fix` may have left temporary files.
    """

    files: int
    findings: tuple[Finding, ...] = ()
    suppressed: tuple[Finding, ...] = ()
    faults: tuple[DbsafetyError, ...] = ()
    notes: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()


def run(
    paths: Sequence[str], configuration: Configuration, jobs: int | None = None, executor: Executor | None = None
) -> RunResult:
    """Check the files below `paths`.

    `jobs` is the number of processes, None to choose by the work there is; `executor` does the work instead.
    Raises ConfigFault for codes that no rule has; what is wrong with a file is in the result.
    """
    Session.of(configuration, roots=())  # a wrong code is told before any file is read
    found = discover(paths, configuration)
    faults: list[DbsafetyError] = list(found.faults)
    files = list(_screened(found.files, faults))
    roots = import_roots(configuration.root, configuration.settings.source_roots, [file.path for file in files])
    with _without_collector():
        results = sorted(_checked(files, configuration, roots, jobs, executor), key=lambda result: result.path)
    return replace(gathered(results, len(found.files), faults, found.notes), roots=roots, leftovers=found.leftovers)


def gathered(
    results: Iterable[ModuleResult], files: int, faults: Iterable[DbsafetyError] = (), remarks: Sequence[str] = ()
) -> RunResult:
    """The results of several files, given in the order of their names, as one."""
    results = tuple(results)
    return RunResult(
        files,
        tuple(finding for result in results for finding in result.findings),
        tuple(finding for result in results for finding in result.suppressed),
        tuple(sorted((*faults, *(fault for result in results for fault in result.faults)), key=str)),
        tuple(note for result in results for note in result.notes),
        tuple(remarks),
    )


def workers_for(files: int, jobs: int | None) -> int:
    """How many processes check so many files: 1 means this one."""
    if jobs is None:
        jobs = _processors() if files > PARALLEL_FROM else 1
    return max(1, min(jobs, files))


def _screened(names: Iterable[tuple[str, bool]], faults: list[DbsafetyError]) -> Iterator[SourceFile]:
    for path, named in names:
        file = _screen(path, faults, named=named)
        if file is not None:
            yield file


def _screen(path: str, faults: list[DbsafetyError], *, named: bool) -> SourceFile | None:
    try:
        return screened(path, named=named)
    except UnreadableFault as fault:
        faults.append(fault)
        return None


def _checked(
    files: Sequence[SourceFile],
    configuration: Configuration,
    roots: Sequence[str],
    jobs: int | None,
    executor: Executor | None,
) -> Iterator[ModuleResult]:
    workers = workers_for(len(files), jobs)
    if executor is None and workers == 1:
        checker = Checker(Session.of(configuration, roots=roots))
        yield from (checker.check(file) for file in files)
        return
    # Here, since it pulls multiprocessing, which small runs do without.
    from dbsafety.project import workers as pool

    job = pool.pack(configuration, roots)
    if executor is not None:
        yield from pool.in_executor(executor, job, files)
    else:
        yield from pool.in_processes(job, files, workers)


def _processors() -> int:
    """Processors this process may use, where the platform tells."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


@contextmanager
def _without_collector() -> Iterator[None]:
    """Trees are large and have few cycles: the cyclic collector only costs time while they are made."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
