"""The golden pairs of DBS205: how many connections the pool misses."""

from __future__ import annotations

from tests.prove.pair import GONE, Call, Pair

SETUP = ("CREATE TABLE item (name text PRIMARY KEY, id serial)",)
KNOWN = ("INSERT INTO item VALUES ('a')",)
LENT, MISSING = "len(pool._used)", "then: 1"
POOL = (("dbname=shop", "{address}"),)

PAIRS = (
    Pair(
        "fix_finally",
        "psycopg2",
        SETUP,
        (
            Call("add", "add('a')", MISSING, breaks=KNOWN, then=LENT),
            Call("connection", "fail_in(connection())", MISSING, happy="use(connection())", then=LENT),
            Call("early", "early('a')", MISSING, breaks=GONE, then=LENT),
            Call("never", "never('a')", MISSING, breaks=KNOWN, then=LENT),
        ),
        place=POOL,
    ),
    Pair(
        "fix_psycopg",
        "psycopg",
        SETUP,
        (Call("add", "with_pool(add, 'a')", ", 0)", breaks=KNOWN),),
    ),
    Pair(
        "fix_refused",
        "psycopg2",
        SETUP,
        (
            Call(
                "in_two_places",
                "[keep(pool.getconn()), setattr(pool, '_args', (nowhere,)), in_two_places('a')]",
                "UnboundLocalError",
                happy="in_two_places('a')",
            ),
        ),
        place=POOL,
    ),
    Pair(
        "fix_sqlalchemy",
        "psycopg2",
        SETUP,
        (Call("add", "add('a')", MISSING, breaks=KNOWN, then="engine.pool.checkedout()"),),
        place=(("postgresql:///shop", "{url}"),),
    ),
)
