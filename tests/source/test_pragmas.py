"""Comments that speak to the tool, in each grammar, with the spans that a fix removes."""

from __future__ import annotations

import pytest

from dbsafety.source.pragmas import Pragma, PragmaKind, PragmaTable, misplaced
from dbsafety.source.text import SourceText


def pragmas(source: str) -> tuple[Pragma, ...]:
    return PragmaTable.of(SourceText.of(source)).pragmas


def one(comment: str) -> Pragma:
    (found,) = pragmas(f"x = 1  {comment}\n")
    return found


@pytest.mark.parametrize(
    ("comment", "codes", "reason"),
    [
        ("# dbsafety: ignore[DBS101]", ("DBS101",), ""),
        ("#dbsafety:ignore[DBS101,DBS102]", ("DBS101", "DBS102"), ""),
        ("# dbsafety: ignore[ DBS101 , DBS102 ] the caller rolls back", ("DBS101", "DBS102"), "the caller rolls back"),
        ("# dbsafety: ignore", (), ""),
        ("# dbsafety: ignore[]", (), ""),
        ("# dbsafety: ignore DBS101", (), "DBS101"),
    ],
)
def test_own_form(comment: str, codes: tuple[str, ...], reason: str) -> None:
    pragma = one(comment)

    assert (pragma.kind, pragma.codes, pragma.reason) == (PragmaKind.OWN, codes, reason)


@pytest.mark.parametrize(
    ("comment", "reason", "whole_file"),
    [
        ("# dbsafety: disable[DBS101]", "[DBS101]", False),
        ("# dbsafety: disable=DBS101", "=DBS101", False),
        ("# dbsafety: mute(DBS101)", "(DBS101)", False),
        ("# dbsafety: ingore[DBS101]", "[DBS101]", False),
        ("# DBSafety: Ignore[DBS101]", "[DBS101]", False),
        ("# dbsafety ignore[DBS101]", "[DBS101]", False),
        ("# dbsafety-ignore: DBS101", ": DBS101", False),
        ("# dbsafety: allow dbs101 here", "dbs101 here", False),
        ("# dbsafety: off", "", False),
        ("# dbsafety: skip-file", "", True),
    ],
)
def test_what_is_meant_as_the_own_form_names_no_code(comment: str, reason: str, whole_file: bool) -> None:
    pragma = one(comment)

    assert (pragma.kind, pragma.codes, pragma.reason) == (PragmaKind.OWN, (), reason)
    assert pragma.whole_file is whole_file


@pytest.mark.parametrize(
    "comment",
    [
        "# dbsafety: see DBS101 for the reason",
        "# dbsafety: this is checked by hand",
        "# dbsafety off the shelf",
        "# dbsafety",
        "# the tool is dbsafety: ignore[DBS101]",
    ],
)
def test_prose_about_dbsafety_is_no_suppression(comment: str) -> None:
    assert pragmas(f"x = 1  {comment}\n") == ()


@pytest.mark.parametrize(
    ("comment", "codes"),
    [
        ("# noqa", ()),
        ("# NOQA:dbs101", ("dbs101",)),
        ("# noqa: DBS101,E501", ("DBS101", "E501")),
        ("# noqa: DBS101 E501", ("DBS101", "E501")),
        ("#noqa:DBS1", ("DBS1",)),
        ("# noqa: because I say so", ()),
    ],
)
def test_noqa(comment: str, codes: tuple[str, ...]) -> None:
    pragma = one(comment)

    assert (pragma.kind, pragma.codes, pragma.whole_file) == (PragmaKind.NOQA, codes, False)


def test_words_that_only_begin_like_noqa() -> None:
    assert pragmas("x = 1  # noqable\n") == ()


def test_flake8_noqa_speaks_for_the_file() -> None:
    table = PragmaTable.of(SourceText.of("x = 1\n# flake8: noqa: DBS101\n"))

    assert [(p.kind, p.codes) for p in table.for_file()] == [(PragmaKind.NOQA, ("DBS101",))]
    assert list(table.at(range(2, 3))) == []


def test_pylint() -> None:
    pragma = one("# pylint: disable=dbs-commit-in-finally, line-too-long")

    assert (pragma.kind, pragma.codes) == (PragmaKind.PYLINT, ("dbs-commit-in-finally", "line-too-long"))


def test_spans_reach_to_the_next_comment() -> None:
    source = "é = 1  # dbsafety: ignore[DBS101] why  # noqa: E501 # type: x\n"
    text = SourceText.of(source)

    own, noqa = pragmas(source)

    assert text.slice(own.span) == "# dbsafety: ignore[DBS101] why  "
    assert text.slice(own.codes_span) == "DBS101"
    assert text.slice(noqa.span) == "# noqa: E501 "
    assert text.slice(noqa.codes_span) == "E501"


def test_text_in_strings_is_no_comment() -> None:
    assert pragmas('x = "# noqa"\ny = """\n# dbsafety: ignore[DBS101]\n"""\n') == ()


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_the_parser_counts(newline: str) -> None:
    source = newline.join(["a = 1", "\x0cb = '''x", "y'''  # noqa", "c = 2  # noqa", ""])

    assert [pragma.line for pragma in pragmas(source)] == [3, 4]


def test_comments_inside_a_call() -> None:
    assert [pragma.line for pragma in pragmas("f(\n    1,  # noqa\n    # noqa: A1\n)\n")] == [2, 3]


def test_ignore_file_counts_in_the_first_ten_lines() -> None:
    early = PragmaTable.of(SourceText.of("\n" * 9 + "# dbsafety: ignore-file[DBS201]\n"))
    late = PragmaTable.of(SourceText.of("\n" * 10 + "# dbsafety: ignore-file[DBS201]\n"))

    assert [pragma.codes for pragma in early.for_file()] == [("DBS201",)]
    assert list(late.for_file()) == []
    assert [misplaced(pragma) for pragma in (*early.pragmas, *late.pragmas)] == [False, True]


def test_a_file_without_markers_is_not_tokenized() -> None:
    assert pragmas("x = (  # never closed\n") == ()


def test_comments_before_what_the_tokenizer_refuses_count() -> None:
    assert [pragma.line for pragma in pragmas("x = 1  # noqa\ny = (\n")] == [1]
