"""The incidents' files, and what `dbsafety fix` makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.incident import EXECUTOR, EXECUTOR_PATCHED, ORCHESTRATOR, ORCHESTRATOR_PATCHED, copy_incident, dbsafety


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of both reports as it was before."""
    return copy_incident(tmp_path_factory.mktemp("before"), [EXECUTOR, ORCHESTRATOR])


@pytest.fixture(scope="session")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four files after `dbsafety fix --unsafe-fixes`."""
    names = [EXECUTOR, EXECUTOR_PATCHED, ORCHESTRATOR, ORCHESTRATOR_PATCHED]
    folder = copy_incident(tmp_path_factory.mktemp("fixed"), names)
    ran = dbsafety(folder, "fix", "--unsafe-fixes", ".")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder
