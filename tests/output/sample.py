"""A report with everything in it that writers may stumble over."""

from __future__ import annotations

from dbsafety.model.finding import Confidence, Severity
from dbsafety.model.message import Message
from dbsafety.output.record import FixNote, Note, Place, Record, Replacement, Report, Trouble

PLAIN = Record(
    place=Place("app/tasks.py", 7, 9, 8, 21),
    code="DBS101",
    slug="swallowed-error-no-rollback",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    said=Message(
        "the error ends here,\nand `conn` stays aborted", "later statements fail with 'no'", "roll back first"
    ),
    source="        except psycopg2.Error as error:  ",
    trace=(
        Note(Place("app/tasks.py", 5, 13, 5, 40), "`cur.execute(...)` fails", "            cur.execute(sql)"),
        Note(Place("app/db, x.py", 2, 1, 2, 5), "100% of it", ""),
    ),
    fix=FixNote(
        "unsafe", "roll back first", (Replacement(Place("app/tasks.py", 8, 1, 8, 1), "    conn.rollback()\n"),)
    ),
    fingerprint="0123456789abcdef0123456789abcdef",
    related=(Note(Place("app/tasks.py", 9, 5, 9, 18), "DBS103: `conn.commit()` stores nothing", "    conn.commit()"),),
)
WIDE = Record(
    place=Place("app/wide.py", 1, 6, 1, 9),
    code="DBS201",
    slug="sqlite-connect-no-timeout",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    said=Message("no timeout"),
    source='\té = "日本"',
    fix_refusal="the call has **kwargs",
    fingerprint="f" * 32,
)
HIDDEN = Record(
    place=Place("app/wide.py", 3, 1, 3, 2),
    code="DBS201",
    slug="sqlite-connect-no-timeout",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    said=Message("no timeout"),
    fingerprint="e" * 32,
)
REPORT = Report(
    records=(WIDE, PLAIN),
    suppressed=(HIDDEN,),
    troubles=(
        Trouble("gone.py", 0, "cannot read: No such file or directory"),
        Trouble("app/big.py", 3, "DBS004 a budget was used up", is_fault=False),
    ),
    files=12,
    version="0.1.0",
)
EMPTY = Report((), version="0.1.0")
