"""Every fixture of every rule: found is exactly what its comments say, on every face; every fix keeps its promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.expect import Seen, differences
from tests.harness.faces import FACES, FIXTURES, Variant, engine, through, variants
from tests.harness.golden import golden_differences
from tests.harness.projects import project_differences

PROJECTS = sorted(path for path in FIXTURES.glob("*/project_*") if path.is_dir())
FIXED = sorted(FIXTURES.glob("*/fix_*.fixed.py"))
FILES = [path for path in sorted(FIXTURES.glob("*/*.py")) if path not in FIXED]
GOLDEN = [path for path in FILES if path.name.startswith("fix_")]
VARIANTS = [variant for path in FILES for variant in variants(path) if variant.fixture.runs_here]
FLAGGED = [variant for variant in VARIANTS if Path(variant.name).name.startswith("flagged_")]
HOST_REPORTS = {"DBS001"}
"""flake8 and pylint report syntax errors themselves."""


def name_of(variant: Variant) -> str:
    return variant.name.removesuffix(".py")


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_the_engine_finds_what_the_comments_say(variant: Variant) -> None:
    assert differences(variant.fixture.expectations, engine(variant)) == []


@pytest.fixture(scope="session", params=FACES)
def face(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, list[Seen]]]:
    """A face and what it showed of each flagged fixture, all in one run."""
    return request.param, through(FACES[request.param], FLAGGED, tmp_path_factory.mktemp("faces"))


@pytest.mark.xdist_group("faces")
@pytest.mark.parametrize("variant", FLAGGED, ids=name_of)
def test_every_face_shows_the_same(face: tuple[str, dict[str, list[Seen]]], variant: Variant) -> None:
    name, shown = face
    expected = engine(variant, one_line=name != "command line")
    if name != "command line":
        expected = [one for one in expected if one.code not in HOST_REPORTS]
    assert sorted(shown[variant.name], key=Seen.position) == sorted(expected, key=Seen.position)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_fixes(path: Path, update_golden: bool) -> None:
    assert golden_differences(path, update=update_golden) == []


def test_every_golden_file_has_its_source() -> None:
    assert [path for path in FIXED if path.with_name(path.name.replace(".fixed", "")) not in GOLDEN] == []


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_projects(project: Path, tmp_path: Path) -> None:
    assert project_differences(project, tmp_path) == []
