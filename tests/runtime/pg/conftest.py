"""One private PostgreSQL per test run, one database per test copied from a migrated template."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from dbsafety_runtime.ops.embedded import EmbeddedPostgres

_NUMBERS = itertools.count(1)


def admin(dsn: str, statement: str) -> None:
    """Run one statement outside a transaction."""
    with closing(psycopg2.connect(dsn, connect_timeout=10)) as conn:
        conn.autocommit = True
        with conn.cursor() as cur:
            cur.execute(statement)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The private server of this run (each pytest-xdist worker has its own)."""
    with EmbeddedPostgres(max_connections=100) as running:
        yield running


@pytest.fixture
def empty_dsn(server: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a new empty database."""
    name = f"t{next(_NUMBERS)}"
    admin(server.dsn, f"CREATE DATABASE {name}")
    yield server.dsn.replace("dbname=postgres", f"dbname={name}")
    admin(server.dsn, f"DROP DATABASE {name} WITH (FORCE)")
