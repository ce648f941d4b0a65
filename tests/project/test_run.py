"""A project in one process, in several, in somebody's executor: always the same."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dbsafety.config.load import Configuration
from dbsafety.config.settings import Settings
from dbsafety.model.faults import ConfigFault, RuleCrash
from dbsafety.project import workers
from dbsafety.project.files import SourceFile
from dbsafety.project.run import PARALLEL_FROM, RunResult, run, workers_for
from tests.check import stub

CALLER = "import sqlite3\nfrom app import db\n\n\ndef load():\n    conn = sqlite3.connect('a.db')\n    return conn\n"


class Exits:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return os._exit, (3,)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configuration(settings: Settings | None = None) -> Configuration:
    return Configuration(settings or Settings(), Path.cwd())


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def project() -> None:
    write("app/__init__.py", "")
    write("app/db.py", "import sqlite3\n\nCONN = sqlite3.connect('x.db')\n")
    for number in range(8):
        write(f"app/m{number}.py", CALLER + "\n" * number)
    write("app/broken.py", "import sqlite3\nx = (\n")
    write("app/plain.py", "x = 1\n")


def test_any_number_of_processes_says_the_same() -> None:
    project()

    results = [run(["."], configuration(), jobs) for jobs in (1, 2, 3)]

    assert results[0] == results[1] == results[2]
    assert [(one.path, one.code) for one in results[0].findings if one.code != "DBS201"] == [
        ("app/broken.py", "DBS001")
    ]
    assert [one.path for one in results[0].findings if one.code == "DBS201"] == [
        "app/db.py",
        *(f"app/m{number}.py" for number in range(8)),
    ]
    assert results[0].files == 12


def test_the_order_of_paths_changes_nothing() -> None:
    project()

    assert run(["app/m1.py", "app/m0.py"], configuration()) == run(["app/m0.py", "app/m1.py"], configuration())


def test_somebody_elses_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    stub.install(monkeypatch)
    for number in range(5):
        write(f"m{number}.py", f'bug("DBS101")\n{"#" * number}\n')

    with ThreadPoolExecutor(2) as executor:
        result = run(["."], configuration(), executor=executor)

    assert [one.path for one in result.findings] == [f"m{number}.py" for number in range(5)]
    assert result == run(["."], configuration(), jobs=1)


def test_faults_notes_and_suppressed_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    stub.install(monkeypatch)
    write("a.py", 'bug("DBS101")  # noqa\ncrash()\n')
    write("b.py", 'budget()\nbug("DBS102")\n')

    result = run(["gone.py", "."], configuration())

    assert [one.path for one in result.findings] == ["b.py"]
    assert [one.path for one in result.suppressed] == ["a.py"]
    assert [str(fault) for fault in result.faults] == [
        "a.py: DBS004 rule DBS101 failed",
        "gone.py: no such file or folder",
    ]
    assert [note.path for note in result.notes] == ["b.py"]


def test_a_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.py", "import sqlite3\n")
    write("b.py", "import sqlite3\nsqlite3.connect('a.db')\n")
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "a.py":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)

    result = run(["."], configuration())

    assert [str(fault) for fault in result.faults] == ["a.py: cannot read: Permission denied"]
    assert [one.path for one in result.findings] == ["b.py"]


def test_a_file_that_vanishes_on_the_way() -> None:
    job = workers.pack(configuration(), ())

    (result,) = workers.check_batch(job, (SourceFile("gone.py", False, 10),))

    assert [str(fault) for fault in result.faults] == ["gone.py: cannot read: No such file or directory"]


def test_a_wrong_code_is_told_before_any_file_is_read() -> None:
    with pytest.raises(ConfigFault, match="no rule has the code 'X1'"):
        run(["gone.py"], configuration(Settings(select=("X1",))))


def test_the_collector_is_left_as_it_was() -> None:
    assert gc.isenabled()
    run(["."], configuration())
    assert gc.isenabled()


def test_nothing_to_do() -> None:
    assert run(["."], configuration()) == RunResult(0, roots=(".",))


def test_a_process_that_dies_is_a_fault_of_its_file() -> None:
    files = [SourceFile("a.py", False, 10), SourceFile("b.py", False, 10)]

    results = list(workers.in_processes(pickle.dumps(Exits()), files, 2))

    assert sorted(str(fault) for result in results for fault in result.faults) == [
        "a.py: the process that checked this file died",
        "b.py: the process that checked this file died",
    ]
    assert all(isinstance(fault, RuleCrash) for result in results for fault in result.faults)


@pytest.mark.parametrize(
    ("files", "jobs", "expected"),
    [(0, None, 1), (PARALLEL_FROM, None, 1), (1, 8, 1), (5, 3, 3), (2, 1, 1)],
)
def test_workers(files: int, jobs: int | None, expected: int) -> None:
    assert workers_for(files, jobs) == expected


def test_workers_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbsafety.project.run._processors", lambda: 6)

    assert workers_for(PARALLEL_FROM + 1, None) == 6


def test_batches_hold_every_file_once_neighbours_together_the_largest_first() -> None:
    sizes = {"a/1.py": 200_000, "b/1.py": 5, "b/2.py": 900_000, "a/2.py": 200_000, "a/3.py": 10}
    files = [SourceFile(path, False, size) for path, size in sizes.items()]

    batches = workers._batches(files, 1)

    assert [[file.path for file in batch] for batch in batches] == [
        ["a/3.py", "b/1.py", "b/2.py"],
        ["a/1.py", "a/2.py"],
    ]
    assert sorted((file for batch in batches for file in batch), key=id) == sorted(files, key=id)


class Waits:
    """Keeps the process that unpickles it busy for ever."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return signal.pause, ()


def test_an_interrupt_ends_the_processes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "_results", interrupt)
    before = set(multiprocessing.active_children())

    with pytest.raises(KeyboardInterrupt):
        list(workers.in_processes(pickle.dumps(Waits()), [SourceFile("a.py", False, 10)], 1))

    assert set(multiprocessing.active_children()) == before
