"""Reads the import graph of our own source trees, with `ast` alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement: the dotted names it may load (module, and module.name for each name), and its line."""

    names: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """A source file: its dotted name, its path below the repository, its text and tree."""

    name: str
    path: str
    text: str
    tree: ast.Module

    def imports(self) -> Iterator[Import]:
        """Every import, wherever it stands: top level, under TYPE_CHECKING, inside a function."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Import():
                    yield from (Import((alias.name,), node.lineno) for alias in node.names)
                case ast.ImportFrom(module=str(base), level=0):
                    yield from (Import((f"{base}.{alias.name}", base), node.lineno) for alias in node.names)
                case ast.ImportFrom():
                    raise ValueError(f"{self.path}:{node.lineno}: relative import")

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method, nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def modules(folder: str, *, below: str = "") -> tuple[Module, ...]:
    """The Python files under `folder` (from the repository's root), named as seen from the folder `below`."""
    return tuple(_read(path, ROOT / below) for path in sorted((ROOT / folder).rglob("*.py")))


def internal_edges(found: tuple[Module, ...]) -> Mapping[str, tuple[tuple[str, int], ...]]:
    """Module name → (imported module of the same set, line)."""
    known = {module.name for module in found}
    edges: dict[str, tuple[tuple[str, int], ...]] = {}
    for module in found:
        targets = ((next((name for name in item.names if name in known), ""), item.line) for item in module.imports())
        edges[module.name] = tuple((target, line) for target, line in targets if target and target != module.name)
    return edges


def cycle(edges: Mapping[str, tuple[tuple[str, int], ...]]) -> tuple[str, ...]:
    """One import cycle as the names along it, or nothing."""
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> tuple[str, ...]:
        if name in way:
            return (*way[way.index(name) :], name)
        if name in done:
            return ()
        for target, _line in edges[name]:
            if found := visit(target, (*way, name)):
                return found
        done.add(name)
        return ()

    return next((found for name in sorted(edges) if (found := visit(name, ()))), ())


def _read(path: Path, base: Path) -> Module:
    parts = path.relative_to(base).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text(encoding="utf-8")
    return Module(name, path.relative_to(ROOT).as_posix(), text, ast.parse(text, str(path)))
