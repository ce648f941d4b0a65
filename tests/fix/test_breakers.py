"""Code that is hard on a fixer: fixed as it should be or refused with the reason, and it still does what it did."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from dbsafety.check.module import check_module
from dbsafety.check.session import Session
from dbsafety.config.load import Configuration
from dbsafety.config.settings import Settings
from dbsafety.fix.loop import FixOutcome
from dbsafety.model.finding import Confidence
from dbsafety.project.fixes import fixed_source
from tests.fix.breakers import BREAKERS, Breaker
from tests.fix.roundtrip import broken

SETTINGS = Settings(select=("DBS1", "DBS2"), min_confidence=Confidence.LOW)


def fixed(data: bytes, folder: Path) -> FixOutcome:
    name = str(folder / "m.py")
    session = Session.of(Configuration(SETTINGS, folder), [name])
    return fixed_source(data, name, session, unsafe=True)


def done(source: bytes, folder: Path) -> object:
    """What `main` returns and the rows it leaves, on a database of its own."""
    path = folder / "a.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript("CREATE TABLE t (n); INSERT INTO t VALUES (1);")
    module = ModuleType("m")
    exec(compile(source, "m.py", "exec"), vars(module))
    returned = module.main(str(path))
    with closing(sqlite3.connect(path)) as conn:
        return returned, conn.execute("SELECT n FROM t").fetchall()


@pytest.mark.parametrize("breaker", BREAKERS.values(), ids=BREAKERS)
def test_breakers(breaker: Breaker, tmp_path: Path) -> None:
    data = breaker.source.encode()
    session = Session.of(Configuration(SETTINGS, tmp_path), [str(tmp_path / "m.py")])
    findings = check_module(data, str(tmp_path / "m.py"), session, named=True).findings
    outcome = fixed(data, tmp_path)
    assert tuple(one.code for one in outcome.applied) == breaker.fixed
    assert tuple(one.reason for one in outcome.refused) == breaker.refused
    assert list(broken(data, outcome.new, findings)) == []
    assert done(outcome.new, tmp_path) == done(data, tmp_path)
    assert fixed(outcome.new, tmp_path).new == outcome.new
