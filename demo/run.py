"""The demo: two incidents, found, explained, fixed, and run before and after on real databases. `make demo` runs it.

Its files stay in `.demo/` for a look afterwards. Exits with 1 and one sentence when something is not as claimed.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".demo"


def main() -> int:
    """Run all parts and return the exit code."""
    # With PYTHONSAFEPATH neither this folder nor the current one is searched.
    sys.path.insert(0, str(ROOT))
    try:
        from dbsafety_runtime.ops.embedded import EmbeddedError
        from demo import show
    except ModuleNotFoundError as error:
        return _complain(f"the module {error.name} is missing; `make demo` makes an environment that has it")
    began = time.monotonic()
    try:
        _parts()
    except show.Unexpected as surprise:
        return _complain(str(surprise))
    except EmbeddedError as error:
        return _complain(f"no private PostgreSQL: {error}")
    except KeyboardInterrupt:
        return 130
    show.heading(f"Done, all as claimed, in {time.monotonic() - began:.0f} s")
    show.say(
        f"The files are in {FOLDER.name}/: before/, fixed/, variants/. `dbsafety explain DBS101` says more of a rule."
    )
    return 0


def _parts() -> None:
    from demo import analysis, databases, service, show

    shutil.rmtree(FOLDER, ignore_errors=True)
    before, fixed = analysis.lay_out(FOLDER / "before"), analysis.lay_out(FOLDER / "fixed")

    show.heading("1. The code of two incidents, and what is wrong with it")
    show.say(
        """executor.py runs tasks on PostgreSQL through psycopg2. One day every task failed with "current transaction is
        aborted, commands ignored until end of transaction block". orchestrator.py records issues in SQLite from four
        threads. It failed with "database is locked", and got a longer timeout."""
    )
    analysis.show_findings(before)

    show.heading("2. The fix")
    show.say(
        """Safe fixes cannot change what correct code does; the others are applied on request, since they change the
        path after an error, which is the point here."""
    )
    analysis.show_diff(fixed)

    show.heading("3. Fixed: clean, and nothing more to fix")
    analysis.show_fix(fixed)

    show.heading('4. The orchestrator on SQLite: what cures "database is locked"?')
    show.say(
        f"""24 reports of 10 distinct issues on 4 threads, measured now. The first duplicate fails with UNIQUE; its
        exception keeps the connection, whose failed INSERT holds the write lock. Waits are {databases.FASTER} times
        shorter than written (30 s is {30 / databases.FASTER:.1f} s): the order of the rows is the point."""
    )
    databases.show_storms(before, fixed, FOLDER / "variants")
    show.say(
        """The longer timeout only makes everybody wait longer for a lock that nobody will release. OR IGNORE hides the
        error that starts it. The cure is to end the transaction, whatever happens."""
    )

    show.heading("5. The executor on PostgreSQL: before and fixed, side by side")
    show.say(
        f"""Each of the {databases.cases()} statements of the eight methods fails once, in the middle of a task, while
        two more tasks wait: a column is renamed under it. The method swallows the error. Then the task goes on."""
    )
    databases.show_trials(before, fixed)

    show.heading("6. An executor built by these rules, under fire")
    show.say(
        """dbsafety comes with a runtime in which no handler touches a transaction. Its workers are killed, its sessions
        ended and its server restarted while it works; then its promises are checked in the database."""
    )
    service.show_executor(FOLDER)


def _complain(text: str) -> int:
    print(f"demo: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
