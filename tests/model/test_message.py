"""The parts of a message, and how it gets short enough for one line."""

from __future__ import annotations

import pytest

from dbsafety.model.message import LONGEST_LINE, Message

WHAT = "`conn` stays open"
LONG = "n" * 90


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Message(WHAT), WHAT),
        (Message(WHAT, "others wait"), f"{WHAT}: others wait"),
        (Message(WHAT, remedy="close it"), f"{WHAT}; close it"),
        (Message(WHAT, "others wait", "close it"), f"{WHAT}: others wait; close it"),
    ],
)
def test_the_text_joins_the_parts(message: Message, text: str) -> None:
    assert message.text == text


def test_the_line_has_the_remedy_where_it_fits() -> None:
    room = LONGEST_LINE - len(WHAT) - len("; ")

    assert Message(WHAT, "others wait", "c" * room).line == f"{WHAT}; {'c' * room}"
    assert Message(WHAT, "others wait", "c" * (room + 1)).line == WHAT
    assert Message(WHAT, "others wait").line == WHAT


def test_a_headline_that_fits_stays_as_it_is() -> None:
    fits = f"`{'x' * (LONGEST_LINE - 2)}`"

    assert Message(fits).headline == fits


def test_the_longest_code_of_a_headline_is_cut_first() -> None:
    message = Message(f"`short` and `{LONG}` and `{LONG}` differ", "so")

    assert message.headline == f"`short` and `{'n' * 59}…` and `{'n' * 59}…` differ"
    assert message.text == f"`short` and `{LONG}` and `{LONG}` differ: so"


@pytest.mark.parametrize(
    ("code", "cut"),
    [
        (f'cur.execute("{LONG}")', f'cur.execute("{"n" * 8}…")'),
        (f'cur.execute("{LONG}…")', f'cur.execute("{"n" * 8}…")'),
        (f"suppress({LONG})", f"suppress({'n' * 14}…"),
        (LONG, f"{'n' * 23}…"),
    ],
)
def test_a_statement_is_closed_again_behind_the_cut(code: str, cut: str) -> None:
    filler = "w" * (LONGEST_LINE - 24 - 1 - 2)

    assert Message(f"`{code}` {filler}").headline == f"`{cut}` {filler}"


def test_words_alone_are_never_cut() -> None:
    words = "it is wrong, " * 20 + "again"

    assert Message(words).headline == words
