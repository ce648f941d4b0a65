"""Patterns over the paths of a project, in the manner of `.gitignore`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache


def matches(path: str, patterns: Iterable[str], *, folder: bool = False) -> bool:
    """Whether a pattern names the file or folder `path`, or a folder above it.

    `path` is relative to the project root, with forward slashes. A pattern without a slash (but at its end) matches a
    name at any depth; one with a slash starts at the root. `*` and `?` stop at a slash, `**` is any number of folders.
    A slash at the end restricts the pattern to folders; `folder` says whether the last part of `path` is one.
    """
    parts = _parts(path)
    return any(_matches(parts, pattern, folder=folder) for pattern in patterns)


def _matches(parts: Sequence[str], pattern: str, *, folder: bool) -> bool:
    wanted = _parts(pattern.replace("\\", "/"))
    if not wanted:
        return False
    if len(wanted) == 1 and not pattern.startswith(("/", "./")):
        wanted = ("**", *wanted)
    last = len(parts) - 1 if pattern.endswith("/") and not folder else len(parts)
    return any(_fits(parts[:end], wanted) for end in range(1, last + 1))


def _fits(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_fits(parts[start:], wanted[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], wanted[0]) and _fits(parts[1:], wanted[1:])


@lru_cache(maxsize=1024)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", "."))
