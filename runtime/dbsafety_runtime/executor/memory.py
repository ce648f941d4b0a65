"""Thermal memory, mistakes and rules: optional writes and reads whose failure never changes a task's outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dbsafety_runtime.ops import log, metrics
from dbsafety_runtime.storage.errors import StorageFault
from dbsafety_runtime.storage.pg import Params, Row
from dbsafety_runtime.storage.uow import Store

REMEMBER: Final = "INSERT INTO thermal_memory (body, source) VALUES (%s, %s) RETURNING memory_id"
# heat = (1 + ln(1 + hits)) x 0.5 ^ (time since last use / half-life); any word of the question may match.
RECALL: Final = """
WITH question AS (
  SELECT replace(plainto_tsquery('english', %(question)s)::text, '&', '|')::tsquery AS words,
    coalesce(%(at)s, clock_timestamp()) AS at
), hottest AS (
  SELECT memory_id, ts_rank(tsv, words) * (1 + ln(1 + hits))
    * 0.5 ^ (greatest(0, extract(epoch FROM at - used_at)) / %(half_life)s) AS score, at
  FROM thermal_memory, question WHERE tsv @@ words ORDER BY score DESC, memory_id LIMIT %(limit)s
), used AS (
  UPDATE thermal_memory m SET hits = hits + 1, used_at = greatest(m.used_at, h.at) FROM hottest h
  WHERE m.memory_id = h.memory_id RETURNING m.memory_id, body, source, score
)
SELECT memory_id, body, source, score::float8 FROM used ORDER BY score DESC, memory_id
"""
RECORD: Final = """
INSERT INTO fara_mistake AS m (signature, kind, sample) VALUES (%s, %s, %s::jsonb)
ON CONFLICT (signature) DO UPDATE SET count = m.count + 1, last_seen = clock_timestamp(), sample = excluded.sample
RETURNING count
"""
RULES: Final = "SELECT rule, weight::float8 FROM fara_rule WHERE kind = %s ORDER BY weight DESC, rule"
WEIGH: Final = """
INSERT INTO fara_rule AS r (kind, rule, weight) VALUES (%(kind)s, %(rule)s, 1 + %(by)s)
ON CONFLICT (kind, rule) DO UPDATE SET weight = r.weight + %(by)s RETURNING weight::float8
"""
HALF_LIFE: Final = 7 * 86_400.0

LOG = log.get("memory")


@dataclass(frozen=True, slots=True)
class Memory:
    """A remembered text and its score for the question asked."""

    memory_id: int
    body: str
    source: str
    score: float


class MemoryStore:
    """The four memory methods; a failure is logged and counted, and the fallback returned."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def _rows(self, method: str, statement: str, params: Params) -> list[Row]:
        """The rows of an optional statement in a unit of work of its own; [] when it fails."""
        try:
            return self.store.run(lambda tx: tx.execute(statement, params))
        except StorageFault as fault:
            metrics.SIDE_WRITES_FAILED.labels(method).inc()
            LOG.warning(
                "optional step failed", method=method, fault=fault.fault.value, code=fault.code, error=str(fault)
            )
            return []

    def log_to_thermal_memory(self, body: str, source: str = "") -> int | None:
        """Remember a text; return its id, or None when it could not be stored."""
        return next((int(row[0]) for row in self._rows("log_to_thermal_memory", REMEMBER, (body, source))), None)

    def query_thermal_memory(
        self, question: str, limit: int = 5, half_life: float = HALF_LIFE, at: datetime | None = None
    ) -> tuple[Memory, ...]:
        """Return the `limit` best memories by text rank x heat and warm them; () on failure.

        `half_life` in seconds; `at` replaces the database's clock in tests.
        """
        params: dict[str, object] = {"question": question, "limit": limit, "half_life": half_life, "at": at}
        return tuple(Memory(*row) for row in self._rows("query_thermal_memory", RECALL, params))

    def record_fara_mistake(self, signature: str, kind: str, sample: Mapping[str, object]) -> int | None:
        """Count a mistake, one row for each signature; return the count, or None on failure."""
        values = (signature, kind, json.dumps(sample, default=str))
        return next((int(row[0]) for row in self._rows("record_fara_mistake", RECORD, values)), None)

    def get_fara_rules(self, kind: str) -> tuple[tuple[str, float], ...]:
        """Return the rules of a task kind with their weights, heaviest first; () on failure."""
        return tuple((rule, weight) for rule, weight in self._rows("get_fara_rules", RULES, (kind,)))

    def weigh_fara_rule(self, kind: str, rule: str, by: float = 1.0) -> float | None:
        """Add `by` to a rule's weight, making the rule when new (weight 1 + by); None on failure."""
        values: dict[str, object] = {"kind": kind, "rule": rule, "by": by}
        return next((float(row[0]) for row in self._rows("weigh_fara_rule", WEIGH, values)), None)
