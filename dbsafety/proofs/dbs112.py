"""The proof of DBS112: a session that met an error refuses each further attempt."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("B10a", "B10b"),
    drivers=("sqlite3", "psycopg2"),
    needs=("sqlalchemy",),
    setup=("CREATE TABLE item (id integer PRIMARY KEY, name text)",),
    story="The first of three attempts meets a lock, which is gone when the second one starts.",
    bad={"save()": "PendingRollbackError: ...", "items": "[]"},
    good={"save()": "nothing", "items": "['a']"},
)


def failing(stage: Stage) -> None:
    """Somebody holds the table until the first attempt has failed."""
    with _session(stage) as (session, item), contextlib.closing(_locked(stage)) as other:
        _after_the_first_error(session, other.rollback)
        stage.see("save()", stage.attempt(lambda: stage.example.save(session, item)))
    stage.see("items", stage.values("SELECT name FROM item"))


def happy(stage: Stage) -> None:
    """Nobody holds it."""
    with _session(stage) as (session, item):
        stage.see("save()", stage.example.save(session, item))
    stage.see("items", stage.values("SELECT name FROM item"))


@contextlib.contextmanager
def _session(stage: Stage) -> Iterator[tuple[Any, Any]]:
    """A session that does not wait for locks, and an object to save in it."""
    sqlalchemy, orm = importlib.import_module("sqlalchemy"), importlib.import_module("sqlalchemy.orm")

    columns = {
        "__tablename__": "item",
        "id": sqlalchemy.Column(sqlalchemy.Integer, primary_key=True),
        "name": sqlalchemy.Column(sqlalchemy.Text),
    }
    item = type("Item", (orm.declarative_base(),), columns)(id=1, name="a")

    def connect() -> Any:
        if stage.is_sqlite:
            return stage.driver.connect(stage.address, timeout=0)
        return stage.driver.connect(stage.address, options="-c lock_timeout=1ms")

    scheme = "sqlite" if stage.is_sqlite else "postgresql+psycopg2"
    engine = sqlalchemy.create_engine(f"{scheme}://", creator=connect)
    with contextlib.closing(orm.Session(engine)) as session:
        yield session, item
    engine.dispose()


def _locked(stage: Stage) -> Any:
    """A connection in a transaction that keeps writers away from the table."""
    conn = stage.connect()
    conn.cursor().execute("BEGIN IMMEDIATE" if stage.is_sqlite else "LOCK TABLE item")
    return conn


def _after_the_first_error(session: Any, call: Any) -> None:
    """Call when the session first rolls back by itself, as it does when a flush fails."""
    event = importlib.import_module("sqlalchemy").event
    event.listen(session, "after_rollback", lambda _session: call(), once=True)
