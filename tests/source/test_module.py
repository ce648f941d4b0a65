"""What Python's parser refuses is one line with a place, whatever it is."""

from __future__ import annotations

import sys
import warnings

import pytest

from dbsafety.model.faults import SourceFault
from dbsafety.source.module import SourceModule

HINT = "(run dbsafety with a Python at least as new as the code)"
TOO_DEEP = "the code is nested too deeply for Python's parser"


def fault(data: bytes) -> str:
    with pytest.raises(SourceFault) as caught:
        SourceModule.parse(data, "f.py")
    return str(caught.value)


def test_python_2() -> None:
    text = fault(b"import os\nprint 'a'\n")

    assert text == "f.py:2: Missing parentheses in call to 'print'. Did you mean print(...)?"
    assert fault(b"mode = 0600\n").endswith("use an 0o prefix for octal integers")


def test_nul() -> None:
    assert fault(b"x = 1\ny = '\0'\n") == "f.py:2: the file contains a NUL byte"


def test_the_line_of_an_error_after_cr_line_ends() -> None:
    assert fault(b"x = 1\r\rdef f(:\r").startswith("f.py:3: ")


def test_nested_parentheses() -> None:
    assert fault(b"x = " + b"(" * 1000 + b")" * 1000) == "f.py:1: too many nested parentheses"


def test_nested_blocks() -> None:
    blocks = b"".join(b" " * depth + b"if x:\n" for depth in range(1000))

    assert fault(blocks + b" " * 1000 + b"pass\n") == "f.py:101: too many levels of indentation"


def test_nested_operators() -> None:
    assert fault(b"x = " + b"-" * 100_000 + b"1\n") == f"f.py:1: {TOO_DEEP}"


def test_a_long_sum_is_parsed_or_refused_in_words() -> None:
    data = b"x = " + b" + ".join([b"a"] * 5000) + b"\n"

    if (3, 11) <= sys.version_info < (3, 13):
        assert fault(data) == f"f.py:1: {TOO_DEEP}"
    else:
        assert len(SourceModule.parse(data, "f.py").tree.body) == 1


def test_surrogates() -> None:
    assert "Python's parser refuses the text" in fault(b"# coding: utf-7\nx = '+2AA-'\n")


def test_utf_16_is_undecodable() -> None:
    assert fault("x = 1\n".encode("utf-16")) == "f.py:1: byte 0xff is not valid utf-8; name the encoding in a cookie"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xef\xbb\xbfx = 1\n",
        b"x = 1\r\ny = 2\r\n",
        b"x = 1\ry = 2\r",
        b"x = 1\n\x0cy = 2\n",
        b"# coding: latin-1\nx = '\xe9'\n",
        b"x = 1",
        b"if x:\n\ty = 1\n",
    ],
)
def test_layouts_that_python_takes(data: bytes) -> None:
    assert SourceModule.parse(data, "f.py").text.data == data


def test_warnings_of_the_code_are_not_ours(recwarn: pytest.WarningsRecorder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = SourceModule.parse(b"x = '\\d'\nassert (1, 'a')\n", "f.py")

    assert len(module.tree.body) == 2
    assert list(recwarn) == []
