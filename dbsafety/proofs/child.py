"""One performance, in a process of its own: reads a JSON object on standard input and writes one on standard output.

It is started as a script, by any interpreter, so that the code under demonstration is run by the Python and the driver
that are in question, and so that what it breaks stays in here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

# As a script this file knows only its own folder; the package is two folders up.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
sys.path.append(str(Path(__file__).resolve().parents[2]))

from dbsafety.proofs.stage import Stage, raised, send  # noqa: E402 - the path must be right first


class NoDatabase(Exception):
    """There is no database to perform on; the text is for the user."""


def perform(task: Mapping[str, str]) -> Mapping[str, object]:
    """Do what a task says: the script's function `scenario`, on a fresh database.

    Returns what was seen and the versions, or under `missing` the packages to install. Raises NoDatabase.
    """
    script = load(Path(task["script"]))
    if any(importlib.util.find_spec(name) is None for name in script.PROOF.modules(task["driver"])):
        return {"missing": script.PROOF.packages(task["driver"])}
    with database(task["driver"], task["server"], task["name"]) as (address, version):
        stage = Stage(task["driver"], address, task["source"])
        if script.PROOF.setup:
            stage.execute(*script.PROOF.setup)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            getattr(script, task["scenario"])(stage)
        return {"seen": stage.seen, "database": version, "python": platform.python_version()}


@contextlib.contextmanager
def database(driver: str, server: str, name: str) -> Iterator[tuple[str, str]]:
    """Address and version of an empty database: a file in a folder that is then the current one, or one on a server."""
    with tempfile.TemporaryDirectory(prefix="dbsafety-proof-", ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        if driver == "sqlite3":
            yield str(Path(folder) / "app.db"), f"SQLite {importlib.import_module(driver).sqlite_version}"
        else:
            with _on_server(driver, server, name) as found:
                yield found
        os.chdir(Path(folder).parent)


@contextlib.contextmanager
def _on_server(driver: str, server: str, name: str) -> Iterator[tuple[str, str]]:
    module = importlib.import_module(driver)
    try:
        made = module.connect(server, connect_timeout=10)
    except module.Error as error:
        raise NoDatabase(f"no PostgreSQL with that DSN: {str(error).splitlines()[0]}") from None
    with contextlib.closing(made) as conn:
        conn.autocommit = True
        send(conn, f"CREATE DATABASE {name}")
        try:
            ((version,),) = send(conn, "SHOW server_version")
            yield _renamed(module, server, name), f"PostgreSQL {str(version).split()[0]}"
        finally:
            send(conn, f"DROP DATABASE {name} WITH (FORCE)")


def _renamed(module: ModuleType, server: str, name: str) -> str:
    """The DSN with another database's name."""
    if driver_of(module) == "psycopg2":
        return str(importlib.import_module("psycopg2.extensions").make_dsn(server, dbname=name))
    return str(importlib.import_module("psycopg.conninfo").make_conninfo(server, dbname=name))


def driver_of(module: ModuleType) -> str:
    """The name of a driver's module."""
    return module.__name__


def load(path: Path) -> ModuleType:
    """Import a proof file by its path. Raises what its code raises."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Perform the task on standard input. An exception of the driving code is written under `crash`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    task = json.load(sys.stdin)
    try:
        result = perform(task)
    except NoDatabase as fault:
        result = {"refused": str(fault)}
    except Exception as error:  # noqa: BLE001 - the parent, which reads this, says what failed and where
        result = {"crash": f"{raised(error)} (line {_line(error, task['script'])})"}
    json.dump(result, sys.stdout)
    sys.stdout.flush()
    # Threads that the code under demonstration left hanging end here.
    os._exit(0)


def _line(error: BaseException, script: str) -> int:
    """The line of the proof file in which the error arose; 0 when it arose outside."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == script:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


if __name__ == "__main__":
    main()
