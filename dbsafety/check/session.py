"""What stays the same for all files of a run: settings, chosen rules, and the modules known so far."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from dbsafety.check.paths import import_roots, in_project
from dbsafety.check.wrappers import driver_table
from dbsafety.config.globs import matches
from dbsafety.config.lines import line_of
from dbsafety.config.load import Configuration
from dbsafety.config.select import choose, matching, require_known
from dbsafety.config.settings import Settings
from dbsafety.drivers.table import DriverTable
from dbsafety.facts.program import Program
from dbsafety.model.faults import ConfigFault, SourceFault
from dbsafety.rules.registry import RETIRED, all_rules
from dbsafety.source.module import SourceModule, parse_tree
from dbsafety.source.text import SourceText
from dbsafety.typestate.frame import Frames
from dbsafety.typestate.memory import Memory


class Trees:
    """The syntax trees of a run: one for each text, so that what is known of it can be found again."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, ast.Module]] = {}

    def parse(self, data: bytes, path: str) -> SourceModule:
        """The file with these bytes. Raises SourceFault for what Python cannot parse."""
        digest = blake2b(data).digest()
        known = self._kept.get(path)
        module = SourceModule.parse(data, path, known[1] if known is not None and known[0] == digest else None)
        self._kept[path] = digest, module.tree
        return module

    def read(self, path: str) -> ast.Module | None:
        """The tree of another module, None when there is none to be had: what it does is then unknown."""
        try:
            data = Path(path).read_bytes()
            tree = parse_tree(SourceText.decode(data, path), path)
        except (OSError, SourceFault):
            return None
        self._kept[path] = blake2b(data).digest(), tree
        return tree


@dataclass(frozen=True, slots=True)
class Session:
    """One run in one process: `codes` are the rules that run, `known` all that exist."""

    settings: Settings
    root: Path
    codes: frozenset[str]
    known: frozenset[str]
    roots: tuple[str, ...]
    trees: Trees
    frames: Frames

    @classmethod
    def of(cls, configuration: Configuration, files: Sequence[str] = (), roots: Sequence[str] | None = None) -> Session:
        """Open a session for `files` (names as `paths.shown`), whose packages tell where imports start.

        `roots` says it instead. Raises ConfigFault for codes that no rule has, and for source roots that do not exist.
        """
        settings = configuration.settings
        defaults = {module.rule.code: module.rule.default for module in all_rules()}
        _require_codes(configuration, defaults)
        _require_folders(configuration)
        codes = choose(settings.select, settings.extend_select, settings.ignore, defaults)
        if roots is None:
            roots = import_roots(configuration.root, settings.source_roots, files)
        roots = tuple(roots)
        table = _table(configuration)
        return cls(
            settings,
            configuration.root,
            codes,
            frozenset(defaults),
            roots,
            *_opened(roots, settings, table),
        )

    def renewed(self) -> Session:
        """The same session without the modules seen so far: their trees take a kilobyte for each line."""
        trees, frames = _opened(self.roots, self.settings, self.frames.memory.table)
        return replace(self, trees=trees, frames=frames)

    def codes_for(self, path: str) -> frozenset[str]:
        """The rules that run on this file: those chosen, less the ones ignored for its path."""
        ignores = self.settings.per_file_ignores
        if not ignores:
            return self.codes
        name = in_project(path, self.root)
        ignored = [code for pattern, codes in ignores.items() if matches(name, (pattern,)) for code in codes]
        return self.codes - matching(ignored, self.codes)

    def is_test(self, path: str) -> bool:
        """Whether the file is test code by its path."""
        return matches(in_project(path, self.root), self.settings.test_paths)


def _opened(roots: tuple[str, ...], settings: Settings, table: DriverTable) -> tuple[Trees, Frames]:
    trees = Trees()
    program = Program(roots, trees.read, everywhere=bool(settings.source_roots))
    return trees, Frames(Memory(program, table))


def _table(configuration: Configuration) -> DriverTable:
    wrappers = configuration.settings.wrappers
    for number, wrapper in enumerate(wrappers):
        try:
            driver_table((wrapper,))
        except ConfigFault as fault:
            raise _located(fault, configuration.file, "wrappers", number=number) from fault
    return driver_table(wrappers)


def _require_folders(configuration: Configuration) -> None:
    """Every source root must be there: nothing would be found in it, and nobody told."""
    for folder in configuration.settings.source_roots:
        if not (configuration.root / folder).is_dir():
            fault = ConfigFault(f"source-roots: {(configuration.root / folder).as_posix()}: no such folder")
            raise _located(fault, configuration.file, "source-roots", folder)


def _require_codes(configuration: Configuration, known: Mapping[str, bool]) -> None:
    settings = configuration.settings
    named: tuple[tuple[str, Sequence[str]], ...] = (
        ("select", settings.select),
        ("extend-select", settings.extend_select),
        ("ignore", settings.ignore),
        ("per-file-ignores", [code for codes in settings.per_file_ignores.values() for code in codes]),
        ("severity", list(settings.severity)),
        ("fix-applicability", list(settings.fix_applicability)),
    )
    for key, selectors in named:
        for selector in selectors:
            try:
                require_known((selector,), known, RETIRED, key)
            except ConfigFault as fault:
                raise _located(fault, configuration.file, key, selector) from fault


def _located(fault: ConfigFault, file: Path | None, key: str, inner: str = "", number: int = 0) -> ConfigFault:
    """The fault with the place of its setting; without, when it came from the command line."""
    line = line_of(file, key, inner, number) if file is not None else 0
    return ConfigFault(fault.message, str(file) if line else "", line)
