"""Checks files side by side in other processes; any `concurrent.futures.Executor` will do."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeAlias

from dbsafety.check.module import ModuleResult
from dbsafety.check.session import Session
from dbsafety.config.load import Configuration
from dbsafety.model.faults import RuleCrash
from dbsafety.project.files import Checker, SourceFile

_BATCH_BYTES = 300_000
"""Source per task: some tenths of a second of work, against a tenth of a millisecond that a task costs."""

Batch: TypeAlias = tuple[SourceFile, ...]
_Task: TypeAlias = "Future[tuple[ModuleResult, ...]]"


def check_batch(job: bytes, batch: Batch) -> tuple[ModuleResult, ...]:
    """Check some files in whatever process this is called. `job` is made by `pack`."""
    checker = _checker(job)
    return tuple(checker.check(file) for file in batch)


def pack(configuration: Configuration, roots: Sequence[str]) -> bytes:
    """What a worker must know besides the names of its files."""
    return pickle.dumps((configuration, tuple(roots)))


@lru_cache(maxsize=1)
def _checker(job: bytes) -> Checker:
    """What this process keeps from one batch to the next."""
    configuration, roots = pickle.loads(job)  # noqa: S301 - made by `pack` in the parent process
    return Checker(Session.of(configuration, roots=roots))


def in_processes(job: bytes, files: Sequence[SourceFile], workers: int) -> Iterator[ModuleResult]:
    """Check files in a pool of our own; a file that kills its process becomes a fault. In any order."""
    unfinished: list[Batch] = []
    with _pool(workers) as pool:
        yield from _collect(_submit(pool, job, _batches(files, workers)), unfinished)
    for file in (file for batch in unfinished for file in batch):
        # Whoever killed the pool is among these: each gets a process of its own.
        lost: list[Batch] = []
        with _pool(1) as pool:
            yield from _collect(_submit(pool, job, [(file,)]), lost)
        if lost:
            yield ModuleResult(file.path, faults=(RuleCrash("the process that checked this file died", file.path),))


def in_executor(executor: Executor, job: bytes, files: Sequence[SourceFile]) -> Iterator[ModuleResult]:
    """Check files in somebody's executor. In any order; what the executor raises goes through."""
    for future in [executor.submit(check_batch, job, batch) for batch in _batches(files, 1)]:
        yield from future.result()


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes end with the block; at once if it ends by an exception, such as Ctrl-C."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare)
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    """Ctrl-C reaches the whole process group and the parent alone answers it; trees need no cyclic collector."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is killed: the queue it waits for tasks on does not tell."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _submit(pool: Executor, job: bytes, batches: Sequence[Batch]) -> list[tuple[_Task, Batch]]:
    return [(_start(pool, job, batch), batch) for batch in batches]


def _start(pool: Executor, job: bytes, batch: Batch) -> _Task:
    try:
        return pool.submit(check_batch, job, batch)
    except BrokenProcessPool as error:
        # It broke while batches were still being handed in.
        task: _Task = Future()
        task.set_exception(error)
        return task


def _collect(futures: Sequence[tuple[_Task, Batch]], unfinished: list[Batch]) -> Iterator[ModuleResult]:
    for future, batch in futures:
        results = _results(future)
        if results is None:
            unfinished.append(batch)
        else:
            yield from results


def _results(future: _Task) -> tuple[ModuleResult, ...] | None:
    """What a task returned, None when its process died."""
    try:
        return future.result()
    except BrokenProcessPool:
        return None


def _batches(files: Sequence[SourceFile], workers: int) -> list[Batch]:
    """The files in batches of about equal size: neighbours together, since they import one another, and the largest
    batch first so that no straggler ends the run.
    """
    total = sum(file.size for file in files)
    target = max(1, min(_BATCH_BYTES, total // max(1, 2 * workers)))
    batches: list[Batch] = []
    current: list[SourceFile] = []
    weight = 0
    for file in sorted(files, key=lambda file: file.path):
        current.append(file)
        weight += file.size
        if weight >= target:
            batches.append(tuple(current))
            current, weight = [], 0
    if current:
        batches.append(tuple(current))
    return sorted(batches, key=lambda batch: -sum(file.size for file in batch))
