"""A storm on an orchestrator file: 24 issues, 10 of them distinct, on its 4 workers; prints what came of it as JSON.

Usage: python storm.py ORCHESTRATOR.py [DIVISOR]

The orchestrator runs as it is, on a real database in a temporary folder. Only its waiting for locks is sped up: each
`timeout`, also the default of 5 s, is divided by DIVISOR. Its errors are kept until all 24 are through, as any log of
a cycle keeps them. Needs nothing but the standard library, so that any Python can run it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import io
import json
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

CALLS = 24
DISTINCT = 10
DEFAULT_TIMEOUT = 5.0


class TimeLapse:
    """Stands for the module `sqlite3` in the file under test: the same, but waits for locks are shorter."""

    def __init__(self, divisor: float) -> None:
        self._divisor = divisor

    def connect(self, database: str, timeout: float = DEFAULT_TIMEOUT) -> sqlite3.Connection:
        """Open a real connection that waits `timeout / divisor` seconds."""
        return sqlite3.connect(database, timeout=timeout / self._divisor)

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)


def load(path: Path) -> ModuleType:
    """Import a file by its path. Raises what the file raises."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def issues() -> list[dict[str, str]]:
    """24 reports of 10 distinct issues: each is new once, then come the duplicates."""
    return [
        {"type": "service_failure", "source": "systemd", "message": f"unit {number * 7 % DISTINCT} failed"}
        for number in range(CALLS)
    ]


def storm(path: Path, divisor: float = 1.0) -> dict[str, Any]:
    """Run one cycle of the orchestrator in `path`; return the counts, the other errors, rows, and seconds."""
    module = load(path)
    vars(module)["sqlite3"] = TimeLapse(divisor)
    with tempfile.TemporaryDirectory(prefix="dbsafety-storm-", ignore_cleanup_errors=True) as folder:
        database = Path(folder) / "tasks.db"
        with contextlib.redirect_stdout(io.StringIO()) as log:
            orchestrator = module.Orchestrator(str(database), lambda issue: False)
            began = time.perf_counter()
            errors = orchestrator.run_cycle(issues())
            seconds = time.perf_counter() - began
        texts = [f"{type(error).__name__}: {error}" for error in errors]
        errors.clear()
        gc.collect()
        with contextlib.closing(sqlite3.connect(database, timeout=DEFAULT_TIMEOUT)) as conn:
            (rows,) = conn.execute("SELECT count(*) FROM tasks").fetchone()
    return {
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        "unique": texts.count("IntegrityError: UNIQUE constraint failed: tasks.issue_hash"),
        "locked": texts.count("OperationalError: database is locked"),
        "other": [text for text in texts if "UNIQUE" not in text and "is locked" not in text],
        "rows": rows,
        "seconds": seconds,
        "log": log.getvalue(),
    }


if __name__ == "__main__":
    print(json.dumps(storm(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)))
