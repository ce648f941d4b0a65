"""The entry point: picks the command, turns faults into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dbsafety.cli import check, debug, explain, fix
from dbsafety.cli.console import complain, make_tolerant
from dbsafety.cli.options import parser
from dbsafety.model.faults import DbsafetyError

_OURS = Path(__file__).resolve().parents[1]
"""The folder of the package."""
INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

_ADD: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "check": check.add,
    "fix": fix.add,
    "explain": explain.add_explain,
    "rules": explain.add_rules,
    "debug": debug.add,
}
_RUN: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "check": check.command,
    "fix": fix.command,
    "explain": explain.explain,
    "rules": explain.rules,
    "debug": debug.command,
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line given, by default the program's own, and return the exit code.

    0 for nothing to report, 1 for findings, 2 for wrong usage, configuration or unreadable input, 130 when
    interrupted. argparse exits by itself after `--help` and on unknown arguments, with 0 and 2.
    """
    make_tolerant()
    found = parser(_ADD).parse_args(words)
    try:
        return _RUN[found.command](found)
    except DbsafetyError as fault:
        complain(str(fault))
        return check.FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python flushes standard output once more at exit: give it a sink.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return check.CLEAN
    except Exception as error:  # noqa: BLE001 - a defect of dbsafety is reported like any other fault, on one line
        complain(f"internal error in {_place(error)}: {type(error).__name__}: {error}")
        return check.FAILED


def _place(error: Exception) -> str:
    """File and line of the innermost of our own frames."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if _OURS in Path(frame.filename).parents]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"


def run() -> None:
    """The console script."""
    sys.exit(main())
