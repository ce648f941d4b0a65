"""The supervisord adapter: XML-RPC over its private Unix socket, overrides as later included files."""

from __future__ import annotations

import threading
import time
import xmlrpc.client
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from xml.parsers.expat import ExpatError

import httpx
import psutil

from dbsafety_runtime.orchestrator.model import OVERRIDE_NAME, ManagerError, Service, ServiceConfig, ServiceState
from dbsafety_runtime.storage.lite import forbid_open_transaction

TIMEOUT_SECONDS: Final = 10.0
TAIL_BYTES: Final = 16_384
CONFIG_SECONDS: Final = 1.0
STATES: Final[Mapping[str, ServiceState]] = {
    "RUNNING": "running", "STARTING": "starting", "BACKOFF": "starting", "STOPPING": "starting",
    "FATAL": "failed", "STOPPED": "stopped", "EXITED": "exited",
}  # fmt: skip
BAD_NAME: Final = 10  # also while a changed program is replaced
NO_FILE: Final = 20
ALREADY_STARTED: Final = 60
NOT_RUNNING: Final = 70


class SupervisorManager:
    """Programs of one supervisord; `socket` is its Unix socket, `folder` the one it includes *.conf files from."""

    name = "supervisord"

    def __init__(self, socket_path: Path, folder: Path) -> None:
        self._socket, self._folder = socket_path, folder
        transport = httpx.HTTPTransport(uds=str(socket_path))
        self._client = httpx.Client(base_url="http://supervisord", transport=transport, timeout=TIMEOUT_SECONDS)
        self._reloading = threading.Lock()
        self._loaded: tuple[float, Any] = (-CONFIG_SECONDS, ())

    def _call(self, method: str, *args: str | int | bool, ignore: Collection[int] = ()) -> Any:
        forbid_open_transaction("a call to supervisord")
        request = xmlrpc.client.dumps(args, f"supervisor.{method}")
        try:
            reply = self._client.post("/RPC2", content=request, headers={"Content-Type": "text/xml"})
            (value,), _ = xmlrpc.client.loads(reply.raise_for_status().content)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in ignore:
                return None
            raise ManagerError(f"supervisord: {method}: {fault.faultString}") from fault
        except (httpx.HTTPError, xmlrpc.client.ResponseError, ExpatError) as error:
            raise ManagerError(f"supervisord does not answer at {self._socket}: {error}") from error
        return value

    def services(self) -> tuple[Service, ...]:
        """Return all programs and their states."""
        return tuple(self._service(info) for info in self._call("getAllProcessInfo"))

    def _service(self, info: Mapping[str, Any]) -> Service:
        state = STATES.get(info["statename"], "unknown")
        if state == "exited" and info["exitstatus"] != 0:
            state = "failed"
        name, started = str(info["name"]), float(info["start"])
        return Service(
            name, state, pid=info["pid"], started=started, exit_status=info["exitstatus"],
            detail=info["spawnerr"], wanted=state != "stopped",
        )  # fmt: skip

    def config(self, service: str) -> ServiceConfig | None:
        """Return the configuration supervisord has loaded for a program."""
        for info in self._configs():
            if info["name"] == service:
                directory = "" if info["directory"] in ("none", "auto") else info["directory"]
                return ServiceConfig(service, self._file(service), info["command"], directory)
        return None

    def _configs(self) -> Any:
        """What supervisord has loaded; it changes only by a reload, so one question a second is enough."""
        asked, infos = self._loaded
        if time.monotonic() - asked > CONFIG_SECONDS:
            infos = self._call("getAllConfigInfo")
            self._loaded = (time.monotonic(), infos)
        return infos

    def _file(self, service: str) -> str:
        section = f"[program:{service}]"
        for file in sorted(self._folder.glob("*.conf")):
            if file != self.override_file(service) and section in file.read_text(encoding="utf-8", errors="replace"):
                return str(file)
        return str(self._folder)

    def log_tail(self, service: str) -> str:
        """Return the end of a program's output; '' when there is no log."""
        streams = [
            self._call(f"tailProcess{stream}Log", service, 0, TAIL_BYTES, ignore=(BAD_NAME, NO_FILE))
            for stream in ("Stdout", "Stderr")
        ]
        return "".join(stream[0] for stream in streams if stream)

    def start(self, service: str) -> None:
        """Start a program without waiting for it."""
        self._call("startProcess", service, False, ignore=(ALREADY_STARTED,))

    def stop(self, service: str) -> None:
        """Stop a program; no error when it does not run."""
        self._call("stopProcess", service, True, ignore=(NOT_RUNNING,))

    def reset(self, service: str) -> None:
        """Nothing to forget: supervisord lets a FATAL program be started."""

    def reload(self) -> None:
        """Read the configuration again and replace the programs whose section changed."""
        with self._reloading:  # two reloads at once would replace the same program twice
            ((added, changed, removed),) = self._call("reloadConfig")
            for group in (*changed, *removed):
                self._call("stopProcessGroup", group)
                self._call("removeProcessGroup", group)
            for group in (*changed, *added):
                self._call("addProcessGroup", group)
            self._loaded = (-CONFIG_SECONDS, ())

    def override_file(self, service: str) -> Path:
        """Return the included file that holds our changes; it sorts after the vendor's."""
        return self._folder / f"zz-{service}.{OVERRIDE_NAME}.conf"

    def override_text(self, service: str, settings: Mapping[str, str]) -> str:
        """Return a section that overrides the given settings of a program."""
        lines = [f"{name}={value.replace('%', '%%')}" for name, value in settings.items()]
        return "\n".join([f"[program:{service}]", *lines, ""])

    def owner(self, pid: int) -> str | None:
        """Return the program a process was started for: supervisord names it in the environment."""
        try:
            environment = psutil.Process(pid).environ()
        except psutil.Error:
            return None
        ours = environment.get("SUPERVISOR_SERVER_URL") == f"unix://{self._socket}"
        return environment.get("SUPERVISOR_PROCESS_NAME") if ours else None
