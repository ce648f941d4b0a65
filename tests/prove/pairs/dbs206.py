"""The golden pair of DBS206: somebody else commits between the read and the write, or cannot."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

WRITE = '        self.conn.execute("UPDATE'
MEANWHILE = f"""        try:
            other = sqlite3.connect(self.conn.execute("PRAGMA database_list").fetchone()[2], timeout=0.2)
            with other:
                other.execute("INSERT INTO log VALUES (1)")
        except sqlite3.OperationalError:
            pass
        finally:
            other.close()
{WRITE}"""

IN_FUNCTION = WRITE.replace("        self.", "    ")
MEANWHILE_IN_FUNCTION = "".join(
    line.removeprefix("    ").replace("self.", "") for line in MEANWHILE.splitlines(keepends=True)
)

IN_TRY = WRITE.replace("self.", "")
MEANWHILE_IN_TRY = MEANWHILE.replace("self.", "")
BY_CURSOR = IN_TRY.replace("conn.", "cur.")
MEANWHILE_BY_CURSOR = MEANWHILE_IN_TRY.replace("conn.", "cur.")
TASKS = (
    "PRAGMA journal_mode = WAL",
    "CREATE TABLE task (id INTEGER PRIMARY KEY, state TEXT)",
    "INSERT INTO task VALUES (1, 'new')",
    "CREATE TABLE log (n INTEGER)",
)


def call(name: str) -> Call:
    """A method of the store in whose transaction somebody else writes."""
    return Call(f"Store.{name}", f"Store(address).{name}()", "database is locked", inject=((WRITE, MEANWHILE),))


PAIRS = (
    Pair(
        "fix_begin",
        "sqlite3",
        (
            "PRAGMA journal_mode = WAL",
            "CREATE TABLE counter (n INTEGER)",
            "INSERT INTO counter VALUES (1)",
            "CREATE TABLE log (n INTEGER)",
        ),
        (call("count_up"), call("lower")),
    ),
    Pair(
        "fix_quoted",
        "sqlite3",
        TASKS,
        (Call("take", "take(conn)", "database is locked", inject=((IN_FUNCTION, MEANWHILE_IN_FUNCTION),)),),
    ),
    Pair(
        "fix_locked",
        "sqlite3",
        TASKS,
        (
            *(
                Call(name, f"{name}(conn)", "database is locked", inject=((IN_TRY, MEANWHILE_IN_TRY),))
                for name in ("take", "prepared", "by_method")
            ),
            Call("by_cursor", "by_cursor(conn)", "database is locked", inject=((BY_CURSOR, MEANWHILE_BY_CURSOR),)),
        ),
    ),
)
