"""What the kernel knows: who listens where, and which processes outlived their service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from dbsafety_runtime.orchestrator.managers.base import Manager
from dbsafety_runtime.orchestrator.model import Service

TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTEN: Final = "0A"


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from a later one of the same number by its start time (seconds since 1970)."""

    pid: int
    started: float
    command: str = ""


def describe(pid: int) -> Process | None:
    """Return a running process, None when there is none (a zombie is none)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Process(pid, process.create_time(), " ".join(process.cmdline())[:500])
    except psutil.Error:
        return None


def listeners() -> dict[int, int]:
    """Return the listening TCP ports and who listens; 0 where this user may not know."""
    found = {port: 0 for table in TABLES if table.exists() for port in _ports(table.read_text(encoding="ascii"))}
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return found
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN:
            found[connection.laddr.port] = connection.pid or found.get(connection.laddr.port, 0)
    return found


def _ports(table: str) -> Iterable[int]:
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == LISTEN:
            yield int(fields[1].rpartition(":")[2], 16)


def descends_from(pid: int, ancestors: frozenset[int]) -> bool:
    """Say whether a process is one of `ancestors` or below one."""
    try:
        return pid in ancestors or any(parent.pid in ancestors for parent in psutil.Process(pid).parents())
    except psutil.Error:
        return False


def orphans(manager: Manager, services: tuple[Service, ...]) -> dict[str, list[Process]]:
    """Return, for each service, the processes that were started for it but do not belong to its present run."""
    current = frozenset(service.pid for service in services if service.pid)
    known = {service.name for service in services}
    found: dict[str, list[Process]] = {}
    for pid in psutil.pids():
        owner = manager.owner(pid)
        if owner in known and not descends_from(pid, current):
            process = describe(pid)
            if process is not None:
                found.setdefault(owner, []).append(process)
    return found
