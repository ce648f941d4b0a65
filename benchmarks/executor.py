"""Measure the executor beside a bare psycopg2 loop, procrastinate and pgqueuer, in one run on one server.

Throughput of no-op jobs filled in beforehand, commits and WAL bytes per job, and pick-up latency of an idle worker.
Every throughput is bracketed by runs of the bare loop (claim, commit, finish, commit); ratios are against their mean.
For pick-up the bare loop waits beside the other worker and the jobs go to both by turns, so that they meet the same
load. Default durability (fsync on). Needs the extra `bench`. Absolute rates depend on the machine and its load: read
the ratios and the counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from dbsafety_runtime.executor.handlers import Context
from dbsafety_runtime.executor.model import WorkerOptions
from dbsafety_runtime.executor.worker import Worker
from dbsafety_runtime.ops import log
from dbsafety_runtime.ops.embedded import EmbeddedPostgres
from dbsafety_runtime.storage import migrate
from dbsafety_runtime.storage.pg import Target
from dbsafety_runtime.storage.uow import Store

ASSIGNEE = "bench"
BARE_TABLE = """
CREATE TABLE bare_job (id bigserial PRIMARY KEY, status int NOT NULL DEFAULT 0, priority int NOT NULL DEFAULT 0,
  worker int, attempts int NOT NULL DEFAULT 0, payload jsonb, t0 float8, claimed_at timestamptz, done_at timestamptz);
