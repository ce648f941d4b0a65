"""`dbsafety explain` and `dbsafety rules`."""

from __future__ import annotations

import argparse
import json
import os
import sys

from dbsafety.config.select import did_you_mean
from dbsafety.model.faults import UsageFault
from dbsafety.rules.registry import RETIRED, RuleModule, all_rules

DSN_VARIABLE = "DBSAFETY_DEMO_DSN"


def add_explain(to: argparse.ArgumentParser) -> None:
    """Print what a rule finds, why it matters, and what to write instead."""
    to.add_argument("code", metavar="CODE", help="a code or a name, such as DBS101 or swallowed-error-no-rollback")
    _add_demo(to)


def _add_demo(to: argparse.ArgumentParser) -> None:
    to.add_argument("--demo", action="store_true", help="run the examples on a real database and show what happens")
    to.add_argument(
        "--dsn",
        metavar="DSN",
        help=f"for --demo: a PostgreSQL server, whose account may create databases; default: {DSN_VARIABLE}, else a "
        "private server from the extra `embedded`",
    )
    to.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="for --demo; default: auto")


def explain(found: argparse.Namespace) -> int:
    """Print the page of a rule, or run its demonstration. Raises UsageFault when there is no such rule."""
    module = _rule(found.code)
    if found.demo:
        # Here, since only the demonstration fixes code and starts processes.
        from dbsafety.cli.demo import demo

        return demo(module, found.dsn or os.environ.get(DSN_VARIABLE, ""), found.color)
    sys.stdout.write(page(module))
    return 0


def page(module: RuleModule) -> str:
    """The page of a rule in Markdown: what its docstring says, under its code, with its grades."""
    rule = module.rule
    grades = (
        f"Severity: {rule.severity.value}. Drivers: {', '.join(rule.drivers) or '-'}. "
        f"Fix: {rule.fix.value if rule.fix else 'none'}. On by default: {'yes' if rule.default else 'no'}."
    )
    return f"# {rule.code} {rule.slug}\n\n{grades}\n\n{module.doc}\n"


def add_rules(to: argparse.ArgumentParser) -> None:
    """List the rules."""
    to.add_argument("--output-format", choices=("text", "json"), default="text", help="default: text")


def rules(found: argparse.Namespace) -> int:
    """Print the rules, one a line or as JSON."""
    modules = all_rules()
    if found.output_format == "json":
        sys.stdout.write(json.dumps([_as_json(module) for module in modules], indent=2) + "\n")
        return 0
    width = max(len(module.rule.slug) for module in modules)
    for module in modules:
        rule = module.rule
        fix = f"fix: {rule.fix.value}" if rule.fix else ""
        default = "" if rule.default else "off by default"
        grades = f"{rule.severity.value:8} {fix:12} {default:15}"
        sys.stdout.write(f"{rule.code}  {rule.slug:{width}}  {grades} {rule.summary}\n")
    return 0


def _rule(word: str) -> RuleModule:
    by_name = {name: module for module in all_rules() for name in (module.rule.code, module.rule.slug)}
    if word.upper() in RETIRED:
        raise UsageFault(f"{word.upper()} is retired: {RETIRED[word.upper()]}")
    found = by_name.get(word.upper()) or by_name.get(word.lower())
    if found is None:
        raise UsageFault(f"no rule is called {word!r}{did_you_mean(word, by_name)}")
    return found


def _as_json(module: RuleModule) -> dict[str, object]:
    rule = module.rule
    return {
        "code": rule.code,
        "slug": rule.slug,
        "summary": rule.summary,
        "severity": rule.severity.value,
        "drivers": list(rule.drivers),
        "fix": rule.fix.value if rule.fix else None,
        "default": rule.default,
        "implemented": module.implemented,
        "pylint_id": rule.pylint_id,
        "since": rule.since,
        "documentation": module.doc,
    }
