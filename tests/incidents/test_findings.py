"""The incidents' code, before and after its own repair: found is exactly what the comments say."""

from __future__ import annotations

from collections import Counter

import pytest

from dbsafety.api import check_source
from demo.incident import EXECUTOR, EXECUTOR_PATCHED, INCIDENTS, ORCHESTRATOR, ORCHESTRATOR_PATCHED
from tests.harness.expect import differences, parse
from tests.harness.faces import seen

EXPECTED = {
    EXECUTOR: {"DBS101": 8},
    EXECUTOR_PATCHED: {"DBS105": 8, "DBS106": 8},
    ORCHESTRATOR: {"DBS201": 7, "DBS204": 7},
    ORCHESTRATOR_PATCHED: {"DBS204": 7, "DBS301": 2},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_found_is_what_the_comments_say(name: str) -> None:
    source = (INCIDENTS / name).read_text(encoding="utf-8")
    expectations = parse(source, name).expectations
    assert Counter(one.code for one in expectations) == EXPECTED[name]
    assert differences(expectations, seen(check_source(source, path=name), source)) == []
