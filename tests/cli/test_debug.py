"""`dbsafety debug`: what the analysis knows of a function, exactly as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbsafety.cli import debug
from dbsafety.cli.main import main
from dbsafety.typestate import search

DB = """\
import contextlib
import psycopg2


class Base:
    def __init__(self, dsn):
        self.conn = psycopg2.connect(dsn)


@contextlib.contextmanager
def connection(dsn):
    conn = psycopg2.connect(dsn)
    try:
        yield conn
    finally:
        conn.close()
"""
STORE = """\
import logging
import psycopg2
import foreign.things as things
from db import Base, connection, missing

log = logging.getLogger(__name__)


class Store(Base):
    def save(self, row):
        try:
            self.conn.cursor().execute("INSERT INTO t VALUES (%s)", row)
        except psycopg2.Error:
            log.exception("not saved")

    def plain(self):
        self.conn.commit()


class Other:
    def save(self, conn: "Session", x, y):
        self.db.ping()
        x.run()
        y.run()
        conn.run()
        missing.run()
        things.client.run()
        ", ".join(x)


def call(rows):
    Other().save(None, 1, rows[0])
    Store("").save(1)
    send = psycopg2.connect("").cursor().execute
    send("SELECT 1")
    super_name.run()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dbsafety.toml").write_text("", encoding="utf-8")
    (tmp_path / "db.py").write_text(DB, encoding="utf-8")
    (tmp_path / "store.py").write_text(STORE, encoding="utf-8")
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code = main(["debug", *words])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code = main(["debug", *words])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    return err


def test_cfg_of_the_functions_with_handlers(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shown(capsys, "cfg", "store.py")
        == """\
store.py:10 Store.save
save: 10 steps
   0   10  entry `save` -> 3
   1   14  return end `save`
   2   14  raise end `save`
   3   11  try -> 5
   4   13  dispatch -> match[0] 7, nomatch 2
   5   12  call `self.conn.cursor()` -> 6 !4
   6   12  call `self.conn.cursor().execute('INSERT INTO t VALUES` -> 1 !4
   7   13  handler `except psycopg2.Error` -> 8
   8   14  call `log.exception('not saved')` -> 9 !2 in 7
   9   14  handler end/fall `except psycopg2.Error` -> 1 in 7
"""
    )


def test_states_before_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shown(capsys, "states", "store.py:Store.save")
        == """\
store.py:10 Store.save
  psycopg2 connection: attribute `conn` of Base in db.py; in transactions; medium confidence: \
by another module, or by how it is used
     0   10  entry `save`                                           idle
     1   14  return end `save`                                      idle | open dirty | failed (caught in line 13, left)
     2   14  raise end `save`                                       other exception: idle
     3   11  try                                                    idle
     4   13  dispatch                                               driver error: idle | failed; other exception: idle
     5   12  call `self.conn.cursor()`                              idle
     6   12  call `self.conn.cursor().execute('INSERT INTO t VALUES`  idle
     7   13  handler `except psycopg2.Error`                        \
driver error: idle | failed (caught in line 13); other exception: idle
     8   14  call `log.exception('not saved')`                      idle | failed (caught in line 13)
     9   14  handler end/fall `except psycopg2.Error`               idle | failed (caught in line 13)
"""
    )


def test_states_of_a_generator_end_at_its_yield(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shown(capsys, "states", "db.py:connection")
        == """\
db.py:11 connection
  psycopg2 connection: variable `conn` of connection; in transactions; high confidence
     0   11  entry `connection`                   unbound
     1   16  return end `connection`              not reached before a yield
     2   16  raise end `connection`               driver error: unbound; other exception: unbound; \
beyond Exception: closed
     3   12  call `psycopg2.connect(dsn)`         unbound
     4   12  bind `conn = psycopg2.connect(dsn)`  idle
     5   13  try                                  idle
     6   16  finally/raise                        beyond Exception: idle
     7   16  call `conn.close()`                  idle
     8   16  resume/raise                         closed
     9   14  yield `(yield conn)`                 idle
    10   16  finally/fall                         not reached before a yield
    11   16  call `conn.close()`                  not reached before a yield
"""
    )


def test_summary_of_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shown(capsys, "summary", "store.py:Store.save")
        == """\
store.py:10 Store.save
  psycopg2 connection: attribute `conn` of Base in db.py; in transactions; medium confidence: \
by another module, or by how it is used
    started  with it  way out                  leaves it
    called   idle     ends                     idle | open dirty | failed (caught in line 13, left)
                      other exception          idle
             open     ends                     open | open dirty | failed (caught in line 13, left)
                      other exception          open
             failed   ends                     failed (before the call)
                      sends a statement on it  failed (before the call)
             unbound  ends                     unbound
                      other exception          unbound
"""
    )


