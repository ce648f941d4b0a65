"""The incidents' files, and what `dbsafety fix` makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.incident import EXECUTOR, ORCHESTRATOR, copy_incident, dbsafety


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of both reports as it was before."""
    return copy_incident(tmp_path_factory.mktemp("before"), [EXECUTOR, ORCHESTRATOR])


@pytest.fixture(scope="session")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after `dbsafety fix --unsafe-fixes`."""
    folder = copy_incident(tmp_path_factory.mktemp("fixed"), [EXECUTOR, ORCHESTRATOR])
    ran = dbsafety(folder, "fix", "--unsafe-fixes", ".")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder
