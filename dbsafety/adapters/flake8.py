"""The flake8 plugin: `flake8 --select DBS`. Codes and columns are those of the command line."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from flake8.exceptions import ExecutionError
from flake8.options.manager import OptionManager

from dbsafety import __version__
from dbsafety.adapters.host import CONFIDENCES, Engine, encoded, overrides
from dbsafety.model.faults import ConfigFault
from dbsafety.model.finding import Finding
from dbsafety.rules.registry import all_rules
from dbsafety.source.pragmas import PragmaKind
from dbsafety.source.text import SourceText


class Plugin:
    """What flake8 makes once for every file; the options are on the class, since files are checked in processes."""

    name = "dbsafety"
    version = __version__
    engine: ClassVar[Engine] = Engine()

    def __init__(self, tree: ast.AST, lines: Sequence[str], filename: str) -> None:
        del tree  # being asked for makes this a plugin for whole files that parse
        self._text = "".join(lines)
        self._filename = filename

    @classmethod
    def add_options(cls, manager: OptionManager) -> None:
        """Tell flake8 our options, and which codes are off by default."""
        manager.add_option(
            "--dbsafety-config",
            default="",
            parse_from_config=True,
            help="the pyproject.toml or dbsafety.toml to read; default: the nearest above each file",
        )
        manager.add_option(
            "--dbsafety-source-roots",
            default=[],
            comma_separated_list=True,
            parse_from_config=True,
            help="folders that imports start from, relative to the project root",
        )
        manager.add_option(
            "--dbsafety-min-confidence",
            default=None,
            choices=CONFIDENCES,
            parse_from_config=True,
            help="show findings of at least this confidence",
        )
        manager.extend_default_ignore([module.rule.code for module in all_rules() if not module.rule.default])

    @classmethod
    def parse_options(cls, options: argparse.Namespace) -> None:
        """Take over the options. Raises flake8's ExecutionError, which ends the run with one line, for wrong ones."""
        chosen = overrides(options.dbsafety_source_roots, options.dbsafety_min_confidence)
        unjudged = frozenset() if options.disable_noqa else frozenset({PragmaKind.NOQA})
        cls.engine = Engine(options.dbsafety_config, chosen, unjudged)
        try:
            cls.engine.require_valid_configuration(Path.cwd())
        except ConfigFault as fault:
            raise ExecutionError(str(fault)) from fault

    def run(self) -> Iterator[tuple[int, int, str, type[Plugin]]]:
        """Line (1-based), column (0-based, in characters) and text of each finding.

        A rule that crashed is a DBS004 on the first line: flake8 has no other way to say so and go on. Raises
        ExecutionError for a wrong configuration nearer to the file than the one that was looked at before.
        """
        try:
            result = self.engine.check(encoded(self._text), self._filename)
        except ConfigFault as wrong:
            raise ExecutionError(str(wrong)) from wrong
        text = SourceText.of(self._text)
        for fault in result.faults:
            yield 1, 0, fault.message, Plugin
        for finding in result.findings:
            yield finding.span.line, _column(finding, text), f"{finding.code} {finding.said.line}", Plugin


def _column(finding: Finding, text: SourceText) -> int:
    return text.character_column(finding.span.line, finding.span.col)
