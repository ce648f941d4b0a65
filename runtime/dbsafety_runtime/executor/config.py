"""The executor's settings, and the database they name: a DSN, a service, or a private server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg2.extensions as ext
from psycopg2 import ProgrammingError

from dbsafety_runtime.executor.model import WorkerOptions
from dbsafety_runtime.ops.embedded import EmbeddedError, EmbeddedPostgres, running_dsn
from dbsafety_runtime.ops.settings import SettingsError
from dbsafety_runtime.storage.pg import Target

NEEDS: Final = "give --dsn-service, DBSAFETY_EXECUTOR_DSN or the setting executor.dsn"
LONGEST: Final = 86_400
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("json", "logfmt", "console")


@dataclass(frozen=True, slots=True)
class Settings(WorkerOptions):
    """`[executor]` of the TOML file or DBSAFETY_EXECUTOR_*: the worker's options and the rest; times in seconds."""

    dsn: str = ""
    service: str = ""
    data_dir: Path | None = None
    handlers: tuple[str, ...] = ()
    shell_allow: tuple[str, ...] = ()
    start_wait: float = 60.0
    statement_timeout: float = 15.0
    lock_timeout: float = 5.0
    metrics_port: int | None = None
    log_format: str = "json"
    log_level: str = "info"

    def __post_init__(self) -> None:
        WorkerOptions.__post_init__(self)
        if not (0 < self.statement_timeout <= LONGEST and 0 < self.lock_timeout <= LONGEST):
            raise ValueError(f"statement_timeout and lock_timeout must be above 0 and at most {LONGEST} s")
        if self.metrics_port is not None and not 0 <= self.metrics_port <= 65535:
            raise ValueError(f"metrics_port must be at most 65535, not {self.metrics_port}")
        if self.log_level not in LOG_LEVELS or self.log_format not in LOG_FORMATS:
            raise ValueError(
                f"log_level must be one of {', '.join(LOG_LEVELS)}, log_format of {', '.join(LOG_FORMATS)}"
            )

    def target(self, dsn: str) -> Target:
        """Return the target for a DSN; raises SettingsError when libpq cannot read it."""
        try:
            ext.parse_dsn(dsn)
        except ProgrammingError as error:
            raise SettingsError(f"the DSN is not valid: {str(error).strip()}") from error
        return Target(dsn, statement_ms=int(self.statement_timeout * 1000), lock_ms=int(self.lock_timeout * 1000))


def state_dir() -> Path:
    """Where persistent data lives: systemd's STATE_DIRECTORY, else the XDG state folder."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local/state")) / "dbsafety"


@contextmanager
def database(settings: Settings, *, start: bool = False) -> Iterator[Target]:
    """The target of the settings; without DSN and service the private server of the data folder.

    That server is started when `start`, else only used when it runs. Raises SettingsError or EmbeddedError.
    """
    if settings.dsn or settings.service:
        yield settings.target(settings.dsn or f"service={settings.service}")
        return
    folder = settings.data_dir or state_dir() / "postgres"
    running = running_dsn(folder)
    if running is not None:
        yield settings.target(running)
    elif start:
        with EmbeddedPostgres(folder) as server:
            yield settings.target(server.dsn)
    else:
        raise EmbeddedError(f"no server runs in {folder}: start `executor run` first, or {NEEDS}")
