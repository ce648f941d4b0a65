"""How the functions of a golden pair are called on a real database, before and after the fix."""

from __future__ import annotations

from dataclasses import dataclass

GONE = ("DROP TABLE item",)


@dataclass(frozen=True, slots=True)
class Call:
    """One function of a pair, called on a database where it cannot succeed, and on one where it can.

    `do` is an expression over the names of the pair's module and those of `perform.py`; `happy` is the one for the
    database that is in order, if another. `breaks` are statements that make it fail; `holds` is one that somebody else
    has sent and not committed; `inject` replaces text of the source by text that fails. `then` is asked afterwards.
    `sign` must be in what the code before is seen to do, and must not be in what the fixed code is.
    """

    function: str
    do: str
    sign: str
    happy: str = ""
    breaks: tuple[str, ...] = ()
    holds: str = ""
    inject: tuple[tuple[str, str], ...] = ()
    then: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A golden pair by its name, the driver of its database, and the statements that make one.

    `place` replaces text of the source on every database, such as a fixed DSN, by `{address}`, `{url}` or, of the
    database, `{name}`. A `slow` pair is run by `make prove` only.
    """

    name: str
    driver: str
    setup: tuple[str, ...]
    calls: tuple[Call, ...]
    place: tuple[tuple[str, str], ...] = ()
    slow: bool = False
