"""A private supervisord with programs that are broken on purpose, for the demo, the tests and the figures."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from dbsafety_runtime.orchestrator.managers.supervisor import SupervisorManager
from dbsafety_runtime.orchestrator.model import ManagerError
from dbsafety_runtime.orchestrator.pages import page, table

APP: Final = """
import fcntl, os, pathlib, socket, sys, time
ask = {name[2:]: text for name, text in zip(sys.argv[1::2], sys.argv[2::2])}
def hold():
    try:
        if "port" in ask:
            return socket.create_server(("127.0.0.1", int(ask["port"])))
        if "lock" in ask:
            held = open(ask["lock"], "w")
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return held
    except BlockingIOError:
        sys.exit("another instance holds the lock")
    except OSError as error:
        sys.exit(ask.get("say") or f"OSError: [Errno {error.errno}] {os.strerror(error.errno)}")
if "orphan" in ask and not os.path.exists(ask["orphan"]):
    pathlib.Path(ask["orphan"]).touch()
    if os.fork() == 0:
        os.setsid()
        kept = hold()
        time.sleep(3600)
    time.sleep(0.2)
    sys.exit("crashed, a child stays behind")
if "need" in ask:
    os.listdir(ask["need"])
if "count" in ask:
    with open(ask["count"], "a") as runs:
        runs.write("x")
        if runs.tell() <= int(ask["fail"]):
            sys.exit("cannot work yet")
elif "fail" in ask:
    sys.exit(ask.get("say") or f"internal error in step {ask['fail']}")
kept = hold()
time.sleep(float(ask.get("live", 3600)))
sys.exit("lost its connection")
"""
KINDS: Final[Mapping[str, Any]] = table("fleet.toml")["kind"]
STOP_SECONDS: Final = 15.0


def free_port() -> int:
    """Return a TCP port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
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
        self.app, self.socket = self.root / "app.py", self.root / "s.sock"
        self.conf.mkdir()
        self.code.mkdir()
        self.app.write_text(APP, encoding="utf-8")
        (self.root / "supervisord.conf").write_text(page("supervisord.conf", root=self.root), encoding="utf-8")
        self.manager = SupervisorManager(self.socket, self.conf)
        keeper = [sys.executable, "-m", __name__, str(self.root)]
        self._keeper = subprocess.Popen(keeper, stdin=subprocess.PIPE, start_new_session=True, text=True, bufsize=1)
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
        words = [word for name, text in options.items() for word in (f"--{name}", str(text))]
        return shlex.join([sys.executable, "-SE", str(self.app), *words])

    def program(self, name: str, command: str, directory: str = "") -> None:
        """Write a program's configuration."""
        text = page("program.conf", name=name, command=command, directory=directory, root=self.root)
        (self.conf / f"{name}.conf").write_text(text, encoding="utf-8")

    def build(self, name: str, case: Mapping[str, str]) -> None:
        """Add a program, broken in the way `case["kind"]` says; commit and document what the case says is known.

        Raises KeyError for an unknown kind.
        """
        kind, known = KINDS[case["kind"]], case.get("known", "").split()
        old, new = self.code / "srv" / name, self.code / "platform" / name
        port, other = str(free_port()), free_port()
        values = {"root": self.root, "name": name, "port": port, "other": other, "old": old, "new": new}
        told = {key: text.format_map(values) for key, text in kind.items() if isinstance(text, str)}
        options = {key: text.format_map(values) for key, text in kind.get("options", {}).items()}
        options |= {key: case[key] for key in ("say", "fail") if key in case}
        if "moved" in kind:
            self._move(name, old, new, committed="git" in known)
        if "folder" in kind:
            Path(told["folder"]).mkdir(parents=True)
        if "stranger" in kind:
            command = shlex.split(self.command(port=port))
            self._strangers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        place = told.get("near", "") if "near" in known else told.get("directory", "")
        self.program(name, told.get("command") or self.command(**options), place)
        if "document" in known:
            with (self.code / "CLAUDE.md").open("a", encoding="utf-8") as file:
                file.write(f"\n## {name}\n\n{told['document']}\n")

    def _move(self, name: str, old: Path, new: Path, *, committed: bool) -> None:
        """What the service needs lies in `new`; when committed, git knows that it was in `old`, as it is configured."""
        script = (old if committed else new) / "run"
        script.parent.mkdir(parents=True)
        script.write_text(f"#!/bin/sh\n# {name}\nexec {self.command()}\n", encoding="utf-8")
        script.chmod(0o755)
        if committed:
            self.save(f"Add {name}")
            new.parent.mkdir(exist_ok=True)
            old.rename(new)
            self.save(f"Move {name} to the new platform folder")

    def __enter__(self) -> Fleet:
        if self._keeper.stdin is not None:
            self._keeper.stdin.write("start\n")
        limit = time.monotonic() + 20
        while True:
            try:
                self.manager.services()
            except ManagerError:
                if time.monotonic() > limit or self._keeper.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, *_error: object) -> None:
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


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
