"""How a file is named in findings and in patterns, and where its imports start."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def absolute(path: str | Path) -> Path:
    """The absolute path without `..` parts; symbolic links stay."""
    return Path(os.path.normpath(Path(path).absolute()))


def shown(path: str | Path) -> str:
    """The name of a file in findings: relative to the current folder if it lies below, else absolute; with `/`."""
    full = absolute(path)
    return full.relative_to(Path.cwd()).as_posix() if full.is_relative_to(Path.cwd()) else full.as_posix()


def in_project(path: str | Path, root: Path) -> str:
    """The name of a file for patterns: relative to the project root, the bare name for a file outside of it."""
    full = absolute(path)
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else full.name


def import_roots(root: Path, configured: Sequence[str], files: Iterable[str]) -> tuple[str, ...]:
    """The folders that imports may start from, as `shown`, in order of preference.

    Those `configured` (relative to the project root) if any; else the root, its `src`, and for each file every folder
    from the one above the topmost package that holds it up to the root (or the current folder), since a program may be
    started in any of them.
    """
    if configured:
        return tuple(dict.fromkeys(shown(root / folder) for folder in configured))
    top = Path.cwd() if root.is_relative_to(Path.cwd()) else root
    roots = [_above_package(root)]
    if (root / "src").is_dir():
        roots.append(root / "src")
    for folder in dict.fromkeys(absolute(file).parent for file in files):
        start = _above_package(folder)
        roots.append(start)
        roots.extend(parent for parent in start.parents if parent.is_relative_to(top))
    return tuple(dict.fromkeys(shown(folder) for folder in roots))


def _above_package(folder: Path) -> Path:
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        folder = folder.parent
    return folder
