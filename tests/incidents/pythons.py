"""The other Pythons of this machine: whatever is found on PATH or in pyenv's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

WANTED = ("3.10", "3.11", "3.12", "3.13", "3.14")
_WHICH = "import sqlite3, sys; print('%d.%d' % sys.version_info[:2])"


def pythons() -> Mapping[str, Path]:
    """Version → interpreter that has sqlite3; the running one is always among them."""
    running = "{}.{}".format(*sys.version_info)
    found = {version: next((path for path in _candidates(version) if _is(path, version)), None) for version in WANTED}
    found[running] = Path(sys.executable)
    return {version: path for version, path in found.items() if path}


def _candidates(version: str) -> Iterator[Path]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob(f"versions/{version}.*/bin/python"))


def _is(path: Path, version: str) -> bool:
    try:
        ran = subprocess.run([path, "-c", _WHICH], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return False
    return ran.stdout.strip() == version
