"""The golden pairs of DBS111: what is left of a block in which an error was swallowed."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

SETUP = (
    "CREATE TABLE person (id integer PRIMARY KEY, name text)",
    "CREATE TABLE profile (id integer PRIMARY KEY, nick text UNIQUE)",
)
TAKEN = ("INSERT INTO profile VALUES (7, 'taken')",)
PEOPLE = "stored('SELECT name FROM person')"
ONE = "(person(id=1, name='ann'), profile(id=8, nick='taken'))"
LIST = "(person(id=1, name='ann'), [profile(id=8, nick='taken')])"

PAIRS = (
    Pair(
        "fix_atomic",
        "sqlite3",
        SETUP,
        (
            Call("directly", f"directly{ONE}", "then: []", breaks=TAKEN, then=PEOPLE),
            Call("lasting", f"lasting{LIST}", "then: []", breaks=TAKEN, then=PEOPLE),
        ),
    ),
    Pair(
        "fix_decorated",
        "psycopg2",
        SETUP,
        (
            Call("decorated", f"decorated{ONE}", "then: []", breaks=TAKEN, then=PEOPLE),
            Call("by_a_call", f"by_a_call{ONE}", "then: []", breaks=TAKEN, then=PEOPLE),
        ),
    ),
)
