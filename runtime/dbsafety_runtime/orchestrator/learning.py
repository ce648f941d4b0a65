"""Pattern learning: how often a recipe worked for a kind of issue, and when that is enough to use it at once."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.lite import LiteStore, unit

TRIALS: Final = 5
BOUND: Final = 0.8
PRIOR: Final = 0.5  # Jeffreys' prior for a success rate

COUNT: Final = """
INSERT INTO pattern (signature, recipe, successes, failures, last_used) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (signature, recipe) DO UPDATE SET successes = successes + excluded.successes,
  failures = failures + excluded.failures, last_used = excluded.last_used
RETURNING signature, recipe, successes, failures, promoted
"""


class Pattern(NamedTuple):
    """What was learned about one recipe for one kind of issue."""

    signature: str
    recipe: str
    successes: int
    failures: int
    promoted: bool


def lower_bound(successes: int, failures: int) -> float:
    """Return mean minus one standard deviation of the Beta posterior of the success rate."""
    a, b = successes + PRIOR, failures + PRIOR
    return a / (a + b) - math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))


def trusted(successes: int, failures: int) -> bool:
    """Say whether a pattern may be used without asking an agent: enough trials and a high lower bound."""
    return successes + failures >= TRIALS and lower_bound(successes, failures) >= BOUND


@unit
def learn(store: IncidentStore, task_id: int, signature: str, recipe: str, *, success: bool) -> None:
    """Count one verified success or failure; promotes or demotes the pattern."""
    counts = (int(success), int(not success))
    pattern = Pattern(*store.db.rows(COUNT, (signature, recipe, *counts, store.clock()))[0])
    now_trusted = trusted(pattern.successes, pattern.failures)
    if pattern.promoted != now_trusted:
        sql = "UPDATE pattern SET promoted = ? WHERE signature = ? AND recipe = ?"
        store.db.one(sql, int(now_trusted), signature, recipe)
        verb = "promoted" if now_trusted else "demoted"
        counted = f"{pattern.successes} of {pattern.successes + pattern.failures} worked"
        store.record(task_id, "learning", verb, signature=signature, recipe=recipe, why=counted)


def known_recipes(store: LiteStore, signature: str) -> tuple[str, ...]:
    """Return the recipes trusted for a signature, the most certain first."""
    known = [item for item in patterns(store) if item.signature == signature and item.promoted]
    return tuple(item.recipe for item in sorted(known, key=lambda item: -lower_bound(item.successes, item.failures)))


def patterns(store: LiteStore) -> tuple[Pattern, ...]:
    """Return everything learned, the most used first."""
    sql = "SELECT signature, recipe, successes, failures, promoted FROM pattern ORDER BY successes DESC, signature"
    return tuple(Pattern(*row) for row in store.rows(sql))
