"""The demo: two incidents, found, explained, fixed, and run before and after on real databases. `make demo` runs it.

Its files are left in `.demo/` for a look afterwards. Exits with 1 and one sentence when something is not as claimed.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".demo"
INTERRUPTED = 130


def main() -> int:
    """Run all parts and return the exit code."""
    # With PYTHONSAFEPATH neither this folder nor the current one is searched.
    sys.path.insert(0, str(ROOT))
    try:
        from dbsafety_runtime.ops.embedded import EmbeddedError
        from demo import show
    except ModuleNotFoundError as error:
        return _complain(f"the module {error.name} is missing; `make demo` makes an environment that has it")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        with tempfile.TemporaryDirectory(prefix="dbsafety-demo-") as folder:
            _parts(Path(folder))
            shutil.rmtree(KEPT, ignore_errors=True)
            shutil.copytree(folder, KEPT, dirs_exist_ok=True)
    except show.Unexpected as surprise:
        return _complain(str(surprise))
    except EmbeddedError as error:
        return _complain(f"no private PostgreSQL: {error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has seen enough; Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parts(folder: Path) -> None:
    from demo import analysis, show

    began = time.monotonic()
    before, fixed = analysis.lay_out(folder / "before"), analysis.lay_out(folder / "fixed")
    rows = [*_on_code(folder, before, fixed), *_on_databases(folder, before, fixed)]
    show.heading(f"All as claimed, in {time.monotonic() - began:.0f} s")
    show.table(["", ""], rows)
    show.say(f"The files are in {KEPT.name}/. Next: .venv/bin/dbsafety explain DBS101")


def _on_code(folder: Path, before: Path, fixed: Path) -> Iterator[tuple[str, str]]:
    """The parts that read code; yields rows of the summary."""
    from demo import analysis, show

    show.heading("1. The code of two incidents, and what is wrong with it")
    show.say(
        """executor.py runs tasks on PostgreSQL through psycopg2. One day every task failed with "current transaction is
        aborted, commands ignored until end of transaction block". orchestrator.py records issues in SQLite from four
        threads. It failed with "database is locked"."""
    )
    yield "found before", analysis.show_findings(before)

    show.heading("2. The fix")
    show.say(
        """Safe fixes cannot change what correct code does. The others change the path after an error, which is the
        point here, and are applied on request."""
    )
    analysis.show_diff(fixed)

    show.heading("3. Fixed: clean, and nothing more to fix")
    analysis.show_fix(fixed)
    yield "found after dbsafety fix", "nothing"

    show.heading("4. The reports' own repairs, and what they left behind")
    show.say(
        """The executor got the same five lines in each handler, the orchestrator a longer timeout and INSERT OR
        IGNORE."""
    )
    yield "found after the reports' own repairs", analysis.show_patched(folder / "patched")


def _on_databases(folder: Path, before: Path, fixed: Path) -> Iterator[tuple[str, str]]:
    """The parts that run code; yields rows of the summary."""
    from demo import databases, service, show, storm, trial

    show.heading('5. The orchestrator on SQLite: what cures "database is locked"?')
    show.say(
        f"""{storm.CALLS} reports of {storm.DISTINCT} distinct issues on 4 threads, measured now. The first duplicate
        fails with UNIQUE; its exception keeps the connection, whose failed INSERT holds the write lock. Waits are
        {databases.FASTER} times shorter than written (30 s is {30 / databases.FASTER:.1f} s)."""
    )
    yield "SQLite: errors", databases.show_storms(before, fixed, folder / "variants")
    show.say(
        """The longer timeout only makes everybody wait longer for a lock that nobody will release. OR IGNORE avoids
        the error that starts it, until another one comes. The cure is to end the transaction, whatever happens."""
    )

    show.heading("6. The executor on PostgreSQL: before and fixed, side by side")
    show.say(
        f"""Each of the {len(trial.CASES)} statements of the eight methods fails once, in the middle of a task, while
        two more tasks wait: a column is renamed under it. The method swallows the error, the task goes on. Shown
        are the end of the task's next statement, and how many of the three tasks got done."""
    )
    yield "PostgreSQL: tasks", databases.show_trials(before, fixed)

    show.heading("7. An executor built by these rules, under fire")
    show.say(
        """dbsafety comes with a runtime in which no handler touches a transaction. Its workers are killed, its sessions
        ended and its server restarted while it works; then its promises are checked in the database."""
    )
    yield "Runtime: tasks", service.show_executor(folder)


def _complain(text: str) -> int:
    print(f"demo: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
