"""The files around a SQLite database: creation with safe rights, schema scripts, and the turnstile of its writers."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import psutil

from dbsafety_runtime.storage.errors import StorageBug

NETWORK: Final = re.compile(
    r"nfs\d?|cifs|smb\w*|9p|ceph|afs|lustre|gluster\w*|ncpfs|fuse\.(sshfs|s3fs|rclone|gluster\w*)"
)

Schema = Literal["tasks", "knowledge"]


def filesystem_of(path: Path) -> str:
    """Return the type of the file system that holds `path`; '' when unknown."""
    mounts = [mount for mount in psutil.disk_partitions(all=True) if path.is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else ""


def create(path: Path, *, new: bool = False) -> None:
    """Make an empty file of mode 0600 in a folder of mode 0700, unless there is one.

    Raises StorageBug on a network file system, and FileExistsError when the file has to be `new` and is not.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kind = filesystem_of(path.parent.resolve())
    if NETWORK.fullmatch(kind):
        raise StorageBug(f"{path}: SQLite's locks do not work on a network file system ({kind})")
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if new else 0), 0o600))


def statements(script: str) -> Iterator[str]:
    """Split a script; executescript would commit what is pending (fact C8a)."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""


class Turnstile:
    """Lets the writers of several processes take turns, so that none starves in SQLite's busy handler.

    Two advisory locks: who holds `next` is the first to get `turn`. A courtesy with a time limit: what excludes
    writers from each other is SQLite's own lock.
    """

    def __init__(self, database: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._next, self._turn = (os.open(f"{database}-{name}", flags, 0o600) for name in ("next", "turn"))

    @staticmethod
    def _take(lock: int) -> None:
        limit = time.monotonic() + 1.0
        while time.monotonic() < limit:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.0005)

    def enter(self) -> None:
        """Wait for this process's turn, at most about two seconds."""
        self._take(self._next)
        self._take(self._turn)
        fcntl.flock(self._next, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Let the next process write."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close both lock files."""
        os.close(self._next)
        os.close(self._turn)
