from __future__ import annotations

from collections import Counter

import pytest

from dbsafety_runtime.orchestrator.fleet import KINDS
from tests.runtime.lite import corpus_run


def test_the_corpus_is_what_was_promised() -> None:
    programs, events = corpus_run.entries("programs"), corpus_run.entries("events")
    assert len(programs) >= 60
    assert len(events) >= 200
    assert len({program["name"] for program in programs}) == len(programs)
    assert {program["kind"] for program in programs} == {*KINDS, *corpus_run.OWN} - {"healthy"}
    assert Counter(event["kind"] for event in events).keys() == {
        "restart", "crash", "backoff", "twice", "noise", "deploy", "slow",
    }  # fmt: skip


@pytest.mark.slow
def test_benign_events_are_not_escalated() -> None:
    ours, baseline = corpus_run.events()
    assert baseline >= 90
    assert ours <= 0.2 * baseline


@pytest.mark.faults
@pytest.mark.xdist_group("fleet")
def test_broken_programs_are_repaired_and_the_second_time_sooner() -> None:
    programs = corpus_run.entries("programs")
    first, second = corpus_run.programs()
    expected = {program["name"]: program["expect"] for program in programs}
    for result, suffix in ((first, ""), (second, "-b")):
        outcome = {name.removesuffix(suffix) if suffix else name: state for name, state in result.outcome.items()}
        repaired = sum(state == "fixed" for state in outcome.values())
        assert repaired / len(programs) >= 0.7
        if result is first:  # later a pattern that has proved itself may be used on weaker evidence
            lucky = {name for name, state in outcome.items() if state == "fixed" and expected[name] == "escalated"}
            assert lucky == set()
        assert corpus_run.percentile(result.figures.known_seconds, 0.95) <= 30
    assert second.phases < first.phases
    assert sum(state == "fixed" for state in second.outcome.values()) >= sum(
        state == "fixed" for state in first.outcome.values()
    )
