"""A statement put first in a handler, in every layout a file may have; nothing else may change."""

from __future__ import annotations

import codecs
import sys

import pytest

from dbsafety.fix.loop import fix_file
from dbsafety.model.finding import Finding
from tests.fix.planning import swallowing_handlers


def fixed(data: bytes) -> bytes:
    outcome = fix_file(data, "m.py", swallowing_handlers, unsafe=False)
    assert [refusal.reason for refusal in outcome.refused] == []
    assert outcome.applied != ()
    assert outcome.remaining == ()
    again = fix_file(outcome.new, "m.py", swallowing_handlers, unsafe=False)
    assert (again.new, again.applied) == (outcome.new, ())
    return outcome.new


LAYOUTS = {
    "plain": (
        "try:\n    f()\nexcept E:\n    log()\n",
        "try:\n    f()\nexcept E:\n    conn.rollback()\n    log()\n",
    ),
    "no final newline": (
        "try:\n    f()\nexcept E:\n    log()",
        "try:\n    f()\nexcept E:\n    conn.rollback()\n    log()",
    ),
    "CRLF": (
        "try:\r\n    f()\r\nexcept E:\r\n    log()\r\n",
        "try:\r\n    f()\r\nexcept E:\r\n    conn.rollback()\r\n    log()\r\n",
    ),
    "CR, no final one": (
        "try:\r    f()\rexcept E:\r    log()",
        "try:\r    f()\rexcept E:\r    conn.rollback()\r    log()",
    ),
    "tabs": (
        "try:\n\tf()\nexcept E:\n\tlog()\n",
        "try:\n\tf()\nexcept E:\n\tconn.rollback()\n\tlog()\n",
    ),
    "two blanks": (
        "try:\n  f()\nexcept E:\n  log()\n",
        "try:\n  f()\nexcept E:\n  conn.rollback()\n  log()\n",
    ),
    "another indentation in the handler": (
        "try:\n    f()\nexcept E:\n  log()\n",
        "try:\n    f()\nexcept E:\n  conn.rollback()\n  log()\n",
    ),
    "form feed on a line of its own": (
        "import x\n\x0c\ntry:\n    f()\nexcept E:\n    log()\n",
        "import x\n\x0c\ntry:\n    f()\nexcept E:\n    conn.rollback()\n    log()\n",
    ),
    "form feeds before code": (
        "\x0c\x0ctry:\n    f()\n\x0cexcept E:\n    log()\n\x0c    log(\n\x0c1)\n\x0cx = 1\n",
        "\x0c\x0ctry:\n    f()\n\x0cexcept E:\n    conn.rollback()\n    log()\n\x0c    log(\n\x0c1)\n\x0cx = 1\n",
    ),
    "form feed before a decorator": (
        "\x0c@d\ndef g():\n    try:\n        f()\n    except E: log()\n",
        "\x0c@d\ndef g():\n    try:\n        f()\n    except E:\n        conn.rollback()\n        log()\n",
    ),
    "blanks at the end": (
        "try:\n    f()\nexcept E:\n    log()\n   ",
        "try:\n    f()\nexcept E:\n    conn.rollback()\n    log()\n   ",
    ),
    "byte order mark": (
        "\ufefftry:\n    f()\nexcept E:\n    log()\n",
        "\ufefftry:\n    f()\nexcept E:\n    conn.rollback()\n    log()\n",
    ),
    "one line, pass": (
        "try: f()\nexcept E: pass\n",
        "try: f()\nexcept E:\n    conn.rollback()\n",
    ),
    "one line, pass, comment": (
        "try: f()\nexcept E: pass  # noqa: DBS101\n",
        "try: f()\nexcept E:  # noqa: DBS101\n    conn.rollback()\n",
    ),
    "one line, no final newline": (
        "try: f()\nexcept E: pass",
        "try: f()\nexcept E:\n    conn.rollback()",
    ),
    "one line, several statements": (
        "try: f()\nexcept E: log(); x = 1;\n",
        "try: f()\nexcept E:\n    conn.rollback()\n    log()\n    x = 1;\n",
    ),
    "continuation line": (
        "try:\n    f()\nexcept E: \\\n    log()\n",
        "try:\n    f()\nexcept E:\n    conn.rollback()\n    log()\n",
    ),
    "header over several lines": (
        "try:\n    f()\nexcept (\n    A,  # one\n    B,\n) as e:\n    log(e)\n",
        "try:\n    f()\nexcept (\n    A,  # one\n    B,\n) as e:\n    conn.rollback()\n    log(e)\n",
    ),
    "comments everywhere": (
        "try:\n    f()\n# odd\nexcept E:  # header\n\n      # why\n    log()  # log\n    # foot\n",
        "try:\n    f()\n# odd\nexcept E:  # header\n    conn.rollback()\n\n      # why\n    log()  # log\n    # foot\n",
    ),
    "pass with a comment": (
        "try:\n    f()\nexcept E:\n    # nobody cares\n    pass\n",
        "try:\n    f()\nexcept E:\n    conn.rollback()\n    # nobody cares\n    pass\n",
    ),
    "pass on its line": (
        "try:\n    f()\nexcept E:\n    pass\nelse:\n    g()\n",
        "try:\n    f()\nexcept E:\n    conn.rollback()\nelse:\n    g()\n",
    ),
    "semicolons": (
        "a = 1; b = 2\ntry:\n    f(); g()\nexcept E:\n    log(); x = 1\n",
        "a = 1; b = 2\ntry:\n    f(); g()\nexcept E:\n    conn.rollback()\n    log(); x = 1\n",
    ),
    "two handlers": (
        "try:\n    f()\nexcept A:\n    a()\nexcept B:\n    b()\n",
        "try:\n    f()\nexcept A:\n    conn.rollback()\n    a()\nexcept B:\n    conn.rollback()\n    b()\n",
    ),
    "nested": (
        "try: f()\nexcept A:\n    try: g()\n    except B:\n        b()\n",
        "try: f()\nexcept A:\n    conn.rollback()\n    try: g()\n    except B:\n        conn.rollback()\n        b()\n",
    ),
    "async and decorated": (
        "@d\nasync def f():\n  async with a:\n    try: g()\n    except E:\n      log()\n",
        "@d\nasync def f():\n  async with a:\n    try: g()\n    except E:\n      conn.rollback()\n      log()\n",
    ),
    "wide characters": (
        'try:\n    f("é😀"); g("é")\nexcept E:\n    log("é😀")\n',
        'try:\n    f("é😀"); g("é")\nexcept E:\n    conn.rollback()\n    log("é😀")\n',
    ),
    "separators that are no line ends": (
        'x = "\u2028\x85"\ntry:\n    f()\nexcept E:\n    log("\x0b")\n',
        'x = "\u2028\x85"\ntry:\n    f()\nexcept E:\n    conn.rollback()\n    log("\x0b")\n',
    ),
    "multi-line string": (
        'try:\n    f("""\n  a\n""")\nexcept E:\n    log("""\nx\n  """)\n',
        'try:\n    f("""\n  a\n""")\nexcept E:\n    conn.rollback()\n    log("""\nx\n  """)\n',
    ),
}

