"""Runs the rules over one module; a rule that fails is contained and named."""

from __future__ import annotations

import ast
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dbsafety.model.faults import RuleCrash
from dbsafety.model.finding import Finding, Step
from dbsafety.model.span import Span
from dbsafety.rules.registry import RuleModule, all_rules
from dbsafety.typestate.frame import Frames
from dbsafety.typestate.resolve import Resolver
from dbsafety.typestate.summaries import Summaries
from dbsafety.views.view import ModuleView, Options

_FRAMES = 5_000


class Module(Protocol):
    """What the rules need of a parsed file."""

    @property
    def path(self) -> str:
        """The name used in findings."""

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""


@dataclass(frozen=True, slots=True)
class RuleRun:
    """What the rules say about one module; `incomplete` tells where a budget was used up."""

    findings: tuple[Finding, ...]
    crashes: tuple[RuleCrash, ...] = ()
    incomplete: tuple[Step, ...] = ()


def run_rules(module: Module, frames: Frames, codes: frozenset[str], options: Options | None = None) -> RuleRun:
    """The findings of the rules with these `codes` on one module of the program, in no particular order."""
    with deep_recursion():
        return _run(module, frames, codes, options or Options())


def _run(module: Module, frames: Frames, codes: frozenset[str], options: Options) -> RuleRun:
    view = view_of(module, frames, options)
    findings: list[Finding] = []
    crashes: list[RuleCrash] = []
    for rule in all_rules():
        if rule.check is None or rule.rule.code not in codes:
            continue
        try:
            findings.extend(_findings(rule, view))
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - a rule that fails must not end the run
            crashes.append(_crash(rule, module.path, error))
    exhausted = view.summaries.exhausted
    notes = (
        [
            Step(
                module.path,
                Span.line_start(1),
                "a budget of the analysis was used up; findings in this file may be missing",
            )
        ]
        if exhausted
        else []
    )
    return RuleRun(tuple(dict.fromkeys(findings)), tuple(crashes), tuple(notes))


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Room for the resolver, whose own bound on nested questions is what ends it; the limit is put back."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def view_of(module: Module, frames: Frames, options: Options) -> ModuleView:
    """The view of one module of the program; the module is indexed if it is not yet."""
    index = frames.memory.program.take(module.tree, module.path)
    frames.memory.begin()
    summaries = Summaries(Resolver(frames.memory), frames)
    return ModuleView(index, module.path, summaries, options)


def _findings(rule: RuleModule, view: ModuleView) -> Iterable[Finding]:
    check = rule.check
    if check is None:
        return
    if rule.subject == "ModuleView":
        yield from check(view)
        return
    for function in view.functions:
        yield from check(function)


def _crash(rule: RuleModule, path: str, error: Exception) -> RuleCrash:
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    return RuleCrash(f"DBS004 rule {rule.rule.code} failed in {place}: {type(error).__name__}: {error}", path)
