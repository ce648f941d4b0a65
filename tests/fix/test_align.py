"""Untouched stretches are found again, also in text that repeats itself."""

from __future__ import annotations

import pytest

from dbsafety.fix.align import aligned
from dbsafety.model.faults import FixRefused


def lines(text: str) -> list[str]:
    return list(text)


def test_stretches_keep_their_order() -> None:
    assert aligned([lines("ab"), lines("cd"), lines("e")], [1, 1], lines("abXcdYYe")) == [0, 3, 7]


def test_the_nearest_place_is_taken() -> None:
    assert aligned([lines("a"), lines("-"), lines("z")], [3, 1], lines("aX1-2-3z")) == [0, 5, 7]
    assert aligned([lines("a"), lines("-"), lines("z")], [2, 1], lines("aX1-2-3z")) == [0, 3, 7]


def test_a_place_that_leads_nowhere_is_given_up() -> None:
    # The second `-` is nearer to where it was, but no `+` follows it.
    assert aligned([[], lines("-"), lines("+"), lines("e")], [4, 1, 2], lines("a-b+c-e")) == [0, 1, 3, 6]


def test_empty_stretches_at_both_ends() -> None:
    assert aligned([[], []], [2], lines("abc")) == [0, 3]


@pytest.mark.parametrize(("new", "line"), [("aXXcde", 2), ("abXcdX", 6), ("abXXe", 4), ("", 1), ("ab", 4)])
def test_a_missing_line_is_named(new: str, line: int) -> None:
    with pytest.raises(FixRefused, match=f"line {line} would change"):
        aligned([lines("ab"), lines("c"), lines("e")], [1, 1], lines(new))