if sys.version_info >= (3, 11):
    LAYOUTS["except*"] = (
        "try:\n    f()\nexcept* E:\n    log()\n",
        "try:\n    f()\nexcept* E:\n    conn.rollback()\n    log()\n",
    )


@pytest.mark.parametrize(("before", "after"), LAYOUTS.values(), ids=LAYOUTS)
def test_first_in_the_handler(before: str, after: str) -> None:
    assert fixed(before.encode()).decode() == after


def test_mixed_newlines_stay_mixed() -> None:
    before = b"a = 1\r\ntry:\n    f()\r\nexcept E:\n    log()\r\nb = 2\n"
    assert fixed(before) == b"a = 1\r\ntry:\n    f()\r\nexcept E:\n    conn.rollback()\r\n    log()\r\nb = 2\n"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "iso-8859-15"])
def test_the_coding_cookie_is_honoured(encoding: str) -> None:
    before = f"# -*- coding: {encoding} -*-\ntry:\n    f('é')\nexcept E:\n    log('ü')\n"
    after = f"# -*- coding: {encoding} -*-\ntry:\n    f('é')\nexcept E:\n    conn.rollback()\n    log('ü')\n"
    assert fixed(before.encode(encoding)) == after.encode(encoding)


def test_byte_order_mark_is_kept_once() -> None:
    assert fixed(codecs.BOM_UTF8 + b"try: f()\nexcept E: pass\n").count(codecs.BOM_UTF8) == 1


LOSSES = {
    "final CR": ("try:\r    f()\rexcept E:\r    log()\r", "whitespace that would be lost"),
    "form feed before what is replaced": ("try:\n    f()\n\x0cexcept E: log()\n", "form feed or the blanks of line 3"),
}


@pytest.mark.parametrize(("source", "reason"), LOSSES.values(), ids=LOSSES)
def test_what_would_be_lost_is_refused(source: str, reason: str) -> None:
    outcome = fix_file(source.encode(), "m.py", swallowing_handlers, unsafe=False)
    if outcome.new == source.encode():
        (refusal,) = outcome.refused
        assert reason in refusal.reason
    else:  # a later libcst keeps it
        assert fixed(source.encode()) == outcome.new


def test_deep_expression_is_refused() -> None:
    source = f"x = {' + '.join(['a'] * 3000)}\ntry:\n    f()\nexcept E:\n    log()\n"
    outcome = fix_file(source.encode(), "m.py", shallow_check, unsafe=False)
    assert outcome.new == source.encode()
    assert [refusal.reason for refusal in outcome.refused] == ["the code is nested too deeply to be rewritten"]


def shallow_check(data: bytes) -> tuple[Finding, ...]:
    """What the toy rule finds when the deep first line is left out."""
    return swallowing_handlers(b"x" + data[data.index(b"\ntry:") :])
