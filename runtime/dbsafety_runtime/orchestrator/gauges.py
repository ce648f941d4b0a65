"""Prometheus metrics of the orchestrator."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

CYCLE_SECONDS: Final = Histogram("dbsafety_cycle_seconds", "Duration of detection in one cycle")
CYCLES_SKIPPED: Final = Counter("dbsafety_cycles_skipped", "Cycles that could not start in time")
DETECTOR_FAILURES: Final = Counter("dbsafety_detector_failures", "Looks that failed or hung", ["detector"])
STEPS: Final = Counter("dbsafety_steps", "Steps of tasks by how they went", ["outcome"])
OVERDUE: Final = Counter("dbsafety_steps_overdue", "Steps that ran longer than their limit")
TASKS: Final = Gauge("dbsafety_incidents", "Tasks by state", ["status"])
OUTBOX: Final = Gauge("dbsafety_outbox_waiting", "Messages that wait for GitHub")
MEMORY: Final = Gauge("dbsafety_memory_share", "Resident memory as a share of the limit")
WAL: Final = Gauge("dbsafety_wal_bytes", "Size of the write-ahead log")
