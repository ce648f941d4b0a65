"""Escalation: an outbox written with the task, drained to GitHub at least once, with a marker against duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.model import Plan, Task, shorten
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.orchestrator.web import Api, ApiError
from dbsafety_runtime.storage.litetx import LiteTx

LABEL: Final = "dbsafety"
PAGES: Final = 20
LONGEST_BODY: Final = 60_000
LONGEST_WAIT: Final = 900.0
PUT: Final = "INSERT INTO outbox (key, task_id, kind, body) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
HAS_CREATE: Final = "SELECT 1 FROM outbox WHERE task_id = ? AND kind = 'create'"
# A row whose time lies beyond the longest wait was written before the clock was set back.
DUE: Final = """
SELECT outbox.id, key, task_id, kind, body, tries, github_ref, issue_type, target
FROM outbox JOIN tasks ON tasks.id = task_id
WHERE state = 'waiting' AND (outbox.next_at <= ?1 OR outbox.next_at > ?1 + 3600) ORDER BY outbox.id LIMIT 20
"""
SENT: Final = "UPDATE outbox SET state = 'sent', tries = tries + 1, last_error = NULL WHERE id = ?"
LATER: Final = "UPDATE outbox SET tries = tries + 1, next_at = ?, last_error = ? WHERE id = ?"


class GitHub:
    """The four calls we need, on any server that speaks GitHub's REST API; `seconds` bounds each of them."""

    def __init__(self, base_url: str, repo: str, token: str = "", seconds: float = 10.0) -> None:
        self._issues, self._api = f"/repos/{repo}/issues", Api(base_url, token, seconds)

    def find(self, marker: str) -> str | None:
        """Return the number of the issue whose text holds `marker`; listing is exact where the search API lags."""
        for page in range(1, PAGES + 1):
            query = {"state": "all", "labels": LABEL, "per_page": "100", "page": str(page)}
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

    def shut(self) -> None:
        """Close the kept connections."""
        self._api.shut()


def _number(issue: Any) -> str:
    if not isinstance(issue, dict) or type(issue.get("number")) is not int:
        raise ApiError("an issue without a number")
    return str(issue["number"])


def body_of(task: Task, why: str, plan: Plan | None) -> str:
    """Return the text of an escalation: what was seen, what was tried, what an operator may approve."""
    lines = [f"**{task.issue.type}** on `{task.issue.target}`, seen {task.occurrences} times.", ""]
    lines += _quoted(shorten(task.issue.message, 4000))
    lines += ["", f"Why a human is asked: {why}", ""]
    if plan is not None:
        lines += [f"Proposed plan `{plan.recipe}` ({plan.by}, confidence {plan.confidence:.2f}): {plan.reason}"]
        lines += [f"{number}. `{step.text()}`" for number, step in enumerate(plan.steps, 1)]
        lines += ["", "Evidence:", *(f"- {item}" for item in plan.evidence), ""]
        lines += [f"`orchestrator approve {task.id}` carries it out, `orchestrator reject {task.id}` drops it."]
    return shorten("\n".join(lines), LONGEST_BODY)


def _quoted(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines() or [""]]


def put(tx: LiteTx, task_id: int, kind: str, body: str, key: str) -> None:
    """Add a message in the caller's transaction; the same key is added once."""
    tx.execute(PUT, (key, task_id, kind, body))


def announce(tx: LiteTx, task: Task, why: str, plan: Plan | None) -> None:
    """Ask for an issue, or for a comment when the task has asked for one before."""
    again = bool(tx.one(HAS_CREATE, (task.id,)))
    key = f"task-{task.id}-again-{task.attempt}" if again else f"task-{task.id}"
    put(tx, task.id, "comment" if again else "create", body_of(task, why, plan), key)


def withdraw(tx: LiteTx, task: Task, why: str) -> None:
    """Ask for the task's issue to be closed, when it has asked for one."""
    if tx.one(HAS_CREATE, (task.id,)):
        put(tx, task.id, "close", why, f"task-{task.id}-close")


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    key: str
    task_id: int
    kind: str
    body: str
    tries: int
    ref: str | None
    issue_type: str
    target: str


class Outbox:
    """Sends what waits; `instance` makes the markers of several hosts differ."""

    def __init__(self, store: IncidentStore, github: GitHub | None, instance: str) -> None:
        self._store, self._github, self._instance = store, github, instance

    def drain(self) -> int:
        """Send what is due and return how many messages were accepted; what fails waits longer each time."""
        if self._github is None:
            return 0
        sent = 0
        for row in self._store.db.rows(DUE, (self._store.clock(),)):
            item = _Row(*row)
            try:
                ref = self._send(self._github, item)
            except ApiError as error:
                self._postpone(item, error)
                if error.wait is not None:
                    break
            else:
                sent += self._sent(item, ref)
        return sent

    def waiting(self) -> int:
        """Return how many messages wait."""
        return int(self._store.db.rows("SELECT count(*) FROM outbox WHERE state = 'waiting'")[0][0])

    def _send(self, github: GitHub, item: _Row) -> str | None:
        if item.kind == "create":
            marker = f"<!-- dbsafety {self._instance} {item.key} -->"
            ref = github.find(marker)
            if ref is None:
                ref = github.create(f"{item.issue_type}: {item.target}"[:200], f"{item.body}\n\n{marker}")
            reach("after_post")
            return ref
        if item.ref is None:
            return None
        github.comment(item.ref, item.body)
        if item.kind == "close":
            github.close(item.ref)
        return item.ref

    def _sent(self, item: _Row, ref: str | None) -> int:
        def work(tx: LiteTx) -> int:
            if ref is None:
                return 0
            tx.execute(SENT, (item.id,))
            if item.kind == "create":
                self._store.set_github(tx, item.task_id, ref)
            else:
                ledger.record(tx, self._store.clock(), item.task_id, "escalation", item.kind, ref=ref)
            return 1

        return self._store.db.write(work)

    def _postpone(self, item: _Row, error: ApiError) -> None:
        wait = min(LONGEST_WAIT, max(error.wait or 0.0, 2.0 ** min(item.tries, 10)))

        def work(tx: LiteTx) -> None:
            now = self._store.clock()
            tx.execute(LATER, (now + wait, str(error), item.id))
            if item.tries == 0:
                ledger.record(tx, now, item.task_id, "escalation", "send failed", why=str(error))

        self._store.db.write(work)
