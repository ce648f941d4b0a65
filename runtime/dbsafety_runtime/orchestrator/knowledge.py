"""The knowledge of the agents: documents, configurations and git history in one FTS5 index, refreshed by source.

Every answer cites file, line and commit; where commits moved paths to is kept beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from dbsafety_runtime.orchestrator.model import Evidence, ManagerError, clean
from dbsafety_runtime.orchestrator.processes import TooSlow, output_of
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


CHUNK_LINES: Final = 14
LONGEST_FILE: Final = 2_097_152
MOST_COMMITS: Final = 2_000
GIT_SECONDS: Final = 20.0
LONGEST_OUTPUT: Final = 16_777_216
FOREIGN: Final = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false")
FETCH_NOTHING: Final = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
HEAD: Final = ("rev-parse", "HEAD")
LOG_FORMAT: Final = "--format=%x1e%H%x1f%ct%x1f%s%x1f%b%x1f"


def file_source(path: Path, kind: str) -> Iterator[Source]:
    """Yield the source of a text file; nothing when it cannot be read."""
    try:
        state = path.stat()
    except OSError:
        return
    if path.is_file():
        yield Source(str(path), kind, f"{state.st_mtime_ns}:{state.st_size}", partial(_file, path))


def _file(path: Path) -> tuple[list[Chunk], list[Rename]]:
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_FILE).decode("utf-8", "replace")
    except OSError:
        return [], []
    return list(chunks_of(text, _git(path.parent, *HEAD).strip())), []


def chunks_of(text: str, revision: str = "") -> Iterator[Chunk]:
    """Cut a text at headings, blank lines after enough text, and at the latest after 14 lines."""
    start, held = 1, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        full = len(held) >= CHUNK_LINES or (len(held) > CHUNK_LINES // 2 and not line.strip())
        if held and (line.startswith(("#", "[")) or full):
            yield Chunk(start, revision, "\n".join(held))
            held = []
        if not held:
            if not line.strip():
                continue
            start = number
        held.append(line)
    if held:
        yield Chunk(start, revision, "\n".join(held))


def _git(repository: Path, *arguments: str) -> str:
    """Return what git says, '' when it is no repository; of what is too long or takes too long, the beginning.

    The repository may belong to somebody else, so nothing that its configuration names is run, and nothing is fetched.
    """
    said = b""
    try:
        with output_of(["git", *FOREIGN, "-C", str(repository), *arguments], GIT_SECONDS, FETCH_NOTHING) as output:
            said = output.read(LONGEST_OUTPUT)
        complete = len(said) < LONGEST_OUTPUT
    except TooSlow:
        complete = False
    except ManagerError:
        return ""
    return (said if complete else said.rpartition(b"\x1e")[0]).decode("utf-8", "replace")


def git_source(repository: Path) -> Iterator[Source]:
    """Yield the source of a repository's history; nothing when git cannot read it."""
    if head := _git(repository, *HEAD).strip():
        yield Source(f"git:{repository}", "history", head, partial(_history, repository))


def _history(repository: Path) -> tuple[list[Chunk], list[Rename]]:
    log = _git(repository, "log", "-z", "-M", "--name-status", f"--max-count={MOST_COMMITS}", LOG_FORMAT)
    chunks: list[Chunk] = []
    renames: list[Rename] = []
    for number, record in enumerate(log.split("\x1e")[1:], 1):
        revision, at, subject, body, names = record.split("\x1f", 4)
        found = list(_renames(repository, names, revision, float(at)))
        moves = [f"{item.old} -> {item.new}" for item in found]
        chunks.append(Chunk(number, revision, "\n".join([subject, body.strip()[:2000], *moves[:20]])))
        renames += found
    return chunks, renames


def _renames(repository: Path, names: str, revision: str, at: float) -> Iterator[Rename]:
    """Renamed files of a commit, and the folders that moved with them."""
    fields = iter(names.strip("\n\0").split("\0"))
    pairs: dict[tuple[str, str], None] = {}
    for status in map(str.strip, fields):
        old, new = next(fields, ""), next(fields, "") if status.startswith(("R", "C")) else ""
        if status.startswith("R") and old and new:
            pairs |= dict.fromkeys(_with_folders(old, new))
    for before, after in pairs:
        yield Rename(str(repository / before), str(repository / after), revision, at)


def _with_folders(old: str, new: str) -> Iterator[tuple[str, str]]:
    yield old, new
    before, after = Path(old), Path(new)
    while before.name == after.name and before.parent != after.parent:
        before, after = before.parent, after.parent
        if before == Path() or after == Path():
            return
        yield str(before), str(after)


def sources(
    documents: Sequence[str | Path], configurations: Sequence[str | Path], repositories: Sequence[str | Path]
) -> Iterator[Source]:
    """Yield everything to index; folders among the documents stand for the Markdown files below them."""
    for path in map(Path, documents):
        for file in sorted(path.rglob("*.md"))[:2000] if path.is_dir() else [path]:
            yield from file_source(file, "document")
    for path in map(Path, configurations):
        yield from file_source(path, "configuration")
    for repository in map(Path, repositories):
        yield from git_source(repository)
