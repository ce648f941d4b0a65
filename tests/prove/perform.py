"""One call of a golden pair, in a process of its own: a JSON object on standard input, what was seen on the other.

All frames of the code are kept until the look from outside, as a log record, a Future or a thread keeps them.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from dbsafety.proofs.child import database
from dbsafety.proofs.stage import Stage, raised, send

TABLES = {
    True: "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1",
    False: "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
}
PATIENCE = 20.0
"""Seconds; the fixes wait for 10."""
NOWHERE = "host=127.0.0.1 port=1"


class Performance:
    """The names that expressions may use besides those of the module, and what is kept alive."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.kept: list[object] = []

    def names(self) -> dict[str, object]:
        """The names, by what they give."""
        return {
            "address": self.stage.address,
            "nowhere": NOWHERE,
            "keep": self.keep,
            "use": self.use,
            "fail_in": self.fail_in,
            "interrupted": self.interrupted,
            "after_insert": self.after_insert,
            "strict": self.strict,
            "awaited": self.awaited,
            "stored": self.stage.rows,
            "busy_timeout": lambda conn: send(conn, "PRAGMA busy_timeout")[0][0],
            "with_pool": self.with_pool,
            "patience": self.patience,
            "asyncio": asyncio,
        }

    def keep(self, value: Any) -> Any:
        """The value, alive to the end."""
        self.kept.append(value)
        return value

    def use(self, manager: Any) -> None:
        """A block that does nothing."""
        with manager:
            pass

    def fail_in(self, manager: Any) -> None:
        """A block that fails."""
        with manager:
            raise LookupError("in the block")

    def interrupted(self, method: str) -> Any:
        """A connection on which Ctrl-C is pressed while a method runs."""
        original = self.stage.driver.extensions.connection

        def press(conn: Any) -> None:
            signal.raise_signal(signal.SIGINT)
            getattr(original, method)(conn)

        factory = type("Connection", (original,), {method: press})
        return self.keep(self.stage.driver.connect(self.stage.address, connection_factory=factory))

    def after_insert(self, conn: Any) -> Any:
        """The connection, which has just inserted row 7 of another table."""
        send(conn, "INSERT INTO log VALUES (7)")
        return conn

    def strict(self) -> Any:
        """A connection that refuses to commit an aborted transaction, which the driver does without a word."""
        original = self.stage.driver.extensions.connection
        aborted = self.stage.driver.extensions.TRANSACTION_STATUS_INERROR

        def commit(conn: Any) -> None:
            if conn.info.transaction_status == aborted:
                raise LookupError("commits an aborted transaction")
            original.commit(conn)

        factory = type("Connection", (original,), {"commit": commit})
        return self.keep(self.stage.driver.connect(self.stage.address, connection_factory=factory))

    def awaited(self, call: Callable[..., Any], *arguments: object) -> object:
        """What a coroutine function gives when called with an asynchronous connection of its driver."""

        async def run() -> object:
            if "asyncpg" in call.__globals__:
                parts = dict(part.split("=", 1) for part in self.stage.address.split())
                parts["database"] = parts.pop("dbname")
                conn = await importlib.import_module("asyncpg").connect(**parts)
            elif "aiosqlite" in call.__globals__:
                conn = await importlib.import_module("aiosqlite").connect(self.stage.address)
            else:
                conn = await importlib.import_module("psycopg").AsyncConnection.connect(self.stage.address)
            return await call(conn, *arguments)

        return asyncio.run(run())

    def with_pool(self, call: Callable[[Any, str], Any], name: str) -> tuple[object, int]:
        """What a coroutine function ends with on a pool of one connection, and how many are left in it."""

        async def run() -> tuple[object, int]:
            module = importlib.import_module("psycopg_pool")
            async with module.AsyncConnectionPool(self.stage.address, min_size=1, max_size=1, open=False) as pool:
                await pool.wait()
                try:
                    found: object = await call(pool, name)
                except Exception as error:
                    found = raised(error)
                return found, pool.get_stats()["pool_available"]

        return asyncio.run(run())

    def patience(self, call: Callable[[], object]) -> str:
        """What a call ends with on a server that accepts and keeps silent, if it ends within the time of patience."""
        ended: queue.Queue[str] = queue.Queue()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            os.environ["PGPORT"] = str(silent.getsockname()[1])
            threading.Thread(target=lambda: ended.put(str(self.stage.attempt(call))), daemon=True).start()
            try:
                return ended.get(timeout=PATIENCE)
            except queue.Empty:
                return "still waiting"

    def call(self, expression: str) -> str:
        """What an expression gives, or the exception in words; the exception is kept."""
        wanted = compile(expression, "do", "eval").co_names
        conn = self.keep(self.stage.connect()) if "conn" in wanted else None
        names = {**vars(self.stage.example), **self.names(), "conn": conn}
        if "session" in wanted and "session" not in names:
            names |= self.session()
        elif "item" in wanted and "item" not in names:
            names |= self.items()
        if "profile" in wanted:
            names |= self.models()
        try:
            return said(self.keep(eval(expression, names)))
        except BaseException as error:
            self.kept.append(error)
            return raised(error)

    def connections(self) -> Iterator[Any]:
        """The connections that kept frames hold."""
        for frame in self.kept:
            if isinstance(frame, FrameType):
                yield from (one for one in frame.f_locals.values() if isinstance(one, self.stage.driver.Connection))

    def session(self) -> dict[str, object]:
        """A session of SQLAlchemy that does not wait for locks, and its items."""
        sqlalchemy, orm = importlib.import_module("sqlalchemy"), importlib.import_module("sqlalchemy.orm")
        engine = sqlalchemy.create_engine(f"sqlite:///{self.stage.address}", connect_args={"timeout": 0})
        return {"session": self.keep(orm.Session(engine)), **self.items()}

    def items(self) -> dict[str, object]:
        """Two items for a session of SQLAlchemy on any database."""
        sqlalchemy, orm = importlib.import_module("sqlalchemy"), importlib.import_module("sqlalchemy.orm")
        columns = {
            "__tablename__": "item",
            "id": sqlalchemy.Column(sqlalchemy.Integer, primary_key=True),
            "name": sqlalchemy.Column(sqlalchemy.Text),
        }
        item = type("Item", (orm.declarative_base(),), columns)
        return {"item": item(id=1, name="a"), "other": item(id=2, name="b")}

    def models(self) -> dict[str, object]:
        """Two models of Django on the tables `person` and `profile`."""
        person, profile = importlib.import_module("dbsafety.proofs.dbs111").models(self.stage)
        return {"person": person, "profile": profile}


