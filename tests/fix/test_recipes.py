"""Each rewrite of the algebra, over the shapes of code it meets."""

from __future__ import annotations

import ast

import pytest

from dbsafety.model.rewrite import (
    DeleteComment,
    EnsureImport,
    Guard,
    InsertBefore,
    InsertFirst,
    MoveToElse,
    ReplaceExpression,
    SetHandlerType,
    SetKeyword,
    WrapInTry,
    WrapInWith,
    WrapItem,
)
from dbsafety.model.span import Span
from dbsafety.source.text import SourceText
from tests.fix.planning import handler, mended, refused, span

HANDLER_TYPES = {
    "bare": ("try: f()\nexcept: pass\n", "try: f()\nexcept Exception: pass\n"),
    "bare with blank": ("try: f()\nexcept :  # c\n    pass\n", "try: f()\nexcept Exception:  # c\n    pass\n"),
    "named": ("try: f()\nexcept BaseException as e:\n    g(e)\n", "try: f()\nexcept Exception as e:\n    g(e)\n"),
    "in parentheses": ("try: f()\nexcept(A): pass\n", "try: f()\nexcept Exception: pass\n"),
    "close to as": ("try: f()\nexcept (A)as e: pass\n", "try: f()\nexcept Exception as e: pass\n"),
    "over lines": ("try: f()\nexcept (\n    A, B\n): pass\n", "try: f()\nexcept Exception: pass\n"),
}


@pytest.mark.parametrize(("before", "after"), HANDLER_TYPES.values(), ids=HANDLER_TYPES)
def test_set_handler_type(before: str, after: str) -> None:
    assert mended(before, SetHandlerType(handler(before), "Exception")) == after


def test_set_handler_type_keeps_comments_or_refuses() -> None:
    source = "try: f()\nexcept (\n    A,  # why A\n    B,\n): pass\n"
    assert refused(source, SetHandlerType(handler(source), "Exception")) == "the comment '# why A' would be lost"


KEYWORDS = {
    "one": ("c(p)\n", "c(p, timeout=30)\n"),
    "none": ("c()\n", "c(timeout=30)\n"),
    "none over lines": ("c(\n)\n", "c(\ntimeout=30)\n"),
    "trailing comma": ("c(p,)\n", "c(p, timeout=30,)\n"),
    "the keyword is there": ("c(p, timeout = 1, x=2)\n", "c(p, timeout = 30, x=2)\n"),
    "double star": ("c(p, **k)\n", "c(p, **k, timeout=30)\n"),
    "many lines": ("c(\n    p,\n    x=1,\n)\n", "c(\n    p,\n    x=1,\n    timeout=30,\n)\n"),
    "many lines, no trailing comma": ("c(\n    p,\n    x=1\n)\n", "c(\n    p,\n    x=1,\n    timeout=30\n)\n"),
    "one argument on its line": ("c(\n    p,\n)\n", "c(\n    p,\n    timeout=30,\n)\n"),
    "one argument, no comma": ("c(\n    p\n)\n", "c(\n    p,\n    timeout=30\n)\n"),
    "comments": ("c(\n    p,  # a\n    x=1,  # b\n)\n", "c(\n    p,  # a\n    x=1,  # b\n    timeout=30,\n)\n"),
    "comment, no comma": ("c(\n    p,\n    x=1  # b\n)\n", "c(\n    p,\n    x=1,  # b\n    timeout=30\n)\n"),
    "comment below": ("c(\n    p,\n    # x=1,\n)\n", "c(\n    p,\n    # x=1,\n    timeout=30,\n)\n"),
    "aligned": ("c(p,\n  x=1)\n", "c(p,\n  x=1,\n  timeout=30)\n"),
    "hanging": ("c(\n    p)\n", "c(\n    p, timeout=30)\n"),
    "in a block": ("if x:\n\tc(\n\t\tp,\n\t)\n", "if x:\n\tc(\n\t\tp,\n\t\ttimeout=30,\n\t)\n"),
    "closing line dedented": ("c(p, x=1\n  )\n", "c(p, x=1, timeout=30\n  )\n"),
}


@pytest.mark.parametrize(("before", "after"), KEYWORDS.values(), ids=KEYWORDS)
def test_set_keyword(before: str, after: str) -> None:
    assert mended(before, SetKeyword(span(before, "c(", ast.Call), "timeout", "30")) == after


