"""Code that is hard on a fixer, each piece with what is fixed in it or why not; `main(path)` runs it on a database.

The table `t` of the database has one column, `n`, and one row, 1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Breaker:
    """A module, the codes of the findings that are fixed, and why others are not, both in the order of the lines."""

    source: str
    fixed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


BREAKERS = {
    "decorators and a nested function": Breaker(
        """\
import functools
import sqlite3

def once(f): return functools.lru_cache(f)

class Store:
    @staticmethod
    @once  # cached
    def read(path):
        @once
        def inner():
            with sqlite3.connect(path, timeout=5) as conn: return conn.execute("SELECT n FROM t").fetchall()
        return inner()

main = Store.read
""",
        ("DBS203",),
    ),
    "async": Breaker(
        """\
import asyncio
import aiosqlite

async def read(path):
    async with aiosqlite.connect(path) as db, db.execute("SELECT n FROM t") as cur:
        return [row async for row in cur]

def main(path): return asyncio.run(read(path))
""",
        ("DBS201",),
    ),
    "match": Breaker(
        """\
import sqlite3

def main(path, mode="all"):
    match mode:
        case "all" | "some" if path:
            conn = sqlite3.connect(path, timeout=5)
            rows = conn.execute("SELECT n FROM t").fetchall()
            conn.close()
        case _: rows = []
    return rows
""",
        ("DBS204",),
    ),
    "comments for tools": Breaker(
        """\
import sqlite3

# fmt: off
def main(path):  # type: (str) -> list
    conn = sqlite3.connect(path, timeout = 5)  # type: ignore[x]  # noqa: E251
    rows = conn.execute( "SELECT n FROM t" ).fetchall()  # pylint: disable=all
    conn.close()  # pragma: no cover
    return rows
# fmt: on
""",
        ("DBS204",),
    ),
    "semicolons": Breaker(
        """\
import sqlite3; import os
def main(path):
    conn = sqlite3.connect(path, timeout=5); cur = conn.cursor(); cur.execute("INSERT INTO t VALUES (2)"); conn.commit()
    n = cur.execute("SELECT sum(n) FROM t").fetchone(); cur.close(); conn.close(); return n
""",
        ("DBS204",),
    ),
    "everything on one line": Breaker(
        """\
import sqlite3
def main(path): return sqlite3.connect(path).execute("SELECT n FROM t").fetchall() if path else None
""",
        ("DBS201",),
    ),
    "continuation lines": Breaker(
        """\
import sqlite3

def main(path): \\
    conn = sqlite3 \\
        .connect(path,
                 timeout=5) ; \\
    rows = conn.execute("SELECT n"  # two
                        " FROM t").fetchall() ; conn.close() ; \\
    return rows
""",
        ("DBS204",),
    ),
    "a try in an else in a finally": Breaker(
        """\
import sqlite3

def main(path):
    try: pass
    finally:
        try: import os
        except ImportError: raise
        else:
            try:
                with sqlite3.connect(path) as conn: rows = conn.execute("SELECT n FROM t").fetchall()  # rows
            except sqlite3.Error as e: print(e)
            finally: del os
    return rows
""",
        ("DBS201", "DBS203"),
    ),
    "a walrus": Breaker(
        """\
import sqlite3

def main(path):
    if (conn := sqlite3.connect(path)) and (rows := conn.execute("SELECT n FROM t").fetchall()):
        conn.close(); return rows
""",
        ("DBS201",),
        ("the opening is not a plain assignment",),
    ),
    "a class body": Breaker(
        """\
import sqlite3

class Store:
    conn, cur = None, None
    open = lambda self, path: sqlite3.connect(path)
    def read(self, path): self.conn = self.open(path); return self.conn.execute("SELECT n FROM t").fetchall()

def main(path): return Store().read(path)
""",
        ("DBS201",),
    ),
    "code in strings": Breaker(
        '''\
import sqlite3

CODE = """
conn = sqlite3.connect(path, timeout=5)
"""

def main(path):
    conn = sqlite3.connect(path, timeout=5)
    rows = conn.execute("""
        SELECT n, '
    conn.close()'
    FROM t
""").fetchall(); text = f"""{rows
    }
conn = sqlite3.connect(path, timeout=5)"""
    conn.close()
    return rows, text, CODE
''',
        ("DBS204",),
    ),
    "a star import": Breaker(
        """\
import sqlite3
from contextlib import *

def main(path):
    with sqlite3.connect(path, timeout=5) as conn: return conn.execute("SELECT n FROM t").fetchall()
""",
        ("DBS203",),
    ),
    "a name that is taken": Breaker(
        """\
import sqlite3

def closing(x): return x

def main(path):
    with sqlite3.connect(path, timeout=5) as conn: return conn.execute("SELECT n FROM t").fetchall()
""",
        refused=("the name closing, which the fix needs to import, means something else at line 3",),
    ),
    "a name that is taken by a parameter": Breaker(
        """\
import sqlite3
from contextlib import closing

