"""What the hosts share: they show the engine one file at a time, and choose codes and apply their own comments."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dbsafety.check.module import ModuleResult, check_module
from dbsafety.check.paths import absolute, shown
from dbsafety.check.session import Session
from dbsafety.check.suppress import OWN_ONLY
from dbsafety.config.load import load, overlaid
from dbsafety.rules.dbs001_syntax_error import RULE as SYNTAX_ERROR
from dbsafety.rules.registry import all_rules
from dbsafety.source.pragmas import PragmaKind

CONFIDENCES = ("low", "medium", "high")
_SESSIONS = 4
"""Folders whose sessions are kept, the last used: each has trees of its own, also of what its files import."""


@dataclass(slots=True)
class Engine:
    """Checks files for a host.

    `config` names a configuration file, "" for the nearest one above each file. `overrides` are settings as TOML would
    give them, which win over the file's; `source-roots` among them start at the project root. `unjudged` are the host's
    own comments that are to silence findings also where the host does not look for them (other lines of a header).
    """

    config: str = ""
    overrides: Mapping[str, object] = field(default_factory=dict)
    unjudged: frozenset[PragmaKind] = frozenset()
    _sessions: dict[Path, Session] = field(default_factory=dict)

    def check(self, data: bytes, path: str) -> ModuleResult:
        """The findings of a file's bytes without DBS001, which is the host's to report, and without host comments.

        Rules that are off by default run, too: the host hides them unless asked. Raises ConfigFault.
        """
        name = shown(path)
        result = check_module(data, name, self._session(name), kinds=OWN_ONLY, unjudged=self.unjudged)
        return replace(result, findings=tuple(one for one in result.findings if one.code != SYNTAX_ERROR.code))

    def require_valid_configuration(self, folder: Path) -> None:
        """Raises ConfigFault when the configuration for files of this folder is not valid."""
        self._opened(folder, ())

    def _session(self, name: str) -> Session:
        folder = absolute(name).parent
        session = self._sessions.pop(folder, None)
        if session is None:
            session = self._opened(folder if folder.is_dir() else Path.cwd(), (name,))
        self._sessions[folder] = session
        while len(self._sessions) > _SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return session

    def _opened(self, folder: Path, files: tuple[str, ...]) -> Session:
        configuration = load(folder, Path(self.config) if self.config else None)
        settings = overlaid(configuration.settings, self.overrides)
        optional = tuple(module.rule.code for module in all_rules() if not module.rule.default)
        settings = replace(settings, extend_select=(*settings.extend_select, *optional))
        return Session.of(replace(configuration, settings=settings), files)


def overrides(source_roots: list[str] | None, min_confidence: str | None) -> dict[str, object]:
    """The settings that a host's options name; absent and empty ones change nothing."""
    given: dict[str, object] = {"source-roots": source_roots, "min-confidence": min_confidence}
    return {key: value for key, value in given.items() if value}


def encoded(text: str) -> bytes:
    """Text that a host has decoded as bytes, in the encoding that its coding cookie names, if it does."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(text.encode("utf-8", "surrogatepass")).readline)
        return text.encode(encoding)
    except (SyntaxError, UnicodeEncodeError):
        # The host had to guess; then the engine cannot know better.
        return text.encode("utf-8", "surrogatepass")