def said(value: object) -> str:
    """A plain value as Python writes it, any other by its class: an address in it would differ."""
    plain = isinstance(value, (bool, int, str, type(None), list, tuple))
    return repr(value) if plain else type(value).__name__


def is_open(stage: Stage, conn: Any) -> bool:
    """Whether a connection of sqlite3 can still be asked."""
    return "closed database" not in str(stage.attempt(lambda: conn.total_changes))


def watch(stage: Stage, show: Performance) -> None:
    """Write down how the database looks to somebody else."""
    if stage.is_sqlite:
        stage.see("a write from outside", stage.attempt(lambda: stage.execute("CREATE TABLE outside (n)")))
        stage.see("connections open", len({id(conn) for conn in show.connections() if is_open(stage, conn)}))
    else:
        stage.see("sessions", stage.sessions(but="holds"))


def perform(task: dict[str, Any], stage: Stage) -> None:
    """Call as the task says, and write down what is to be seen."""
    show = Performance(stage)
    stage.execute(*task["setup"], *task["breaks"])
    if task["holds"]:
        holder = show.keep(_holder(stage))
        holder.cursor().execute(task["holds"])

    def keep_frame(frame: FrameType, event: str, _argument: object) -> None:
        if event == "return" and frame.f_code.co_filename == "<string>":
            show.kept.append(frame)

    if task["watch"]:
        sys.setprofile(keep_frame)
    stage.see("result", show.call(task["do"]))
    sys.setprofile(None)
    if task["then"]:
        stage.see("then", show.call(task["then"]))
    if task["watch"]:
        watch(stage, show)
    else:
        for table in stage.values(TABLES[stage.is_sqlite]):
            stage.see(f"rows of {table}", stage.rows(f"SELECT * FROM {table} ORDER BY 1"))


def _holder(stage: Stage) -> Any:
    return stage.connect() if stage.is_sqlite else stage.driver.connect(stage.address, application_name="holds")


def main() -> None:
    """Perform the task on standard input."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    task = json.load(sys.stdin)
    os.environ["PGOPTIONS"] = "-c lock_timeout=50ms"
    with database(task["driver"], task["server"], task["name"]) as (address, _version):
        parts = dict(part.split("=", 1) for part in address.split() if "=" in part)
        url = "postgresql+psycopg2://{user}@{host}:{port}/{dbname}".format(**parts) if len(parts) > 3 else ""
        source = task["source"]
        os.environ.update({f"PG{key}".upper(): parts[key] for key in ("port", "user") if key in parts})
        os.environ["PGDATABASE"] = parts.get("dbname", "")
        for old, new in task["place"]:
            assert old in source, old
            source = source.replace(old, new.format(address=address, url=url, name=parts.get("dbname")))
        stage = Stage(task["driver"], address, source)
        with contextlib.redirect_stdout(io.StringIO()):
            perform(task, stage)
        json.dump(stage.seen, sys.stdout)
        sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
