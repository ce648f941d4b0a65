"""Failed, flapping and orphaned services, and port conflicts, from the manager's states and the kernel's tables."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from dbsafety_runtime.orchestrator.detectors.base import Scan
from dbsafety_runtime.orchestrator.managers.base import Manager
from dbsafety_runtime.orchestrator.managers.unitfile import words
from dbsafety_runtime.orchestrator.model import Clock, Facts, Issue, Service, ServiceConfig
from dbsafety_runtime.orchestrator.processes import descends_from, describe, listeners, orphans

# How node, libc, Python, nginx, Go, Rust and Java say it (errno 98); text alone is never believed, see `confirm`.
PORT_TAKEN: Final = re.compile(
    r"EADDRINUSE|address already in use|errno 98|WSAEADDRINUSE|only one usage of each socket address|"
    r"bind\(\) to \S+ failed \(98|port \d+ (?:is|was) already (?:in use|taken|allocated)",
    re.IGNORECASE,
)
PORT_NUMBER: Final = re.compile(r"(?:port[ =:]+|(?:\]|\d|\*|:|\s|localhost):|', )(\d{2,5})\b", re.IGNORECASE)
PORT_OPTION: Final = re.compile(
    r"--?(?:port|p|listen|bind)[= ]?(?:\S*:)?(\d{2,5})$|^(?:\S*:)?(\d{4,5})$", re.IGNORECASE
)
SPAWN: Final = re.compile(
    r"can't find command|can't chdir|couldn't chdir|no such file|spawn|exec format|permission denied|CHDIR|EXEC",
    re.IGNORECASE,
)
FLAPS: Final = 3
FLAP_SECONDS: Final = 300.0


def port_of(text: str, config: ServiceConfig | None) -> int | None:
    """Return the port a conflict is about: the one named in the text, else the one the command line asks for."""
    for hit in PORT_TAKEN.finditer(text):
        line = text[text.rfind("\n", 0, hit.start()) + 1 : (text.find("\n", hit.end()) + 1 or len(text))]
        named = PORT_NUMBER.search(line)
        if named and 0 < int(named[1]) < 65536:
            return int(named[1])
    return configured_port(config)


def configured_port(config: ServiceConfig | None) -> int | None:
    """Return the port a service's command line or environment asks for, None when there is none."""
    if config is None:
        return None
    parts = words(config.command)
    for before, part in zip(["", *parts], parts, strict=False):
        text = f"{before}={part}" if before.startswith("-") and "=" not in before else part
        hit = PORT_OPTION.search(text)
        if hit and 0 < int(hit[1] or hit[2]) < 65536:
            return int(hit[1] or hit[2])
    port = config.environment.get("PORT", "")
    return int(port) if port.isdigit() else None


def last_line(text: str) -> str:
    """Return the last line of a log that says something."""
    return next((line.strip()[:300] for line in reversed(text.splitlines()) if line.strip()), "")


class ServiceDetector:
    """Services that failed to spawn, ended with an error, or keep restarting."""

    name = "services"

    def __init__(self, manager: Manager, clock: Clock = time.time, calm: float = 5.0) -> None:
        self._manager, self._clock, self._calm = manager, clock, calm
        self._starts: dict[str, deque[tuple[float, float]]] = {}

    def scan(self, cursor: str | None) -> Scan:
        """Return one issue for each failed or flapping service."""
        del cursor
        issues = [self._issue(service) for service in self._manager.services() if service.wanted]
        return Scan(tuple(issue for issue in issues if issue is not None))

    def _issue(self, service: Service) -> Issue | None:
        flaps = self._flaps(service)
        facts = {"exit_status": str(service.exit_status), "detail": service.detail}
        if service.state == "failed":
            said = last_line(self._manager.log_tail(service.name))
            if SPAWN.search(service.detail):
                return Issue("spawn_failure", self.name, service.name, service.detail, facts)
            ended = f"ended with status {service.exit_status}" if service.exit_status else "failed"
            message = f"{ended}: {said}" if said else ended
            return Issue("service_failure", self.name, service.name, message, facts)
        if flaps >= FLAPS and self._clock() - service.started < self._calm:
            said = last_line(self._manager.log_tail(service.name))
            return Issue(
                "flapping", self.name, service.name, f"keeps restarting: {said}", {**facts, "starts": str(flaps)}
            )
        return None

    def _flaps(self, service: Service) -> int:
        """Count the runs after the first one within the window; starts that came to nothing are no runs."""
        now = self._clock()
        seen = self._starts.setdefault(service.name, deque(maxlen=16))
        if service.state == "running" and (not seen or seen[-1][0] != service.started):
            seen.append((service.started, now))
        while seen and seen[0][1] < now - FLAP_SECONDS:
            seen.popleft()
        return len(seen) - 1


def port_conflicts(manager: Manager) -> Iterator[Issue]:
    """Yield services that could not bind their port, whatever language says so, confirmed by the socket table."""
    held: dict[int, int] | None = None
    for service in manager.services():
        if service.wanted and service.state in ("failed", "starting", "exited"):
            text = manager.log_tail(service.name)[-4096:]
            if PORT_TAKEN.search(text):
                held = listeners() if held is None else held
                yield from confirm(manager, service, text, held)


def confirm(manager: Manager, service: Service, text: str, held: dict[int, int]) -> list[Issue]:
    """Return the conflict if somebody else really holds the port now; text alone may be old."""
    port = port_of(text, manager.config(service.name))
    if port is None or port not in held:
        return []
    holder = held[port]
    if holder and service.pid and descends_from(holder, frozenset({service.pid})):
        return []
    process = describe(holder) if holder else None
    facts: Facts = {"port": str(port), "holder_pid": str(holder), "holder_command": process.command if process else ""}
    return [Issue("port_conflict", "ports", service.name, f"port {port} is held by another process", facts)]


def stale_processes(manager: Manager) -> Iterator[Issue]:
    """Yield the services that are down while a process of an earlier run lives, which may be what keeps them down."""
    services = manager.services()
    down = {service.name for service in services if service.wanted and service.state in ("failed", "starting")}
    for name, processes in orphans(manager, services).items():
        if name in down:
            oldest = min(processes, key=lambda process: process.started)
            facts = {"pid": str(oldest.pid), "started": repr(oldest.started), "command": oldest.command}
            yield Issue("stale_process", "stale", name, "a process of an earlier run still lives", facts)
