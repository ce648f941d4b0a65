"""The second incident's storage shape, rebuilt from its report: four workers, a Python lock, a connection per call."""

from __future__ import annotations

import gc
import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HASHES = tuple(f"h{n % 10}" for n in range(24))


@dataclass(frozen=True)
class Outcome:
    """What 24 calls with 10 distinct hashes came to."""

    errors: Counter[str]
    rows: int


class IncidentOrchestrator:
    """`create_task` as the report shows it, with each of its fixes and the true cure to be switched on."""

    def __init__(self, path: Path, *, timeout: float, ignore: bool = False, release: bool = False) -> None:
        self.path, self.timeout, self.release = path, timeout, release
        self.insert = f"INSERT {'OR IGNORE ' if ignore else ''}INTO tasks (issue_hash) VALUES (?)"
        self.db_lock = threading.Lock()
        conn = sqlite3.connect(path)
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("CREATE TABLE tasks (id integer PRIMARY KEY, issue_hash text UNIQUE)")
        conn.commit()
        conn.close()

    def create_task(self, issue_hash: str) -> None:
        with self.db_lock:
            conn = sqlite3.connect(self.path, timeout=self.timeout)
            try:
                conn.execute(self.insert, (issue_hash,))
                conn.commit()
            except BaseException:
                if self.release:
                    conn.rollback()
                    conn.close()
                raise
            conn.close()

    def cycle(self) -> Outcome:
        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(self.create_task, issue_hash) for issue_hash in HASHES]
        errors = Counter(type(error).__name__ for future in futures if (error := future.exception()))
        futures.clear()
        gc.collect()
        conn = sqlite3.connect(self.path)
        (rows,) = conn.execute("SELECT count(*) FROM tasks").fetchone()
        conn.close()
        return Outcome(errors, rows)