def test_summary_of_a_generator_manager_is_told_in_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shown(capsys, "summary", "db.py")
        == """\
db.py:11 connection
  psycopg2 connection: variable `conn` of connection; in transactions; high confidence
    started                                            with it  way out           leaves it
    called                                             unbound  yields            idle
                                                                driver error      unbound
                                                                other exception   unbound
                                                                beyond Exception  closed
    resumed after its yield                            idle     ends              closed
                                                       open     ends              closed
                                                       failed   ends              closed
                                                       unbound  other exception   unbound
    driver error thrown in at its yield                idle     driver error      closed
                                                       open     driver error      closed
                                                       failed   driver error      closed
                                                       unbound  other exception   unbound
    other exception thrown in at its yield             idle     other exception   closed
                                                       open     other exception   closed
                                                       failed   other exception   closed
                                                       unbound  other exception   unbound
    exception beyond Exception thrown in at its yield  idle     beyond Exception  closed
                                                       open     beyond Exception  closed
                                                       failed   beyond Exception  closed
                                                       unbound  other exception   unbound
"""
    )


def test_resolve_says_what_each_receiver_is_or_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shown(capsys, "resolve", "store.py:Other.save")
        == """\
store.py:21 Other.save
  22  `self.db`        unknown: `self.db` - no assignment found in class Other or its bases
  23  `x`              unknown: parameter `x` with no annotation; given `1` in line 32; a constant
  24  `y`              unknown: parameter `y` with no annotation; given `rows[0]` in line 32; an element of `rows`; \
parameter `rows` with no annotation and no caller in this module
  25  `conn`           psycopg2 connection: parameter `conn` of Other.save; in transactions; low confidence: by its name
  26  `missing`        unknown: `missing`, imported in line 4: db.py binds no `missing`
  27  `things.client`  no connection: external name `foreign.things.client`
  28  `', '`           no connection: a constant
"""
    )


def test_resolve_follows_a_method_kept_in_a_variable(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shown(capsys, "resolve", "store.py:call")
        == """\
store.py:31 call
  32  `Other()`                        no connection: an instance of the project's class Other (line 20)
  33  `Store('')`                      no connection: an instance of the project's class Store (line 9)
  34  `psycopg2.connect('')`           psycopg2 connection: opened in line 34, held by no name; in transactions; \
high confidence
  34  `psycopg2`                       no connection: external name `psycopg2`
  34  `psycopg2.connect('').cursor()`  psycopg2 cursor of the connection: opened in line 34, held by no name; \
in transactions; high confidence
  36  `super_name`                     unknown: `super_name` - no binding found
"""
    )


def test_a_function_is_named_in_full_or_by_its_last_part(capsys: pytest.CaptureFixture[str]) -> None:
    by_last_part = shown(capsys, "cfg", "store.py:save")
    assert [line for line in by_last_part.splitlines() if line.startswith("store.py")] == [
        "store.py:10 Store.save",
        "store.py:21 Other.save",
    ]
    assert shown(capsys, "cfg", "store.py:Store.plain").startswith("store.py:16 Store.plain\nplain: 4 steps\n")
    assert shown(capsys, "cfg", "db.py:Base.__init__").startswith("db.py:6 Base.__init__\n")
    assert shown(capsys, "cfg", "db.py:<module>").startswith("db.py:1 <module>\nmodule: ")


def test_a_lambda_and_a_file_are_named_with_colons_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a:b.py").write_text("import sqlite3\nf = lambda c: c.commit()\n", encoding="utf-8")

    assert (
        shown(capsys, "resolve", "a:b.py:<lambda>@2:4")
        == """\
a:b.py:2 <lambda>@2:4
  2  `c`  sqlite3 cursor of the connection: parameter `c` of <lambda>@2:4; in transactions; low confidence: by its name
"""
    )
    assert main(["debug", "cfg", "a:b.py"]) == 0
    note = "dbsafety: note: a:b.py: no function has handlers; name one as in a:b.py:<module>\n"
    assert capsys.readouterr() == ("", note)


