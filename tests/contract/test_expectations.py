"""The grammar of inline expectations."""

from __future__ import annotations

import pytest

from tests.harness.expect import Expectation, GrammarError, Seen, differences, parse

SEEN = Seen(3, 5, "DBS101", "the error of cur.execute is swallowed")


def test_trailing_comment_speaks_for_its_line() -> None:
    assert parse('a = 1\nb = 2  # error: 9 [DBS101] "swallowed"\n').expectations == (
        Expectation("error", 2, "DBS101", 9, "swallowed"),
    )


def test_comment_of_its_own_speaks_for_the_next_line_of_code() -> None:
    source = "a = 1\n# missed: [DBS101] the helper is in another module\n# a remark\n\nb = 2\n"
    assert parse(source).expectations == (Expectation("missed", 5, "DBS101", None, "the helper is in another module"),)


def test_one_comment_may_hold_several() -> None:
    source = 'a = 1  # error: [DBS101] "x" # alarm: [DBS204] closed elsewhere\n'
    assert parse(source).expectations == (
        Expectation("error", 1, "DBS101", None, "x"),
        Expectation("alarm", 1, "DBS204", None, "closed elsewhere"),
    )


def test_header() -> None:
    source = '# driver: psycopg2, sqlite3\n# options: min-confidence = "low"; select = ["A"]\n# python: >=3.99\na = 1\n'
    fixture = parse(source)
    assert fixture.drivers == ("psycopg2", "sqlite3")
    assert fixture.options == ('min-confidence = "low"', 'select = ["A"]')
    assert not fixture.runs_here


def test_strings_are_no_comments() -> None:
    assert parse('a = "# error: [DBS101]"\n').expectations == ()


def test_expectations_reach_a_file_that_cannot_be_parsed() -> None:
    source = "a = 1\n# error: [DBS001]\ndef broken(:\n"
    assert parse(source).expectations == (Expectation("error", 3, "DBS001"),)


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("# error: DBS101", "f:1: not an expectation"),
        ("# error: [DBS101] swallowed", "f:1: the message of an error stands in double quotes"),
        ("# missed: [DBS101]", "f:1: missed needs a reason"),
    ],
)
def test_malformed_expectations_are_refused(comment: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        parse(f"a = 1  {comment}\n", "f")


def test_an_expectation_at_the_end_has_no_line_to_speak_for() -> None:
    with pytest.raises(GrammarError, match="f:2: no code follows"):
        parse("a = 1\n# error: [DBS101]\n", "f")


@pytest.mark.parametrize(
    ("kind", "column", "text", "found", "problems"),
    [
        ("error", None, "", [SEEN], []),
        ("error", 5, "swallowed", [SEEN], []),
        ("error", 6, "", [SEEN], ["not found: 3: error: 6 [DBS101]", f"not expected: {SEEN}"]),
        ("error", None, "lost", [SEEN], ["not found: 3: error: [DBS101] lost", f"not expected: {SEEN}"]),
        ("error", None, "", [], ["not found: 3: error: [DBS101]"]),
        ("error", None, "", [SEEN, SEEN], [f"not expected: {SEEN}"]),
        ("alarm", None, "why", [SEEN], []),
        ("alarm", None, "why", [], ["the false alarm is gone, delete its line: 3: alarm: [DBS101] why"]),
        ("missed", None, "why", [], []),
        ("missed", None, "why", [SEEN], [f"now found, make it an error line: {SEEN}"]),
    ],
)
def test_the_full_set_is_compared(
    kind: str, column: int | None, text: str, found: list[Seen], problems: list[str]
) -> None:
    assert differences([Expectation(kind, 3, "DBS101", column, text)], found) == problems
