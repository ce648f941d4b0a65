"""One private PostgreSQL per test run, one database per test copied from a migrated template."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.ops import log
from dbsafety_runtime.ops.embedded import EmbeddedPostgres
from dbsafety_runtime.ops.faults import PLAN
from dbsafety_runtime.storage import migrate
from dbsafety_runtime.storage.pg import Target
from dbsafety_runtime.storage.uow import Store
from tests.runtime.pg.support import Proxy, make_queue, query

_NUMBERS = itertools.count(1)
TEMPLATE = "migrated"
OTHERS = """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()"""
# Columns, constraints, triggers, functions, settings and migrations: whatever a test may have changed for good.
FINGERPRINT = """
SELECT md5(concat(
  (SELECT string_agg(concat(c.relname, a.attname, a.atttypid, a.attnotnull), ',' ORDER BY c.relname, a.attname)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped),
  (SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint WHERE connamespace = 'public'::regnamespace),
  (SELECT string_agg(concat(tgname, tgenabled), ',' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal),
  (SELECT string_agg(proname, ',' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
  (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
    WHERE d.datname = current_database()),
  (SELECT string_agg(concat(version, checksum), ',' ORDER BY version) FROM schema_migration)))
"""
EMPTY = """
SET session_replication_role = replica;
TRUNCATE jr_task_announcements, task_history, worker, assignee_limit, task_effect, commit_marker,
  thermal_memory, fara_mistake, fara_rule RESTART IDENTITY
"""


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The private server of this run (each pytest-xdist worker has its own); %e in the log is the SQLSTATE."""
    with EmbeddedPostgres(max_connections=150, log_line_prefix="%m [%p] %e ") as running:
        yield running


@pytest.fixture(scope="session")
def template(server: EmbeddedPostgres) -> str:
    """The name of a migrated database to copy from."""
    query(server.dsn, f"CREATE DATABASE {TEMPLATE}")
    store = Store(Target(server.dsn.replace("dbname=postgres", f"dbname={TEMPLATE}")))
    migrate.migrate(store)
    store.close()
    return TEMPLATE


@pytest.fixture
def empty_dsn(server: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a new empty database."""
    dsn = _create(server, "template1")
    yield dsn
    _drop(server, dsn)


@pytest.fixture(scope="session")
def _used() -> list[str]:
    """Databases of earlier tests that still have the template's schema."""
    return []


@pytest.fixture
def dsn(server: EmbeddedPostgres, template: str, _used: list[str]) -> Iterator[str]:
    """The DSN of a database of this test alone, with the current schema and no rows."""
    dsn = _used.pop() if _used else _create(server, template)
    yield dsn
    query(dsn, OTHERS)
    if query(dsn, FINGERPRINT) == query(server.dsn.replace("dbname=postgres", f"dbname={template}"), FINGERPRINT):
        query(dsn, EMPTY)
        _used.append(dsn)
    else:
        _drop(server, dsn)


def _create(server: EmbeddedPostgres, template: str) -> str:
    name = f"t{next(_NUMBERS)}"
    query(server.dsn, f"CREATE DATABASE {name} TEMPLATE {template}")
    return server.dsn.replace("dbname=postgres", f"dbname={name}")


def _drop(server: EmbeddedPostgres, dsn: str) -> None:
    query(server.dsn, f"DROP DATABASE {dsn.rpartition('=')[2]} WITH (FORCE)")


@pytest.fixture
def queue(dsn: str) -> Iterator[TaskQueue]:
    """The queue of one worker."""
    made = make_queue(dsn)
    yield made
    made.store.close()


@pytest.fixture
def another(dsn: str) -> Iterator[Callable[[], TaskQueue]]:
    """Makes queues of further workers."""
    made: list[TaskQueue] = []

    def make() -> TaskQueue:
        made.append(make_queue(dsn))
        return made[-1]

    yield make
    for queue in made:
        queue.store.close()


@pytest.fixture
def proxy(dsn: str) -> Iterator[Proxy]:
    """A misbehaving relay to the test's database."""
    relay = Proxy(dsn)
    yield relay
    relay.close()


@pytest.fixture(autouse=True)
def _no_fault_left() -> Iterator[None]:
    log.configure("logfmt", "info")
    PLAN.clear()
    yield
    PLAN.clear()
