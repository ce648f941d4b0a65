"""Processes: what other programs say, who listens where, and what outlived its service."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

import psutil

from dbsafety_runtime.orchestrator.model import Manager, ManagerError, Service
from dbsafety_runtime.storage.lite import forbid_open_transaction

PLAIN: Final = {"LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
COMMAND_SECONDS: Final = 30.0


class TooSlow(ManagerError):
    """A program had to be ended."""


@contextmanager
def output_of(
    command: Sequence[str], seconds: float = COMMAND_SECONDS, environment: Mapping[str, str] = PLAIN
) -> Iterator[IO[bytes]]:
    """What a program writes; what is not read in the block is not waited for.

    Raises ManagerError at the end of the block when the program could not be started or failed, TooSlow when it had to
    be ended after `seconds`.
    """
    name, quiet = Path(command[0]).name, subprocess.DEVNULL
    forbid_open_transaction(name)
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=quiet, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **environment}
            )
        except OSError as error:
            raise ManagerError(f"{name}: {error}") from error
        with process:
            alarm = threading.Timer(seconds, process.kill)
            alarm.daemon = True
            alarm.start()
            output, unread = cast("IO[bytes]", process.stdout), b"?"
            try:
                yield output
                unread = output.read(1)
            finally:
                if unread:
                    process.kill()
                process.wait()
                on_time = alarm.is_alive()
                alarm.cancel()
        errors.seek(0)
        complaint = errors.read(100_000).decode("utf-8", "replace").strip().splitlines() or ["no message"]
    if not on_time:
        raise TooSlow(f"{name} did not end within {seconds:g} s")
    if process.returncode and not unread:
        raise ManagerError(f"{name} ended with {process.returncode}: {complaint[-1]}")


def run(command: Sequence[str]) -> str:
    """Run a command and return its output; raises ManagerError on failure or after 30 seconds."""
    with output_of(command) as output:
        return output.read().decode("utf-8", "replace")


class Process(NamedTuple):
    """A process, told from a later one of the same number by its start time (seconds since 1970)."""

    pid: int
    started: float
    command: str = ""


def describe(pid: int) -> Process | None:
    """Return a running process, None when there is none (a zombie is none)."""
    try:
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return Process(pid, process.create_time(), " ".join(process.cmdline())[:500])
    except psutil.Error:
        return None
    return None


def listeners() -> dict[int, int]:
    """Return the listening TCP ports and who listens; 0 where this user may not know."""
    found: dict[int, int] = {}
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN:
            found[connection.laddr.port] = connection.pid or found.get(connection.laddr.port, 0)
    return found


def descends_from(pid: int, ancestors: frozenset[int]) -> bool:
    """Say whether a process is one of `ancestors` or below one."""
    try:
        return pid in ancestors or any(parent.pid in ancestors for parent in psutil.Process(pid).parents())
    except psutil.Error:
        return False


def stranger_on(port: int | None, service: Service, held: Mapping[int, int]) -> int | None:
    """Return who else than a service holds its port (0 where this user may not know), None when nobody does."""
    holder = held.get(port) if port else None
    own = holder is not None and descends_from(holder, frozenset({service.pid} - {0}))
    return None if own else holder


def orphans(manager: Manager) -> dict[str, list[Process]]:
    """Return, for each service, the processes that were started for it but do not belong to its present run."""
    owners = {pid: owner for pid in psutil.pids() if (owner := manager.owner(pid))}
    services = manager.services()  # asked afterwards: a run that has just begun is a present one
    current = frozenset(service.pid for service in services if service.pid)
    found: dict[str, list[Process]] = {}
    for pid, owner in owners.items():
        known = any(service.name == owner for service in services)
        if known and not descends_from(pid, current) and (process := describe(pid)):
            found.setdefault(owner, []).append(process)
    return found
