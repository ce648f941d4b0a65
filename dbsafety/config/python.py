"""The oldest Python a project says it runs on: `requires-python` of its pyproject.toml."""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LOWER_BOUND = re.compile(r"(?:^|,)\s*(?:>=|>|~=|==|\^|~)?\s*3\.(\d{1,2})")


def oldest_python(root: Path) -> tuple[int, int] | None:
    """What pyproject.toml of the folder `root` says, None when it says nothing or cannot be read.

    Takes `[project]` (PEP 621) and the table of Poetry. Never raises: the file is not ours, and its faults are shown by
    those who own it.
    """
    try:
        data = (root / "pyproject.toml").read_bytes()
        if b"python" not in data:
            return None
        document = tomllib.loads(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    wanted = _inside(document, "project", "requires-python")
    wanted = wanted if wanted is not None else _inside(document, "tool", "poetry", "dependencies", "python")
    found = _LOWER_BOUND.search(wanted) if isinstance(wanted, str) else None
    return (3, int(found.group(1))) if found is not None else None


def _inside(table: object, *keys: str) -> object:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table
