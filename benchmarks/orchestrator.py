"""Figures of the orchestrator: `store` (throughput, waits, other queues), `corpus` (repairs), `memory`; default: all.

    python benchmarks/orchestrator.py [store|corpus|events|memory] [--seconds N] [--rounds N]

Every case of `store` runs between two runs of the same bare loop; ratios are what counts, rates depend on the machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from dbsafety_runtime.ops import log
from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.knowledge import Chunk, Knowledge, Source
from dbsafety_runtime.orchestrator.model import Issue
from dbsafety_runtime.orchestrator.report import percentile
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.litetx import LiteTx

JOBS = 150_000  # more than anybody does in the time
BARE_SCHEMA = """
CREATE TABLE tasks (id integer PRIMARY KEY, status integer NOT NULL DEFAULT 0, worker integer, claimed_at real,
  done_at real, payload text);
CREATE INDEX ready ON tasks (id) WHERE status = 0;
CREATE TABLE history (id integer PRIMARY KEY, at real);
"""
BARE_CLAIM = """
UPDATE tasks SET status = 1, worker = ?, claimed_at = ?
WHERE id IN (SELECT id FROM tasks WHERE status = 0 ORDER BY id LIMIT 1) RETURNING id
"""
BARE_FINISH = "UPDATE tasks SET status = 2, done_at = ? WHERE id = ? AND status = 1 AND worker = ?"
FILL = """
INSERT INTO tasks (issue_hash, issue_type, issue_source, issue_message, target, signature, facts, status, first_seen,
  last_seen, changed_at) VALUES (?, 'bench', 'bench', 'm', ?, 's', '{}', 'detected', 0, 0, 0)
"""
CLAIM = """
UPDATE tasks SET lease_owner = ?, version = version + 1
WHERE id = (SELECT id FROM tasks WHERE next_at <= 0 AND status NOT IN ('resolved', 'closed') AND lease_owner IS NULL
  ORDER BY next_at, id LIMIT 1) RETURNING id
"""
FINISH = """
UPDATE tasks SET status = 'resolved', ended_at = ?, lease_owner = NULL WHERE id = ? AND lease_owner = ? RETURNING id
"""


@dataclass
class Drive:
    """What `threads` threads did in `seconds`, of which the processor worked for `busy`: jobs per thread, errors."""

    counts: list[int]
    seconds: float
    busy: float
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Jobs per second, all threads together."""
        return sum(self.counts) / self.seconds

    @property
    def microseconds(self) -> float:
        """Processor time per job, which depends less on what else runs."""
        return 1e6 * self.busy / max(1, sum(self.counts))

    @property
    def fairness(self) -> float:
        """Jobs of the slowest thread / of the fastest."""
        return min(self.counts) / max(*self.counts, 1)


def drive(threads: int, seconds: float, make: Callable[[int], Callable[[], bool]]) -> Drive:
    """Let every thread repeat its step until the time is over; a step returns False when there is nothing left."""
    counts, errors, barrier = [0] * threads, {}, threading.Barrier(threads + 1)

    def work(number: int) -> None:
        step = make(number)
        barrier.wait()
        stop = time.perf_counter() + seconds
        while time.perf_counter() < stop:
            try:
                if not step():
                    return
            except sqlite3.Error as error:
                errors[type(error).__name__] = errors.get(type(error).__name__, 0) + 1
            else:
                counts[number] += 1

    pool = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in pool:
        thread.start()
    barrier.wait()
    started, busy = time.perf_counter(), time.process_time()
    for thread in pool:
        thread.join()
    return Drive(counts, time.perf_counter() - started, time.process_time() - busy, errors)


def connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open a connection as the bare loops use it."""
    conn = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    conn.execute(f"PRAGMA synchronous = {synchronous}")
    return conn


def prepare(path: Path, jobs: int) -> None:
    """Make the database of the bare loops."""
    with closing(connect(path, "OFF")) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.executescript(BARE_SCHEMA)
        conn.execute("BEGIN IMMEDIATE")
        conn.executemany("INSERT INTO tasks (payload) VALUES (?)", [("{}",)] * jobs)
        conn.execute("COMMIT")


def bare(folder: Path, threads: int, seconds: float, synchronous: str) -> Drive:
    """A connection per thread, BEGIN IMMEDIATE, two transactions per job, no history."""
    path = folder / "bare.db"
    prepare(path, JOBS)

    def make(number: int) -> Callable[[], bool]:
        own = connect(path, synchronous)

        def step() -> bool:
            own.execute("BEGIN IMMEDIATE")
            rows = own.execute(BARE_CLAIM, (number, time.time())).fetchall()
            own.execute("COMMIT")
            if not rows:
                return False
            own.execute("BEGIN IMMEDIATE")
            own.execute(BARE_FINISH, (time.time(), rows[0][0], number))
            own.execute("COMMIT")
            return True

        return step

    return drive(threads, seconds, make)


def ours(folder: Path, threads: int, seconds: float, *, fused: bool = False) -> Drive:
    """The orchestrator's store: FULL durability, a hash-chained history row for claim and finish.

    `fused` finishes one task and claims the next in one write, as a worker with a queue before it does.
    """
    store = IncidentStore.init_database(folder / "tasks.db")
    store.db.write(lambda tx: tx.many(FILL, [(f"h{n}", f"t{n % 50}") for n in range(JOBS)]))

    def make(number: int) -> Callable[[], bool]:
        owner = str(number)

        def claim(tx: LiteTx) -> int:
            task_id = tx.execute(CLAIM, (owner,))[0][0]
            ledger.record(tx, time.time(), task_id, owner, "claimed")
            return int(task_id)

        def finish(tx: LiteTx, task_id: int) -> None:
            tx.execute(FINISH, (time.time(), task_id, owner))
            ledger.record(tx, time.time(), task_id, owner, "resolved")

        def finish_and_claim(tx: LiteTx, task_id: int) -> int:
            finish(tx, task_id)
            return claim(tx)

        held = store.db.write(claim) if fused else 0

        def step() -> bool:
            nonlocal held
            if fused:
                held = store.db.write(lambda tx: finish_and_claim(tx, held))
            else:
                task_id = store.db.write(claim)
                store.db.write(lambda tx: finish(tx, task_id))
            return True

        return step

    result = drive(threads, seconds, make)
    assert ledger.verify(store.db)[1] == ()
    store.close_store()
    return result


def huey(folder: Path, threads: int, seconds: float) -> Drive:
    """SqliteHuey: dequeue deletes the task, then it is executed."""
    from huey import SqliteHuey

    queue = SqliteHuey(filename=str(folder / "h.db"), timeout=30)

    @queue.task()
    def noop() -> None:
        return None

    data = queue.serialize_task(noop.s())
    conn = queue.storage.conn
    conn.execute("BEGIN")
    conn.executemany("INSERT INTO task (queue, data, priority) VALUES (?, ?, 0)", [(queue.storage.name, data)] * JOBS)
    conn.commit()

    def make(_number: int) -> Callable[[], bool]:
        def step() -> bool:
            task = queue.dequeue()
            queue.execute(task)
            return task is not None

        return step

    return drive(threads, seconds, make)


def litequeue(folder: Path, threads: int, seconds: float) -> Drive:
    """LiteQueue: pop, then done."""
    import litequeue as library

    path = str(folder / "l.db")
    queue = library.LiteQueue(path)
    with queue.transaction(mode="IMMEDIATE"):
        for _ in range(20_000):
            queue.put("x")
    more = [p.name for p in inspect.signature(queue.done).parameters.values() if p.kind is p.KEYWORD_ONLY]

    def make(_number: int) -> Callable[[], bool]:
        own = library.LiteQueue(path, timeout=30)

        def step() -> bool:
            message = own.pop()
            if message is not None:
                own.done(message.message_id, **{name: getattr(message, name) for name in more})
            return message is not None

        return step

    return drive(threads, seconds, make)


def persistqueue(folder: Path, threads: int, seconds: float) -> Drive:
    """SQLiteAckQueue: get, then ack."""
    import persistqueue as library

    queue = library.SQLiteAckQueue(str(folder / "p"), multithreading=True, timeout=30)
    data = queue._serializer.dumps("x")
    queue._putter.execute("BEGIN")
    queue._putter.executemany(
        "INSERT INTO ack_queue_default (data, timestamp, status) VALUES (?, ?, 0)",
        [(data, time.time()) for _ in range(20_000)],
    )
    queue._putter.commit()
    queue.total = queue._count()

    def make(_number: int) -> Callable[[], bool]:
        def step() -> bool:
            queue.ack(id=queue.get(block=False, raw=True)["pqid"])
            return True

        return step

    return drive(threads, seconds, make)


CASES: dict[str, tuple[str, Callable[[Path, int, float], Drive]]] = {
    "connection per thread, FULL": ("", lambda folder, threads, seconds: bare(folder, threads, seconds, "FULL")),
    "ours, claim and finish apart": ("", ours),
    "ours, finish with next claim": ("", partial(ours, fused=True)),
    "huey": ("huey", huey),
    "litequeue": ("litequeue", litequeue),
    "persist-queue": ("persistqueue", persistqueue),
}


def in_folder(work: Callable[[Path], Drive]) -> Drive:
    """Run a case in a fresh folder."""
    folder = Path(tempfile.mkdtemp(prefix="dbsafety-bench-"))
    try:
        return work(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def one_sync(folder: Path) -> float:
    """Return how long it takes to make a page durable, in seconds, the median of 40."""
    took = []
    with (folder / "page").open("wb", buffering=0) as file:
        for _ in range(40):
            file.write(b"x" * 4096)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    return statistics.median(took)


def throughput(threads: int, seconds: float, rounds: int) -> None:
    """Print jobs per second and the ratio to the bare NORMAL loop, median and range of the rounds.

    The bare loop syncs nothing but checkpoints. Whoever waits for each commit to be durable cannot do more than
    threads / (commits per job x one sync): on a slow disk that bound, not the program, decides the ratio.
    """
    print(f"{threads} threads, {rounds} rounds of {seconds:g} s; reference: connection per thread, NORMAL, no history")
    ratios: dict[str, list[tuple[float, float, float, float]]] = {}
    syncs, bares = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="dbsafety-bench-") as folder:
            syncs.append(one_sync(Path(folder)))
        before = in_folder(lambda folder: bare(folder, threads, seconds, "NORMAL"))
        for name, (module, case) in CASES.items():
            if module and importlib.util.find_spec(module) is None:
                continue
            result = in_folder(lambda folder, case=case: case(folder, threads, seconds))
            after = in_folder(lambda folder: bare(folder, threads, seconds, "NORMAL"))
            ratio = 2 * result.rate / (before.rate + after.rate)
            ratios.setdefault(name, []).append((result.rate, ratio, result.fairness, result.microseconds))
            bares.append(before := after)
    sync = statistics.median(syncs)
    print(
        f"  one sync takes {sync * 1e3:.2f} ms: at most {threads / sync / 2:.0f} jobs/s with two durable "
        f"commits per job, {threads / sync:.0f} with one; the reference: "
        f"{statistics.median(run.rate for run in bares):.0f} jobs/s, "
        f"{statistics.median(run.microseconds for run in bares):.0f} us of processor time per job"
    )
    for name, (module, _) in CASES.items():
        if name in ratios:
            rates, shares, fair, busy = zip(*ratios[name], strict=True)
            print(
                f"  {name:30} {statistics.median(rates):8.0f} jobs/s  ratio {statistics.median(shares):5.2f} "
                f"[{min(shares):.2f} to {max(shares):.2f}]  fairness {statistics.median(fair):4.2f}  "
                f"{statistics.median(busy):4.0f} us/job"
            )
        else:
            print(f"  {name:30} not installed (pip install {module.replace('queue', '-queue')})")


def storm(seconds: float) -> None:
    """16 threads and 2 other processes on one file; every detection must be accounted for."""
    folder = Path(tempfile.mkdtemp(prefix="dbsafety-storm-"))
    store = IncidentStore.init_database(folder / "tasks.db")
    others = [
        subprocess.Popen([sys.executable, __file__, "storm-child", str(folder), str(seconds), str(n)], stdout=-1)
        for n in range(2)
    ]

    def make(number: int) -> Callable[[], bool]:
        dice = random.Random(number)

        def step() -> bool:
            store.create_task(Issue("storm", "bench", f"t{dice.randrange(40)}", "went down"))
            return True

        return timed(step, waits[number])

    waits = [list[float]() for _ in range(16)]
    result = drive(16, seconds, make)
    elsewhere = [int((process.communicate()[0] or b"0").split()[0]) for process in others]
    total, rows = store.db.rows("SELECT sum(occurrences), count(*) FROM tasks")[0]
    store.close_store()
    print(f"storm: 16 threads + 2 processes, {seconds:g} s")
    print(f"  detections {sum(result.counts)} + {elsewhere}: {total} accounted for, in {rows} rows")
    show("  ours", result, waits)
    waits = [list[float]() for _ in range(16)]
    show("  a connection per thread, threads only", plain(folder, min(seconds, 20.0), waits), waits)
    shutil.rmtree(folder, ignore_errors=True)


def plain(folder: Path, seconds: float, waits: list[list[float]]) -> Drive:
    """16 threads insert one row per transaction, each with its own connection, FULL."""
    path = folder / "plain.db"
    prepare(path, 0)

    def make(number: int) -> Callable[[], bool]:
        own = connect(path, "FULL")

        def step() -> bool:
            own.execute("BEGIN IMMEDIATE")
            own.execute("INSERT INTO history (at) VALUES (?)", (time.time(),))
            own.execute("COMMIT")
            return True

        return timed(step, waits[number])

    return drive(16, seconds, make)


def show(name: str, result: Drive, waits: list[list[float]]) -> None:
    """Print waits over all writes, and those of the worst-served thread, which the lucky ones would hide."""
    every = [wait for own in waits for wait in own]
    worst = max(percentile(own, 0.99) for own in waits if own)
    p50, p99 = (percentile(every, share) * 1e3 for share in (0.5, 0.99))
    print(
        f"{name}: errors {result.errors or 0}, fairness {result.fairness:.2f}, p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
        f"p99 of the worst-served thread {worst * 1e3:.0f} ms, max {max(every) * 1e3:.0f} ms"
    )


def timed(step: Callable[[], bool], waits: list[float]) -> Callable[[], bool]:
    """A step that also records how long it took."""

    def measured() -> bool:
        started = time.perf_counter()
        try:
            return step()
        finally:
            waits.append(time.perf_counter() - started)

    return measured


def storm_child(folder: str, seconds: str, number: str) -> None:
    """What the two other processes of the storm do."""
    store = IncidentStore.init_database(Path(folder) / "tasks.db")
    stop, calls, dice = time.perf_counter() + float(seconds), 0, random.Random(f"child {number}")
    while time.perf_counter() < stop:
        store.create_task(Issue("storm", "bench", f"t{dice.randrange(40)}", "went down"))
        calls += 1
    store.close_store()
    print(calls)


def memory(seconds: float) -> None:
    """Resident memory idle and in a storm with 10,000 chunks indexed, and the time of a search."""
    from dbsafety_runtime.orchestrator import cli

    assert cli.main
    folder = Path(tempfile.mkdtemp(prefix="dbsafety-memory-"))
    store, knowledge = IncidentStore.init_database(folder / "tasks.db"), Knowledge(folder / "knowledge.db")
    rss = psutil.Process().memory_info
    print(f"memory: idle {rss().rss / 1e6:.0f} MB")
    dice = random.Random(1)
    words = [f"word{number}" for number in range(5000)]
    chunks = [Chunk(number, "", " ".join(dice.choices(words, k=80))) for number in range(10_000)]
    knowledge.refresh([Source("document", "document", "1", partial(tuple, [chunks, []]))])
    del chunks
    ((count,),) = knowledge.db.rows("SELECT count(*) FROM chunk")
    took = []
    with knowledge.db.reading():
        for _ in range(500):
            query = " ".join(dice.choices(words, k=6))
            started = time.perf_counter()
            knowledge.search(query)
            took.append(time.perf_counter() - started)
    print(
        f"  {count} chunks: search p50 {percentile(took, 0.5) * 1e3:.1f} ms, p95 {percentile(took, 0.95) * 1e3:.1f} ms"
    )
    highest = [0]

    def make(number: int) -> Callable[[], bool]:
        def step() -> bool:
            store.create_task(Issue("storm", "bench", f"t{number}", "went down"))
            highest[0] = max(highest[0], rss().rss) if number == 0 else highest[0]
            return True

        return step

    drive(16, seconds, make)
    print(f"  storm with the index open: {highest[0] / 1e6:.0f} MB")
    knowledge.close()
    store.close_store()
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "part", nargs="?", default="all", choices=["all", "store", "storm", "corpus", "events", "memory"]
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=16)
    options = parser.parse_args()
    parts: dict[str, Callable[[], Any]] = {
        "store": lambda: throughput(options.threads, options.seconds, options.rounds),
        "storm": lambda: storm(options.seconds),
        "memory": lambda: memory(options.seconds),
        "events": lambda: corpus().events(print),
        "corpus": lambda: corpus().programs(print),
    }
    log.configure("json", "error")
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors, SQLite {sqlite3.sqlite_version}")
    for name, part in parts.items():
        if options.part in ("all", name):
            part()


def corpus() -> Any:
    """Import the corpus only when it is asked for."""
    from tests.runtime.lite import corpus_run

    return corpus_run


if __name__ == "__main__":
    if sys.argv[1:2] == ["storm-child"]:
        storm_child(*sys.argv[2:5])
    else:
        main()
