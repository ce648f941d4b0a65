"""What the hosts share keeps no more than it needs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest

from dbsafety.adapters.host import Engine
from dbsafety.check.session import Session
from dbsafety.config.load import Configuration
from dbsafety.typestate.frame import Frames

CODE = b"import sqlite3\n\n\ndef opened():\n    return sqlite3.connect('a.db')\n"


def test_what_is_known_of_other_folders_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[weakref.ref[Frames]] = []
    opened = Session.of

    def noted(configuration: Configuration, files: Sequence[str] = ()) -> Session:
        session = opened(configuration, files)
        kept.append(weakref.ref(session.frames))
        return session

    monkeypatch.setattr(Session, "of", noted)
    engine = Engine()
    found = []
    for number in (*range(9), 0):
        folder = tmp_path / f"part{number}"
        folder.mkdir(exist_ok=True)
        (folder / "a.py").write_bytes(CODE)
        found.append([finding.code for finding in engine.check(CODE, str(folder / "a.py")).findings])
    gc.collect()
    assert found == [["DBS201"]] * 10
    assert len(kept) == 10
    assert sum(one() is not None for one in kept) == 4
