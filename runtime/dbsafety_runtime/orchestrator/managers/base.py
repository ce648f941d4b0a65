"""What the orchestrator needs from a service manager; systemd and supervisord speak it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from dbsafety_runtime.orchestrator.model import Service, ServiceConfig

OVERRIDE_NAME: Final = "50-dbsafety"
SETTINGS: Final = ("command", "directory")


class ManagerError(Exception):
    """The service manager refused or did not answer; the text is one sentence."""


class Manager(Protocol):
    """A service manager; every method may raise ManagerError and waits at most a few seconds."""

    name: str

    def services(self) -> tuple[Service, ...]:
        """Return all services and their states."""

    def config(self, service: str) -> ServiceConfig | None:
        """Return how a service is configured, None when the manager does not know it."""

    def log_tail(self, service: str) -> str:
        """Return the end of what the service wrote, about 16 KiB."""

    def start(self, service: str) -> None:
        """Start a service without waiting for it."""

    def stop(self, service: str) -> None:
        """Stop a service; no error when it does not run."""

    def reset(self, service: str) -> None:
        """Forget that the service failed, so that it may be started again."""

    def reload(self) -> None:
        """Read changed configuration; only services whose configuration changed are touched."""

    def override_file(self, service: str) -> Path:
        """Return the file that holds our changes to a service's configuration; vendor files are never edited."""

    def override_text(self, service: str, settings: Mapping[str, str]) -> str:
        """Return the text of that file for changed `command` or `directory`."""

    def owner(self, pid: int) -> str | None:
        """Return the service a process was started for, by marks it cannot lose, None when there are none."""


def find(manager: Manager, name: str) -> Service | None:
    """Return one service, None when the manager does not know it; raises ManagerError."""
    return next((service for service in manager.services() if service.name == name), None)
