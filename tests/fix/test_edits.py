"""Fixes as edits of bytes: small, in order, and together the same as the fix that is applied."""

from __future__ import annotations

import ast
import codecs

import pytest

from dbsafety.fix.edits import EditMaker
from dbsafety.model.edit import Edit, Fix
from dbsafety.model.faults import FixRefused, SourceFault
from dbsafety.model.rewrite import Applicability, EnsureImport, InsertFirst, SetKeyword
from dbsafety.model.span import Span
from tests.fix.planning import handler, plan, span


def applied(data: bytes, fix: Fix) -> bytes:
    for edit in reversed(fix.edits):
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
    return data


def test_an_added_argument_is_one_small_edit() -> None:
    source = "# é\nconn = connect(path)\n"
    fix = EditMaker(source.encode(), "m.py").fix(plan(SetKeyword(span(source, "connect", ast.Call), "timeout", "30.0")))
    assert fix == Fix((Edit(24, 24, ", timeout=30.0"),), Applicability.SAFE, "mend it")
    assert applied(source.encode(), fix).decode() == "# é\nconn = connect(path, timeout=30.0)\n"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_an_inserted_statement_is_an_insertion_of_whole_lines(newline: str, mark: bytes) -> None:
    source = "import sqlite3\n\ntry: f()\nexcept E:\n    log()\n".replace("\n", newline)
    rewrites = InsertFirst(handler(source), "conn.rollback()"), EnsureImport("contextlib", "suppress")
    data = mark + source.encode()
    fix = EditMaker(data, "m.py").fix(plan(*rewrites))
    at = data.index(b"    log()")
    import_at = len(mark) + len(f"import sqlite3{newline}")
    assert fix.edits == (
        Edit(import_at, import_at, f"from contextlib import suppress{newline}"),
        Edit(at, at, f"    conn.rollback(){newline}"),
    )
    assert b"except E:" + newline.encode() + b"    conn.rollback()" in applied(data, fix)


def test_a_plan_that_does_not_fit_is_refused() -> None:
    with pytest.raises(FixRefused, match="the call at line 1 is not found exactly once"):
        EditMaker(b"f(x)\n", "m.py").fix(plan(SetKeyword(Span(1, 0, 1, 3), "timeout", "1")))


def test_a_fix_that_a_gate_stops_is_refused() -> None:
    source = "def f():\n    g(a)\n    import b\n"
    with pytest.raises(FixRefused, match="the name b, which the fix reads at line 2, is imported only at line 3"):
        EditMaker(source.encode(), "m.py").fix(plan(SetKeyword(span(source, "g(", ast.Call), "timeout", "b")))


def test_a_file_that_does_not_parse_has_no_edits() -> None:
    with pytest.raises(SourceFault):
        EditMaker(b"f(\n", "m.py")