def test_what_cannot_be_shown_is_one_sentence_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    Path("broken.py").write_text("x = (\n", encoding="utf-8")

    assert refused(capsys, "cfg", "none.py") == "dbsafety: error: none.py: no such file\n"
    assert refused(capsys, "cfg", "none.py:f") == "dbsafety: error: none.py: no such file\n"
    assert refused(capsys, "cfg", "folder") == "dbsafety: error: folder: is a folder; name a file\n"
    assert refused(capsys, "cfg", "folder:f") == "dbsafety: error: folder: is a folder; name a file\n"
    assert refused(capsys, "cfg", "") == "dbsafety: error: no such file\n"
    assert refused(capsys, "cfg", "store.py:Store.sav") == (
        "dbsafety: error: store.py: no function is called 'Store.sav'; did you mean 'Store.save'?\n"
    )
    assert refused(capsys, "cfg", "store.py:zzz") == "dbsafety: error: store.py: no function is called 'zzz'\n"
    assert refused(capsys, "cfg", "broken.py:f").startswith("dbsafety: error: broken.py:1: '(' was never closed")


def test_an_unknown_view_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["debug", "types", "store.py"])

    assert caught.value.code == 2
    assert "invalid choice: 'types'" in capsys.readouterr().err


def test_code_that_is_nested_too_deeply(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(function: object) -> str:
        return deep(function)

    monkeypatch.setitem(debug._SHOW, "cfg", deep)

    assert refused(capsys, "cfg", "store.py") == "dbsafety: error: store.py: the code is nested too deeply to follow\n"


def test_a_function_that_works_on_no_connection(capsys: pytest.CaptureFixture[str]) -> None:
    Path("plain.py").write_text("def f():\n    pass\n", encoding="utf-8")
    nothing = "plain.py:1 f\n  no connection and no receiver of a call is known here\n"

    assert [shown(capsys, what, "plain.py:f") for what in ("states", "summary", "resolve")] == [nothing] * 3


def test_modules_and_wrappers_are_found_as_check_finds_them(capsys: pytest.CaptureFixture[str]) -> None:
    Path("lib").mkdir()
    Path("lib/pool.py").write_text("import psycopg2\nconn = psycopg2.connect('')\n", encoding="utf-8")
    Path("use.py").write_text(
        "from pool import conn\nfrom own import open_it\ndef f():\n    conn.commit()\n    open_it().commit()\n",
        encoding="utf-8",
    )

    assert (
        shown(capsys, "resolve", "use.py:f")
        == """\
use.py:3 f
  4  `conn`       no connection: external name `pool.conn`
  5  `open_it()`  unknown: external name `own.open_it` makes no connection that a driver table knows
"""
    )
    Path("dbsafety.toml").write_text(
        'source-roots = ["lib"]\n[[wrappers]]\nfactory = "own.open_it"\ndriver = "psycopg2"\n', encoding="utf-8"
    )
    assert (
        shown(capsys, "resolve", "use.py:f")
        == """\
use.py:3 f
  4  `conn`       psycopg2 connection: variable `conn` of the module in lib/pool.py; in transactions; \
medium confidence: by another module, or by how it is used
  5  `open_it()`  psycopg2 connection: opened in line 5, held by no name; in transactions; high confidence
"""
    )
    assert (
        shown(capsys, "resolve", "--isolated", "--source-roots", "lib", "use.py:f")
        .splitlines()[1]
        .endswith("medium confidence: by another module, or by how it is used")
    )


def test_a_budget_that_is_used_up_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "BUDGET", 3)

    assert shown(capsys, "states", "store.py").splitlines()[2:] == ["    unknown: a budget of the analysis was used up"]
    assert shown(capsys, "summary", "store.py").splitlines()[3].split("  ")[-2:] == [
        " unknown", "no way out, or a budget was used up"
    ]  # fmt: skip


