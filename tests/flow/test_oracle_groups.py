"""`except*` against the running interpreter, which must be 3.11 or later to know it."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.flow.constructs import GROUPS
from tests.flow.oracle import GROUP, OUTCOMES, Triple, observe
from tests.flow.walk import Walk, graph

SPURIOUS: dict[str, set[Triple]] = {
    "except_star": {("1", "Crash", "3"), ("1", "E2", "5"), ("1", "group", "3"), ("1", "group", "5")},
    "except_star_in_try": {
        ("1", "group", "4"),
        ("1", "group", "raise"),
        ("2", "false", "4"),
        ("2", "false", "raise"),
        ("2", "group", "raise"),
        ("3", "group", "raise"),
    },
}
"""A handler may take a part of a group, all of it or nothing: the graph does not keep account of the parts."""


@pytest.mark.parametrize("name", GROUPS)
def test_successors(name: str) -> None:
    source = GROUPS[name]
    if sys.version_info < (3, 11):
        with pytest.raises(SyntaxError):
            ast.parse(source)
        return
    outcomes = (*OUTCOMES, GROUP)
    walk = Walk(graph(source), outcomes)
    observed = observe(source, 8, outcomes)
    assert observed - walk.triples == set()
    assert walk.triples - observed == SPURIOUS[name]
