"""SQLAlchemy at work: what its methods and blocks do to a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from dbsafety.drivers.spec import Effect, HandleKind, Switch
from dbsafety.drivers.table import FULL_TABLE

SQLALCHEMY = FULL_TABLE.driver("sqlalchemy")
CONNECTION, FACTORY, TRANSACTION = (
    SQLALCHEMY.handles[kind] for kind in (HandleKind.CONNECTION, HandleKind.FACTORY, HandleKind.TRANSACTION)
)
INSERT = sa.text("INSERT INTO t VALUES (1)")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = sa.create_engine(f"sqlite:///{tmp_path / 't.db'}")
    with made.begin() as conn:
        conn.execute(sa.text("CREATE TABLE t (id INTEGER PRIMARY KEY)"))
    yield made
    made.dispose()


def stored(engine: sa.Engine) -> list[int]:
    with engine.connect() as conn:
        return list(conn.execute(sa.text("SELECT id FROM t")).scalars())


Opener = Callable[[sa.Engine], Any]
OPENERS = pytest.mark.parametrize(
    "opener",
    [
        pytest.param(lambda engine: engine.connect(), id="connection"),
        pytest.param(orm.Session, id="session"),
        pytest.param(lambda engine: orm.sessionmaker(engine)(), id="sessionmaker"),
        pytest.param(lambda engine: orm.scoped_session(orm.sessionmaker(engine)), id="scoped_session"),
    ],
)


@OPENERS
@pytest.mark.parametrize("name", ["commit", "rollback", "close"])
def test_methods_end_the_transaction(engine: sa.Engine, opener: Opener, name: str) -> None:
    conn = opener(engine)
    conn.execute(INSERT)
    getattr(conn, name)()
    conn.close()
    assert (stored(engine) == [1]) is (CONNECTION.methods[name].effect is Effect.COMMIT)


def test_removing_a_scoped_session_closes_it(engine: sa.Engine) -> None:
    session = orm.scoped_session(orm.sessionmaker(engine))
    assert session() is session.registry()
    session.execute(INSERT)
    session.remove()
    assert CONNECTION.methods["remove"].effect is Effect.CLOSE
    assert stored(engine) == []


@pytest.mark.parametrize("opener", [lambda engine: engine.connect(), orm.Session], ids=["connection", "session"])
def test_the_block_of_a_connection_never_commits(engine: sa.Engine, opener: Opener) -> None:
    block = CONNECTION.with_block
    assert block is not None
    with opener(engine) as conn:
        conn.execute(INSERT)
    assert block.success is block.error is Effect.ROLLBACK
    assert stored(engine) == []


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("maker", [lambda engine: engine, orm.sessionmaker], ids=["engine", "sessionmaker"])
def test_begin_of_a_factory_binds_a_connection(engine: sa.Engine, maker: Opener, fails: bool) -> None:
    block = TRANSACTION.with_block
    assert block is not None
    with suppress(ZeroDivisionError), maker(engine).begin() as conn:
        assert isinstance(conn, (sa.Connection, orm.Session))
        assert FACTORY.methods["begin"].enters is HandleKind.CONNECTION
        conn.execute(INSERT)
        if fails:
            raise ZeroDivisionError
    assert (block.error if fails else block.success) is (Effect.COMMIT if stored(engine) else Effect.ROLLBACK)


@pytest.mark.parametrize("opener", [lambda engine: engine.connect(), orm.Session], ids=["connection", "session"])
def test_begin_of_a_connection_binds_the_transaction(engine: sa.Engine, opener: Opener) -> None:
    with opener(engine) as conn:
        with conn.begin() as made:
            assert isinstance(made, (sa.engine.Transaction, orm.SessionTransaction))
            assert CONNECTION.methods["begin"].enters is None
            conn.execute(INSERT)
            assert CONNECTION.methods["begin_nested"].savepoint
            with suppress(sa.exc.IntegrityError), conn.begin_nested():
                conn.execute(INSERT)
        assert stored(engine) == [1]


def test_a_failed_flush_needs_a_rollback(engine: sa.Engine) -> None:
    base = orm.declarative_base()
    table = type("T", (base,), {"__tablename__": "t", "id": sa.Column(sa.Integer, primary_key=True)})
    with orm.Session(engine) as session:
        session.execute(INSERT)
        session.add(table(id=1))
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()
        with pytest.raises(sa.exc.PendingRollbackError):
            session.execute(INSERT)


def test_autocommit_is_an_isolation_level(tmp_path: Path, engine: sa.Engine) -> None:
    by_keyword, by_method = SQLALCHEMY.autocommit
    assert (by_keyword.by, by_method.by) == (Switch.KEYWORD, Switch.METHOD)
    engine = sa.create_engine(engine.url, **{by_keyword.name: by_keyword.on[0]})
    with engine.connect() as conn:
        conn.execute(INSERT)
    assert stored(engine) == [1]
    with engine.connect() as conn:
        assert getattr(conn, by_method.name)(**{str(by_method.keyword): by_method.on[0]}) is conn
        assert CONNECTION.methods[by_method.name].returns_self
    engine.dispose()
