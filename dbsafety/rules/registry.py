"""Finds the rules: walks this package when asked, checks their shape, sorts by code. Importing a rule does nothing."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import dbsafety.rules as _package
from dbsafety.model.finding import Finding
from dbsafety.rules.rule import Rule

_FILE_NAME = re.compile(r"dbs\d{3}_[a-z0-9_]+")

RETIRED: dict[str, str] = {}
"""Codes that once existed, with the code or the sentence that says where to look now. A code is never used again."""


@dataclass(frozen=True, slots=True)
class RuleModule:
    """A rule with its documentation and its function; `check` is None for the codes the tool itself reports.

    `subject` is the name of the type of `check`'s parameter: `FunctionView` or `ModuleView`.
    """

    rule: Rule
    doc: str
    module: str
    subject: str
    check: Callable[[object], Iterable[Finding]] | None

    @property
    def implemented(self) -> bool:
        """Whether something reports the code: its function, or the tool itself (its own codes speak of no driver)."""
        return self.check is not None or not self.rule.drivers


@cache
def all_rules() -> tuple[RuleModule, ...]:
    """Every rule of the package, sorted by code.

    Raises TypeError with the file's name when a rule file does not have the shape of one.
    """
    found = [_load(info.name) for info in pkgutil.iter_modules(_package.__path__) if _FILE_NAME.fullmatch(info.name)]
    return tuple(sorted(found, key=lambda module: module.rule.code))


@cache
def all_codes() -> frozenset[str]:
    """The codes of every rule, the tool's own among them."""
    return frozenset(module.rule.code for module in all_rules())


def rule_of(code: str) -> RuleModule | None:
    """The rule with this code, if there is one."""
    return next((module for module in all_rules() if module.rule.code == code), None)


def _load(name: str) -> RuleModule:
    module = importlib.import_module(f"{_package.__name__}.{name}")
    rule = getattr(module, "RULE", None)
    if not isinstance(rule, Rule):
        raise TypeError(f"{module.__file__}: a rule file needs a value RULE of type Rule")
    check = getattr(module, "check", None)
    subject = ""
    if check is not None:
        first = next(iter(inspect.signature(check).parameters.values()), None)
        subject = str(first.annotation) if first is not None else ""
        if subject not in ("FunctionView", "ModuleView"):
            raise TypeError(f"{module.__file__}: the parameter of check must be a FunctionView or a ModuleView")
    return RuleModule(rule, inspect.cleandoc(module.__doc__ or ""), module.__name__, subject, check)
