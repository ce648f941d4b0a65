"""The servers that proofs run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.prove.benches import server, servers


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of the wheel's server."""
    with server(None) as running:
        yield running.dsn


@pytest.fixture(
    scope="session", params=[folder for folder in servers().values() if folder], ids=lambda path: path.parts[-2]
)
def other_postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a server made of the machine's own binaries."""
    with server(request.param) as running:
        yield running.dsn
