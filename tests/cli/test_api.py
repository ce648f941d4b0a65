"""The interface for other programs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dbsafety.api import Settings, check_paths, check_source, fix_source
from dbsafety.model.faults import ConfigFault, RuleCrash
from tests.check import stub


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    stub.install(monkeypatch)
    return tmp_path


def test_check_source() -> None:
    findings = check_source('é = bug("DBS101")\n', path="a.py")

    assert [(one.path, one.code, one.span.line, one.span.col) for one in findings] == [("a.py", "DBS101", 1, 5)]
    assert check_source(b"# coding: latin-1\n\xe9 = bug('DBS101')\n")[0].span.line == 2
    assert check_source("x = 1\n") == []


def test_check_source_that_cannot_be_parsed() -> None:
    assert [one.code for one in check_source("x = (\n")] == ["DBS001"]
    assert [one.code for one in check_source("x = '\udc80'\n")] == ["DBS001"]


def test_check_source_with_settings() -> None:
    assert check_source('bug("DBS101")\n', settings=Settings(ignore=("DBS101",))) == []
    with pytest.raises(ConfigFault):
        check_source("x = 1\n", settings=Settings(select=("X",)))


def test_check_source_tells_a_defect() -> None:
    with pytest.raises(RuleCrash, match="rule DBS101 failed"):
        check_source("crash()\n")


def test_check_paths() -> None:
    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")

    result = check_paths(["a.py", Path("gone.py")])

    assert [one.code for one in result.findings] == ["DBS101"]
    assert [str(fault) for fault in result.faults] == ["gone.py: no such file or folder"]


def test_check_paths_in_an_executor() -> None:
    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")

    with ThreadPoolExecutor(1) as executor:
        assert check_paths(["."], executor=executor) == check_paths(["."])


def test_fix_source() -> None:
    source = 'é = bug("DBS101", fix="mend()")\nbug("DBS102")\n'

    outcome = fix_source(source)

    assert outcome.new.decode() == 'é = mend()\nbug("DBS102")\n'
    assert [one.code for one in outcome.applied] == ["DBS101"]
    assert [one.code for one in outcome.remaining] == ["DBS102"]


def test_fix_source_applies_unsafe_fixes_on_request() -> None:
    from dbsafety.model.rewrite import Applicability

    settings = Settings(fix_applicability={"DBS101": Applicability.UNSAFE})
    source = b'bug("DBS101", fix="mend()")\n'

    assert fix_source(source, settings=settings).new == source
    assert fix_source(source, settings=settings, unsafe=True).new == b"mend()\n"
