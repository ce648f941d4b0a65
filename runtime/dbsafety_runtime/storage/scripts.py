"""The shipped schema scripts of a database: numbered SQL files of this package."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import Final

FOLDER: Final = "dbsafety_runtime.storage.sql"
FILE_NAME: Final = re.compile(r"(\d{4})_(\w+)\.sql")
OLDEST_READER: Final = re.compile(r"^-- oldest-reader: (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name and text, and the oldest program version that can live with its result."""

    version: int
    name: str
    sql: str
    oldest_reader: int

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known(folder: str = "pg") -> tuple[Migration, ...]:
    """Return the shipped migrations of a database (`pg`, or `lite/` and the name of a schema), in order."""
    found = []
    for entry in resources.files(FOLDER).joinpath(folder).iterdir():
        match = FILE_NAME.fullmatch(entry.name)
        if match:
            sql = entry.read_text(encoding="utf-8")
            reader = OLDEST_READER.search(sql)
            found.append(Migration(int(match[1]), match[2], sql, int(reader[1]) if reader else int(match[1])))
    return tuple(sorted(found, key=lambda migration: migration.version))
