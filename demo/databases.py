"""The second half of the demo: before and fixed, run on a real SQLite and a real PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dbsafety_runtime.ops.embedded import EmbeddedPostgres
from demo import show
from demo.analysis import NAMES, fixed_copy
from demo.incident import ORCHESTRATOR, ROOT, SCHEMA, or_ignore_only, unmarked
from demo.storm import CALLS, DISTINCT
from demo.trial import CASES, METHODS, TASKS, Outcome, run_sql, try_all

FASTER = 50
STORM_SECONDS = 120


def show_storms(before: Path, fixed: Path, folder: Path) -> str:
    """Measure five variants of the orchestrator, print the table, and return it in words.

    Raises Unexpected when the claim fails.
    """
    original = unmarked(ORCHESTRATOR)
    ignoring = folder / "or_ignore" / NAMES[1]
    ignoring.parent.mkdir(parents=True)
    ignoring.write_text(or_ignore_only(), encoding="utf-8")
    timeout = fixed_copy(folder / "timeout", original, "--select", "DBS201")
    ended = fixed_copy(folder / "ended", original, "--unsafe-fixes", "--select", "DBS204")
    cured = (CALLS - DISTINCT, 0, DISTINCT)
    as_it_was, waiting = storm(before / NAMES[1]), storm(timeout)
    rows = [
        _row("before", as_it_was),
        _row("longer timeout only (repair 1)", waiting),
        _row("INSERT OR IGNORE only (repair 2)", storm(ignoring), (0, 0, DISTINCT)),
        _row("rollback on error only (DBS204)", storm(ended), cured),
        _row("all fixes", storm(fixed / NAMES[1]), cured),
    ]
    show.table(["orchestrator", "UNIQUE", "locked", "recorded", "seconds"], rows)
    return f"{as_it_was['locked']} locked before, {waiting['locked']} with the longer timeout, 0 fixed"


def storm(file: Path) -> Mapping[str, Any]:
    """The counts of one storm, run in a process of its own. Raises Unexpected when that fails."""
    ran = subprocess.run(
        [sys.executable, ROOT / "demo" / "storm.py", file, str(FASTER)],
        capture_output=True,
        text=True,
        timeout=STORM_SECONDS,
        check=False,
    )
    if ran.returncode:
        raise show.Unexpected(f"the storm on {file.name} failed: {ran.stderr.strip().splitlines()[-1]}")
    counts: Mapping[str, Any] = json.loads(ran.stdout)
    if counts["other"]:
        raise show.Unexpected(f"the storm on {file.name} met another error: {counts['other'][0]}")
    return counts


def _row(name: str, counts: Mapping[str, Any], due: tuple[int, int, int] | None = None) -> Sequence[object]:
    """A row of the table; `due` are the UNIQUE errors, locked errors and rows it must have, None: some locked."""
    got = (counts["unique"], counts["locked"], counts["rows"])
    if got != due if due else got[1] == 0:
        raise show.Unexpected(f"{name}: {got[0]} UNIQUE errors, {got[1]} locked, {got[2]} of {DISTINCT} recorded")
    sign = "!" if got[1] else "+"
    return name, got[0], f"{sign}{got[1]}", f"{got[2]} of {DISTINCT}", f"{counts['seconds']:.1f}"


def show_trials(before: Path, fixed: Path) -> str:
    """Let each statement of the eight methods fail on a private PostgreSQL, before and fixed.

    Print the table and return it in words.
    Raises Unexpected when the claim fails, EmbeddedError when there is no server to be had.
    """
    with EmbeddedPostgres() as server:
        run_sql(server.dsn, SCHEMA.read_text(encoding="utf-8"))
        outcomes = [try_all(folder / NAMES[0], server.dsn) for folder in (before, fixed)]
    rows = []
    for method in METHODS:
        broken, mended = (_of(method, some) for some in outcomes)
        if {one.sqlstate for one in broken} != {"25P02"}:
            raise show.Unexpected(f"before: {method} does not end in 25P02 but in {_states(broken)}")
        if any(one.sqlstate or one.completed != TASKS for one in mended):
            raise show.Unexpected(f"fixed: {method} ends in {_states(mended)}")
        done = max(one.completed for one in broken)
        rows.append((method, len(broken), f"!25P02, {done} of {TASKS}", f"+runs, {TASKS} of {TASKS}"))
    show.table(["error swallowed by", "statements", "before", "fixed"], rows)
    return f"of {len(CASES)} failures {len(CASES)} took the executor down before, 0 fixed"


def _of(method: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if one.case.method == method]


def _states(outcomes: Sequence[Outcome]) -> str:
    return ", ".join(f"{one.sqlstate or 'success'} with {one.completed} of {TASKS} tasks" for one in outcomes)
