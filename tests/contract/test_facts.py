"""The table of what carries the claims of the pages names each rule, and the rows its proof names."""

from __future__ import annotations

import re

import pytest

from dbsafety.proofs.registry import owes_proof, proof_of
from dbsafety.rules.registry import all_rules
from tests.harness.modules import ROOT

TEXT = (ROOT / "docs" / "design" / "facts.md").read_text(encoding="utf-8")
PER_RULE, _, ROWS_AND_MORE = TEXT.partition("## The rows")
RULES = dict(re.findall(r"^\| (DBS\d+) \| ([^|]*) \|[^|]*\|[^|]*\|$", PER_RULE, re.MULTILINE))
ROWS = {row for line in re.findall(r"^\| ([BC]\d[^|]*) \|", ROWS_AND_MORE, re.MULTILINE) for row in line.split(", ")}
PROVEN = [module.rule.code for module in all_rules() if owes_proof(module.rule)]


def test_each_rule_that_speaks_of_a_database_has_a_line() -> None:
    assert sorted(RULES) == PROVEN


@pytest.mark.parametrize("code", PROVEN)
def test_its_line_begins_with_the_rows_of_its_proof(code: str) -> None:
    proof = proof_of(code)
    assert proof is not None
    assert tuple(RULES[code].partition(";")[0].split(", ")) == proof.facts


def test_the_rows_that_are_named_are_listed() -> None:
    named = {row for rows in RULES.values() for row in re.findall(r"[BC]\d+[a-f]?", rows)}
    assert named == ROWS