def main(path, closing=closing):
    with sqlite3.connect(path, timeout=5) as conn: return conn.execute("SELECT n FROM t").fetchall()
""",
        refused=("the name closing, which the fix needs to import, means something else at line 4",),
    ),
    "a name for type checkers only": Breaker(
        """\
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import closing

def main(path):
    with sqlite3.connect(path, timeout=5) as conn: return conn.execute("SELECT n FROM t").fetchall()
""",
        ("DBS203",),
    ),
    "a name imported too late": Breaker(
        """\
import sqlite3

def main(path):
    with sqlite3.connect(path, timeout=5) as conn: rows = conn.execute("SELECT n FROM t").fetchall()
    from contextlib import closing
    return rows, closing.__name__
""",
        refused=("the name closing, which the fix reads at line 4, is imported only at line 5",),
    ),
    "a name that is lost": Breaker(
        """\
import sqlite3
from contextlib import closing

def main(path):
    with sqlite3.connect(path, timeout=5) as conn: return conn.execute("SELECT n FROM t").fetchall()

closing = None
""",
        refused=("the name closing, which the fix reads at line 5, means something else at line 7",),
    ),
    "items in parentheses": Breaker(
        """\
import sqlite3

def main(path):
    with (  # all
        sqlite3.connect(path, timeout=5) as conn,  # one
        open(path, "rb") as file  # two
    ):
        return conn.execute("SELECT n FROM t").fetchall(), len(file.read(4))
""",
        ("DBS203",),
    ),
    "ways around the close": Breaker(
        """\
import sqlite3

def main(path):
    found = []
    for mode in ("skip", "read", "stop", "never"):
        conn = sqlite3.connect(path, timeout=5)
        rows = conn.execute("SELECT n FROM t").fetchall()
        if mode == "skip": conn.close(); continue
        if mode == "stop":
            # done
            conn.close()
            break
        conn.close()
        found.append(rows)
    else:
        found.append(None)
    return found
""",
        ("DBS204",),
    ),
    "a generator": Breaker(
        """\
import sqlite3

def rows(path):
    with sqlite3.connect(path, timeout=5) as conn:
        yield from conn.execute("SELECT n FROM t")

def main(path): return list(rows(path))
""",
        ("DBS203",),
    ),
    "a with block over rows that are kept": Breaker(
        """\
import sqlite3

def main(path):
    with sqlite3.connect(path, timeout=5) as conn:
        cur = conn.execute("SELECT n FROM t")
    return cur.fetchall()
""",
        refused=("the connection, or a cursor of it, is used after the block",),
    ),
    "rows before a commit in the else of the loop": Breaker(
        """\
import sqlite3

def main(path):
    db = sqlite3.connect(path, timeout=5)
    for n in (2, 3, 4):
        try: db.execute("INSERT INTO t VALUES (?)", (n,))
        except sqlite3.IntegrityError: continue
        except sqlite3.OperationalError: break
    else: db.commit()
    return db.execute("SELECT n FROM t").fetchall()
""",
    ),
    "a write behind the commit": Breaker(
        """\
import sqlite3

def main(path):
    conn = sqlite3.connect(path, timeout=5)
    conn.execute("INSERT INTO t VALUES (2)")
    conn.commit()
    conn.execute("DELETE FROM t")
    conn.close()
""",
        refused=("the function writes without a commit, and the `with` block would commit",),
    ),
    "a commit under a condition": Breaker(
        """\
import sqlite3

def main(path, really=False):
    conn = sqlite3.connect(path, timeout=5)
    for n in (2, 3):
        conn.execute("INSERT INTO t VALUES (?)", (n,))
        if really:
            conn.commit()
    conn.close()
""",
        refused=("the function writes without a commit, and the `with` block would commit",),
    ),
    "a file that is locked at the BEGIN": Breaker(
        """\
import sqlite3
from contextlib import closing

def take(conn):
    try:
        conn.execute("BEGIN")
        n = conn.execute("SELECT n FROM t").fetchone()[0]
        conn.execute("UPDATE t SET n = ?", (n + 1,))
        conn.execute("COMMIT")
    except sqlite3.OperationalError as error:
        conn.execute("ROLLBACK"); return str(error)
    return "taken"

def main(path):
    with closing(sqlite3.connect(path, timeout=0.1)) as other:
        with closing(sqlite3.connect(path, timeout=0.1, isolation_level=None)) as conn:
            other.execute("UPDATE t SET n = 7")
            locked = take(conn)
            other.rollback()
            return locked, take(conn)
""",
        ("DBS206",),
    ),
    "tabs and form feeds": Breaker(
        "import sqlite3\n\x0c\n\x0cdef main(path):\n\tconn = sqlite3.connect(path, timeout=5)\n"
        "\tif conn:\n\t       rows = conn.execute('SELECT n FROM t').fetchall()\n\x0c\n\tconn.close()\n\treturn rows\n",
        ("DBS204",),
    ),
}
