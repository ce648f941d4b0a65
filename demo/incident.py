"""The incidents' files and the program that reads them: what the demo and the tests of the incidents share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INCIDENTS = ROOT / "tests" / "fixtures" / "incidents"
SCHEMA = INCIDENTS / "executor_schema.sql"
EXECUTOR, EXECUTOR_PATCHED = "executor_before.py", "executor_after.py"
ORCHESTRATOR, ORCHESTRATOR_PATCHED = "orchestrator_before.py", "orchestrator_after.py"
_MARK = re.compile(r"[ ]*# error: \[DBS\d{3}\].*$", re.MULTILINE)


def unmarked(name: str) -> str:
    """The text of an incident's file without the comments that say what is to be found in it."""
    return _MARK.sub("", (INCIDENTS / name).read_text(encoding="utf-8"))


def copy_incident(folder: Path, names: Iterable[str]) -> Path:
    """Write unmarked copies into a folder, which is made if need be; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(unmarked(name), encoding="utf-8")
    return folder


def or_ignore_only() -> str:
    """The orchestrator with the second half of its repair alone: INSERT OR IGNORE, and no longer timeout."""
    return unmarked(ORCHESTRATOR_PATCHED).replace(", timeout=30.0", "")


def dbsafety(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, with no configuration but its defaults; exit codes are for the caller to judge."""
    command, *rest = arguments
    return subprocess.run(
        [sys.executable, "-m", "dbsafety", command, "--isolated", *rest],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
