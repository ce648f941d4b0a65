"""A private supervisord with programs that are broken on purpose, for the demo, the tests and the figures."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import psutil

from dbsafety_runtime.orchestrator.managers.base import ManagerError
from dbsafety_runtime.orchestrator.managers.supervisor import SupervisorManager

if TYPE_CHECKING:
    from typing_extensions import Self

APP: Final = """
import argparse, fcntl, os, pathlib, socket, sys, time
p = argparse.ArgumentParser()
for name in ("--port", "--need", "--lock", "--live", "--count", "--fail", "--orphan", "--say"):
    p.add_argument(name)
a = p.parse_args()
def hold():
    if a.port:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", int(a.port)))
        except OSError as error:
            sys.exit(a.say or f"OSError: {error}")
        s.listen()
        return s
    if a.lock:
        f = open(a.lock, "w")
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit("another instance holds the lock")
        return f
if a.orphan and not os.path.exists(a.orphan):
    pathlib.Path(a.orphan).touch()
    if os.fork() == 0:
        os.setsid()
        kept = hold()
        time.sleep(3600)
    time.sleep(0.2)
    sys.exit("crashed, a child stays behind")
if a.need:
    os.listdir(a.need)
if a.count:
    runs = len(open(a.count).read()) if os.path.exists(a.count) else 0
    open(a.count, "a").write("x")
    if runs < int(a.fail):
        sys.exit(f"cannot work yet")
elif a.fail:
    sys.exit(a.say or f"internal error in step {a.fail}")
kept = hold()
if a.live:
    time.sleep(float(a.live))
    sys.exit("lost its connection")
time.sleep(3600)
"""
CONFIG: Final = """[supervisord]
logfile={root}/supervisord.log
pidfile={root}/supervisord.pid
childlogdir={root}
nodaemon=true
silent=true

