"""Django's database layer at work on SQLite."""

from __future__ import annotations

from contextlib import suppress

import django.db
import pytest
from django.conf import settings
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.drivers.table import FULL_TABLE

DJANGO = FULL_TABLE.driver("django")
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the database during app initialization:RuntimeWarning")
if not settings.configured:
    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})


@pytest.fixture
def connection() -> BaseDatabaseWrapper:
    found = django.db.connections["default"]
    with found.cursor() as cur:
        cur.execute("DROP TABLE IF EXISTS t")  # closing keeps a database in memory
        cur.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    return found


def stored(connection: BaseDatabaseWrapper) -> list[int]:
    with connection.cursor() as cur:
        cur.execute("SELECT id FROM t")
        return [row[0] for row in cur.fetchall()]


def insert(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cur:
        cur.execute("INSERT INTO t VALUES (1)")


def test_every_statement_commits_outside_atomic(connection: BaseDatabaseWrapper) -> None:
    assert DJANGO.default_autocommit is connection.get_autocommit() is True
    insert(connection)
    transaction.rollback()
    assert stored(connection) == [1]


def test_cursors_answer_to_what_the_table_lists(connection: BaseDatabaseWrapper) -> None:
    cur = connection.cursor()
    assert isinstance(cur, CursorWrapper)
    listed = {name for name in DJANGO.handles[HandleKind.CURSOR].methods if name != "debug_sql"}
    assert {name for name in listed if not callable(getattr(cur, name))} == set()
    for path in DJANGO.status_attributes:
        assert hasattr(connection, path)


@pytest.mark.parametrize("fails", [False, True])
def test_the_block_of_atomic(connection: BaseDatabaseWrapper, fails: bool) -> None:
    block = DJANGO.handles[HandleKind.TRANSACTION].with_block
    assert block is not None
    with suppress(ZeroDivisionError), transaction.atomic():
        assert connection.in_atomic_block is block.begins
        insert(connection)
        if fails:
            raise ZeroDivisionError
    assert (block.error if fails else block.success) is (Effect.COMMIT if stored(connection) else Effect.ROLLBACK)


def test_a_broken_atomic_block_says_so(connection: BaseDatabaseWrapper) -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError, match=DJANGO.aborted_error):
            insert(connection)


@pytest.mark.parametrize("name", ["commit", "rollback"])
def test_functions_act_on_the_default_connection(connection: BaseDatabaseWrapper, name: str) -> None:
    row = DJANGO.functions[f"django.db.transaction.{name}"]
    assert row.handle is None
    transaction.set_autocommit(False)
    insert(connection)
    getattr(transaction, name)()
    transaction.set_autocommit(True)
    assert row.effect is (Effect.COMMIT if stored(connection) else Effect.ROLLBACK)


def test_the_module_level_connection_is_the_default_one(connection: BaseDatabaseWrapper) -> None:
    insert(connection)
    assert DJANGO.objects == {"django.db.connection": HandleKind.CONNECTION}
    with django.db.connection.cursor() as cur:
        cur.execute("SELECT id FROM t")
        assert cur.fetchone() == (1,)
    assert transaction.get_connection() is connection
