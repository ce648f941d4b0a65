"""Two hosts, each with an orchestrator and a SQLite file of its own, hand what concerns all hosts to one executor."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbsafety_runtime.orchestrator import ledger, operator
from dbsafety_runtime.orchestrator.model import Plan, Step
from tests.runtime.lite.bench import Bench
from tests.runtime.lite.doubles import FrozenClock, ScriptedManager
from tests.runtime.pg.support import query


class Upward:
    """An agent that knows only one way out: the other hosts must be told."""

    name = "upward"

    def __init__(self, host: str) -> None:
        self.host = host

    def propose(self, case: object, recipes: object) -> Plan:
        args = {"kind": "drain-broker", "payload": f'{{"host": "{self.host}"}}', "key": "broker-7"}
        return Plan("report-upward", (Step("enqueue_task", args),), self.name, 0.9, ("r:state:api",), "one for all")


def test_two_hosts_report_the_same_thing_once(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be undone waits for a human; approved on both hosts, it is one task of the executor."""
    monkeypatch.setenv("DBSAFETY_EXECUTOR_DSN", dsn)
    for host in ("a", "b"):
        manager = ScriptedManager(tmp_path / host, FrozenClock())
        manager.add("api", "failed")
        manager.on_start["api"] = lambda: "failed"
        bench = Bench(tmp_path / host, manager, single=Upward(host))
        bench.run(25)
        task = bench.task("api")
        assert (task.status, task.plan is not None and task.plan.recipe) == ("escalated", "report-upward")
        operator.approve(bench.store, task.id)
        manager.set("api", "running")  # somebody drains the broker meanwhile
        bench.run(12)
        assert bench.task("api").resolution == "approved"
        assert ledger.verify(bench.store.db)[1] == ()
        bench.close()
    rows = query(dsn, "SELECT kind, payload ->> 'host', dedupe_key FROM jr_task_announcements")
    assert rows == [("drain-broker", "a", "broker-7")]
