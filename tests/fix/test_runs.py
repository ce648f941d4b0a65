"""Whole runs of `dbsafety fix`: two at once on one tree, and files that may not be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.harness.installs import Ran, run

OLD = 'import sqlite3\n\nconn = sqlite3.connect("a.db")\n'
NEW = OLD.replace('"a.db"', '"a.db", timeout=30.0')
FIX = [sys.executable, "-m", "dbsafety", "fix", "--isolated"]


def fix(folder: Path, *arguments: str) -> Ran:
    return run([*FIX, *arguments], folder)


def test_two_runs_at_once_fix_every_file(tmp_path: Path) -> None:
    files = [tmp_path / f"m{number}.py" for number in range(12)]
    for file in files:
        file.write_text(OLD, encoding="utf-8")
    running = [subprocess.Popen([*FIX, "."], cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(process.communicate()[1], process.returncode) for process in running]
    assert [file.read_text(encoding="utf-8") for file in files] == [NEW] * len(files)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(file.name for file in files)
    for said, code in ended:
        assert "Traceback" not in said
        assert code == 0 or (code == 2 and "the file changed while it was being fixed; run again" in said)


if sys.platform != "win32":

    def test_what_cannot_be_written_is_said_and_the_rest_is_fixed(tmp_path: Path) -> None:
        for name in ("a.py", "locked.py", "linked.py"):
            (tmp_path / name).write_text(OLD, encoding="utf-8")
        (tmp_path / "locked.py").chmod(0o444)
        os.link(tmp_path / "linked.py", tmp_path / "other.py")
        ran = fix(tmp_path, ".")
        assert ran.code == 2
        assert "locked.py: the file is read-only" in ran.err
        texts = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
        assert texts == {"a.py": NEW, "linked.py": NEW, "locked.py": OLD, "other.py": NEW}
        assert (tmp_path / "linked.py").stat().st_nlink == 2
