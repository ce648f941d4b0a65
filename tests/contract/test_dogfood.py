"""Our own code under our own rules, checked by the built wheel: no finding, and no suppression that hides one."""

from __future__ import annotations

import re
import tokenize
from pathlib import Path

import pytest

from tests.harness.installs import Environment, run
from tests.harness.modules import ROOT

OURS = ("dbsafety", "runtime", "docs", "demo", "tests/harness")
SUPPRESSION = re.compile(r"#\s*(dbsafety:\s*ignore|noqa\s*($|[^:\s])|noqa:[^#]*\bDBS\d|pylint:.*\bdbs-)", re.IGNORECASE)


@pytest.mark.slow
def test_no_finding(plain: Environment) -> None:
    ran = run([plain.program("dbsafety"), "check", "--output-format", "concise", *OURS], ROOT)
    assert (ran.code, ran.out) == (0, ""), ran.out + ran.err


def test_no_suppression() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{token.start[0]}: {token.string}"
        for folder in OURS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for token in comments(path)
        if SUPPRESSION.search(token.string)
    ]
    assert found == []


def comments(path: Path) -> list[tokenize.TokenInfo]:
    with tokenize.open(path) as file:
        return [token for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.COMMENT]
