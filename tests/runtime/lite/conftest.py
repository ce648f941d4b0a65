"""Stores on fresh files, and a clock that tests set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from dbsafety_runtime.ops.faults import PLAN
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.lite import LiteStore
from tests.runtime.lite.doubles import FrozenClock, ScriptedManager


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def store(tmp_path: Path, clock: FrozenClock) -> Iterator[IncidentStore]:
    opened = IncidentStore.init_database(tmp_path / "state" / "tasks.db", clock, patience=3.0)
    yield opened
    opened.close_store()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[LiteStore]:
    opened = LiteStore(tmp_path / "state" / "tasks.db", "tasks", patience=1.0)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    yield
    PLAN.clear()
    structlog.reset_defaults()  # a command may have pointed the logs to a stream of its test


@pytest.fixture
def manager(tmp_path: Path, clock: FrozenClock) -> ScriptedManager:
    return ScriptedManager(tmp_path, clock)
