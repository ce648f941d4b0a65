"""What the kernel knows: who listens where, and which processes outlived their service."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from dbsafety_runtime.orchestrator.managers.base import Manager
from dbsafety_runtime.orchestrator.model import Service


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
