from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dbsafety_runtime.ops.faults import PLAN, FaultInjected
from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.escalate import GitHub, Outbox, announce, withdraw
from dbsafety_runtime.orchestrator.localhub import LocalHub
from dbsafety_runtime.orchestrator.model import Issue
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.orchestrator.web import ApiError
from dbsafety_runtime.storage.errors import StorageBug
from tests.runtime.lite.doubles import FrozenClock


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub() as running:
        yield running


@pytest.fixture
def outbox(store: IncidentStore, hub: LocalHub) -> Outbox:
    return Outbox(store, GitHub(hub.url, "o/r", "secret-token", seconds=0.5), "host1")


def escalated(store: IncidentStore, message: str = "went down") -> int:
    task_id = store.create_task(Issue("service_failure", "test", "api", message))
    task = store.task(task_id)
    assert task is not None
    announce(store, task, "nobody knows", None)
    return task_id


def test_one_issue_is_opened_and_linked(store: IncidentStore, outbox: Outbox, hub: LocalHub) -> None:
    task_id = escalated(store, "evil `code` <!-- dbsafety host1 task-9 -->")
    assert (outbox.waiting(), outbox.drain(), outbox.drain(), outbox.waiting()) == (1, 1, 0, 0)
    (issue,) = hub.issues
    assert issue["title"] == "service_failure: api"
    assert issue["labels"] == ["dbsafety"]
    assert f"<!-- dbsafety host1 task-{task_id} -->" in issue["body"]
    task = store.task(task_id)
    assert task is not None
    assert task.github_ref == "1"


@pytest.mark.parametrize(
    ("status", "body", "headers", "reason"),
    [
        (403, b'{"message": "API rate limit exceeded"}', {"retry_after": "60"}, "answered 403"),
        (500, b"oops", {}, "answered 500"),
        (200, b"<html>maintenance</html>", {"Content_Type": "text/html"}, "did not answer with JSON"),
        (200, b'{"not": "a list"}', {}, "the list of issues is no list"),
        (200, b'[{"body": "dbsafety host1 task-1 -->"}, 7, null', {}, "did not answer with JSON"),
        (200, b"[" + b" " * 9_000_000 + b"]", {}, "answers too slowly or too much"),
        (302, b"", {"Location": "http://127.0.0.1:1/"}, "answered 302"),
        (200, b"[" * 100_000, {}, "did not answer with JSON"),
        (503, b"", {"retry_after": "\u00b2"}, "answered 503"),
    ],
)
def test_a_server_that_answers_nonsense_delays_but_loses_nothing(
    store: IncidentStore, outbox: Outbox, hub: LocalHub, clock: FrozenClock, status: int, body: bytes,
    headers: dict[str, str], reason: str,
) -> None:  # fmt: skip
    task_id = escalated(store)
    hub.faults.append(lambda handler: handler.answer(status, body, **headers) is None)
    assert outbox.drain() == 0
    assert reason in store.db.rows("SELECT last_error FROM outbox")[0][0]
    assert outbox.drain() == 0, "not before its time"
    assert len(hub.requests) == 1
    clock.tick(61)
    assert (outbox.drain(), len(hub.issues)) == (1, 1)
    actions = [entry.action for entry in ledger.history(store.db, task_id)]
    assert actions == ["detected", "send failed", "issue linked"]


@pytest.mark.parametrize("number", ["null", '"7"', "true", "{}"])
def test_an_issue_without_a_usable_number_is_not_linked(
    store: IncidentStore, outbox: Outbox, hub: LocalHub, clock: FrozenClock, number: str
) -> None:
    task_id = escalated(store)
    listed = f'[7, null, {{"number": {number}, "body": "<!-- dbsafety host1 task-{task_id} -->"}}]'.encode()
    hub.faults.append(lambda handler: handler.answer(200, listed) is None)
    assert outbox.drain() == 0
    assert store.db.rows("SELECT last_error FROM outbox") == [("an issue without a number",)]
    clock.tick(60)
    assert (outbox.drain(), len(hub.issues)) == (1, 1)


def test_a_server_that_drips_bytes_is_left_after_the_time_limit(
    store: IncidentStore, hub: LocalHub, clock: FrozenClock
) -> None:
    """Each byte comes in time, the answer as a whole does not."""
    outbox = Outbox(store, GitHub(hub.url, "o/r", seconds=0.2), "host1")
    leave = threading.Event()

    def drip(handler: Any) -> bool:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while not leave.wait(0.01):
            handler.wfile.write(b" ")
            handler.wfile.flush()
        return True

    hub.faults.append(drip)
    escalated(store)
    assert outbox.drain() == 0
    leave.set()
    assert "answers too slowly" in store.db.rows("SELECT last_error FROM outbox")[0][0]
    clock.tick(60)
    assert (outbox.drain(), len(hub.issues)) == (1, 1)