[unix_http_server]
file={root}/s.sock
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files={root}/conf.d/*.conf
"""
STOP_SECONDS: Final = 15.0


def free_port() -> int:
    """Return a TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Fleet:
    """A folder with a supervisord, its programs and a git repository; everything ends with the block.

    A keeper process owns all of it and cleans up when its input ends, so that nothing stays behind when this process
    is killed either.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="dbsafety-"))
        self.conf, self.code = self.root / "conf.d", self.root / "code"
        self.conf.mkdir()
        self.code.mkdir()
        (self.root / "supervisord.conf").write_text(CONFIG.format(root=self.root), encoding="utf-8")
        self.app = self.root / "app.py"
        self.app.write_text(APP, encoding="utf-8")
        self.socket = self.root / "s.sock"
        self.manager = SupervisorManager(self.socket, self.conf)
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self.root)], stdin=subprocess.PIPE, start_new_session=True
        )
        self._strangers: list[subprocess.Popen[bytes]] = []
        self._git("init", "-q", ".")

    def _git(self, *arguments: str) -> None:
        names = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            names |= {f"GIT_{role}_NAME": "demo", f"GIT_{role}_EMAIL": "demo@example.org"}
        subprocess.run(["git", "-C", str(self.code), *arguments], check=True, env={**os.environ, **names})

    def save(self, message: str) -> None:
        """Commit everything in the code folder."""
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", message)

    def command(self, **options: object) -> str:
        """Return a command line of the demo application."""
        words = [f"--{name} {value}" for name, value in options.items()]
        return " ".join([sys.executable, "-SE", str(self.app), *words])

    def program(self, name: str, command: str, directory: Path | None = None, **settings: str) -> None:
        """Write a program's configuration."""
        values = {
            "command": command.replace("%", "%%"), "startsecs": "1", "startretries": "1", "redirect_stderr": "true",
            "stdout_logfile": f"{self.root}/{name}.log", "stopwaitsecs": "2", **settings,
        }  # fmt: skip
        if directory is not None:
            values["directory"] = str(directory)
        lines = [f"[program:{name}]", *(f"{key}={value}" for key, value in values.items()), ""]
        (self.conf / f"{name}.conf").write_text("\n".join(lines), encoding="utf-8")

    def stranger(self, port: int) -> None:
        """Let a process that belongs to no program listen on a port."""
        command = [sys.executable, "-SE", str(self.app), "--port", str(port)]
        self._strangers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))

    def __enter__(self) -> Self:
        if self._keeper.stdin is not None:
            self._keeper.stdin.write(b"start\n")
            self._keeper.stdin.flush()
        limit = time.monotonic() + 20
        while not self._answers():
            if time.monotonic() > limit or self._keeper.poll() is not None:
                raise ManagerError("the private supervisord did not start")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        try:
            self.manager.services()
        except ManagerError:
            return False
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.communicate()
        for process in self._strangers:
            process.wait()


def keep(root: Path) -> None:
    """Start a supervisord once told to; when the input ends, end it and every program under `root`, and remove it."""
    if sys.stdin.readline():
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(root / "supervisord.conf")]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=root, stdin=quiet, stdout=quiet, stderr=quiet) as server:
            sys.stdin.read()
            server.terminate()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
    for process in psutil.process_iter(["cmdline"]):  # strangers, and orphans of programs
        if str(root / "app.py") in (process.info["cmdline"] or ()):
            process.kill()
    shutil.rmtree(root, ignore_errors=True)


def build(fleet: Fleet, name: str, case: Mapping[str, str]) -> None:
    """Add one program, broken in the way `case["kind"]` says; commit and document what the case says is known.

    Raises KeyError for an unknown kind.
    """
    KINDS[case["kind"]](fleet, name, case)


def _known(case: Mapping[str, str]) -> list[str]:
    return case.get("known", "").split()


def _healthy(fleet: Fleet, name: str, _case: Mapping[str, str]) -> None:
    fleet.program(name, fleet.command(port=free_port()))


def _orphan(fleet: Fleet, name: str, case: Mapping[str, str]) -> None:
    """The first run leaves a child behind that holds the port, or a lock, which every later run needs."""
    held = {"port": free_port()} if case["kind"] == "port-orphan" else {"lock": fleet.root / f"{name}.lock"}
    fleet.program(name, fleet.command(**held, orphan=fleet.root / f"{name}.left", **_say(case)))


def _stranger(fleet: Fleet, name: str, case: Mapping[str, str]) -> None:
    port = free_port()
    fleet.stranger(port)
    fleet.program(name, fleet.command(port=port, **_say(case)))
    if "document" in _known(case):
        _document(fleet, name, f"The service {name} listens on port {free_port()}.")


def _data(fleet: Fleet, name: str, case: Mapping[str, str]) -> None:
    data = fleet.root / "data" / name / "spool"
    data.parent.mkdir(parents=True)
    fleet.program(name, fleet.command(need=data), data.parent if "near" in _known(case) else None)
    if "document" in _known(case):
        _document(fleet, name, f"The service {name} keeps its spool in {data} and needs that directory.")


def _late(fleet: Fleet, name: str, case: Mapping[str, str]) -> None:
    fleet.program(name, fleet.command(count=fleet.root / f"{name}.runs", fail=case.get("fail", "2")))


def _flapping(fleet: Fleet, name: str, _case: Mapping[str, str]) -> None:
    fleet.program(name, fleet.command(live="2.5"))


def _say(case: Mapping[str, str]) -> dict[str, str]:
    return {"say": f"'{case['say']}'"} if "say" in case else {}


def _document(fleet: Fleet, name: str, text: str) -> None:
    with (fleet.code / "CLAUDE.md").open("a", encoding="utf-8") as file:
        file.write(f"\n## {name}\n\n{text}\n")


def _moved(fleet: Fleet, name: str, case: Mapping[str, str]) -> None:
    """The service is configured for `old`, what it needs lies in `new`; git or a document may know about the move."""
    known, kind = _known(case), case["kind"]
    old, new = fleet.code / "srv" / name, fleet.code / "platform" / name
    first = old if "git" in known else new
    first.mkdir(parents=True)
    script = first / "run"
    script.write_text(f"#!/bin/sh\n# {name}\nexec {fleet.command()}\n", encoding="utf-8")
    script.chmod(0o755)
    if "git" in known:
        fleet.save(f"Add {name}")
        new.parent.mkdir(exist_ok=True)
        old.rename(new)
        fleet.save(f"Move {name} to the new platform folder")
    if "document" in known:
        path = new if kind == "moved-directory" else new / "run"
        _document(fleet, name, f"{name} was moved from {old} and now lives in {path} since the platform change.")
    if kind == "moved-directory":
        fleet.program(name, fleet.command(), old)
    else:
        fleet.program(name, f"{old}/run")


def _absent(fleet: Fleet, name: str, _case: Mapping[str, str]) -> None:
    fleet.program(name, str(fleet.root / "bin" / name))


KINDS: Final[dict[str, Callable[[Fleet, str, Mapping[str, str]], None]]] = {
    "healthy": _healthy, "moved-directory": _moved, "moved-command": _moved, "port-orphan": _orphan,
    "lock-orphan": _orphan, "port-stranger": _stranger, "missing-data": _data, "late-dependency": _late,
    "flapping": _flapping, "never-existed": _absent,
}  # fmt: skip


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
