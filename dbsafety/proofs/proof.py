"""What a proof is: which database it needs, and what its rule's page must be seen to do there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"

ENGINES: Mapping[str, str] = {
    "sqlite3": SQLITE,
    "psycopg2": POSTGRESQL,
    "psycopg": POSTGRESQL,
}
"""Driver → its database. The driver is also the one through which a proof looks on from outside."""

PACKAGES: Mapping[str, str] = {
    "psycopg2": "psycopg2-binary",
    "psycopg": "psycopg[binary]",
    "psycopg_pool": "psycopg[pool]",
    "sqlalchemy": "SQLAlchemy",
    "django": "Django",
}
"""Module → what pip calls it, where the names differ."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof file states; its functions `failing(stage)` and `happy(stage)` drive the code.

    `facts` are the observed driver facts it shows. `drivers` name the databases it runs on, the first one for the
    reader; `needs` further modules that the code imports. `setup` are the statements that make its database. `story`
    says in one sentence what `failing` does. `bad` is what the rule's Example must then be seen to do, label by label,
    `good` what the fixed Example and Use instead must; `instead` where the two differ. A value that ends with `...`
    stands for all that begin so.
    """

    facts: tuple[str, ...]
    drivers: tuple[str, ...]
    setup: tuple[str, ...]
    story: str
    bad: Mapping[str, str]
    good: Mapping[str, str]
    instead: Mapping[str, str] | None = None
    needs: tuple[str, ...] = ()

    def modules(self, driver: str) -> tuple[str, ...]:
        """The modules it needs on the database of this driver, apart from the standard library's."""
        return tuple(name for name in (driver, *self.needs) if name != "sqlite3")

    def packages(self, driver: str) -> tuple[str, ...]:
        """The same, as pip names them."""
        return tuple(PACKAGES.get(name, name) for name in self.modules(driver))


def agrees(seen: Mapping[str, str], stated: Mapping[str, str]) -> bool:
    """Whether what was seen is what a proof states: the same labels in the same order, and each value."""
    return list(seen) == list(stated) and all(_is(seen[label], value) for label, value in stated.items())


def _is(seen: str, stated: str) -> bool:
    return seen.startswith(stated[:-3]) if stated.endswith("...") else seen == stated