def test_set_keyword_replaces_the_positional_argument() -> None:
    assert mended("c(p, 5, 1)\n", SetKeyword(Span(1, 0, 1, 10), "timeout", "30", 1)) == "c(p, 30, 1)\n"


def test_set_keyword_appends_when_the_position_is_empty() -> None:
    assert mended("c(p)\n", SetKeyword(Span(1, 0, 1, 4), "timeout", "30", 1)) == "c(p, timeout=30)\n"


def test_set_keyword_is_refused_where_a_star_may_pass_it() -> None:
    reason = refused("c(p, *a)\n", SetKeyword(Span(1, 0, 1, 8), "timeout", "30", 1))
    assert reason == "`*` may already pass timeout in the call at line 1"


def test_set_keyword_is_refused_behind_a_generator() -> None:
    reason = refused("c(x for x in y)\n", SetKeyword(Span(1, 0, 1, 15), "timeout", "30"))
    assert reason.startswith("the changed code would not parse: Generator expression must be parenthesized")


REPLACEMENTS = {
    "name": ("f(a)\n", "a", "b.c(1)", "f(b.c(1))\n"),
    "in parentheses": ("f((a))\n", "a", "b", "f((b))\n"),
    "string": ('f("é", "BEGIN")\n', '"BEGIN"', '"BEGIN IMMEDIATE"', 'f("é", "BEGIN IMMEDIATE")\n'),
    "comparison": ("if a == 1: pass\n", "a == 1", "a and b", "if a and b: pass\n"),
}


