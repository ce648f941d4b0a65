"""The modules an analysis may look into, loaded on demand and by dotted name."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path

from dbsafety.facts.gather import gather
from dbsafety.facts.scopes import ModuleIndex

Reader = Callable[[str], "ast.Module | None"]


def nothing(_path: str) -> ast.Module | None:
    """A reader for analyses that stay inside one module."""
    return None


class Program:
    """All modules known so far.

    `roots` are the folders in which top-level modules stand, in order of preference. `read` returns the parsed tree of
    a file, or None when there is no such file or it cannot be parsed; other modules are asked for only when a name is
    followed into them. Paths are keys: the same module name under two roots is two modules.
    """

    def __init__(self, roots: Sequence[str] = (), read: Reader = nothing) -> None:
        self._roots = tuple(roots)
        self._read = read
        self._by_path: dict[str, ModuleIndex | None] = {}
        self._by_name: dict[str, ModuleIndex | None] = {}

    def add(self, tree: ast.Module, path: str, name: str, *, is_package: bool = False) -> ModuleIndex:
        """Index a module that is already parsed; `name` is its dotted name."""
        index = gather(tree, path, name, is_package=is_package)
        self._by_path[path] = index
        if name:
            self._by_name.setdefault(name, index)
        return index

    def take(self, tree: ast.Module, path: str) -> ModuleIndex:
        """Index the module under analysis; one that was loaded before is indexed anew, since its text may differ."""
        name, is_package = module_name(path, self._roots)
        index = self.add(tree, path, name, is_package=is_package)
        if name:
            self._by_name[name] = index
        return index

    def module(self, dotted: str) -> ModuleIndex | None:
        """The project module with this dotted name, None when it is not the project's."""
        if not dotted or dotted.startswith("."):
            return None
        if dotted not in self._by_name:
            self._by_name[dotted] = None
            self._by_name[dotted] = self._load(dotted)
        return self._by_name[dotted]

    def split(self, dotted: str) -> tuple[ModuleIndex, tuple[str, ...]] | None:
        """The longest prefix of `dotted` that is a project module, with the names that are left."""
        parts = dotted.split(".")
        for length in range(len(parts), 0, -1):
            index = self.module(".".join(parts[:length]))
            if index is not None:
                return index, tuple(parts[length:])
        return None

    def _load(self, dotted: str) -> ModuleIndex | None:
        relative = Path(*dotted.split("."))
        for root in self._roots:
            for candidate, is_package in ((relative.with_suffix(".py"), False), (relative / "__init__.py", True)):
                path = (Path(root) / candidate).as_posix()
                if path in self._by_path:
                    return self._by_path[path]
                tree = self._read(path)
                if tree is not None:
                    return self.add(tree, path, dotted, is_package=is_package)
        return None


def module_name(path: str, roots: Sequence[str]) -> tuple[str, bool]:
    """Dotted name of the file at `path` below the first root that holds it, and whether it is a package's
    `__init__.py`; the bare stem when no root holds it.
    """
    pure = Path(path)
    is_package = pure.name == "__init__.py"
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
