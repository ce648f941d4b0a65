"""The orchestrator's settings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OrchestratorSettings:
    """Where things are and how long things take, in seconds.

    `state` is created with mode 0700; `github_url` empty means that escalations wait in the outbox.
    """

    state: Path = Path(os.environ.get("STATE_DIRECTORY", "state"))
    manager: str = "supervisord"
    socket: Path = Path("supervisor.sock")
    programs: Path = Path("conf.d")
    documents: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    workers: int = 4
    interval: float = 1.0
    detector_limit: float = 15.0
    step_limit: float = 60.0
    grace: float = 3.0
    patience: float = 10.0
    settle: float = 5.0
    verify_limit: float = 30.0
    fix_window: float = 3600.0
    storm: int = 20
    auto_fix: bool = True
    memory_limit_mb: int = 256
    github_url: str = ""
    github_repo: str = ""
    github_token: str = ""
    endpoint_url: str = ""
    endpoint_model: str = ""
    endpoint_key: str = ""
    metrics_port: int = 0

    @property
    def database(self) -> Path:
        """The file with tasks and history."""
        return self.state / "tasks.db"
