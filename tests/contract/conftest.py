"""The built distribution and a plain install of it, made once for all contract tests."""

from __future__ import annotations

import pytest

from tests.harness.installs import Built, Environment, build, install


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Wheel and source distribution of the work tree."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def plain(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and no extras."""
    return install(built.wheel, tmp_path_factory.mktemp("plain install") / "venv")
