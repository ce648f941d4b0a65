"""From the paths of a command line to the files to check."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dbsafety.check.paths import absolute, in_project, shown
from dbsafety.config.globs import matches
from dbsafety.config.load import Configuration
from dbsafety.fix.apply import is_leftover
from dbsafety.model.faults import UnreadableFault
from dbsafety.project.git import ignored, work_tree

SUFFIXES = (".py", ".pyi")
_SPECIAL = frozenset("*?[]/\\")


@dataclass(frozen=True, slots=True)
class Discovery:
    """The files to check, sorted, each with whether it was named itself; what could not be read; remarks.

    `leftovers` are folders in which a killed run of `fix` may have left temporary files.
    """

    files: tuple[tuple[str, bool], ...]
    faults: tuple[UnreadableFault, ...] = ()
    notes: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()


def discover(paths: Sequence[str], configuration: Configuration) -> Discovery:
    """Find the Python files in `paths`.

    Folders are searched for `.py` and `.pyi` files, without following links to folders, leaving out what git
    ignores and what is excluded. A file that is named is taken whatever its name; with `force-exclude` the
    exclusions count for it, too.
    """
    search = _Search(configuration)
    files: dict[str, bool] = {}
    for path in paths:
        for name, named in search.under(path):
            files[name] = files.get(name, False) or named
    notes, leftovers = tuple(dict.fromkeys(search.notes)), tuple(sorted(search.leftovers))
    return Discovery(tuple(sorted(files.items())), tuple(search.faults), notes, leftovers)


def is_excluded(path: str | Path, configuration: Configuration, *, folder: bool = False) -> bool:
    """Whether the exclusions name this path or a folder above it, up to the project root."""
    name = in_project(path, configuration.root)
    return matches(name, configuration.settings.excluded, folder=folder)


@dataclass(slots=True)
class _Search:
    configuration: Configuration
    faults: list[UnreadableFault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    leftovers: set[str] = field(default_factory=set)
    _trees: dict[Path, frozenset[str]] = field(default_factory=dict)
    _names: frozenset[str] = frozenset()
    _patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Part the plain names, which a set answers at once, from the patterns."""
        patterns = self.configuration.settings.excluded
        self._names = frozenset(pattern for pattern in patterns if not _SPECIAL.intersection(pattern))
        self._patterns = tuple(pattern for pattern in patterns if _SPECIAL.intersection(pattern))

    def under(self, path: str) -> Iterator[tuple[str, bool]]:
        """The files at a path of the command line."""
        settings = self.configuration.settings
        full = absolute(path)
        try:
            mode = full.stat().st_mode
        except OSError as error:
            self.faults.append(UnreadableFault(_reason(error, full), shown(path)))
            return
        is_folder = stat.S_ISDIR(mode)
        if stat.S_ISFIFO(mode):
            # Files are read twice.
            self.faults.append(UnreadableFault("a pipe cannot be read twice; - reads standard input", shown(path)))
            return
        if settings.force_exclude and is_excluded(full, self.configuration, folder=is_folder):
            return
        if is_folder:
            yield from ((name, False) for name in self._walk(full))
        else:
            self.leftovers.add(str(full.resolve().parent))
            yield shown(full), True

    def _walk(self, top: Path) -> Iterator[str]:
        # Names are built from strings on the way down: this runs once for every file of a tree.
        waiting = [(str(top), shown(top), self._ignored_in(work_tree(top)))]
        while waiting:
            folder, name, out = waiting.pop()
            entries = self._entries(folder, name)
            if any(entry.name == ".git" for entry in entries):
                out |= self._ignored_in(Path(folder))
            prefix = "" if name == "." else name.rstrip("/") + "/"
            for entry in entries:
                below = prefix + entry.name
                if is_leftover(entry.name):
                    self.leftovers.add(folder)
                if entry.path in out or self._is_excluded(entry):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, below, out))
                elif entry.name.endswith(SUFFIXES) and self._is_file(entry, below):
                    if entry.is_symlink():  # whose target is what `fix` writes
                        self.leftovers.add(str(Path(entry.path).resolve().parent))
                    yield below

    def _entries(self, folder: str, name: str) -> Sequence[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return tuple(entries)
        except OSError as error:
            self.faults.append(UnreadableFault(f"cannot read the folder: {error.strerror}", name))
            return ()

    def _is_file(self, entry: os.DirEntry[str], name: str) -> bool:
        try:
            return entry.is_file()
        except OSError as error:
            self.faults.append(UnreadableFault(f"cannot read: {error.strerror}", name))
            return False

    def _is_excluded(self, entry: os.DirEntry[str]) -> bool:
        if entry.name in self._names:
            return True
        folder = entry.is_dir(follow_symlinks=False)
        return bool(self._patterns) and matches(
            in_project(entry.path, self.configuration.root), self._patterns, folder=folder
        )

    def _ignored_in(self, tree: Path | None) -> frozenset[str]:
        if tree is None:
            return frozenset()
        if tree not in self._trees:
            self._trees[tree], note = ignored(tree)
            if note:
                self.notes.append(f"{shown(tree)}: {note}")
        return self._trees[tree]


def _reason(error: OSError, path: Path) -> str:
    if isinstance(error, FileNotFoundError) and not path.is_symlink():
        return "no such file or folder"
    return f"cannot read: {error.strerror}"
