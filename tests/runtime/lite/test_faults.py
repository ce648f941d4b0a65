from __future__ import annotations

import ast
import json
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

import dbsafety_runtime
from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.health import examine
from dbsafety_runtime.orchestrator.managers import unitfile
from dbsafety_runtime.orchestrator.model import Issue
from dbsafety_runtime.orchestrator.report import percentile
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.errors import StorageBug
from dbsafety_runtime.storage.lite import forbid_open_transaction
from tests.runtime.lite.bench import Bench
from tests.runtime.lite.doubles import ScriptedManager

PRODUCT = Path(dbsafety_runtime.__file__).parent
OURS = [*PRODUCT.glob("orchestrator/**/*.py"), *PRODUCT.glob("storage/lite*.py")]

WRITER = """
import random, sys, time
from pathlib import Path
from dbsafety_runtime.orchestrator.model import Issue
from dbsafety_runtime.orchestrator.store import IncidentStore
store = IncidentStore.init_database(Path(sys.argv[1]))
stop, calls, dice = time.monotonic() + float(sys.argv[2]), 0, random.Random(sys.argv[3])
while time.monotonic() < stop:
    store.create_task(Issue("storm", "child", f"t{dice.randrange(40)}", "went down"))
    calls += 1
store.close_store()
print(calls)
"""

FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.model import Issue
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.errors import StorageFault
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = IncidentStore.init_database(Path(sys.argv[1]))
acknowledged, refused = [], 0
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
for number in range(400):
    try:
        issue = Issue("full", "t", f"svc{chr(97 + number % 26)}{'x' * number}", "m" * 2000)
        acknowledged.append(store.create_task(issue))
    except StorageFault:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