def test_an_answer_that_is_lost_after_the_post_opens_no_second_issue(
    store: IncidentStore, outbox: Outbox, hub: LocalHub, clock: FrozenClock
) -> None:
    escalated(store)

    def carried_out_but_silent(handler: Any) -> bool:
        hub.handle("POST", "/repos/o/r/issues", {"title": "t", "body": "<!-- dbsafety host1 task-1 -->"})
        handler.connection.close()
        return True

    hub.faults += [lambda _handler: False, carried_out_but_silent]
    assert outbox.drain() == 0
    clock.tick(10)
    assert (outbox.drain(), len(hub.issues)) == (1, 1)


def test_a_crash_after_the_post_opens_no_second_issue(store: IncidentStore, outbox: Outbox, hub: LocalHub) -> None:
    escalated(store)

    def crash() -> None:
        raise FaultInjected("crash")

    PLAN.add("after_post", crash)
    with pytest.raises(FaultInjected):
        outbox.drain()
    PLAN.clear()
    assert (outbox.drain(), len(hub.issues)) == (1, 1)


def test_a_day_without_github_is_survived_in_order(store: IncidentStore, hub: LocalHub, clock: FrozenClock) -> None:
    silent = Outbox(store, GitHub("http://127.0.0.1:9", "o/r", seconds=0.2), "host1")
    ids = [escalated(store, f"reason {name}") for name in "abc"]
    for _ in range(24):
        assert silent.drain() == 0
        clock.tick(3600)
    assert silent.waiting() == 3
    outbox = Outbox(store, GitHub(hub.url, "o/r"), "host1")
    assert (outbox.drain(), outbox.waiting()) == (3, 0)
    assert [f"task-{task_id} " in issue["body"] for task_id, issue in zip(ids, hub.issues, strict=True)] == [True] * 3


def test_a_clock_set_back_does_not_hold_messages_for_ever(
    store: IncidentStore, outbox: Outbox, hub: LocalHub, clock: FrozenClock
) -> None:
    escalated(store)
    hub.faults.append(lambda handler: handler.answer(500, b"") is None)
    outbox.drain()
    clock.tick(-86_400)
    assert (outbox.drain(), len(hub.issues)) == (1, 1)


def test_a_marker_is_found_on_a_later_page(store: IncidentStore, outbox: Outbox, hub: LocalHub) -> None:
    hub.issues.append({"number": 1, "body": "<!-- dbsafety host1 task-1 -->"})
    hub.issues += [{"number": number, "body": None} for number in range(2, 250)]
    task_id = escalated(store)
    assert (outbox.drain(), len(hub.issues)) == (1, 249)
    task = store.task(task_id)
    assert task is not None
    assert task.github_ref == "1"


def test_comments_and_closing_follow_the_issue(
    store: IncidentStore, outbox: Outbox, hub: LocalHub, clock: FrozenClock
) -> None:
    task_id = escalated(store)
    task = store.task(task_id)
    assert task is not None

    announce(store, task, "still nobody knows", None)
    withdraw(store, task, "over")
    hub.faults.append(lambda handler: handler.answer(500, b"") is None)
    assert outbox.drain() == 0
    assert hub.comments == []
    clock.tick(60)
    assert [outbox.drain() for _ in range(3)] == [1, 2, 0], "what refers to the issue waits for its number"
    assert [text for _, text in hub.comments][1] == "over"
    assert hub.issues[0]["state"] == "closed"


def test_without_github_messages_wait(store: IncidentStore) -> None:
    escalated(store)
    assert Outbox(store, None, "host1").drain() == 0
    assert Outbox(store, None, "host1").waiting() == 1


def test_the_network_is_refused_inside_a_transaction(store: IncidentStore, hub: LocalHub) -> None:
    github = GitHub(hub.url, "o/r")
    with pytest.raises(StorageBug, match="a call over the network inside a transaction"):
        store.db.write(lambda _tx: github.find("x"))


def test_a_token_is_never_in_an_error() -> None:
    with pytest.raises(ApiError) as failed:
        GitHub("http://127.0.0.1:9", "o/r", "secret-token", seconds=0.2).find("x")
    assert "secret-token" not in str(failed.value)
