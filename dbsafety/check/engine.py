"""The door to the engine: the prefilter and the rules."""

from __future__ import annotations

import importlib
from typing import Protocol

from dbsafety.check.session import Session
from dbsafety.model.faults import RuleCrash
from dbsafety.model.finding import Finding, Step
from dbsafety.source.module import SourceModule


class RuleRun(Protocol):
    """What the rules say about one module."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """In any order."""
        ...

    @property
    def crashes(self) -> tuple[RuleCrash, ...]:
        """Rules that failed, with rule and file."""
        ...

    @property
    def incomplete(self) -> tuple[Step, ...]:
        """Places where a budget was used up."""
        ...


def run_rules(module: SourceModule, session: Session, codes: frozenset[str]) -> RuleRun:
    """Run the rules on a module."""
    engine = importlib.import_module("dbsafety.rules.run")
    run: RuleRun = engine.run_rules(module, session.program, codes)
    return run


def relevant(data: bytes) -> bool:
    """Whether a file can have findings at all, by the words in it."""
    vocabulary = importlib.import_module("dbsafety.drivers.vocabulary")
    return bool(vocabulary.relevant(data))
