"""Escalation: an outbox written with the task, drained to GitHub at least once, with a marker against duplicates."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.orchestrator.gate import elapsed
from dbsafety_runtime.orchestrator.model import Plan, Task, shorten
from dbsafety_runtime.orchestrator.pages import page
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.orchestrator.web import Api, ApiError
from dbsafety_runtime.storage.lite import unit

HUMAN: Final = 4
FALSE_ALARM_SECONDS: Final = 900.0
LABEL: Final = "dbsafety"
PAGES: Final = 20
LONGEST_BODY: Final = 60_000
LONGEST_WAIT: Final = 900.0
PUT: Final = "INSERT INTO outbox (key, task_id, kind, body) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
HAS_CREATE: Final = "SELECT 1 FROM outbox WHERE task_id = ? AND kind = 'create'"
# Comments wait until there is an issue. A time beyond the longest wait was written before the clock was set back.
DUE: Final = """
SELECT id, key, task_id, kind, body, tries, github_ref, issue_type || ': ' || target FROM message
WHERE (kind = 'create' OR github_ref IS NOT NULL) AND (next_at <= ?1 OR next_at > ?1 + 3600) ORDER BY id LIMIT 20
"""
SENT: Final = "UPDATE outbox SET state = 'sent', tries = tries + 1, last_error = NULL WHERE id = ?"
LATER: Final = "UPDATE outbox SET tries = tries + 1, next_at = ?, last_error = ? WHERE id = ?"


class GitHub:
    """The four calls we need, on any server that speaks GitHub's REST API; `seconds` bounds each of them."""

    def __init__(self, base_url: str, repo: str, token: str = "", seconds: float = 10.0) -> None:
        self._issues, self._api = f"/repos/{repo}/issues", Api(base_url, token, seconds)

    def find(self, marker: str) -> str | None:
        """Return the number of the issue whose text holds `marker`; listing is exact where the search API lags."""
        for number in range(1, PAGES + 1):
            query = {"state": "all", "labels": LABEL, "per_page": "100", "page": str(number)}
            issues = self._api.call("GET", self._issues, query=query)
            if not isinstance(issues, list):
                raise ApiError("the list of issues is no list")
            for issue in issues:
                if isinstance(issue, dict) and marker in str(issue.get("body")):
                    return _number(issue)
            if len(issues) < 100:
                return None
        return None

    def create(self, title: str, body: str) -> str:
        """Open an issue and return its number."""
        return _number(self._api.call("POST", self._issues, {"title": title, "body": body, "labels": [LABEL]}))

    def comment(self, number: str, body: str) -> None:
        """Add a comment."""
        self._api.call("POST", f"{self._issues}/{number}/comments", {"body": body})

    def close(self, number: str) -> None:
        """Close an issue."""
        self._api.call("PATCH", f"{self._issues}/{number}", {"state": "closed"})


def _number(issue: Any) -> str:
    if not isinstance(issue, dict) or type(issue.get("number")) is not int:
        raise ApiError("an issue without a number")
    return str(issue["number"])


@unit
def announce(store: IncidentStore, task: Task, why: str, plan: Plan | None) -> None:
    """Ask for an issue, or for a comment when the task has asked for one before."""
    again = store.db.one(HAS_CREATE, task.id) is not None
    key = f"task-{task.id}-again-{task.attempt}" if again else f"task-{task.id}"
    body = shorten(page("issue.md", task=task, why=why, plan=plan), LONGEST_BODY)
    store.db.rows(PUT, (key, task.id, "comment" if again else "create", body))


@unit
def withdraw(store: IncidentStore, task: Task, why: str) -> None:
    """Ask for the task's issue to be closed, when it has asked for one."""
    if store.db.one(HAS_CREATE, task.id):
        store.db.rows(PUT, (f"task-{task.id}-close", task.id, "close", why))


@unit
def hand_over(store: IncidentStore, task: Task, why: str, plan: Plan | None) -> None:
    """Leave a task to a human, who may approve the plan."""
    if store.move(task, "escalated", why, actor="orchestrator", phase=HUMAN, wait=2.0, plan=plan):
        announce(store, task, why, plan)


@unit
def take_back(store: IncidentStore, task: Task, resolution: str = "recovered", actor: str = "gate") -> None:
    """End a task that is over, and its issue; over soon after it was handed to a human it was a false alarm."""
    soon = task.status == "escalated" and not elapsed(task.changed_at, store.clock(), FALSE_ALARM_SECONDS)
    if store.close_task(task.id, "resolved", resolution, actor, false_alarm=soon):
        withdraw(store, task, "It is over: the service runs again.")


class Message(NamedTuple):
    """A row of the outbox with what its task says about it."""

    id: int
    key: str
    task_id: int
    kind: str
    body: str
    tries: int
    ref: str
    title: str


class Outbox:
    """Sends what waits; `instance` makes the markers of several hosts differ."""

    def __init__(self, store: IncidentStore, github: GitHub | None, instance: str) -> None:
        self.store, self.db, self._github, self._instance = store, store.db, github, instance

    def drain(self) -> int:
        """Send what is due and return how many messages were accepted; what fails waits longer each time."""
        if self._github is None:
            return 0
        sent = 0
        for row in self.db.rows(DUE, (self.store.clock(),)):
            item = Message(*row)
            try:
                ref = self._send(self._github, item)
            except ApiError as error:
                self._postpone(item, error)
                if error.wait is not None:
                    break
            else:
                self._sent(item, ref)
                sent += 1
        return sent

    def waiting(self) -> int:
        """Return how many messages wait."""
        return int(self.db.rows("SELECT count(*) FROM outbox WHERE state = 'waiting'")[0][0])

    def _send(self, github: GitHub, item: Message) -> str:
        if item.kind == "create":
            marker = f"<!-- dbsafety {self._instance} {item.key} -->"
            ref = github.find(marker) or github.create(item.title[:200], f"{item.body}\n\n{marker}")
            reach("after_post")
            return ref
        github.comment(item.ref, item.body)
        if item.kind == "close":
            github.close(item.ref)
        return item.ref

    @unit
    def _sent(self, item: Message, ref: str) -> None:
        self.db.rows(SENT, (item.id,))
        if item.kind == "create":
            self.store.update_task_github(item.task_id, ref)
        else:
            self.store.record(item.task_id, "escalation", item.kind, ref=ref)

    @unit
    def _postpone(self, item: Message, error: ApiError) -> None:
        wait = min(LONGEST_WAIT, max(error.wait or 0.0, 2.0 ** min(item.tries, 10)))
        self.db.rows(LATER, (self.store.clock() + wait, str(error), item.id))
        if item.tries == 0:
            self.store.record(item.task_id, "escalation", "send failed", why=str(error))
