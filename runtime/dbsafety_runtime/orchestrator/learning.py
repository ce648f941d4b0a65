"""Pattern learning: how often a recipe worked for a kind of issue, and when that is enough to use it at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.storage.lite import LiteStore
from dbsafety_runtime.storage.litetx import LiteTx

TRIALS: Final = 5
BOUND: Final = 0.8
PRIOR: Final = 0.5  # Jeffreys' prior for a success rate

COUNT: Final = """
INSERT INTO pattern (signature, recipe, successes, failures, last_used) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (signature, recipe) DO UPDATE SET successes = successes + excluded.successes,
  failures = failures + excluded.failures, last_used = excluded.last_used
RETURNING successes, failures, promoted
"""
PROMOTE: Final = "UPDATE pattern SET promoted = ? WHERE signature = ? AND recipe = ?"
ALL: Final = "SELECT signature, recipe, successes, failures, promoted FROM pattern ORDER BY successes DESC, signature"
KNOWN: Final = "SELECT recipe, successes, failures FROM pattern WHERE signature = ? AND promoted = 1"


@dataclass(frozen=True, slots=True)
class Pattern:
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


def learn(tx: LiteTx, now: float, task_id: int, signature: str, recipe: str, *, success: bool) -> None:
    """Count one verified success or failure in the caller's transaction; promotes or demotes the pattern."""
    counts = (int(success), int(not success))
    successes, failures, promoted = tx.execute(COUNT, (signature, recipe, *counts, now))[0]
    now_trusted = trusted(successes, failures)
    if bool(promoted) != now_trusted:
        tx.execute(PROMOTE, (int(now_trusted), signature, recipe))
        verb = "promoted" if now_trusted else "demoted"
        counted = f"{successes} of {successes + failures} worked"
        ledger.record(tx, now, task_id, "learning", verb, signature=signature, recipe=recipe, why=counted)


def known_recipes(store: LiteStore, signature: str) -> tuple[str, ...]:
    """Return the recipes trusted for a signature, the most certain first."""
    rows = store.rows(KNOWN, (signature,))
    return tuple(row[0] for row in sorted(rows, key=lambda row: -lower_bound(row[1], row[2])))


def patterns(store: LiteStore) -> tuple[Pattern, ...]:
    """Return everything learned, the most used first."""
    return tuple(Pattern(row[0], row[1], row[2], row[3], bool(row[4])) for row in store.rows(ALL))