@pytest.mark.parametrize(("before", "old", "new", "after"), REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_replace_expression(before: str, old: str, new: str, after: str) -> None:
    assert mended(before, ReplaceExpression(span(before, old, ast.expr), new)) == after


def test_replacing_an_operand_so_that_it_binds_otherwise_is_refused() -> None:
    source = "x = not aa\n"
    assert refused(source, ReplaceExpression(span(source, "aa", ast.expr), "b or c")).startswith(
        "the changed code is not"
    )


BEFORE = {
    "plain": ("try: f()\nfinally: pass\n", "try:", "conn = None\ntry: f()\nfinally: pass\n"),
    "comment and blanks": (
        "a = 1\n\n# try it\ntry: f()\nfinally: pass\n",
        "try:",
        "a = 1\n\nconn = None\n# try it\ntry: f()\nfinally: pass\n",
    ),
    "in a function": (
        "def f():\n\ta = 1\n\ttry: f()\n\tfinally: pass\n",
        "try:",
        "def f():\n\ta = 1\n\tconn = None\n\ttry: f()\n\tfinally: pass\n",
    ),
    "behind a semicolon": ("a = 1; b = 2; c = 3  # x\n", "b", "a = 1\nconn = None\nb = 2\nc = 3  # x\n"),
    "first of a line": ("a = 1; b = 2  # x\n", "a", "conn = None\na = 1\nb = 2  # x\n"),
    "in a one-line suite": ("if x: b = 2\n", "b", "if x:\n    conn = None\n    b = 2\n"),
    "decorated": ("a = 1\n\n\n@deco\ndef f(): pass\n", "def", "a = 1\n\n\nconn = None\n@deco\ndef f(): pass\n"),
    "no final newline": ("a = 1\nb = 2", "b", "a = 1\nconn = None\nb = 2"),
}


@pytest.mark.parametrize(("before", "at", "after"), BEFORE.values(), ids=BEFORE)
def test_insert_before(before: str, at: str, after: str) -> None:
    assert mended(before, InsertBefore(span(before, at), "conn = None\n")) == after


def test_insert_before_an_elif_is_refused() -> None:
    source = "if a: pass\nelif b: pass\n"
    reason = refused(source, InsertBefore(Span(2, 0, 2, 12), "conn = None\n"))
    assert reason == "a statement to change is not in a block of statements"


def test_insert_first_takes_the_indentation_of_its_place() -> None:
    source = "def f():\n\ttry: g()\n\texcept E:\n\t\tpass\n\n\ndef h():\n    return 1\n"
    code = "try:\n    conn.rollback()\nexcept sqlite3.Error:\n    pass\n"
    assert mended(source, InsertFirst(handler(source), code)) == (
        "def f():\n\ttry: g()\n\texcept E:\n\t\ttry:\n\t\t\tconn.rollback()\n\t\texcept sqlite3.Error:\n\t\t\tpass\n"
        "\n\ndef h():\n    return 1\n"
    )


def test_insert_first_goes_behind_a_docstring() -> None:
    source = 'def f():\n    """Doc."""\n    return 1\n'
    assert mended(source, InsertFirst(span(source, "def"), "x = 1\n")) == (
        'def f():\n    """Doc."""\n    x = 1\n    return 1\n'
    )


def test_insert_first_into_with_and_if() -> None:
    source = "with a:\n    if b: c()\n"
    changed = mended(source, InsertFirst(span(source, "with"), "x = 1\n"))
    assert changed == "with a:\n    x = 1\n    if b: c()\n"
    assert mended(source, InsertFirst(span(source, "if"), "x = 1\n")) == (
        "with a:\n    if b:\n        x = 1\n        c()\n"
    )


def test_insert_first_into_a_statement_without_a_body_is_refused() -> None:
    assert refused("x = 1\n", InsertFirst(Span(1, 0, 1, 5), "y = 1\n")) == "the statement at line 1 has no body"


GUARDS = {
    "plain": ("conn.close()  # c\n", "if conn is not None:\n    conn.close()  # c\n"),
    "with comment": ("a = 1\n# why\nconn.close()\n", "a = 1\n# why\nif conn is not None:\n    conn.close()\n"),
    "one-line suite": (
        "try: f()\nfinally: conn.close()\n",
        "try: f()\nfinally:\n    if conn is not None:\n        conn.close()\n",
    ),
    "semicolons": ("a(); conn.close(); b()\n", "a()\nif conn is not None:\n    conn.close()\nb()\n"),
    "over lines": (
        "if x:\n  conn.close(\n    1,\n  )\n",
        "if x:\n  if conn is not None:\n    conn.close(\n      1,\n    )\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), GUARDS.values(), ids=GUARDS)
def test_guard(before: str, after: str) -> None:
    assert mended(before, Guard(span(before, "conn.close"), "conn is not None")) == after


ITEMS = "closing(connect(p)) as conn, conn"
WRAPS = {
    "plain": (
        "def f(p):\n    conn = connect(p)\n    conn.execute(a)\n    conn.close()\n    return 1\n",
        "def f(p):\n    with closing(connect(p)) as conn, conn:\n        conn.execute(a)\n        return 1\n",
    ),
    "comments and blank lines": (
        """\
def f(p):
    # open
    conn = connect(p)  # now

    # run
    conn.execute(a)  # it

    # tidy up
    conn.close()  # bye
    # end
    return 1
""",
        """\
def f(p):
    # open
    with closing(connect(p)) as conn, conn:  # now
        # run
        conn.execute(a)  # it
        # tidy up
        # bye
        # end
        return 1
""",
    ),
    "semicolons": (
        "def f(p):\n    conn = connect(p); conn.execute(a); conn.close(); return 1\n",
        "def f(p):\n    with closing(connect(p)) as conn, conn:\n        conn.execute(a)\n        return 1\n",
    ),
    "one-line function": (
        "def f(p): conn = connect(p); conn.close(); return 1\n",
        "def f(p):\n    with closing(connect(p)) as conn, conn:\n        return 1\n",
    ),
    "strings and brackets over lines": (
        '''\
def f(p):
    conn = connect(p)
    conn.execute("""
  SELECT
""", (
        1,
    ))
    x = 1 + \\
        2
    conn.close()
    return x
''',
        '''\
def f(p):
    with closing(connect(p)) as conn, conn:
        conn.execute("""
  SELECT
""", (
            1,
        ))
        x = 1 + \\
        2
        return x
''',
    ),
    "the drop is nested": (
        "def f(p):\n    conn = connect(p)\n    if a:\n        conn.close()\n    return 1\n",
        "def f(p):\n    with closing(connect(p)) as conn, conn:\n        if a:\n            pass\n        return 1\n",
    ),
    "the drop is nested on one line": (
        "def f(p):\n  conn = connect(p)\n  if a: conn.close()  # c\n  return 1\n",
        "def f(p):\n  with closing(connect(p)) as conn, conn:\n    if a:  # c\n      pass\n    return 1\n",
    ),
    "the call keeps its lines and comments": (
        "def f():\n    conn = connect(\n        p,  # c\n    )  # d\n    conn.close()\n    return 1\n",
        "def f():\n    with closing(connect(\n        p,  # c\n    )) as conn, conn:  # d\n        return 1\n",
    ),
    "tabs": (
        "def f(p):\n\tconn = connect(p)\n\tfor x in y:\n\t\tg(x)\n\tconn.close()\n\treturn 1\n",
        "def f(p):\n\twith closing(connect(p)) as conn, conn:\n\t\tfor x in y:\n\t\t\tg(x)\n\t\treturn 1\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), WRAPS.values(), ids=WRAPS)
def test_wrap_in_with(before: str, after: str) -> None:
    wrap = WrapInWith(span(before, "conn = "), span(before, "return"), ITEMS, (span(before, "conn.close"),))
    assert mended(before, wrap) == after


def test_wrap_keeps_the_value_as_it_is_written() -> None:
    source = 'conn = connect("a" r"\\d", 0x1F, x=1_0)\nconn.execute(a)\nconn.close()\n'
    plans = {
        "closing(connect('a\\\\d', 31, x=10)) as conn, conn": 'closing(connect("a" r"\\d", 0x1F, x=1_0)) as conn, conn',
        "connect('a\\\\d', 31, x=10) as conn": 'connect("a" r"\\d", 0x1F, x=1_0) as conn',
        "connect('b') as conn": "connect('b') as conn",
    }
    for items, header in plans.items():
        wrap = WrapInWith(span(source, "conn = "), span(source, "conn.close"), items, (span(source, "conn.close"),))
        assert mended(source, wrap) == f"with {header}:\n    conn.execute(a)\n"


def test_wrap_leaves_what_follows_the_last_statement() -> None:
    source = "conn = connect(p)\nconn.execute(a)\nconn.close()\n\n\ndone()\n"
    wrap = WrapInWith(span(source, "conn = "), span(source, "conn.close"), ITEMS, (span(source, "conn.close"),))
    assert mended(source, wrap) == "with closing(connect(p)) as conn, conn:\n    conn.execute(a)\n\n\ndone()\n"


def test_comment_of_a_drop_that_nothing_follows_stays_at_the_end() -> None:
    source = "def f():\n    conn = connect(p)\n    g()\n    conn.close()  # bye\n"
    wrap = WrapInWith(span(source, "conn = "), span(source, "conn.close"), ITEMS, (span(source, "conn.close"),))
    assert mended(source, wrap) == ("def f():\n    with closing(connect(p)) as conn, conn:\n        g()\n    # bye\n")


def test_wrap_that_leaves_nothing_gets_a_pass() -> None:
    source = "conn = connect(p)\nconn.close()\n"
    wrap = WrapInWith(span(source, "conn = "), span(source, "conn.close"), ITEMS, (span(source, "conn.close"),))
    assert mended(source, wrap) == "with closing(connect(p)) as conn, conn:\n    pass\n"


def test_two_wraps_in_one_block() -> None:
    source = "a = connect(p)\nb = connect(q)\nuse(a, b)\na.close()\nb.close()\n"
    last = span(source, "b.close")
    changed = mended(
        source,
        WrapInWith(span(source, "a ="), last, "closing(connect(p)) as a", (span(source, "a.close"),)),
        WrapInWith(span(source, "b ="), last, "closing(connect(q)) as b", (last,)),
    )
    assert changed == "with closing(connect(p)) as a:\n    with closing(connect(q)) as b:\n        use(a, b)\n"


def test_wrap_over_the_end_of_a_block_is_refused() -> None:
    source = "if x:\n    conn = connect(p)\nconn.close()\n"
    wrap = WrapInWith(span(source, "conn = "), span(source, "conn.close"), ITEMS)
    assert refused(source, wrap) == "the statements to wrap do not follow each other in one block"


COMMENTS = {
    "whole, behind code": ("x = 1  # noqa: A1\n", "# noqa: A1", "", "x = 1\n"),
    "whole line": ("x = 1\n# noqa: A1\ny = 2\n", "# noqa: A1", "", "x = 1\ny = 2\n"),
    "in a block": ("if x:\n    # noqa: A1\n    y = 2\n", "# noqa: A1", "", "if x:\n    y = 2\n"),
    "the first of two": ("x = 1  # noqa: A1  # why\n", "# noqa: A1", "", "x = 1  # why\n"),
    "the last of two": ("x = 1  # why  # noqa: A1\n", "# noqa: A1", "", "x = 1  # why\n"),
    "a code": ("x = 'é'  # noqa: A1,B2 because\n", "A1,B2", "B2", "x = 'é'  # noqa: B2 because\n"),
    "in brackets": ("f(\n    a,  # noqa: A1\n    # noqa: B1\n)\n", "# noqa: A1", "", "f(\n    a,\n    # noqa: B1\n)\n"),
    "line in brackets": (
        "f(\n    a,  # noqa: A1\n    # noqa: B1\n)\n",
        "# noqa: B1",
        "",
        "f(\n    a,  # noqa: A1\n)\n",
    ),
    "header": ("if x:  # noqa: A1\n    y = 2\n", "# noqa: A1", "", "if x:\n    y = 2\n"),
    "end of file": ("x = 1\n# noqa: A1", "# noqa: A1", "", "x = 1"),
    "nothing else": ("# noqa: A1\n", "# noqa: A1", "", "\n"),
    "after é": ("x = 1  # é # noqa: A1\n", "# noqa: A1", "", "x = 1  # é\n"),
}


@pytest.mark.parametrize(("before", "old", "new", "after"), COMMENTS.values(), ids=COMMENTS)
def test_delete_comment(before: str, old: str, new: str, after: str) -> None:
    start = before.index(old)
    place = SourceText.of(before).span(start, start + len(old))
    assert mended(before, DeleteComment(place, new)) == after


def test_delete_comment_in_a_string_is_refused() -> None:
    assert refused("x = '# noqa: A1'\n", DeleteComment(Span(1, 5, 1, 15))) == "there is no comment at line 1"


IMPORTS = {
    "after imports of its section": ("import os\n\nf()\n", "import os\nfrom contextlib import closing\n\nf()\n"),
    "sorted": (
        "import os\nfrom abc import ABC\nfrom typing import Any\n\nf()\n",
        "import os\nfrom abc import ABC\nfrom contextlib import closing\nfrom typing import Any\n\nf()\n",
    ),
    "first of its section": (
        "# licence\nfrom __future__ import annotations\n\nimport psycopg2\n\nf()\n",
        "# licence\nfrom __future__ import annotations\n\nfrom contextlib import closing\n\nimport psycopg2\n\nf()\n",
    ),
    "before the first": (
        '"""Doc."""\n\nfrom typing import Any\n\nf()\n',
        '"""Doc."""\n\nfrom contextlib import closing\nfrom typing import Any\n\nf()\n',
    ),
    "another section first": ("import psycopg2\n\nf()\n", "from contextlib import closing\n\nimport psycopg2\n\nf()\n"),
    "no imports": ('"""Doc."""\nf()\n', '"""Doc."""\n\nfrom contextlib import closing\n\nf()\n'),
    "no docstring": (
        "#!/usr/bin/python\n# é\nf()\n",
        "#!/usr/bin/python\n# é\nfrom contextlib import closing\n\nf()\n",
    ),
    "merged": ("from contextlib import suppress\n\nf()\n", "from contextlib import closing, suppress\n\nf()\n"),
    "merged last": ("from contextlib import a, b  # c\nf()\n", "from contextlib import a, b, closing  # c\nf()\n"),
    "merged, not in order": ("from contextlib import z, a\nf()\n", "from contextlib import z, a, closing\nf()\n"),
    "parentheses on one line": (
        "from contextlib import (ExitStack, suppress)\nf()\n",
        "from contextlib import (ExitStack, closing, suppress)\nf()\n",
    ),
    "parentheses on one line, last, with a comma": (
        "from contextlib import (a as b, c,)\nf()\n",
        "from contextlib import (a as b, c, closing,)\nf()\n",
    ),
    "parentheses over lines": (
        "from contextlib import (\n    suppress,\n)\nf()\n",
        "from contextlib import (\n    closing,\n    suppress,\n)\nf()\n",
    ),
    "parentheses over lines, last": (
        "from contextlib import (\n    suppress,  # why\n    ExitStack,\n)\nf()\n",
        "from contextlib import (\n    suppress,  # why\n    ExitStack,\n    closing,\n)\nf()\n",
    ),
    "parentheses over lines, last, without a comma": (
        "from contextlib import (ExitStack,\n               aclosing)  # c\nf()\n",
        "from contextlib import (ExitStack,\n               aclosing,\n               closing)  # c\nf()\n",
    ),
    "parentheses over lines, comments of the names": (
        "from contextlib import (  # all\n    ExitStack,  # a\n    # b\n    suppress  # c\n)\nf()\n",
        "from contextlib import (  # all\n    ExitStack,  # a\n    # b\n    suppress,  # c\n    closing\n)\nf()\n",
    ),
    "a continuation line": (
        "from contextlib import aclosing, \\\n    suppress\nf()\n",
        "from contextlib import aclosing, \\\n    closing, \\\n    suppress\nf()\n",
    ),
    "bound under another name": (
        "from contextlib import closing as c\nf()\n",
        "from contextlib import closing as c, closing\nf()\n",
    ),
    "only for types": (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from contextlib import closing\n\nf()\n",
        (
            "from contextlib import closing\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n"
            "    from contextlib import closing\n\nf()\n"
        ),
    ),
    "only in a function": (
        "import os\n\ndef g():\n    from contextlib import closing\n\nf()\n",
        "import os\nfrom contextlib import closing\n\ndef g():\n    from contextlib import closing\n\nf()\n",
    ),
    "comment above the first import": (
        '"""Doc."""\n# about\nfrom typing import Any\nf()\n',
        '"""Doc."""\nfrom contextlib import closing\n# about\nfrom typing import Any\nf()\n',
    ),
    "bound too late": (
        "import os\nf()\nfrom contextlib import closing\n",
        "import os\nfrom contextlib import closing\nf()\nfrom contextlib import closing\n",
    ),
    "relative imports": ("from . import a\nf()\n", "from contextlib import closing\n\nfrom . import a\nf()\n"),
    "there already": ("from contextlib import closing\nf()\n", "from contextlib import closing\nf()\n"),
}


@pytest.mark.parametrize(("before", "after"), IMPORTS.values(), ids=IMPORTS)
def test_ensure_import(before: str, after: str) -> None:
    call = SetKeyword(span(before, "f()", ast.Call), "x", "1")
    assert mended(before, call, EnsureImport("contextlib", "closing")) == after.replace("f()", "f(x=1)")


def test_ensure_import_of_a_module() -> None:
    source = "import sqlite3\n\nf()\n"
    call = SetKeyword(span(source, "f()", ast.Call), "x", "1")
    assert mended(source, call, EnsureImport("contextlib")) == "import contextlib\nimport sqlite3\n\nf(x=1)\n"
    assert mended(source, call, EnsureImport("sqlite3")) == "import sqlite3\n\nf(x=1)\n"
    submodule = "import psycopg2.extras\nf()\n"
    call = SetKeyword(span(submodule, "f()", ast.Call), "x", "1")
    assert mended(submodule, call, EnsureImport("psycopg2")) == "import psycopg2.extras\nf(x=1)\n"


@pytest.mark.parametrize(
    "taken", ["closing = 1", "def closing(): pass", "from x import closing", "import closing", "g = lambda closing: 1"]
)
def test_ensure_import_is_refused_where_the_name_means_something_else(taken: str) -> None:
    source = f"{taken}\nf()\n"
    reason = refused(source, SetKeyword(span(source, "f()", ast.Call), "x", "1"), EnsureImport("contextlib", "closing"))
    assert reason == "the name closing, which the fix needs to import, means something else at line 1"


def test_two_rewrites_of_one_plan_in_one_pass() -> None:
    source = "import sqlite3\n\ndef f():\n    try:\n        conn = c()\n    except E:\n        conn.rollback()\n"
    changed = mended(
        source,
        InsertBefore(span(source, "try"), "conn = None"),
        Guard(span(source, "conn.rollback"), "conn is not None"),
    )
    assert changed == (
        "import sqlite3\n\ndef f():\n    conn = None\n    try:\n        conn = c()\n    except E:\n"
        "        if conn is not None:\n            conn.rollback()\n"
    )


def test_a_span_that_names_no_node_is_refused() -> None:
    assert (
        refused("f(a)\n", ReplaceExpression(Span(1, 1, 1, 3), "b"))
        == "the expression at line 1 is not found exactly once"
    )
    assert refused("f(a)\n", Guard(Span(1, 0, 1, 3), "b")) == "the statement at line 1 is not found exactly once"


def test_code_that_is_not_python_is_refused() -> None:
    assert refused("f(a)\n", Guard(Span(1, 0, 1, 4), "b c")) == "the planned expression is not Python: 'b c'"


WITH_ITEMS = {
    "one": ("with c(p) as x:\n    f()\n", "with closing(c(p)) as x, x:\n    f()\n"),
    "comment": ("with c(p) as x:  # why\n    f()\n", "with closing(c(p)) as x, x:  # why\n    f()\n"),
    "first": ("with c(p) as x, d() as y: f()\n", "with closing(c(p)) as x, x, d() as y: f()\n"),
    "last": ("with d() as y, c(p) as x: f()\n", "with d() as y, closing(c(p)) as x, x: f()\n"),
    "over lines": (
        "with c(\n    p,  # path\n    q=1,\n) as x:\n    f()\n",
        "with closing(c(\n    p,  # path\n    q=1,\n)) as x, x:\n    f()\n",
    ),
    "in parentheses": (
        "with (\n    c(p) as x,\n    d() as y,\n):\n    f()\n",
        "with (\n    closing(c(p)) as x, x,\n    d() as y,\n):\n    f()\n",
    ),
    "parentheses of its own": ("with (c(p)) as x:\n    f()\n", "with closing((c(p))) as x, x:\n    f()\n"),
}


@pytest.mark.parametrize(("before", "after"), WITH_ITEMS.values(), ids=WITH_ITEMS)
def test_wrap_item(before: str, after: str) -> None:
    assert mended(before, WrapItem(span(before, "c(", ast.Call), "closing", "x")) == after


def test_wrap_item_wants_an_item() -> None:
    assert refused("c(p)\n", WrapItem(Span(1, 0, 1, 4), "closing", "x")) == (
        "an expression to wrap is not entered by a `with` statement"
    )


TRIES = {
    "plain": (
        """\
def f(p):
    conn = p.get()  # c
    conn.execute(a)

    p.put(conn)
    return 1
""",
        """\
def f(p):
    conn = p.get()  # c
    try:
        conn.execute(a)
    finally:
        p.put(conn)
    return 1
""",
    ),
    "comments": (
        """\
def f(p):
    conn = p.get()
    # why
    conn.execute(a)
    # done
    p.put(conn)  # back
""",
        """\
def f(p):
    conn = p.get()
    try:
        # why
        conn.execute(a)
    finally:
        p.put(conn)
    # done
    # back
""",
    ),
}


@pytest.mark.parametrize(("before", "after"), TRIES.values(), ids=TRIES)
def test_wrap_in_try(before: str, after: str) -> None:
    put = span(before, "p.put")
    assert mended(before, WrapInTry(span(before, "conn ="), put, "p.put(conn)\n", (put,))) == after


ELSES = {
    "alone in finally": (
        """\
def f(c):
  try:
    g(c)
  finally:
    # at last
    c.commit()  # c
  return 1
""",
        """\
def f(c):
  try:
    g(c)
  except BaseException:
    c.rollback()
    raise
  else:
    # at last
    c.commit()  # c
  return 1
""",
    ),
    "not alone": (
        """\
try:
    g(c)
except A:
    h()
finally:
    c.commit(); c.close()  # c
""",
        """\
try:
    g(c)
except A:
    h()
except BaseException:
    c.rollback()
    raise
else:
    c.commit()
finally:
    c.close()  # c
""",
    ),
    "a comment behind a colon": (
        "try: g(c)\nexcept A: h()\nfinally: c.commit()  # c\n",
        """\
try: g(c)
except A: h()
except BaseException:
    c.rollback()
    raise
else:
    c.commit()
finally:  # c
    pass
""",
    ),
}
ROLLED_BACK = "except BaseException:\n    c.rollback()\n    raise\n"


@pytest.mark.parametrize(("before", "after"), ELSES.values(), ids=ELSES)
def test_move_to_else(before: str, after: str) -> None:
    moving = MoveToElse(span(before, "try", ast.Try), span(before, "c.commit"), ROLLED_BACK)
    assert mended(before, moving) == after


def test_move_to_else_wants_a_handler_and_no_else() -> None:
    bare = "try: g(c)\nfinally: c.commit()\n"
    assert refused(bare, MoveToElse(span(bare, "try", ast.Try), span(bare, "c.commit"))) == (
        "an `else` needs a handler before it"
    )
    taken = "try: g(c)\nexcept A: h()\nelse: i()\nfinally: c.commit()\n"
    assert refused(taken, MoveToElse(span(taken, "try", ast.Try), span(taken, "c.commit"))) == (
        "the `try` has an `else` already, or the statement to move is not in its `finally`"
    )
