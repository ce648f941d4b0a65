"""The invariants that every fault must leave intact, as queries that return their violations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dbsafety_runtime.storage.uow import Store

SETTLING: Final = "('completed', 'failed', 'retried', 'handed_back', 'rescued', 'dead', 'forced')"
NAMES: Final[Mapping[str, str]] = {
    "I1": "no task lost",
    "I2": "each attempt settled at most once",
    "I3": "each attempt claimed once and settled by its owner or, after its death, by a rescuer",
    "I4": "the next operation succeeds",
    "I5": "history equals state",
    "I6": "recovered within the bound",
    "I7": "no idle-in-transaction or leaked session",
}
SETTLED_TWICE: Final = """
SELECT task_id, attempt, array_agg(event) FROM task_history
WHERE event IN <settling> GROUP BY task_id, attempt HAVING count(*) > 1
""".replace("<settling>", SETTLING)
WRONG_OWNER: Final = """
SELECT s.task_id, s.attempt, s.event FROM task_history s
LEFT JOIN task_history c ON c.task_id = s.task_id AND c.attempt = s.attempt AND c.event = 'claimed'
WHERE s.event IN ('completed', 'failed', 'retried', 'handed_back') AND c.actor IS DISTINCT FROM s.actor
UNION ALL SELECT task_id, attempt, 'claimed twice' FROM task_history
WHERE event = 'claimed' GROUP BY task_id, attempt HAVING count(*) > 1
"""
HISTORY_DIFFERS: Final = """
SELECT t.task_id, t.status, h.event FROM jr_task_announcements t
JOIN LATERAL (SELECT event, attempt FROM task_history WHERE task_id = t.task_id ORDER BY id DESC LIMIT 1) h ON true
WHERE t.attempt <> h.attempt OR t.status <> CASE h.event WHEN 'claimed' THEN 'in_progress'
  WHEN 'retried' THEN 'assigned' WHEN 'handed_back' THEN 'assigned' WHEN 'rescued' THEN 'assigned'
  WHEN 'forced' THEN 'assigned' WHEN 'redriven' THEN 'assigned' ELSE h.event END
"""
LEFT_OPEN: Final = """
SELECT pid, application_name, state FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%%'
  AND state_change < clock_timestamp() - make_interval(secs => %s)
"""
TASKS: Final = "SELECT count(*) FROM jr_task_announcements"


def violations(store: Store, *, tasks: int | None = None, idle_seconds: float = 1.0) -> dict[str, list[str]]:
    """Return what is wrong, by invariant; an empty list where it holds.

    `tasks` is how many tasks were acknowledged (I1). I4 and I6 are for the caller, who knows the fault.
    """
    with store.read() as tx:
        count = tx.execute(TASKS)[0][0]
        return {
            "I1": [] if tasks is None or count == tasks else [f"{tasks} tasks acknowledged, {count} present"],
            "I2": [str(row) for row in tx.execute(SETTLED_TWICE)],
            "I3": [str(row) for row in tx.execute(WRONG_OWNER)],
            "I5": [str(row) for row in tx.execute(HISTORY_DIFFERS)],
            "I7": [str(row) for row in tx.execute(LEFT_OPEN, (idle_seconds,))],
        }
