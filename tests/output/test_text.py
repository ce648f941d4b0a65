"""What people read."""

from __future__ import annotations

from dataclasses import replace

from dbsafety.model.message import Message
from dbsafety.output.record import Place, Record, Report, one_line, printable
from dbsafety.output.style import Style
from dbsafety.output.text import concise, full
from tests.output.sample import EMPTY, PLAIN, REPORT, WIDE


def shown(*records: Record) -> list[str]:
    return "".join(full(Report(tuple(records)), Style())).split("\n")


def test_concise_is_one_line_each() -> None:
    assert "".join(concise(REPORT, Style())) == (
        "app/wide.py:1:6: DBS201 no timeout\n"
        "app/tasks.py:7:9: DBS101 the error ends here, and `conn` stays aborted; roll back first\n"
    )


def test_concise_leaves_out_the_remedy_that_does_not_fit() -> None:
    record = replace(WIDE, said=Message("it is wrong", "so", "a " * 70 + "z"))

    assert "".join(concise(Report((record,)), Style())) == "app/wide.py:1:6: DBS201 it is wrong\n"


def test_full_shows_source_carets_trace_and_fix() -> None:
    assert shown(PLAIN) == [
        "app/tasks.py:7:9: DBS101 the error ends here, and `conn` stays aborted",
        " 7 |         except psycopg2.Error as error:",
        "   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
        "  1. line 5: `cur.execute(...)` fails",
        "     cur.execute(sql)",
        "  2. app/db, x.py:2: 100% of it",
        "  also line 9: DBS103: `conn.commit()` stores nothing",
        "     conn.commit()",
        "  why: later statements fail with 'no'",
        "  help: roll back first",
        "  fix (unsafe): roll back first",
        "",
    ]


def test_carets_stand_under_wide_characters_and_tabs() -> None:
    assert shown(WIDE) == [
        "app/wide.py:1:6: DBS201 no timeout",
        ' 1 | \té = "日本"',
        "   | \t    ^^^^^",
        "  no fix: the call has **kwargs",
        "",
    ]


def test_findings_are_parted_by_a_blank_line() -> None:
    lines = shown(WIDE, WIDE)

    assert lines[4:6] == ["", "app/wide.py:1:6: DBS201 no timeout"]


def test_an_empty_place_has_one_caret_and_an_empty_line_has_none() -> None:
    empty = replace(WIDE, source="x = (", place=Place("a.py", 1, 1, 1, 1), fix_refusal="")
    blank = replace(empty, source="  ")

    assert shown(empty)[1:3] == [" 1 | x = (", "   | ^"]
    assert shown(blank) == ["a.py:1:1: DBS201 no timeout", ""]


def test_a_long_line_is_cut_around_the_finding() -> None:
    source = "x" * 5000 + "bug()" + "y" * 5000
    record = replace(WIDE, source=source, place=Place("a.py", 1, 5001, 1, 5006), fix_refusal="")

    _, line, carets, _ = shown(record)

    assert line == " 1 | …" + "x" * 40 + "bug()" + "y" * 115 + "…"
    assert carets == "   | " + " " * 41 + "^^^^^"


def test_color() -> None:
    text = "".join(full(Report((PLAIN,)), Style(color=True)))

    assert text.startswith("\x1b[1mapp/tasks.py:7:9:\x1b[0m \x1b[1;31mDBS101\x1b[0m the error")
    assert "\x1b[2m7 |\x1b[0m" in text


def test_nothing_to_say() -> None:
    assert "".join(full(EMPTY, Style())) == ""
    assert "".join(concise(EMPTY, Style())) == ""


def test_source_and_names_cannot_steer_the_terminal() -> None:
    record = replace(
        WIDE,
        source="x = '\x1b[2J'",
        place=Place("a\x07.py", 1, 1, 1, 2),
        said=Message("a\x1b[31m\x9bb"),
        fix_refusal="",
    )

    assert shown(record) == [
        "a\\x07.py:1:1: DBS201 a\\x1b[31m\\x9bb",
        " 1 | x = '\\x1b[2J'",
        "   | ^",
        "",
    ]


def test_printable_keeps_what_people_write() -> None:
    assert printable("é 日本\t\xa0😀") == "é 日本\t\xa0😀"
    assert printable("a\r\x00\u2028\u202eb") == "a\\r\\x00\\u2028\\u202eb"
    assert one_line(" a\n  b\x1b ") == "a b\\x1b"
