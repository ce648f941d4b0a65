"""Thermal memory, mistakes and rules: optional writes and reads whose failure never changes a task's outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from dbsafety_runtime.ops import log, metrics
from dbsafety_runtime.storage.errors import StorageFault
from dbsafety_runtime.storage.uow import Store, Transaction

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

T = TypeVar("T")
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

    def _optional(self, method: str, work: Callable[[Transaction], T], fallback: T) -> T:
        try:
            return self.store.run(work)
        except StorageFault as fault:
            metrics.SIDE_WRITES_FAILED.labels(method).inc()
            LOG.warning(
                "optional step failed", method=method, fault=fault.fault.value, code=fault.code, error=str(fault)
            )
            return fallback

    def log_to_thermal_memory(self, body: str, source: str = "") -> int | None:
        """Remember a text; return its id, or None when it could not be stored."""

        def work(tx: Transaction) -> int:
            return int(tx.execute(REMEMBER, (body, source))[0][0])

        return self._optional("log_to_thermal_memory", work, None)

    def query_thermal_memory(
        self, question: str, limit: int = 5, half_life: float = HALF_LIFE, at: datetime | None = None
    ) -> tuple[Memory, ...]:
        """Return the `limit` best memories by text rank x heat and warm them; () on failure.

        `half_life` in seconds; `at` replaces the database's clock in tests.
        """
        params: dict[str, object] = {"question": question, "limit": limit, "half_life": half_life, "at": at}

        def work(tx: Transaction) -> tuple[Memory, ...]:
            return tuple(Memory(*row) for row in tx.execute(RECALL, params))

        return self._optional("query_thermal_memory", work, ())

    def record_fara_mistake(self, signature: str, kind: str, sample: Mapping[str, object]) -> int | None:
        """Count a mistake, one row for each signature; return the count, or None on failure."""
        text = json.dumps(sample, default=str)

        def work(tx: Transaction) -> int:
            return int(tx.execute(RECORD, (signature, kind, text))[0][0])

        return self._optional("record_fara_mistake", work, None)

    def get_fara_rules(self, kind: str) -> tuple[tuple[str, float], ...]:
        """Return the rules of a task kind with their weights, heaviest first; () on failure."""

        def work(tx: Transaction) -> tuple[tuple[str, float], ...]:
            return tuple((rule, weight) for rule, weight in tx.execute(RULES, (kind,)))

        return self._optional("get_fara_rules", work, ())

    def weigh_fara_rule(self, kind: str, rule: str, by: float = 1.0) -> float | None:
        """Add `by` to a rule's weight, making the rule when new (weight 1 + by); None on failure."""

        def work(tx: Transaction) -> float:
            return float(tx.execute(WEIGH, {"kind": kind, "rule": rule, "by": by})[0][0])

        return self._optional("weigh_fara_rule", work, None)
