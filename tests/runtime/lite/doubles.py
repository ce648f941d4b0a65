"""Stand-ins for the clock and the service manager."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from dbsafety_runtime.orchestrator.model import ManagerError, Service, ServiceConfig


class FrozenClock:
    """Seconds since 1970 that pass only when told."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


class ScriptedManager:
    """A service manager in memory: what starting a service leads to is decided by `on_start`."""

    name = "scripted"

    def __init__(self, folder: Path, clock: FrozenClock) -> None:
        self.folder, self.clock = folder, clock
        self.table: dict[str, Service] = {}
        self.configs: dict[str, ServiceConfig] = {}
        self.vendor: dict[str, ServiceConfig] = {}
        self.logs: dict[str, str] = {}
        self.calls: list[str] = []
        self.on_start: dict[str, Callable[[], str]] = {}
        self.owners: dict[int, str] = {}
        self.broken = False

    def add(self, name: str, state: str = "failed", *, detail: str = "", command: str = "/bin/sh", **more: str) -> None:
        started = 0.0 if state == "failed" else self.clock.now - 1000
        self.table[name] = Service(name, state, started=started, exit_status=1, detail=detail)
        self.configs[name] = self.vendor[name] = ServiceConfig(name, str(self.folder / f"{name}.conf"), command, **more)

    def set(self, name: str, state: str) -> None:
        started = self.clock.now if state == "running" else 0.0
        self.table[name] = replace(self.table[name], state=state, started=started)

    def _call(self, text: str) -> None:
        if self.broken:
            raise ManagerError("the manager does not answer")
        self.calls.append(text)

    def services(self) -> tuple[Service, ...]:
        if self.broken:
            raise ManagerError("the manager does not answer")
        return tuple(self.table.values())

    def config(self, service: str) -> ServiceConfig | None:
        return self.configs.get(service)

    def log_tail(self, service: str) -> str:
        return self.logs.get(service, "")

    def start(self, service: str) -> None:
        self._call(f"start {service}")
        self.set(service, self.on_start.get(service, lambda: "running")())

    def stop(self, service: str) -> None:
        self._call(f"stop {service}")
        self.set(service, "stopped")

    def reset(self, service: str) -> None:
        self._call(f"reset {service}")

    def reload(self) -> None:
        self._call("reload")
        for name, config in self.vendor.items():
            self.configs[name] = config
            if self.override_file(name).exists():
                key, _, value = self.override_file(name).read_text(encoding="utf-8").partition("=")
                self.configs[name] = replace(config, **{key: value})

    def override_file(self, service: str) -> Path:
        return self.folder / f"{service}.override"

    def override_text(self, service: str, settings: Mapping[str, str]) -> str:
        return "".join(f"{name}={value}" for name, value in settings.items())

    def owner(self, pid: int) -> str | None:
        return self.owners.get(pid)
