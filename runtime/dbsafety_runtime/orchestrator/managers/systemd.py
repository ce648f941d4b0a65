"""The systemd adapter: `systemctl` and `journalctl` as subprocesses, overrides as drop-ins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from dbsafety_runtime.orchestrator.managers import unitfile
from dbsafety_runtime.orchestrator.model import OVERRIDE_NAME, Service, ServiceConfig, ServiceState
from dbsafety_runtime.orchestrator.processes import run

PROPERTIES: Final = (
    "Id,LoadState,ActiveState,SubState,Result,ExecMainStatus,MainPID,ExecMainStartTimestamp,"
    "UnitFileState,FragmentPath,DropInPaths"
)
STATES: Final[Mapping[str, ServiceState]] = {
    "active": "running", "reloading": "running", "activating": "starting", "deactivating": "starting",
    "failed": "failed", "inactive": "stopped",
}  # fmt: skip
FOLDER: Final = Path("/etc/systemd/system")

Runner = Callable[[Sequence[str]], str]


def blocks(text: str) -> list[dict[str, str]]:
    """Return the property blocks of `systemctl show`."""
    found = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n")]
    return [block for block in found if block]


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


class SystemdManager:
    """The services of a systemd; `folder` is where drop-ins are written, `runner` is replaced in tests."""

    name = "systemd"

    def __init__(self, runner: Runner = run, folder: Path = FOLDER) -> None:
        self._run, self._folder = runner, folder

    def services(self) -> tuple[Service, ...]:
        """Return all loaded services and their states."""
        text = self._run(["systemctl", "show", "*.service", "--all", "--timestamp=unix", f"--property={PROPERTIES}"])
        return tuple(self._service(block) for block in blocks(text) if block.get("LoadState") != "not-found")

    def _service(self, block: Mapping[str, str]) -> Service:
        state = STATES.get(block.get("ActiveState", ""), "unknown")
        if block.get("SubState") == "exited":
            state = "exited"
        result = block.get("Result", "success")
        return Service(
            block.get("Id", ""), state, pid=_number(block.get("MainPID", "")),
            started=float(_number(block.get("ExecMainStartTimestamp", "").lstrip("@"))),
            exit_status=_number(block.get("ExecMainStatus", "")),
            detail="" if result == "success" else result,
            wanted=block.get("UnitFileState") in ("enabled", "enabled-runtime") or state not in ("stopped", "exited"),
        )  # fmt: skip

    def config(self, service: str) -> ServiceConfig | None:
        """Return the merged configuration of a unit."""
        text = self._run(["systemctl", "show", service, "--property=FragmentPath,DropInPaths"])
        block = {key: value for found in blocks(text) for key, value in found.items()}
        fragment, drop_ins = block.get("FragmentPath"), block.get("DropInPaths", "").split()
        return unitfile.load(service, Path(fragment), tuple(map(Path, drop_ins))) if fragment else None

    def log_tail(self, service: str) -> str:
        """Return the last 100 lines of a unit's log."""
        return self._run(["journalctl", "-u", service, "-n", "100", "-o", "cat", "--no-pager"])[-16_384:]

    def start(self, service: str) -> None:
        """Start a unit without waiting for it."""
        self._run(["systemctl", "start", "--no-block", service])

    def stop(self, service: str) -> None:
        """Stop a unit."""
        self._run(["systemctl", "stop", service])

    def reset(self, service: str) -> None:
        """Clear the failed state and the start counter."""
        self._run(["systemctl", "reset-failed", service])

    def reload(self) -> None:
        """Read changed unit files again."""
        self._run(["systemctl", "daemon-reload"])

    def override_file(self, service: str) -> Path:
        """Return our drop-in of a unit."""
        return self._folder / f"{service}.d" / f"{OVERRIDE_NAME}.conf"

    def override_text(self, service: str, settings: Mapping[str, str]) -> str:
        """Return a drop-in with the given settings."""
        lines = []
        for name, value in settings.items():
            text = value.replace("%", "%%")
            lines += ["ExecStart=", f"ExecStart={text}"] if name == "command" else [f"WorkingDirectory={text}"]
        return "\n".join([f"# {service}", "[Service]", *lines, ""])

    def owner(self, pid: int) -> str | None:
        """Return the unit whose control group holds a process."""
        try:
            text = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        last = text.strip().rpartition("/")[2]
        return last if last.endswith(".service") else None
