from __future__ import annotations

import resource
import sqlite3
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from dbsafety_runtime.ops import metrics
from dbsafety_runtime.storage.errors import (
    Disconnected,
    Rejected,
    ResourceExhausted,
    Retryable,
    SchemaMismatch,
    StorageBug,
    StorageFault,
)
from dbsafety_runtime.storage.lite import LiteStore, unit
from dbsafety_runtime.storage.litefile import filesystem_of
from dbsafety_runtime.storage.litetx import LiteTx, Ticket, abandon, hand_back

PUT = "INSERT INTO control (name, value, at) VALUES (?, ?, 0)"
# Python 3.10 gives no result code, so what needs one is taken for a failure that may pass.
NO_ROOM = ResourceExhausted if sys.version_info >= (3, 11) else Retryable
NAMES = "SELECT name FROM control ORDER BY name"


def put(name: str, value: object = "v") -> object:
    def work(tx: LiteTx) -> str:
        tx.execute(PUT, (name, value))
        return name

    return work


def names(store: LiteStore) -> list[str]:
    return [row[0] for row in store.rows(NAMES)]


@contextmanager
def stranger(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection that holds the write lock."""
    with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        yield conn


@contextmanager
def gathered(store: LiteStore) -> Iterator[None]:
    """Everything written in the block lands in one group: the writer is held until the block ends."""
    entered, leave = threading.Event(), threading.Event()

    def hold(_tx: LiteTx) -> None:
        entered.set()
        leave.wait(30)

    thread = threading.Thread(target=store.write, args=(hold,))
    thread.start()
    entered.wait(30)
    try:
        yield
    finally:
        leave.set()
        thread.join()


def waiting(store: LiteStore, work: object, results: dict[str, object], key: str) -> threading.Thread:
    def run() -> None:
        try:
            results[key] = store.write(work)
        except (Rejected, ValueError, StorageBug, ResourceExhausted) as error:
            results[key] = error

    before = len(store._pending)
    thread = threading.Thread(target=run)
    thread.start()
    while len(store._pending) == before:
        threading.Event().wait(0.001)
    return thread


def test_files_are_private_and_in_wal_mode(lite: LiteStore) -> None:
    lite.write(put("a"))
    assert stat.S_IMODE(lite.path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in lite.path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"tasks.db", "tasks.db-wal", "tasks.db-shm"} <= set(modes)
    assert lite.rows("PRAGMA journal_mode") == [("wal",)]


def test_one_failing_caller_does_not_fail_its_neighbours(lite: LiteStore) -> None:
    results: dict[str, object] = {}

    def half(tx: LiteTx) -> None:
        tx.execute(PUT, ("half", "v"))
        raise ValueError("no")

    with gathered(lite):
        threads = [
            waiting(lite, put("a"), results, "a"),
            waiting(lite, put("a"), results, "again"),
            waiting(lite, half, results, "half"),
            waiting(lite, put("b", b"blob"), results, "type"),
            waiting(lite, put("c"), results, "c"),
        ]
    for thread in threads:
        thread.join()
    assert names(lite) == ["a", "c"]
    assert (results["a"], results["c"]) == ("a", "c")
    assert isinstance(results["again"], Rejected)
    assert isinstance(results["half"], ValueError)
    assert isinstance(results["type"], Rejected)


def test_a_group_runs_once_and_what_ran_up_to_a_failing_caller_twice(lite: LiteStore) -> None:
    runs: Counter[str] = Counter()

    def counted(name: str, *, fails: bool = False) -> object:
        def work(tx: LiteTx) -> str:
            runs[name] += 1
            tx.execute(PUT, (name, "v"))
            if fails:
                raise ValueError(name)
            return name

        return work

    results: dict[str, object] = {}
    for group, failing in (("ab", ""), ("cde", "d")):
        with gathered(lite):
            threads = [waiting(lite, counted(name, fails=name == failing), results, name) for name in group]
        for thread in threads:
            thread.join()
    with pytest.raises(ValueError, match="alone"):
        lite.write(counted("alone", fails=True))
    assert runs == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 1, "alone": 1}, "who came after the failing one had not run"
    assert names(lite) == ["a", "b", "c", "e"]
    assert isinstance(results["d"], ValueError)


@pytest.mark.parametrize(
    "statement", ["ROLLBACK", "INSERT OR ROLLBACK INTO control (name, value, at) VALUES ('a', '', 0)"]
)
def test_a_caller_that_ends_the_transaction_and_hides_it_costs_only_itself(lite: LiteStore, statement: str) -> None:
    """Otherwise those after it would be stored at once, each statement by itself, and then once more."""
    results: dict[str, object] = {}

    def hides(tx: LiteTx) -> None:
        with suppress(StorageFault):
            tx.execute(statement)

    with gathered(lite):
        threads = [
            waiting(lite, work, results, name) for name, work in (("a", put("a")), ("h", hides), ("b", put("b")))
        ]
    for thread in threads:
        thread.join()
    assert (results.pop("a"), results.pop("b"), names(lite)) == ("a", "b", ["a", "b"])
    assert isinstance(results["h"], StorageBug)


def test_what_is_put_off_to_the_end_of_the_group_is_undone_with_its_caller(lite: LiteStore) -> None:
    """Each caller's row is put off; the failing one's is dropped, the others' go in as one statement."""
    stored: list[list[object]] = []
    results: dict[str, object] = {}

    def together(tx: LiteTx, items: list[str]) -> None:
        stored.append(list(items))
        tx.many(PUT, [(item, "v") for item in items])

    def late(name: str, *, fails: bool = False) -> object:
        def work(tx: LiteTx) -> str:
            tx.at_end(together, name)
            if fails:
                raise ValueError(name)
            return name

        return work

    with gathered(lite):
        threads = [waiting(lite, late(name, fails=name == "b"), results, name) for name in "abc"]
    for thread in threads:
        thread.join()
    assert (stored, names(lite)) == ([["a", "c"]], ["a", "c"])
    assert isinstance(results["b"], ValueError)


def test_a_failure_at_the_end_of_the_group_reaches_only_its_caller(lite: LiteStore) -> None:
    results: dict[str, object] = {}
    lite.write(put("taken"))

    def late(name: str) -> object:
        return lambda tx: tx.at_end(lambda inner, items: inner.many(PUT, [(item, "v") for item in items]), name)

    with gathered(lite):
        threads = [waiting(lite, late(name), results, name) for name in ("a", "taken", "\ud800", "c")]
    for thread in threads:
        thread.join()
    assert names(lite) == ["a", "c", "taken"]
    assert [type(results[name]) for name in ("taken", "\ud800")] == [Rejected, Rejected]


def test_a_caller_that_no_longer_waits_does_not_hold_up_the_next() -> None:
    group = [Ticket(put(name)) for name in "abc"]
    for ticket, name in zip(group, "abc", strict=True):
        ticket.value = name
    hand_back(group)
    assert group[1].wait(lambda: True) == "b", "nobody waits for the first, so nobody woke this one"
    assert group[2].wait(lambda: True) == "c"


def test_a_kept_error_holds_no_lock(lite: LiteStore) -> None:
    lite.write(put("a"))
    with pytest.raises(Rejected) as kept:
        lite.write(put("a"))
    with stranger(lite.path) as conn:
        conn.execute("UPDATE control SET value = 'theirs'")
        conn.execute("COMMIT")
    assert kept.value.fault.value == "rejected"
    assert lite.rows("SELECT value FROM control") == [("theirs",)]


def test_a_stranger_with_the_lock_delays_but_does_not_lose(lite: LiteStore) -> None:
    with stranger(lite.path) as conn:
        thread = threading.Thread(target=lite.write, args=(put("a"),))
        thread.start()
        conn.execute("ROLLBACK")
    thread.join()
    assert names(lite) == ["a"]


def test_a_lock_that_is_never_released_ends_in_a_classified_error(
    lite: LiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbsafety_runtime.storage.lite.BUSY_SECONDS", 0.01)
    store = LiteStore(lite.path, "tasks", patience=0.05)
    with stranger(lite.path), pytest.raises(Retryable):
        store.write(put("a"))
    store.write(put("b"))
    store.close()
    assert names(lite) == ["b"]


def test_readers_see_commits_and_cannot_write(lite: LiteStore) -> None:
    lite.write(put("a"))
    with lite.reading() as outer, lite.reading() as inner:
        assert outer is inner
        with pytest.raises(NO_ROOM):
            outer.execute(PUT, ("b", "v"))
        lite.write(put("c"))
        assert [row[0] for row in outer.execute(NAMES)] == ["a", "c"]


def test_a_write_inside_a_write_is_a_bug(lite: LiteStore) -> None:
    with pytest.raises(StorageBug, match="a write inside a transaction"):
        lite.write(lambda _tx: lite.write(put("a")))
    assert names(lite) == []


class Names:
    def __init__(self, db: LiteStore) -> None:
        self.db = db

    @unit
    def add(self, name: str) -> list[str]:
        self.db.rows(PUT, (name, "v"))
        return names(self.db)

    @unit
    def add_both(self, first: str, second: str, *, fails: bool = False) -> list[str]:
        self.add(first)
        if fails:
            raise ValueError(first)
        return self.add(second)


def test_a_unit_is_part_of_the_unit_it_is_called_from(lite: LiteStore) -> None:
    """It sees what the outer one has written, and is undone with it."""
    kept = Names(lite)
    assert kept.add("a") == ["a"]
    with pytest.raises(ValueError, match="b"):
        kept.add_both("b", "c", fails=True)
    with pytest.raises(Rejected):
        kept.add_both("d", "a")
    assert names(lite) == ["a"]
    assert kept.add_both("b", "c") == ["a", "b", "c"]
    with pytest.raises(NO_ROOM):
        lite.rows(PUT, ("outside of any unit", "v"))


def test_a_full_database_fails_the_caller_and_keeps_the_rest(lite: LiteStore) -> None:
    lite.write(put("a"))

    def limit(tx: LiteTx) -> None:
        (pages,) = tx.execute("PRAGMA page_count")[0]
        tx.execute(f"PRAGMA max_page_count = {pages}")

    lite.write(limit)
    with pytest.raises(NO_ROOM):
        lite.write(put("big", "x" * 500_000))
    lite.write(put("b"))  # the connection, and with it the limit, was replaced
    assert names(lite) == ["a", "b"]
    assert lite.rows("PRAGMA integrity_check") == [("ok",)]


def test_a_backup_holds_what_only_the_log_holds_so_far(lite: LiteStore, tmp_path: Path) -> None:
    lite.write(put("a"))
    lite.backup(tmp_path / "copy" / "tasks.db")
    copy = LiteStore(tmp_path / "copy" / "tasks.db", "tasks")
    assert names(copy) == ["a"]
    assert stat.S_IMODE((tmp_path / "copy" / "tasks.db").stat().st_mode) == 0o600
    copy.close()


def test_a_backup_overwrites_nothing_and_leaves_nothing_half_done(lite: LiteStore, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine", encoding="utf-8")
    for target in (tmp_path / "notes", lite.path):
        with pytest.raises(FileExistsError):
            lite.backup(target)
    assert (tmp_path / "notes").read_text(encoding="utf-8") == "mine"
    lite.path.unlink()
    with pytest.raises(StorageFault):
        lite.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_a_backup_that_finds_no_room_leaves_nothing(lite: LiteStore, tmp_path: Path) -> None:
    lite.write(put("big", "x" * 500_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageFault):
            lite.backup(tmp_path / "copy.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "copy.db").exists()
    assert names(lite) == ["big"]


def test_a_connection_that_cannot_roll_back_is_counted() -> None:
    before = metrics.DIRTY_CONNECTIONS._value.get()
    conn = sqlite3.connect(":memory:")
    conn.close()
    abandon(conn)
    assert metrics.DIRTY_CONNECTIONS._value.get() == before + 1


def test_what_was_acknowledged_survives_a_copy_of_the_files(lite: LiteStore, tmp_path: Path) -> None:
    lite.write(put("a"))
    (tmp_path / "crash").mkdir()
    for file in lite.path.parent.iterdir():
        if not file.name.endswith("-shm"):
            (tmp_path / "crash" / file.name).write_bytes(file.read_bytes())
    after = LiteStore(tmp_path / "crash" / "tasks.db", "tasks")
    assert names(after) == ["a"]
    after.close()


def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert filesystem_of(Path("/proc/self")) == "proc"
    mounts = [
        SimpleNamespace(mountpoint=place, fstype=kind) for place, kind in (("/", "ext4"), (f"{tmp_path}/net", "nfs4"))
    ]
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: mounts)
    assert filesystem_of(tmp_path / "network") == "ext4"
    with pytest.raises(StorageBug, match=r"network file system \(nfs4\)"):
        LiteStore(tmp_path / "net" / "share" / "tasks.db", "tasks")


def test_a_newer_schema_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    LiteStore(path, "tasks").close()
    with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as conn:
        conn.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaMismatch, match="has schema 99, this program knows 1"):
        LiteStore(path, "tasks")
    other = tmp_path / "other.db"
    other.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(StorageBug, match="file is not a database"):
        LiteStore(other, "tasks")


def test_four_processes_may_start_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dbsafety_runtime.storage.lite import LiteStore; sys.stdin.read(1);"
        "s = LiteStore(Path(sys.argv[1]), 'tasks');"
        "s.write(lambda tx: tx.execute('INSERT INTO control VALUES (?, ?, 0)', (sys.argv[2], 'v'))); s.close()"
    )
    path = tmp_path / "tasks.db"
    starts = [
        subprocess.Popen([sys.executable, "-c", code, str(path), f"p{n}"], stdin=subprocess.PIPE) for n in range(4)
    ]
    for process in starts:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.close()
    assert [process.wait(60) for process in starts] == [0, 0, 0, 0]
    store = LiteStore(path, "tasks")
    assert names(store) == ["p0", "p1", "p2", "p3"]
    assert store.rows("PRAGMA user_version") == [(1,)]
    store.close()


def test_a_stopped_store_says_so(tmp_path: Path) -> None:
    store = LiteStore(tmp_path / "tasks.db", "tasks")
    store.close()
    with pytest.raises(Disconnected, match="the writer has stopped"):
        store.write(put("a"))


def test_more_callers_than_a_group_holds_are_all_served(lite: LiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbsafety_runtime.storage.lite.GROUP_LIMIT", 3)
    results: dict[str, object] = {}
    with gathered(lite):
        threads = [waiting(lite, put(f"n{number}"), results, f"n{number}") for number in range(8)]
    for thread in threads:
        thread.join(30)
    assert names(lite) == [f"n{number}" for number in range(8)] == sorted(results)


def test_a_driver_failure_outside_any_caller_reaches_the_callers_and_the_writer_lives(
    lite: LiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr("dbsafety_runtime.storage.litetx.Part.__enter__", broken)
        with pytest.raises(StorageFault, match="disk I/O error"):
            lite.write(put("a"))
    lite.write(put("b"))
    assert names(lite) == ["b"]
