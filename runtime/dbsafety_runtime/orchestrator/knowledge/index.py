"""The knowledge index: one FTS5 table for all agents, refreshed by source, every answer with file, line and commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from dbsafety_runtime.orchestrator.model import Evidence, clean
from dbsafety_runtime.storage.lite import LiteStore, unit

WORD: Final = re.compile(r"[^\W_]{2,}")
MOST_WORDS: Final = 24
COMMON: Final = frozenset(
    ("the", "and", "for", "with", "that", "this", "from", "not", "are", "was", "has", "its", "does")
)
SEARCH: Final = """
SELECT chunk.id, source.kind, chunk.source, chunk.line, chunk.revision, chunk.body
FROM (SELECT rowid, rank FROM chunk_text WHERE chunk_text MATCH ? ORDER BY rank LIMIT ?) AS hit
JOIN chunk ON chunk.id = hit.rowid JOIN source ON source.name = chunk.source ORDER BY hit.rank
"""
SET_SOURCE: Final = "REPLACE INTO source (name, kind, stamp) VALUES (?, ?, ?)"
ADD_CHUNK: Final = "INSERT INTO chunk (source, line, revision, body) VALUES (?, ?, ?, ?)"
ADD_RENAME: Final = "REPLACE INTO rename (old, new, revision, at) VALUES (?, ?, ?, ?)"
RENAMED: Final = "SELECT new, revision FROM rename WHERE old = ? ORDER BY at DESC LIMIT 1"


class Chunk(NamedTuple):
    """A passage: where it starts, the revision it was read at, and its text."""

    line: int
    revision: str
    body: str


class Rename(NamedTuple):
    """A path that a commit moved; `at` in seconds since 1970."""

    old: str
    new: str
    revision: str
    at: float


class Source(NamedTuple):
    """Something that can be indexed: `stamp` changes when it does, `read` is called only then."""

    name: str
    kind: str
    stamp: str
    read: Callable[[], tuple[list[Chunk], list[Rename]]]


class Knowledge:
    """The index in a rebuildable file of its own."""

    def __init__(self, path: Path) -> None:
        self.db = LiteStore(path, "knowledge", synchronous="NORMAL")

    def refresh(self, sources: Iterable[Source]) -> int:
        """Bring the index up to date, each source in one transaction; returns how many had changed."""
        known: dict[str, str] = dict(self.db.rows("SELECT name, stamp FROM source"))
        offered = {source.name: source for source in sources}
        changed = [source for source in offered.values() if known.get(source.name) != source.stamp]
        for source in changed:
            self._replace(source, *source.read())  # read before the transaction: it may run git
        gone = [name for name in known if name not in offered]
        if gone:
            self._forget(gone)
        return len(changed) + len(gone)

    @unit
    def _replace(self, source: Source, chunks: list[Chunk], renames: list[Rename]) -> None:
        with self.db.reading() as tx:
            tx.execute("DELETE FROM chunk WHERE source = ?", (source.name,))
            tx.execute(SET_SOURCE, (source.name, source.kind, source.stamp))
            tx.many(ADD_CHUNK, [(source.name, chunk.line, chunk.revision, clean(chunk.body)) for chunk in chunks])
            tx.many(ADD_RENAME, [(clean(item.old), clean(item.new), item.revision, item.at) for item in renames])

    @unit
    def _forget(self, names: list[str]) -> None:
        for name in names:
            self.db.rows("DELETE FROM source WHERE name = ?", (name,))

    def search(self, text: str, limit: int = 5) -> tuple[Evidence, ...]:
        """Return the passages nearest to a text by BM25, best first."""
        words = list(dict.fromkeys(word.lower() for word in WORD.findall(text)))
        wanted = [word for word in words if word not in COMMON][:MOST_WORDS]
        if not wanted:
            return ()
        rows = self.db.rows(SEARCH, (" OR ".join(f'"{word}"' for word in wanted), limit))
        return tuple(Evidence(f"k{row[0]}", *row[1:]) for row in rows)

    def moved(self, path: str) -> tuple[str, str] | None:
        """Return where commits moved a path, or a folder above it, and the last such commit; None when nowhere."""
        place, revision = path, ""
        with self.db.reading():
            for _ in range(5):
                hit = self._one_move(place)
                if hit is None or hit[0] == path:
                    break
                place, revision = hit
        return (place, revision) if place != path else None

    def _one_move(self, path: str) -> tuple[str, str] | None:
        for part in (path, *map(str, Path(path).parents)):
            if row := self.db.one(RENAMED, part):
                return row[0] + path[len(part) :], row[1]
        return None

    def close(self) -> None:
        """Stop the index's writer."""
        self.db.close()
