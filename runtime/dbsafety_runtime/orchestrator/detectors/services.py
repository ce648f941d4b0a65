"""Failed, flapping and orphaned services, and port conflicts, from the manager's states and the kernel's tables."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from functools import cache, partial
from typing import Final

from dbsafety_runtime.orchestrator.detectors.base import Scan
from dbsafety_runtime.orchestrator.model import Clock, Facts, Issue, Manager, Service, ServiceConfig, words
from dbsafety_runtime.orchestrator.pages import wording
from dbsafety_runtime.orchestrator.processes import describe, listeners, orphans, stranger_on

PORT_TAKEN: Final = wording("port_taken")
PORT_NUMBER: Final = wording("port_number")
PORT_OPTION: Final = wording("port_option")
SPAWN: Final = wording("not_spawned")
FLAPS: Final = 3
FLAP_SECONDS: Final = 300.0


def port_of(text: str, config: ServiceConfig | None) -> int | None:
    """Return the port a conflict is about: the one named in the text, else the one the command line asks for."""
    for line in filter(PORT_TAKEN.search, text.splitlines()):
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
    return int(port) if port.isdecimal() and len(port) < 6 else None


def last_line(text: str) -> str:
    """Return the last line of a log that says something."""
    return next((line.strip()[:300] for line in reversed(text.splitlines()) if line.strip()), "")


class ServiceDetector:
    """Services that failed to spawn, ended with an error, or keep restarting."""

    name = "services"

    def __init__(self, manager: Manager, clock: Clock = time.time, calm: float = 5.0) -> None:
        self._manager, self._clock, self._calm = manager, clock, calm
        self._starts: dict[str, deque[tuple[float, float]]] = {}

    def scan(self, _cursor: str | None) -> Scan:
        """Return one issue for each failed or flapping service."""
        return Scan(tuple(issue for service in self._manager.services() for issue in self._issues(service)))

    def _issues(self, service: Service) -> Iterator[Issue]:
        flaps = self._flaps(service)
        facts = {"exit_status": str(service.exit_status), "detail": service.detail, "starts": str(flaps)}
        issue = partial(Issue, source=self.name, target=service.name, facts=facts)
        flapping = flaps >= FLAPS and self._clock() - service.started < self._calm
        if not service.wanted or not (flapping or service.state == "failed"):
            return
        said = last_line(self._manager.log_tail(service.name))
        if service.state != "failed":
            yield issue("flapping", message=f"keeps restarting: {said}")
        elif SPAWN.search(service.detail):
            yield issue("spawn_failure", message=service.detail)
        else:
            ended = f"ended with status {service.exit_status}" if service.exit_status else "failed"
            yield issue("service_failure", message=f"{ended}: {said}" if said else ended)

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
    held = cache(listeners)  # asked once, and only when somebody says so
    for service in manager.services():
        if service.wanted and service.state in ("failed", "starting", "exited"):
            text = manager.log_tail(service.name)[-4096:]
            if PORT_TAKEN.search(text):
                yield from confirm(manager, service, text, held())


def confirm(manager: Manager, service: Service, text: str, held: dict[int, int]) -> list[Issue]:
    """Return the conflict if somebody else really holds the port now; text alone may be old."""
    port = port_of(text, manager.config(service.name))
    holder = stranger_on(port, service, held)
    if holder is None:
        return []
    process = describe(holder)
    facts: Facts = {"port": str(port), "holder_pid": str(holder), "holder_command": process.command if process else ""}
    return [Issue("port_conflict", "ports", service.name, f"port {port} is held by another process", facts)]


def stale_processes(manager: Manager) -> Iterator[Issue]:
    """Yield the services that are down while a process of an earlier run lives, which may be what keeps them down."""
    found, services = orphans(manager), manager.services()
    down = {service.name for service in services if service.wanted and service.state in ("failed", "starting")}
    for name, processes in found.items():
        if name in down:
            oldest = min(processes, key=lambda process: process.started)
            facts = {"pid": str(oldest.pid), "started": repr(oldest.started), "command": oldest.command}
            yield Issue("stale_process", "stale", name, "a process of an earlier run still lives", facts)