CREATE INDEX bare_ready ON bare_job (priority, id) WHERE status = 0
"""
CLAIM = """UPDATE bare_job j SET status = 1, worker = %s, claimed_at = clock_timestamp(), attempts = attempts + 1
FROM (SELECT id FROM bare_job WHERE status = 0 ORDER BY priority, id LIMIT %s FOR UPDATE SKIP LOCKED) s
WHERE j.id = s.id RETURNING j.id, j.t0"""
FINISH = (
    "UPDATE bare_job SET status = 2, done_at = clock_timestamp() WHERE id = ANY (%s) AND status = 1 AND worker = %s"
)


class Marks:
    """When the first and the last job began, how many there were, and how long each had waited."""

    def __init__(self, limit: int) -> None:
        self.first = self.last = 0.0
        self.count, self.limit = 0, limit
        self.waits: list[float] = []

    def __call__(self, sent: float | None = None) -> bool:
        """Mark the start of a job that was sent at `sent`; say whether it was the last one expected."""
        now = time.time()
        self.first = self.first or now
        self.last, self.count = now, self.count + 1
        if sent:
            self.waits.append(now - sent)
        return self.count >= self.limit


def bare(dsn: str, marks: Marks, batch: int, latency: bool) -> None:
    """The reference: two commits for each batch."""
    with (
        closing(psycopg2.connect(dsn, connect_timeout=10)) as ear,
        closing(psycopg2.connect(dsn, connect_timeout=10)) as conn,
    ):
        ear.autocommit = True
        ear.cursor().execute("LISTEN bare")
        cur, me = conn.cursor(), os.getpid()
        done = False
        while not done:
            cur.execute(CLAIM, (me, batch))
            rows = cur.fetchall()
            conn.commit()
            if not rows:
                if not latency:
                    return
                select.select([ear], [], [], 5)
                ear.poll()
                ear.notifies.clear()
                continue
            for row in rows:
                done = marks(row[1])
            cur.execute(FINISH, ([row[0] for row in rows], me))
            conn.commit()


def ours(dsn: str, marks: Marks, batch: int, latency: bool) -> None:
    """A worker as `executor run` makes it."""
    log.configure("json", "error")
    options = WorkerOptions(assignee=ASSIGNEE, batch=batch, once=not latency)

    def noop(context: Context) -> None:
        if marks(context.task.payload.get("t0")):
            worker.stop()

    worker = Worker(Target(dsn), options, {"noop": noop})
    worker.run()


def procrastinate(dsn: str, marks: Marks, batch: int, latency: bool) -> None:
    """Procrastinate with `batch` as its concurrency."""
    import procrastinate as library

    app = library.App(connector=library.PsycopgConnector(conninfo=dsn))
    finished = asyncio.Event()

    @app.task(name="noop")
    async def noop(t0: float | None = None) -> None:
        if marks(t0):
            finished.set()

    async def main() -> None:
        async with app.open_async():
            work = app.run_worker_async(
                concurrency=batch, wait=latency, listen_notify=latency, install_signal_handlers=False
            )
            if not latency:
                await work
                return
            task = asyncio.create_task(work)
            await finished.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def pgqueuer(dsn: str, marks: Marks, batch: int, latency: bool) -> None:
    """Pgqueuer on asyncpg, its fastest driver."""
    from datetime import timedelta

    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.qm import QueueManager
    from pgqueuer.queries import Queries
    from pgqueuer.types import QueueExecutionMode

    async def main() -> None:
        conn = await asyncpg.connect(url(dsn))
        manager = QueueManager(Queries(AsyncpgDriver(conn)))

        @manager.entrypoint("noop")
        async def noop(job: Any) -> None:
            if marks(float(job.payload) if job.payload else None) and latency:
                manager.shutdown.set()

        mode = QueueExecutionMode.continuous if latency else QueueExecutionMode.drain
        await manager.run(dequeue_timeout=timedelta(seconds=5), batch_size=batch, mode=mode)

    asyncio.run(main())


def url(dsn: str) -> str:
    """The DSN as a URL, for asyncpg."""
    part = dict(item.split("=", 1) for item in dsn.split())
    return f"postgresql://{part['user']}@{part['host']}:{part['port']}/{part['dbname']}"


WORKERS: dict[str, Callable[[str, Marks, int, bool], None]] = {
    "bare": bare, "ours": ours, "procrastinate": procrastinate, "pgqueuer": pgqueuer,
}  # fmt: skip
FILL = {
    "bare": "TRUNCATE bare_job; INSERT INTO bare_job (payload) SELECT '{}' FROM generate_series(1, %s)",
    "ours": f"""SET session_replication_role = replica; TRUNCATE jr_task_announcements, task_history;
        INSERT INTO jr_task_announcements (kind, assignee) SELECT 'noop', '{ASSIGNEE}' FROM generate_series(1, %s)""",
    "procrastinate": """TRUNCATE procrastinate_jobs, procrastinate_events, procrastinate_workers CASCADE;
        INSERT INTO procrastinate_jobs (queue_name, task_name, args)
        SELECT 'default', 'noop', '{}' FROM generate_series(1, %s)""",
    "pgqueuer": """TRUNCATE pgqueuer, pgqueuer_log, pgqueuer_statistics;
        INSERT INTO pgqueuer (priority, entrypoint, status, payload, heartbeat, execute_after)
        SELECT 0, 'noop', 'queued', NULL, now(), now() FROM generate_series(1, %s)""",
}
SEND = {
    "bare": "INSERT INTO bare_job (payload, t0) VALUES ('{}', %s); NOTIFY bare",
    "ours": f"""INSERT INTO jr_task_announcements (kind, assignee, payload)
        VALUES ('noop', '{ASSIGNEE}', jsonb_build_object('t0', %s))""",
    "procrastinate": """SELECT procrastinate_defer_jobs_v1(ARRAY[ROW('default', 'noop', 0, NULL, NULL,
        jsonb_build_object('t0', %s), NULL)::procrastinate_job_to_defer_v1])""",
    "pgqueuer": """INSERT INTO pgqueuer (priority, entrypoint, status, payload, heartbeat, execute_after)
        VALUES (0, 'noop', 'queued', convert_to(%s::text, 'UTF8'), now(), now())""",
}
JOBS = {
    ("bare", 1): 1500,
    ("ours", 1): 1500,
    ("procrastinate", 1): 400,
    ("procrastinate", 10): 600,
    ("pgqueuer", 1): 500,
}
BATCH_JOBS = {1: 1500, 10: 6000, 100: 20000}
TARGETS = {1: (1.05, 1.0), 10: (0.11, 5.0), 100: (0.02, 12.0)}  # commits/job at most, throughput/bare at least


def sql(dsn: str, statement: str, *values: object) -> list[Any]:
    """Run one statement, autocommitted."""
    with closing(psycopg2.connect(dsn, connect_timeout=10)) as conn:
        conn.autocommit = True
        with conn.cursor() as cur:
            cur.execute(statement, values or None)
            return cur.fetchall() if cur.description else []


@contextmanager
def process(dsn: str, kind: str, batch: int, limit: int, latency: bool) -> Iterator[subprocess.Popen[str]]:
    """A worker process; its marks are the last line of its output."""
    words = [kind, dsn, str(batch), str(limit), str(int(latency))]
    with subprocess.Popen([sys.executable, __file__, "--worker", *words], stdout=subprocess.PIPE, text=True) as worker:
        yield worker


def as_worker(kind: str, dsn: str, batch: str, limit: str, latency: str) -> None:
    """The body of a worker process."""
    marks = Marks(int(limit))
    WORKERS[kind](dsn, marks, int(batch), latency == "1")
    print(
        json.dumps({"first": marks.first, "last": marks.last, "count": marks.count, "waits": marks.waits}), flush=True
    )
    os._exit(0)


def throughput(dsn: str, kind: str, batch: int) -> dict[str, float]:
    """Drain a filled queue with one process; rate, commits and WAL bytes per job."""
    jobs = JOBS.get((kind, batch), BATCH_JOBS[batch])
    sql(dsn, FILL[kind], jobs)
    sql(dsn, "VACUUM ANALYZE")
    sql(dsn, "CHECKPOINT")
    commits, lsn = counters(dsn)
    with process(dsn, kind, batch, 10**9, latency=False) as worker:
        output, _ = worker.communicate(timeout=600)
    seen = json.loads(output.splitlines()[-1])
    time.sleep(1.2)  # the server's counters lag by up to a second
    after, end = counters(dsn)
    size = float(sql(dsn, "SELECT %s::pg_lsn - %s::pg_lsn", end, lsn)[0][0])
    assert seen["count"] == jobs, (kind, seen["count"], jobs)
    return {
        "rate": seen["count"] / (seen["last"] - seen["first"]),
        "commits": (after - commits - 4) / jobs,
        "wal": size / jobs,
    }


def counters(dsn: str) -> tuple[int, str]:
    """Commits so far and the WAL position."""
    row = sql(
        dsn, "SELECT xact_commit, pg_current_wal_lsn()::text FROM pg_stat_database WHERE datname = current_database()"
    )[0]
    return int(row[0]), str(row[1])


def latency(dsn: str, kinds: Sequence[str], jobs: int = 150) -> dict[str, float]:
    """Median milliseconds from before the INSERT to the start of the handler; a job for each by turns, 30 ms apart."""
    for kind in kinds:
        sql(dsn, FILL[kind], 0)
    with ExitStack() as stack:
        workers = {kind: stack.enter_context(process(dsn, kind, 1, jobs, latency=True)) for kind in kinds}
        time.sleep(2.5)
        conn = stack.enter_context(closing(psycopg2.connect(dsn, connect_timeout=10)))
        conn.autocommit = True
        cur = conn.cursor()
        for number in range(jobs):
            for kind in kinds if number % 2 else reversed(kinds):
                cur.execute(SEND[kind], (time.time(),))
                time.sleep(0.03)
        outputs = {kind: worker.communicate(timeout=120)[0] for kind, worker in workers.items()}
    waits = {kind: json.loads(output.splitlines()[-1])["waits"] for kind, output in outputs.items()}
    return {kind: 1000 * statistics.median(found) for kind, found in waits.items()}


def prepare(dsn: str, peers: list[str]) -> None:
    """Create every schema."""
    store = Store(Target(dsn))
    migrate.migrate(store)
    store.close()
    sql(dsn, BARE_TABLE)
    if "procrastinate" in peers:
        import procrastinate as library

        app = library.App(connector=library.SyncPsycopgConnector(conninfo=dsn))
        with app.open():
            app.schema_manager.apply_schema()
    if "pgqueuer" in peers:
        asyncio.run(_install_pgqueuer(dsn))


async def _install_pgqueuer(dsn: str) -> None:
    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    conn = await asyncpg.connect(url(dsn))
    await Queries(AsyncpgDriver(conn)).install()
    await conn.close()


def cases(peers: list[str]) -> list[tuple[str, int]]:
    """What is measured: ours and the peers at each batch size (procrastinate knows concurrency only)."""
    found = [("ours", 1), ("ours", 10), ("ours", 100)]
    if "procrastinate" in peers:
        found += [("procrastinate", 1), ("procrastinate", 10)]
    if "pgqueuer" in peers:
        found += [("pgqueuer", 1), ("pgqueuer", 10), ("pgqueuer", 100)]
    return found


def measure(dsn: str, rounds: int, peers: list[str]) -> dict[tuple[str, int], dict[str, float]]:
    """Run all rounds and return the medians."""
    samples: dict[tuple[str, int], list[dict[str, float]]] = {}
    for number in range(rounds):
        before = throughput(dsn, "bare", 1)
        for kind, batch in cases(peers):
            found = throughput(dsn, kind, batch)
            after = throughput(dsn, "bare", 1)
            found["ratio"] = found["rate"] / ((before["rate"] + after["rate"]) / 2)
            samples.setdefault((kind, batch), []).append(found)
            samples.setdefault(("bare", 1), []).append(after | {"ratio": 1.0})
            print(f"round {number + 1}: {line(kind, batch, found)}", flush=True)
            before = after
    for (kind, batch), runs in samples.items():
        ratios = sorted(run["ratio"] for run in runs)
        print(f"{kind:14s} batch {batch:3d}  x bare from {ratios[0]:.2f} to {ratios[-1]:.2f}")
    return {
        case: {name: statistics.median(run[name] for run in runs) for name in runs[0]} for case, runs in samples.items()
    }


def measure_latency(dsn: str, rounds: int, kinds: list[str]) -> dict[str, list[tuple[float, float]]]:
    """Return p50 in ms and its ratio to that of the bare loop beside it, for every round."""
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds):
        for kind in kinds:
            p50 = latency(dsn, ["bare", kind])
            found.setdefault(kind, []).append((p50[kind], p50[kind] / p50["bare"]))
            found.setdefault("bare", []).append((p50["bare"], 1.0))
            print(
                f"round {number + 1}: {kind:14s} pick-up p50 {p50[kind]:6.2f} ms, bare {p50['bare']:.2f} ms,"
                f" load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    return found


def line(kind: str, batch: int, found: dict[str, float]) -> str:
    """One row of the table."""
    return (
        f"{kind:14s} batch {batch:3d}  {found['rate']:8.0f} jobs/s  x bare {found['ratio']:6.2f}  "
        f"commits/job {found['commits']:5.3f}  WAL/job {found['wal']:6.0f} B"
    )


def verdicts(
    medians: dict[tuple[str, int], dict[str, float]], pickups: dict[str, list[tuple[float, float]]]
) -> Iterator[tuple[bool, str]]:
    """Every goal with whether it is met."""
    for batch, (commits, ratio) in TARGETS.items() if medians else ():
        found = medians["ours", batch]
        yield found["commits"] <= commits, f"batch {batch}: commits/job {found['commits']:.3f} (at most {commits})"
        yield found["wal"] <= 1300, f"batch {batch}: WAL/job {found['wal']:.0f} B (at most 1300)"
        yield found["ratio"] >= ratio, f"batch {batch}: throughput / bare {found['ratio']:.2f} (at least {ratio})"
        for (kind, other), peer in medians.items():
            if other == batch and kind not in ("ours", "bare"):
                yield found["ratio"] > peer["ratio"], f"batch {batch}: ahead of {kind} ({peer['ratio']:.2f})"
    if pickups:
        ratio = statistics.median(found for _, found in pickups["ours"])
        yield ratio <= 1.15, f"pick-up p50 / bare {ratio:.2f}, median of {len(pickups['ours'])} rounds (at most 1.15)"


def main() -> int:
    """Run the benchmark and return 0 when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", help="a scratch database; default: a private server with fsync on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="procrastinate,pgqueuer", help="comma-separated; empty for none")
    parser.add_argument("--only", choices=["throughput", "pick-up"], help="default: both")
    options = parser.parse_args()
    peers = [name for name in options.peers.split(",") if name]
    if options.dsn:
        return report(options.dsn, options.rounds, peers, options.only)
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres(Path(folder) / "data", listen_addresses="127.0.0.1") as server,
    ):
        return report(server.dsn, options.rounds, peers, options.only)


def report(dsn: str, rounds: int, peers: list[str], only: str | None) -> int:
    """Measure, print the tables and the verdicts."""
    prepare(dsn, peers)
    medians = measure(dsn, rounds, peers) if only != "pick-up" else {}
    pickups = measure_latency(dsn, 2 * rounds - 1, ["ours", *peers]) if only != "throughput" else {}
    print(f"\nmedians of {rounds} rounds, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    for (kind, batch), found in medians.items():
        print(line(kind, batch, found))
    for kind, pairs in pickups.items():
        p50, ratios = statistics.median(pair[0] for pair in pairs), sorted(pair[1] for pair in pairs)
        print(
            f"{kind:14s} pick-up p50 {p50:6.2f} ms  x bare {statistics.median(ratios):5.2f}"
            f" ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    missed = 0
    for met, text in verdicts(medians, pickups):
        missed += not met
        print(f"{'met   ' if met else 'MISSED'} {text}")
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        as_worker(*sys.argv[2:])
    sys.exit(main())