CHAINS = {
    "a part": ("a, b = make()\nb.x()", "`b` is a part of `make()` (line 2); `make` - no binding found"),
    "entering": (
        "with make() as b:\n    b.x()",
        "`b` is what entering `make()` gives (line 2); `make` - no binding found",
    ),
    "an element": ("for b in rows: b.x()", "`b` is an element of `rows` (line 2); `rows` - no binding found"),
    "subscript": ("rows[0].x()", "an element of `rows`; `rows` - no binding found"),
    "operator": ("(a + b).x()", "`a + b` is computed, which is not followed"),
    "except": ("try: f()\nexcept E as b: b.x()", "`b` is bound in line 3 to what no connection can be"),
    "declared": ("b: int\nb.x()", "`b`, declared `int` (line 2), which is no class of a driver or project"),
    "import": ("from m.n import b\nb().x()", "external name `m.n.b` makes no connection that a driver table knows"),
    "method": (
        "c = sqlite3.connect('').cursor()\nb = c.fetchone()\nb.x()",
        "`b` is `c.fetchone()` (line 3); `fetchone` of a sqlite3 cursor returns no connection",
    ),
    "attribute": (
        "b = sqlite3.connect('')\nb.row_factory.x()",
        "`b.row_factory` - `row_factory` of a sqlite3 connection is no connection",
    ),
    "function": (
        "def make(): return opened()\nmake().x()",
        "the project's function make (line 2); it returns `opened()`; `opened` - no binding found",
    ),
    "nothing": ("def make(): pass\nmake().x()", "the project's function make (line 2); it returns nothing"),
    "property": (
        "class A:\n    @property\n    def b(self): return c\nA().b.x()",
        "`A().b` is a property (line 4); it returns `c`; `c` - no binding found",
    ),
    "outside base": (
        "from m import B\nclass A(B): pass\nA().b.x()",
        "`A().b` - no assignment found in class A, which has a base outside the project",
    ),
    "cycle": ("b = b\nb.x()", "`b` is `b` (line 2); " * 6 + "and so on"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_why_a_receiver_is_unknown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    source, reason = CHAINS[name]
    Path("m1.py").write_text(f"import sqlite3\n{source}\n", encoding="utf-8")

    assert shown(capsys, "resolve", "m1.py:<module>").splitlines()[1:][-1].partition("unknown: ")[2] == reason


PARAMETERS = {
    "def f(x): x.run()": "parameter `x` with no annotation and no caller in this module",
    "def f(x: 'T'): x.run()": (
        "parameter `x`, declared `'T'`, which is no class of a driver or project; there is no caller in this module"
    ),
    "def f(*x): x.run()": "parameter `x` collects arguments, which is not followed",
    "def f(conn): conn.run()": (
        "parameter `conn` with no annotation and no caller in this module; "
        "its name cannot tell the driver, the module imports no driver"
    ),
    "def f(x): x.run()\ng = h()\nf(g)": (
        "parameter `x` with no annotation; given `g` in line 3; `g` is `h()` (line 2); `h` - no binding found"
    ),
}


@pytest.mark.parametrize("source", PARAMETERS)
def test_why_a_parameter_is_unknown(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("m1.py").write_text(source, encoding="utf-8")

    assert shown(capsys, "resolve", "m1.py:f").partition("unknown: ")[2] == PARAMETERS[source] + "\n"


def test_keys_of_connections_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    Path("keys.py").write_text(KEYS, encoding="utf-8")

    assert (
        shown(capsys, "resolve", "keys.py:f")
        == """\
keys.py:7 f
  8       `conn`            sqlite3 connection: parameter `conn` of f; in transactions; high confidence
  9       `shared`          sqlite3 connection: variable `shared` of the module; in transactions; high confidence
  10      `sqlite3`         no connection: external name `sqlite3`
  11      `own`             sqlite3 connection: variable `own` of f; autocommit; high confidence
  12      `pool.getconn()`  psycopg2 connection: opened in line 12, held by no name; from a pool; in transactions; \
high confidence
  12, 13  `pool`            psycopg2 pool: variable `pool` of the module; in transactions; high confidence
  14      `taken`           psycopg2 connection: variable `taken` of f; from a pool; in transactions; high confidence
  17      `later`           sqlite3 connection: `later` of f, from an unknown origin; in transactions; \
medium confidence: by another module, or by how it is used
"""
    )


KEYS = """\
import sqlite3
import psycopg2.pool
from psycopg2 import pool
shared = sqlite3.connect("")
pool = pool.ThreadedConnectionPool(1, 2)

def f(conn: sqlite3.Connection):
    conn.commit()
    shared.commit()
    own = sqlite3.connect("", isolation_level=None)
    own.commit()
    pool.getconn().commit()
    taken = pool.getconn()
    taken.commit()
    later = things()
    try:
        later.cursor()
    except sqlite3.Error:
        pass
"""


@pytest.mark.parametrize("what", ["resolve", "states", "summary"])
def test_the_page_shows_what_is_printed(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "debugging.md").read_text(encoding="utf-8")
    Path("store.py").write_text(page.split("```python\n")[1].partition("```\n")[0], encoding="utf-8")

    section = page.partition(f"## {what}: ")[2]
    assert shown(capsys, what, "store.py") == section.split("```\n")[1]
