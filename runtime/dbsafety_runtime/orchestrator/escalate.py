"""Escalation: an outbox written with the task, drained to GitHub at least once, with a marker against duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.model import Plan, Task, shorten
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.lite import forbid_open_transaction
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


class ApiError(Exception):
    """GitHub did not do what was asked; `wait` is how long it wants to be left alone, in seconds, if it said so."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class GitHub:
    """The four calls we need, on any server that speaks GitHub's REST API; `seconds` bounds each of them."""

    def __init__(self, base_url: str, repo: str, token: str = "", seconds: float = 10.0) -> None:
        headers = {"Accept": "application/vnd.github+json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.repo = repo
        self._client = httpx.Client(
            base_url=base_url.rstrip("/"), headers=headers, timeout=seconds, follow_redirects=False
        )

    def find(self, marker: str) -> str | None:
        """Return the number of the issue whose text holds `marker`; listing is exact where the search API lags."""
        for page in range(1, PAGES + 1):
            query = {"state": "all", "labels": LABEL, "per_page": "100", "page": str(page)}
            issues = self._call("GET", f"/repos/{self.repo}/issues", query=query)
            if not isinstance(issues, list):
                raise ApiError("the list of issues is no list")
            for issue in issues:
                if marker in (issue.get("body") or ""):
                    return str(issue["number"])
            if len(issues) < 100:
                return None
        return None

    def create(self, title: str, body: str) -> str:
        """Open an issue and return its number."""
        data = {"title": title, "body": body, "labels": [LABEL]}
        issue = self._call("POST", f"/repos/{self.repo}/issues", data=data)
        if not isinstance(issue, dict) or "number" not in issue:
            raise ApiError("the answer to a new issue has no number")
        return str(issue["number"])

    def comment(self, number: str, body: str) -> None:
        """Add a comment."""
        self._call("POST", f"/repos/{self.repo}/issues/{number}/comments", data={"body": body})

    def close(self, number: str) -> None:
        """Close an issue."""
        self._call("PATCH", f"/repos/{self.repo}/issues/{number}", data={"state": "closed"})

    def shut(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        data: Mapping[str, object] | None = None,
    ) -> Any:
        forbid_open_transaction("a call to GitHub")
        try:
            reply = self._client.request(method, path, params=query, json=data)
        except httpx.HTTPError as error:
            raise ApiError(f"{type(error).__name__}: {error}") from error
        if not reply.is_success:
            raise ApiError(f"{method} {path} answered {reply.status_code}", _wanted_wait(reply.headers))
        try:
            return reply.json()
        except ValueError as error:
            raise ApiError(f"{method} {path} did not answer with JSON") from error


def _wanted_wait(headers: Mapping[str, str]) -> float | None:
    wait = headers.get("retry-after", "")
    return float(wait) if wait.isdigit() else None


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
