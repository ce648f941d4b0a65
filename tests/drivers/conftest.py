"""One private PostgreSQL for the tests that watch drivers at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from dbsafety_runtime.ops.embedded import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of a private server (each pytest-xdist worker has its own)."""
    with EmbeddedPostgres(max_connections=30) as server:
        yield server.dsn


@pytest.fixture
def dsn(postgres: str) -> str:
    """The DSN of a database whose table `t` is empty."""
    with closing(psycopg2.connect(postgres, connect_timeout=10)) as conn, conn, conn.cursor() as cur:
        cur.execute("DROP TABLE IF EXISTS t")
        cur.execute("CREATE TABLE t (id integer PRIMARY KEY)")
    return postgres
