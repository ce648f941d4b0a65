"""What is shipped: the built wheel and source distribution, not the checkout."""

from __future__ import annotations

import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import dbsafety
from tests.harness.installs import OURS, Built
from tests.harness.modules import ROOT

pytestmark = pytest.mark.slow

TOP_LEVEL = {"dbsafety", "dbsafety_runtime"}
FOLDERS = {"dbsafety": ROOT / "dbsafety", "dbsafety_runtime": ROOT / "runtime" / "dbsafety_runtime"}
NOT_OURS_TO_INSTALL = ("runtime", "tests", "docs", "demo", "benchmarks")


@pytest.fixture(scope="module")
def wheel_names(built: Built) -> set[str]:
    with zipfile.ZipFile(built.wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(built: Built) -> Message:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_has_two_top_level_names(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == TOP_LEVEL


def test_the_wheel_holds_what_the_packages_hold(wheel_names: set[str]) -> None:
    here = {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in FOLDERS.items()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in wheel_names if name.split("/")[0] in TOP_LEVEL} == here


def test_both_packages_are_typed(wheel_names: set[str]) -> None:
    assert {f"{name}/py.typed" for name in TOP_LEVEL} <= wheel_names


def test_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "dbsafety"
    assert metadata["Version"] == dbsafety.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert {"runtime", "embedded", "dev"} <= set(metadata.get_all("Provides-Extra", []))


def test_a_plain_install_requires_libcst_and_sqlparse_alone(metadata: Message) -> None:
    required = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    plain = {one.name: str(one.marker or "") for one in required if "extra ==" not in str(one.marker)}
    assert plain == {"libcst": "", "sqlparse": "", "tomli": 'python_version < "3.11"'}
    runtime = {one.name for one in required if 'extra == "runtime"' in str(one.marker)}
    assert "psycopg2-binary" in runtime


def test_entry_points(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        lines = set(archive.read(name).decode().splitlines())
    assert {"dbsafety = dbsafety.cli.main:run", "DBS = dbsafety.adapters.flake8:Plugin"} <= lines


def test_the_source_distribution_can_be_tested(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "Makefile",
        ".ci/run",
        "pyproject.toml",
        "LICENSE",
        "docs/generate.py",
        "tests/conftest.py",
        "demo/run.py",
    }
    assert wanted <= names


@pytest.mark.parametrize("name", NOT_OURS_TO_INSTALL)
def test_no_other_folder_becomes_importable(name: str, tmp_path: Path) -> None:
    code = f"import importlib.util as u; print(getattr(u.find_spec({name!r}), 'submodule_search_locations', None))"
    found = OURS.python("-c", code, cwd=tmp_path)
    assert (found.code, str(ROOT) in found.out) == (0, False)
