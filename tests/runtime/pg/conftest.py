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
    yield from _database(server, "template1")


@pytest.fixture
def dsn(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The DSN of a new database with the current schema."""
    yield from _database(server, template)


def _database(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    name = f"t{next(_NUMBERS)}"
    query(server.dsn, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.dsn.replace("dbname=postgres", f"dbname={name}")
    query(server.dsn, f"DROP DATABASE {name} WITH (FORCE)")


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
