"""`python -m dbsafety_runtime executor ...` or `orchestrator ...`; each part is imported only when asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

PARTS: Final = ("executor", "orchestrator")
USAGE: Final = (
    "usage: python -m dbsafety_runtime {executor|orchestrator} COMMAND ...   (--help after either lists more)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a part's command line and return its exit code; 2 for wrong use or a missing extra."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in PARTS:
        asked_for_help = bool(words) and words[0] in ("-h", "--help")
        (sys.stdout if asked_for_help else sys.stderr).write(USAGE + "\n")
        return 0 if asked_for_help else 2
    try:
        part = importlib.import_module(f"dbsafety_runtime.{words[0]}.cli")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "dbsafety_runtime":
            raise
        sys.stderr.write(
            f"dbsafety_runtime {words[0]}: the module {missing} is missing: pip install 'dbsafety[runtime]'\n"
        )
        return 2
    return int(part.main(words[1:]))


if __name__ == "__main__":
    sys.exit(main())
