"""Rewrites of `try` statements: a block around the body, an `else` that is new, filled, or joined from below."""

from __future__ import annotations

import ast

import pytest

from dbsafety.model.rewrite import InsertBefore, InsertElse, InsertFirst, JoinElse, WrapBody
from tests.fix.planning import handler, mended, nodes, refused, span

WRAPPED = {
    "block": (
        "try:  # a\n    # b\n    f()  # c\n\n    g('''\n x''')\nexcept A:  # d\n    pass\n",
        "try:  # a\n    with c:\n        # b\n        f()  # c\n\n        g('''\n x''')\nexcept A:  # d\n    pass\n",
    ),
    "tabs": (
        "def h():\n\ttry:\n\t\tf()\n\texcept A: pass\n",
        "def h():\n\ttry:\n\t\twith c:\n\t\t\tf()\n\texcept A: pass\n",
    ),
    "one line": (
        "try: f(); g()  # a\nexcept A: pass\n",
        "try:  # a\n    with c:\n        f(); g()\nexcept A: pass\n",
    ),
    "comment at the end": (
        "try:\n    f()\n    # a\nexcept A: pass\n",
        "try:\n    with c:\n        f()\n    # a\nexcept A: pass\n",
    ),
    "else and finally": (
        "try:\n    f()\nexcept A: pass\nelse: g()\nfinally: h()\n",
        "try:\n    with c:\n        f()\nexcept A: pass\nelse: g()\nfinally: h()\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), WRAPPED.values(), ids=WRAPPED)
def test_wrap_body(before: str, after: str) -> None:
    assert mended(before, WrapBody(span(before, "try", ast.Try), "c")) == after


def test_wrap_body_drops_the_commit_and_keeps_its_comments() -> None:
    before = "try:\n    f()\n    # stored\n    c.commit()  # here\nexcept A: pass\n"
    after = "try:\n    with c:\n        f()\n    # stored\n    # here\nexcept A: pass\n"
    assert mended(before, WrapBody(span(before, "try", ast.Try), "c", drop=(span(before, "c.commit"),))) == after


def test_wrap_body_of_a_coroutine() -> None:
    before = "async def h():\n    try:\n        await f()\n    except A:\n        pass\n"
    after = before.replace("        await f()", "        async with c.t():\n            await f()")
    assert mended(before, WrapBody(span(before, "try", ast.Try), "c.t()", is_async=True)) == after


ELSE = {
    "new": ("try:\n    f()\nexcept A:\n    g()\nh()\n", "try:\n    f()\nexcept A:\n    g()\nelse:\n    r()\nh()\n"),
    "comment below": (
        "try:\n    f()\nexcept A:\n    g()\n    # a\n\n# b\nh()\n",
        "try:\n    f()\nexcept A:\n    g()\n    # a\nelse:\n    r()\n\n# b\nh()\n",
    ),
    "there": (
        "try: f()\nexcept A: g()\nelse:\n    # a\n    h()\n",
        "try: f()\nexcept A: g()\nelse:\n    r()\n    # a\n    h()\n",
    ),
    "finally": (
        "try: f()\nexcept A: g()\nfinally:  # a\n    h()\n",
        "try: f()\nexcept A: g()\nelse:\n    r()\nfinally:  # a\n    h()\n",
    ),
    "end of the file": ("try: f()\nexcept A: g()", "try: f()\nexcept A: g()\nelse:\n    r()"),
}


@pytest.mark.parametrize(("before", "after"), ELSE.values(), ids=ELSE)
def test_insert_else(before: str, after: str) -> None:
    assert mended(before, InsertElse(span(before, "try", ast.Try), "r()\n")) == after


def test_savepoint_shape() -> None:
    before = "for r in rows:\n\ttry:\n\t\tf(r)\n\texcept A:\n\t\tcontinue\n"
    attempt = span(before, "try", ast.Try)
    rewrites = InsertBefore(attempt, "s()\n"), InsertFirst(handler(before), "b()\n"), InsertElse(attempt, "e()\n")
    after = "for r in rows:\n\ts()\n\ttry:\n\t\tf(r)\n\texcept A:\n\t\tb()\n\t\tcontinue\n\telse:\n\t\te()\n"
    assert mended(before, *rewrites) == after


JOINED = {
    "new": (
        "try:\n    f()\nexcept A:\n    g()\n\n# why\nc.commit()  # here\nh()\n",
        "try:\n    f()\nexcept A:\n    g()\nelse:\n    # why\n    c.commit()  # here\nh()\n",
    ),
    "there": (
        "try: f()\nexcept A: g()\nelse:\n    h()\nc.commit()\n",
        "try: f()\nexcept A: g()\nelse:\n    h()\n    c.commit()\n",
    ),
    "of a line": (
        "try: f()\nexcept A: g()\nc.commit(); h()\n",
        "try: f()\nexcept A: g()\nelse:\n    c.commit()\nh()\n",
    ),
    "last": (
        "def h():\n  try: f()\n  except A: g()\n  c.commit()\n",
        "def h():\n  try: f()\n  except A: g()\n  else:\n    c.commit()\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), JOINED.values(), ids=JOINED)
def test_join_else(before: str, after: str) -> None:
    assert mended(before, JoinElse(span(before, "try", ast.Try), span(before, "c.commit"))) == after


def test_join_else_wants_the_next_statement() -> None:
    before = "try: f()\nexcept A: g()\nh()\nc.commit()\n"
    assert refused(before, JoinElse(span(before, "try", ast.Try), span(before, "c.commit"))) == (
        "the statement to move does not come right behind its `try`"
    )


def test_branches_want_a_try_with_a_handler() -> None:
    bare = "try: f()\nfinally: g()\n"
    assert refused(bare, InsertElse(span(bare, "try", ast.Try), "r()\n")) == "an `else` needs a handler before it"
    lines = "try: f()\nexcept A: g()\nelse: h()\n"
    assert refused(lines, InsertElse(span(lines, "try", ast.Try), "r()\n")) == (
        "the `else` of the `try` stands on one line"
    )
    assert len(nodes(lines, ast.Try)) == 1
