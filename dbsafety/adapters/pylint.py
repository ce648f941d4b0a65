"""The pylint plugin: `pylint --load-plugins=dbsafety.adapters.pylint`. Symbols are `dbs-` and the name of the rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from astroid import nodes
from pylint.checkers import BaseChecker
from pylint.interfaces import HIGH, INFERENCE, INFERENCE_FAILURE

from dbsafety.adapters import brain
from dbsafety.adapters.host import CONFIDENCES, Engine, overrides
from dbsafety.model.faults import ConfigFault, DbsafetyError
from dbsafety.model.finding import Confidence, Finding
from dbsafety.rules.registry import all_rules
from dbsafety.source.text import SourceText

if TYPE_CHECKING:
    from pylint.lint import PyLinter
    from pylint.typing import MessageDefinitionTuple, Options

_CONFIDENCE = {Confidence.HIGH: HIGH, Confidence.MEDIUM: INFERENCE, Confidence.LOW: INFERENCE_FAILURE}
_HOST_REPORTS = "DBS001"
"""pylint reports syntax errors itself (E0001)."""


def register(linter: PyLinter) -> None:
    """Called by pylint when it loads the plugin."""
    linter.register_checker(DatabaseChecker(linter))


def messages() -> dict[str, MessageDefinitionTuple]:
    """The definition of each rule's message, by its id; ids never change."""
    return {
        rule.pylint_id: (
            f"%s ({rule.code})",
            f"dbs-{rule.slug}",
            f"{rule.summary} ({rule.code})",
            {"default_enabled": rule.default},
        )
        for rule in (module.rule for module in all_rules())
        if rule.code != _HOST_REPORTS
    }


class DatabaseChecker(BaseChecker):
    """Runs the engine on each module."""

    name = "dbsafety"
    msgs = messages()
    options: Options = (
        (
            "dbsafety-config",
            {
                "type": "string",
                "default": "",
                "metavar": "<file>",
                "help": "The pyproject.toml or dbsafety.toml to read; default: the nearest above each file.",
            },
        ),
        (
            "dbsafety-source-roots",
            {
                "type": "csv",
                "default": (),
                "metavar": "<folders>",
                "help": "Folders that imports start from, relative to the project root.",
            },
        ),
        (
            "dbsafety-min-confidence",
            {
                "type": "choice",
                "default": "",
                "choices": ("", *CONFIDENCES),
                "metavar": "<confidence>",
                "help": "Show findings of at least this confidence; default: what the configuration says.",
            },
        ),
        (
            "dbsafety-brain",
            {
                "type": "yn",
                "default": False,
                "metavar": "<y or n>",
                "help": "Import the installed database drivers and tell pylint what their classes have, so that it "
                "knows a misspelt method of a connection.",
            },
        ),
    )

    def open(self) -> None:
        """Called by pylint before the first file, in every process."""
        config = self.linter.config
        chosen = overrides(list(config.dbsafety_source_roots), config.dbsafety_min_confidence)
        self._engine = Engine(config.dbsafety_config, chosen)
        self._told: set[str] = set()
        if config.dbsafety_brain:
            brain.install()

    def visit_module(self, node: nodes.Module) -> None:
        """Called by pylint for each module."""
        stream = node.stream()
        if stream is None:  # made by a plugin, not read from a file
            return
        with stream:
            data = stream.read()
        try:
            result = self._engine.check(data, node.file or node.name)
            for fault in result.faults:
                self._tell(node, fault)
            if result.findings:
                self._report(node, result.findings, SourceText.decode(data))
        except ConfigFault as fault:
            # The same for every file: told with the first.
            if str(fault) not in self._told:
                self._told.add(str(fault))
                self._tell(node, fault)
        except DbsafetyError as fault:
            self._tell(node, fault)

    def _tell(self, node: nodes.Module, fault: DbsafetyError) -> None:
        """Report what kept the engine from its work as pylint does for itself, as a fatal message."""
        self.linter.add_message("astroid-error", args=(node.file or node.name, fault), confidence=HIGH)

    def _report(self, module: nodes.Module, findings: tuple[Finding, ...], text: SourceText) -> None:
        ids = {known.rule.code: known.rule.pylint_id for known in all_rules()}
        places = _places(module)
        for finding in findings:
            span = finding.span
            self.add_message(
                ids[finding.code],
                # A message must have a node; the module's stands in where the tree has none there (comments).
                node=places.get((span.line, span.col), module),
                args=(finding.said.line,),
                confidence=_CONFIDENCE[finding.confidence],
                line=span.line,
                col_offset=text.character_column(span.line, span.col),
                end_lineno=span.end_line,
                end_col_offset=text.character_column(span.end_line, span.end_col),
            )


def _places(module: nodes.Module) -> Mapping[tuple[int, int], nodes.NodeNG]:
    """The outermost node that starts at each line and column (in UTF-8 bytes)."""
    found: dict[tuple[int, int], nodes.NodeNG] = {}
    waiting: list[nodes.NodeNG] = [module]
    while waiting:
        node = waiting.pop()
        if node.lineno is not None and node.col_offset is not None:
            found.setdefault((node.lineno, node.col_offset), node)
        waiting.extend(node.get_children())
    return found