after = store.create_task(Issue("full", "t", "after", "room again"))
kept = {task.id for task in store.tasks(limit=10_000)}
print(json.dumps({
    "acknowledged": len(acknowledged), "refused": refused, "lost": len(set(acknowledged) - kept),
    "after": after in kept, "integrity": store.db.rows("PRAGMA integrity_check"), "audit": ledger.verify(store.db)[1],
}))
store.close_store()
"""


def run_storm(store: IncidentStore, seconds: float) -> tuple[list[int], int, list[float]]:
    """16 threads and 2 processes create tasks; returns calls per thread, calls elsewhere, and all waits."""
    others = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.db.path), str(seconds), str(number)], stdout=subprocess.PIPE
        )
        for number in range(2)
    ]
    calls, waits = [0] * 16, [list[float]() for _ in range(16)]
    barrier = threading.Barrier(16)

    def work(number: int) -> None:
        dice = random.Random(number)
        barrier.wait()
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            started = time.perf_counter()
            store.create_task(Issue("storm", "thread", f"t{dice.randrange(40)}", "went down"))
            waits[number].append(time.perf_counter() - started)
            calls[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elsewhere = sum(int(process.communicate()[0]) for process in others)
    assert [process.returncode for process in others] == [0, 0]
    return calls, elsewhere, [wait for own in waits for wait in own]


def accounted(store: IncidentStore) -> int:
    return int(store.db.rows("SELECT sum(occurrences) FROM tasks")[0][0])


def test_in_a_storm_every_detection_is_accounted_for(store: IncidentStore) -> None:
    calls, elsewhere, _ = run_storm(store, 1.5)
    assert min(calls) > 0
    assert elsewhere > 0
    assert accounted(store) == sum(calls) + elsewhere
    assert len(store.tasks()) == 40
    assert Counter(action for (action,) in store.db.rows("SELECT action FROM task_history")) == {"detected": 40}
    assert ledger.verify(store.db)[1] == ()


@pytest.mark.soak
def test_a_minute_of_storm_is_fair_and_never_busy(store: IncidentStore) -> None:
    calls, elsewhere, waits = run_storm(store, 60.0)
    print(
        f"storm: {sum(calls)} + {elsewhere} writes, p50 {percentile(waits, 0.5) * 1e3:.1f} ms, "
        f"p99 {percentile(waits, 0.99) * 1e3:.1f} ms, fairness {min(calls) / max(calls):.2f}"
    )
    assert accounted(store) == sum(calls) + elsewhere
    assert min(calls) / max(calls) >= 0.8
    assert ledger.verify(store.db)[1] == ()


def test_a_full_disk_fails_callers_and_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "tasks.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    assert found["refused"] > 0
    assert found["acknowledged"] > 0
    assert (found["lost"], found["after"], found["integrity"], found["audit"]) == (0, True, [["ok"]], [])


def test_a_reader_that_pins_the_log_is_reported(
    store: IncidentStore, tmp_path: Path, manager: ScriptedManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbsafety_runtime.orchestrator.health.WAL_LIMIT", 100_000)
    bench = Bench(tmp_path, manager)
    bench.work._sign_of_life()
    with closing(sqlite3.connect(bench.store.db.path, timeout=5.0, isolation_level=None)) as conn:
        conn.execute("BEGIN")
        conn.execute("SELECT count(*) FROM tasks").fetchone()
        for number in range(40):
            bench.store.create_task(Issue("x", "t", f"svc-{chr(97 + number % 26)}-{'y' * number}", "m" * 4000))
        health = examine(bench.store, bench.work.settings)
        assert health.line() == "degraded: the write-ahead log grows: a reader holds an old snapshot"
        assert len(bench.store.tasks()) == 40, "readers and writers go on"
    bench.close()


def test_near_the_memory_limit_nothing_is_lost_and_work_is_put_off(tmp_path: Path, manager: ScriptedManager) -> None:
    manager.add("api")
    tight = Bench(tmp_path, manager, memory_limit_mb=1)
    tight.run(10)
    assert (tight.task("api").status, tight.task("api").occurrences, manager.calls) == ("detected", 20, [])
    tight.close()
    roomy = Bench(tmp_path, manager)
    roomy.run(15)
    assert roomy.task("api").resolution == "verified"
    roomy.close()


def test_without_a_network_everything_but_the_sending_works(
    tmp_path: Path, manager: ScriptedManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: socket.socket, address: object) -> None:
        raise AssertionError(f"a connection to {address!r}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    manager.add("api")
    manager.add("bad")
    manager.on_start["bad"] = lambda: "failed"
    bench = Bench(tmp_path, manager)
    bench.work.refresh_knowledge()
    bench.run(30)
    bench.work._chores_due()
    assert (bench.task("api").resolution, bench.task("bad").status) == ("verified", "escalated")
    assert bench.work.outbox.waiting() == 1
    bench.close()


def test_eight_slow_issues_take_the_time_of_two(tmp_path: Path, manager: ScriptedManager) -> None:
    """Four are inside at once, never more: the barrier opens only for four."""
    barrier, inside, most = threading.Barrier(4), [0], [0]
    lock = threading.Lock()

    def slow() -> str:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        barrier.wait(30)
        with lock:
            inside[0] -= 1
        return "running"

    for number in range(8):
        manager.add(f"svc{number}")
        manager.on_start[f"svc{number}"] = slow
    bench = Bench(tmp_path, manager)
    bench.run(20)
    assert [task.resolution for task in bench.store.tasks()] == ["verified"] * 8
    assert most == [4]
    bench.close()


# The code itself


def calls_in(file: Path, names: set[str]) -> list[str]:
    return [
        f"{file.name}:{node.lineno} {node.func.attr}"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names
    ]


def test_only_the_storage_connects_and_ends_transactions() -> None:
    used = {file.name for file in OURS for _ in calls_in(file, {"commit", "rollback", "executescript", "backup"})}
    assert used <= {"lite.py", "cli.py"}, "cli.py asks the store for a backup"
    connecting = [file.name for file in OURS if "sqlite3.connect(" in file.read_text(encoding="utf-8")]
    assert connecting == ["lite.py"]


def test_nothing_relies_on_lastrowid_or_ignored_inserts() -> None:
    texts = [file.read_text(encoding="utf-8") for file in OURS]
    assert not any("lastrowid" in text or "OR IGNORE" in text.upper() for text in texts)


def test_nothing_is_printed_or_suppressed() -> None:
    for file in OURS:
        text = file.read_text(encoding="utf-8")
        names = [
            n.func.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        ]
        assert "print" not in names, file
        assert not any(mark in text for mark in ("noqa", "type: ignore", "dbsafety: allow", "pylint: disable")), file


def test_every_except_names_what_it_catches() -> None:
    broad = {None, "Exception", "BaseException"}
    for file in OURS:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                name = node.type.id if isinstance(node.type, ast.Name) else (None if node.type is None else "named")
                assert name not in broad, f"{file}:{node.lineno}"


def test_the_two_parts_do_not_import_each_other() -> None:
    for part, other in (("orchestrator", "executor"), ("executor", "orchestrator")):
        for file in (PRODUCT / part).rglob("*.py"):
            assert f"dbsafety_runtime.{other}" not in file.read_text(encoding="utf-8"), file


def test_the_orchestrator_needs_no_postgresql_driver() -> None:
    code = "import sys; import dbsafety_runtime.orchestrator.cli; sys.exit('psycopg2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def slow_calls() -> list[tuple[str, Callable[[], object]]]:
    from dbsafety_runtime.orchestrator.knowledge import git_source
    from dbsafety_runtime.orchestrator.managers.supervisor import SupervisorManager
    from dbsafety_runtime.orchestrator.managers.systemd import run

    return [
        ("git", lambda: list(git_source(Path("/")))),
        ("a call to supervisord", SupervisorManager(Path("/nowhere.sock"), Path("/nowhere")).services),
        ("true", lambda: run(["true"])),
        ("x", lambda: forbid_open_transaction("x")),
    ]


@pytest.mark.parametrize(("name", "call"), slow_calls())
def test_nothing_slow_runs_inside_a_transaction(store: IncidentStore, name: str, call: Callable[[], object]) -> None:
    with pytest.raises(StorageBug, match=f"{name} inside a transaction"):
        store.db.write(lambda _tx: call())


def unit() -> str:
    return resources.files("dbsafety_runtime").joinpath("packaging/dbsafety-orchestrator.service").read_text("utf-8")


def test_the_unit_file_says_what_was_promised() -> None:
    settings: dict[str, list[str]] = {}
    problems: list[str] = []
    unitfile.parse(unit(), "unit", settings, problems)
    assert problems == []
    wanted = {
        "Type": "notify", "MemoryHigh": "192M", "MemoryMax": "256M", "Restart": "on-failure", "DynamicUser": "yes",
        "StateDirectory": "dbsafety-orchestrator", "NoNewPrivileges": "yes", "ProtectSystem": "strict",
    }  # fmt: skip
    assert {name: settings[name][-1] for name in wanted} == wanted
    assert settings["ExecStart"][-1].endswith(
        "-m dbsafety_runtime orchestrator --config /etc/dbsafety/orchestrator.toml run"
    )


@pytest.mark.faults
def test_systemd_accepts_the_unit_file(tmp_path: Path) -> None:
    (tmp_path / "o.service").write_text(unit(), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "o.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_idle_orchestrator_is_small(tmp_path: Path) -> None:
    """A generous limit against leaps; the figure itself is measured by the benchmark."""
    code = (
        "import sys, psutil; from pathlib import Path; from dbsafety_runtime.orchestrator import cli;"
        "from dbsafety_runtime.orchestrator.store import IncidentStore;"
        "from dbsafety_runtime.orchestrator.knowledge import Knowledge;"
        "s = IncidentStore.init_database(Path(sys.argv[1]) / 't.db'); k = Knowledge(Path(sys.argv[1]) / 'k.db');"
        "print(psutil.Process().memory_info().rss); k.close(); s.close_store()"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 96 * 1024 * 1024
