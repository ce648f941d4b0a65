"""The modules an analysis may look into, loaded on demand and by dotted name."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from dbsafety.facts.gather import gather
from dbsafety.facts.scopes import ModuleIndex

_SOURCES = ("src", "lib", "python")
_ENDINGS = (".py", "/__init__.py", ".pyi", "/__init__.pyi")
"""Where the text of a module is, best first: a stub says what a module in another language has."""

Reader = Callable[[str], "ast.Module | None"]


def nothing(_path: str) -> ast.Module | None:
    """A reader for analyses that stay inside one module."""
    return None


class Program:
    """All modules known so far.

    `roots` are the folders in which top-level modules stand, in order of preference. `read` returns the parsed tree of
    a file, or None when there is no such file or it cannot be parsed; other modules are asked for only when a name is
    followed into them. Paths are keys: the same module name under two roots is two modules, and an import means the
    one below a root that holds the importing file (or a `src` beside it), so that several projects can be checked in
    one run. `everywhere`: all roots count for all files, since the user has named them.
    """

    def __init__(self, roots: Sequence[str] = (), read: Reader = nothing, *, everywhere: bool = False) -> None:
        self._roots = tuple(roots)
        self._read = read
        self._everywhere = everywhere
        self._by_path: dict[str, ModuleIndex | None] = {}
        self._by_name: dict[tuple[str, str], ModuleIndex | None] = {}
        self._near: dict[str, tuple[str, ...]] = {}
        self._splits: dict[tuple[str, tuple[str, ...]], tuple[ModuleIndex, tuple[str, ...]] | None] = {}
        self.generation = 0
        """Grows when a module that was known is indexed anew, so that what was found with its help is void."""

    def add(self, tree: ast.Module, path: str, name: str, *, is_package: bool = False) -> ModuleIndex:
        """Index a module that is already parsed; `name` is its dotted name."""
        index = gather(tree, path, name, is_package=is_package)
        self._by_path[path] = index
        if name and not self._roots:
            self._by_name.setdefault(("", name), index)
        return index

    def take(self, tree: ast.Module, path: str) -> ModuleIndex:
        """Index the module under analysis; one that was loaded from another tree is indexed anew."""
        known = self._by_path.get(path)
        if known is not None and known.tree is tree:
            return known
        if path in self._by_path or not self._roots:
            self.generation += 1
            if self._by_path.get(path) is None:  # where it was looked for in vain, it is found now
                self._by_name = {key: index for key, index in self._by_name.items() if index is not None}
                self._splits.clear()
        name, is_package = module_name(path, self._roots)
        return self.add(tree, path, name, is_package=is_package)

    def module(self, dotted: str, near: str = "") -> ModuleIndex | None:
        """The project module that `dotted` means in the file `near`, None when it is not the project's."""
        if not dotted or dotted.startswith("."):
            return None
        for root in self._roots_for(near) or ("",):
            key = (root, dotted)
            if key not in self._by_name:
                self._by_name[key] = self._load(dotted, root) if self._roots else None
            index = self._by_name[key]
            if index is not None:
                return self._by_path.get(index.path) or index
        return None

    def split(self, dotted: str, near: str = "") -> tuple[ModuleIndex, tuple[str, ...]] | None:
        """The longest prefix of `dotted` that is a project module in the eyes of `near`, with the names left over."""
        key = (dotted, self._roots_for(near))
        if key not in self._splits:
            parts = dotted.split(".")
            self._splits[key] = None
            for length in range(len(parts), 0, -1):
                index = self.module(".".join(parts[:length]), near)
                if index is not None:
                    self._splits[key] = (index, tuple(parts[length:]))
                    break
        found = self._splits[key]
        # The module may have been indexed anew since.
        return (self._by_path.get(found[0].path) or found[0], found[1]) if found is not None else None

    def _roots_for(self, near: str) -> tuple[str, ...]:
        if not near or self._everywhere:
            return self._roots
        known = self._near.get(near)
        if known is None:
            folder = PurePosixPath(near).parent
            above = (folder, *folder.parents)
            holding = [root for root in self._roots if PurePosixPath(root) in above]
            holding.sort(key=lambda root: -len(PurePosixPath(root).parts))
            beside = [r for r in self._roots if PurePosixPath(r).name in _SOURCES and PurePosixPath(r).parent in above]
            known = self._near[near] = tuple(dict.fromkeys((*holding, *beside)))
        return known

    def _load(self, dotted: str, root: str) -> ModuleIndex | None:
        relative = Path(*dotted.split("."))
        candidates = ((f"{relative}{ending}", ending.startswith("/")) for ending in _ENDINGS)
        for candidate, is_package in candidates:
            path = (Path(root) / candidate).as_posix()
            if path not in self._by_path:
                tree = self._read(path)
                # Named as `take` names it, so that it does not matter which of the two comes first.
                name = module_name(path, self._roots)[0]
                self._by_path[path] = self.add(tree, path, name, is_package=is_package) if tree is not None else None
            if self._by_path[path] is not None:
                return self._by_path[path]
        return None


def module_name(path: str, roots: Sequence[str]) -> tuple[str, bool]:
    """Dotted name of the file at `path` below the first root that holds it, and whether it is a package's
    `__init__.py`; the bare stem when no root holds it.
    """
    pure = Path(path)
    is_package = pure.name in ("__init__.py", "__init__.pyi")
    for root in roots:
        try:
            relative = pure.relative_to(root)
        except ValueError:
            continue
        parts = list(relative.with_suffix("").parts)
        if is_package:
            parts = parts[:-1]
        if all(part.isidentifier() for part in parts):
            return ".".join(parts), is_package
    return ("" if is_package else pure.stem), is_package
