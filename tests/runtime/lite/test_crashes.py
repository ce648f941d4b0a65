from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("crash_driver.py")
NAMED = ("before_record_scan", "lite_before_commit", "lite_after_commit", "before_restart", "after_restart")


def crashes(points: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(DRIVER), *points], capture_output=True, text=True, check=True, timeout=900
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(found: dict[str, Any]) -> None:
    """Nothing lost, nothing doubled, no fix applied twice, the audit trail whole, whatever was killed when."""
    point = found["point"]
    assert found["exits"][1] == 0, point
    assert found["status"] == {"good": "resolved", "bad": "escalated"}, point
    assert found["entries"] == 7, point
    assert all(found["starts"][name] <= found["attempts"][name] for name in ("good", "bad")), point
    assert (found["unfinished"], found["doubled"], found["leased"], found["audit"]) == (0, 0, 0, []), point


@pytest.mark.parametrize(
    ("mode", "fault"), [("disk", "resource"), ("lock", "retry"), ("forward", None), ("back", None)]
)
def test_a_disturbance_in_the_middle_loses_and_doubles_nothing(mode: str, fault: str | None) -> None:
    """A full disk, a stranger's lock that outlasts all patience, a wall clock a day off in either direction."""
    done = subprocess.run(
        [sys.executable, str(DRIVER.with_name("outage_driver.py")), mode],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["failed"]) >= 5 if fault else found["failed"] == []
    assert set(found["failed"]) <= {fault}
    assert ("cycle failed" in done.stdout) is bool(fault), "recorded, and the next cycle is tried"
    check(found)


def test_kill_9_at_some_points_of_a_cycle() -> None:
    points = [f"{name}:kill" for name in NAMED] + [f"lite_statement:kill@{number}" for number in (70, 120, 150)]
    results = crashes(points)
    assert [found["exits"][0] for found in results][:5] == [-9] * 5
    for found in results:
        check(found)


@pytest.mark.faults
@pytest.mark.parametrize("part", range(16))
def test_kill_9_at_every_statement_of_a_cycle(part: int) -> None:
    """Until both services are decided about 600 statements are run."""
    for found in crashes([f"lite_statement:kill@{number}" for number in range(1 + part, 720, 16)]):
        check(found)


@pytest.mark.faults
@pytest.mark.parametrize("name", NAMED)
def test_kill_9_at_every_pass_of_the_named_points(name: str) -> None:
    for found in crashes([f"{name}:kill@{number}" for number in range(1, 101 if name.startswith("lite") else 21)]):
        check(found)
