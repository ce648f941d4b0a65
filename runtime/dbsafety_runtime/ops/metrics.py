"""Prometheus metrics of the runtime; `serve` opens the endpoint, nothing is exported otherwise."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram, start_http_server

WAITS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)

STORAGE_FAULTS = Counter("dbsafety_storage_faults", "Failed units of work by class", ["fault"])
STORAGE_RETRIES = Counter("dbsafety_storage_retries", "Units of work run again")
COMMITS_RESOLVED = Counter("dbsafety_commits_resolved", "Commits whose answer was lost, by outcome", ["outcome"])
DIRTY_CONNECTIONS = Counter("dbsafety_dirty_connections", "Connections discarded because of their state")
SECONDS_IN_STORE = Histogram("dbsafety_unit_of_work_seconds", "Duration of units of work", buckets=WAITS)
CLAIMED = Counter("dbsafety_tasks_claimed", "Tasks claimed")
SETTLED = Counter("dbsafety_tasks_settled", "Tasks settled by resulting status", ["status"])
LOST_LEASES = Counter("dbsafety_lost_leases", "Outcomes refused by the fence")
RESCUED = Counter("dbsafety_tasks_rescued", "Tasks taken from dead workers", ["result"])
SIDE_WRITES_FAILED = Counter("dbsafety_side_writes_failed", "Optional reads and writes that failed", ["method"])
LISTENER_REPLACED = Counter("dbsafety_listener_replaced", "Listener connections replaced")
IN_FLIGHT = Gauge("dbsafety_tasks_in_flight", "Tasks this worker holds")
DEGRADED = Gauge("dbsafety_degraded", "1 while the worker cannot claim")


def serve(port: int, address: str = "127.0.0.1") -> None:
    """Serve the metrics over HTTP; raises OSError when the port is taken."""
    start_http_server(port, addr=address)
