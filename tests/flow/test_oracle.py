"""The graph of every construct contains all that the running interpreter does, and little more."""

from __future__ import annotations

import pytest

from tests.flow.constructs import CONSTRUCTS
from tests.flow.oracle import Triple, observe
from tests.flow.walk import Walk, graph

LENGTH = 8
"""Probes in a row; 6 are enough for all but the last steps of the longest constructs."""

SPURIOUS: dict[str, dict[str, set[Triple]]] = {
    "match_with_guards": {
        "two patterns are tests of the same subject; the graph does not compare them": {
            ("1", "false", "2"),
            ("1", "false", "5"),
            ("1", "true", "4"),
            ("1", "true", "5"),
            ("2", "false", "4"),
        },
    },
    "generator_with_throw": {
        "`if x` tests what an earlier yield returned": {("2", "false", "3"), ("2", "true", "5")},
    },
    "delegating_generator": {
        "`if y` tests what an earlier yield returned": {("2", "false", "6"), ("2", "true", "1")},
    },
    "nested_class": {
        "`items(4)` is never empty": {("4", "false", "7"), ("4", "true", "7")},
    },
    "assert_and_walrus": {
        "`x is not p(4)` has a value that follows from the values of both sides": {
            ("4", "false", "6"),
            ("4", "true", "5"),
        },
    },
    "chained_comparison": {
        "a comparison has a value that follows from the values of both sides": {
            ("2", "false", "3"),
            ("2", "false", "4"),
            ("2", "true", "4"),
            ("3", "false", "4"),
            ("3", "true", "5"),
        },
    },
}
"""What the graph holds possible and no run does: by construct and reason."""


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_no_observed_successor_is_missing(name: str) -> None:
    source = CONSTRUCTS[name]
    walk = Walk(graph(source))
    assert observe(source, LENGTH) - walk.triples == set()


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_spurious_successors_are_known(name: str) -> None:
    source = CONSTRUCTS[name]
    walk = Walk(graph(source))
    assert walk.triples - observe(source, LENGTH) == set().union(*SPURIOUS.get(name, {}).values())


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_every_step_can_be_reached(name: str) -> None:
    cfg = graph(CONSTRUCTS[name])
    assert Walk(cfg).reached == set(range(len(cfg.steps)))


def test_the_number_of_observed_triples_is_known() -> None:
    assert sum(len(observe(source, LENGTH)) for source in CONSTRUCTS.values()) == 889
