"""Decoding, lines, and positions in four units."""

from __future__ import annotations

import ast

import pytest

from dbsafety.model.faults import SourceFault
from dbsafety.model.span import Span
from dbsafety.source.text import SourceText

ACCENTS = 'é = "😀"; conn.execute(sql)\n'


def test_lines_end_at_lf_crlf_and_cr_and_nowhere_else() -> None:
    text = SourceText.of("a\r\nb\rc\nd\x0ce\x85f\u2028g\n")

    assert text.lines() == ("a", "b", "c", "d\x0ce\x85f\u2028g", "")
    assert text.newline == "\r\n"


def test_lines_are_those_of_the_parser() -> None:
    source = 'a = 1\r"""x\r\ny\x0c\x0b\n"""\rb = 2\n\x0cc = 3\n'

    tree = ast.parse(source)

    text = SourceText.of(source)
    assert [text.slice(Span.of(node)) for node in tree.body][-2:] == ["b = 2", "c = 3"]


def test_columns_in_bytes_characters_and_utf16() -> None:
    text = SourceText.of(ACCENTS)
    call = ast.parse(ACCENTS).body[1]

    assert (call.lineno, call.col_offset) == (1, 13)
    assert text.character_column(1, 13) == 9
    assert text.utf16_column(1, 13) == 10
    assert text.utf8_column(1, 9) == 13
    assert text.slice(Span.of(call)) == "conn.execute(sql)"


@pytest.mark.parametrize(
    ("encoding", "cookie", "mark"),
    [("utf-8", "", b""), ("utf-8", "", b"\xef\xbb\xbf"), ("latin-1", "# coding: latin-1\n", b"")],
)
def test_file_offsets_point_into_the_bytes_on_disk(encoding: str, cookie: str, mark: bytes) -> None:
    source = cookie + 'é = "ü"; x = 1\n'
    data = mark + source.encode(encoding)
    text = SourceText.decode(data)
    statement = ast.parse(source).body[1]

    start = text.file_offset(statement.lineno, statement.col_offset)
    end = text.file_offset(Span.of(statement).end_line, Span.of(statement).end_col)

    assert data[start:end] == b"x = 1"
    assert text.round_trips


def test_utf8_offset_counts_neither_mark_nor_original_encoding() -> None:
    text = SourceText.decode(b"# coding: latin-1\nx = '\xe9'; y = 1\n")

    assert text.utf8_offset(2, 10) == len("# coding: latin-1\nx = 'é'; ".encode())


def test_index_and_position_are_inverse() -> None:
    text = SourceText.of("a = 1\r\n" + ACCENTS + "\nlast")

    for index in range(len(text.text) + 1):
        line, col = text.position(index)
        if text.text[index - 1 : index + 1] != "\r\n":
            assert text.index(line, col) == index


def test_places_beyond_the_text_mean_its_end() -> None:
    text = SourceText.of("ab\ncd")

    assert text.character_column(1, 99) == 2
    assert text.index(9, 0) == 5
    assert text.line(9) == ""
    assert text.slice(Span(1, 1, 99, 0)) == "b\ncd"


def test_offsets_of_lines() -> None:
    text = SourceText.of("é\r\nb\n")

    assert text.utf8_offsets_of_lines() == (0, 4, 6)


def test_cookie_after_a_cr_counts() -> None:
    text = SourceText.decode(b"#!/usr/bin/python\r# -*- coding: cp1252 -*-\rx = '\x80'\r")

    assert text.encoding == "cp1252"
    assert text.line(3) == "x = '€'"


def test_empty_file() -> None:
    text = SourceText.decode(b"")

    assert (text.lines(), text.newline, text.round_trips) == (("",), "\n", True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x = 1\ny = '\xff'\n", "f.py:2: byte 0xff is not valid utf-8; name the encoding in a cookie"),
        (b"x = 1\r\r\ny = '\xff'\n", "f.py:3: byte 0xff is not valid utf-8; name the encoding in a cookie"),
        (b"y = '\xff'\n", "f.py:1: byte 0xff is not valid utf-8; name the encoding in a cookie"),
        (b"# coding: nonsense\n", "f.py:1: unknown encoding: nonsense"),
        (
            b"\xef\xbb\xbf# coding: latin-1\n",
            "f.py:1: the byte order mark says UTF-8 and the coding cookie does not",
        ),
        (b"# coding: hex\n", "f.py:1: hex is not a text encoding"),
        (b"# coding: undefined\n", "f.py:1: the text does not decode as undefined"),
    ],
)
def test_what_does_not_decode(data: bytes, message: str) -> None:
    with pytest.raises(SourceFault) as caught:
        SourceText.decode(data, "f.py")

    assert str(caught.value) == message


def test_an_encoding_without_the_character() -> None:
    text = SourceText.decode(b"# coding: latin-1\n")

    assert text.encode("é") == b"\xe9"
    with pytest.raises(UnicodeEncodeError):
        text.encode("€")


def test_text_whose_bytes_cannot_be_made_again_says_so() -> None:
    text = SourceText.decode(b"# coding: utf-7\nx = '+AGE-'\n")

    assert not text.round_trips
