"""The end of the demo: the executor that ships with dbsafety, with its workers killed and its server restarted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from demo import show

TASKS = 300
SECONDS = 180
WORDS = ("-m", "dbsafety_runtime", "executor", "demo", "--faults", "--tasks", str(TASKS), "--seed", "7")


def show_executor(folder: Path) -> str:
    """Run the executor's own demonstration, its output as it comes; return it in words.

    Raises Unexpected unless all is proven.
    """
    show.command(["python", *WORDS])
    try:
        ended = subprocess.run([sys.executable, *WORDS], cwd=folder, timeout=SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        raise show.Unexpected(f"the executor did not end within {SECONDS} s") from None
    if ended:
        raise show.Unexpected(f"the executor's demonstration ended with {ended}")
    return f"{TASKS} of {TASKS} completed, none twice, while workers were killed"
