"""The task queue: enqueue, claim, settle, rescue; the incident's methods under their names, made sound."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from dbsafety_runtime.executor import statements as sql
from dbsafety_runtime.executor.memory import MemoryStore
from dbsafety_runtime.executor.model import MAX_PAYLOAD, Outcome, Policy, Task, error_detail
from dbsafety_runtime.ops import metrics
from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.storage.errors import LostLease, Rejected
from dbsafety_runtime.storage.pg import Row
from dbsafety_runtime.storage.uow import Store, Transaction


@dataclass(frozen=True, slots=True)
class Turn:
    """What one settle-and-claim did: the statuses of the settled tasks by id, the refused outcomes, the new tasks."""

    settled: Mapping[int, str]
    refused: tuple[Outcome, ...]
    claimed: tuple[Task, ...]


def enqueue(
    tx: Transaction,
    kind: str,
    payload: object = None,
    *,
    assignee: str,
    priority: int = 0,
    at: datetime | None = None,
    max_attempts: int = 5,
    deadline: float = 300.0,
    dedupe: str | None = None,
    group: str | None = None,
    max_payload: int = MAX_PAYLOAD,
) -> tuple[int, bool]:
    """Add a task inside the caller's unit of work; return its id and whether it is new.

    An open task with the same `dedupe` key is returned instead of a new one. `at` is when it may run, `deadline` the
    limit of an attempt in seconds. Raises Rejected for a payload that is no JSON, too large, or breaks a constraint.
    """
    try:
        text = json.dumps({} if payload is None else payload, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Rejected(f"the payload is not JSON: {error}") from error
    if len(text) > max_payload:
        raise Rejected(f"the payload has {len(text)} bytes, the limit is {max_payload}")
    values: dict[str, object] = {
        "kind": kind, "assignee": assignee, "payload": text, "priority": priority, "at": at, "dedupe": dedupe,
        "group": group, "max_attempts": max_attempts, "deadline": deadline,
    }  # fmt: skip
    try:
        ((task_id, new),) = tx.execute(sql.ENQUEUE, values)
    except Rejected as fault:
        if fault.code == "22P05":  # untranslatable_character
            raise Rejected("the payload holds a NUL character, which PostgreSQL cannot store", fault.code) from fault
        raise
    return int(task_id), bool(new)


class TaskQueue(MemoryStore):
    """The queue of one assignee as one worker sees it; `owner` is the worker's id, new for every process."""

    def __init__(self, store: Store, assignee: str, owner: UUID, policy: Policy | None = None) -> None:
        super().__init__(store)
        self.assignee, self.owner, self._name = assignee, owner, str(owner)
        self.policy = policy or Policy()

    def enqueue(self, kind: str, payload: object = None, **options: Any) -> tuple[int, bool]:
        """Add a task for this assignee in its own unit of work; see `enqueue`."""
        return self.store.run(lambda tx: enqueue(tx, kind, payload, assignee=self.assignee, **options))

    def get_assigned_tasks(self, limit: int = 10) -> tuple[Task, ...]:
        """Return the tasks that are due for this assignee, by priority, then age; changes nothing."""
        with self.store.read() as tx:
            return tuple(Task(*row) for row in tx.execute(sql.PEEK, (self.assignee, limit)))

    def start_task(self, task_id: int) -> Task | None:
        """Claim one task by id: a new attempt with a lease, or None when it is not ready or another has it."""
        claim = (self._name, self.assignee, 1, self.policy.lease, task_id)
        rows = self.store.run(lambda tx: tx.call(sql.START, *claim), autocommit=True)
        return Task(*rows[0][3:]) if rows else None

    def complete_task(self, task: Task, result: object = None, tx: Transaction | None = None) -> None:
        """Settle an attempt as completed, in `tx` when given (effect and completion in one commit).

        Raises LostLease when another attempt owns the task now.
        """
        self._settle_one(Outcome(task, "completed", result), tx)

    def fail_task(self, task: Task, error: BaseException, *, retry: bool = True) -> str:
        """Settle an attempt as failed, in a unit of work of its own; return the resulting status.

        The statement decides between another try (`assigned`) and `failed`. Raises LostLease.
        """
        return self._settle_one(Outcome(task, "retry" if retry else "failed", error_detail(error)), None)

    def _settle_one(self, outcome: Outcome, tx: Transaction | None) -> str:
        turn = self.settle((outcome,)) if tx is None else self.turn_in(tx, (outcome,))
        if turn.refused:
            raise LostLease(f"task {outcome.task.task_id} attempt {outcome.task.attempt} is no longer ours")
        return turn.settled[outcome.task.task_id]

    def claim(self, n: int, *, solo: bool = False, limited: bool = False) -> tuple[Task, ...]:
        """Claim up to `n` ready tasks; see `settle`."""
        return self.settle((), n, solo=solo, limited=limited).claimed

    def settle(self, outcomes: Sequence[Outcome], n: int = 0, *, solo: bool = False, limited: bool = False) -> Turn:
        """Settle attempts and claim up to `n` tasks in one transaction.

        `solo` claims only suspects (tasks whose workers died before); `limited` obeys the assignee's limit. Two workers
        that want the same group at the same instant collide on a unique index: the turn runs again.

        A turn that only claims is one statement, committed by itself. When its answer is lost, what it claimed is held
        by nobody: the next heartbeats hand it back.
        """

        def turn(outcomes: Sequence[Outcome], n: int) -> Turn:
            return self.store.run(
                lambda tx: self.turn_in(tx, outcomes, n, solo=solo, limited=limited),
                autocommit=not outcomes and not limited,
            )

        try:
            return turn(outcomes, n)
        except Rejected:
            if n == 0:
                raise
        settled = turn(outcomes, 0)
        try:
            return replace(settled, claimed=turn((), 1).claimed)
        except Rejected:
            return settled

    def turn_in(
        self, tx: Transaction, outcomes: Sequence[Outcome], n: int = 0, *, solo: bool = False, limited: bool = False
    ) -> Turn:
        """The statements of `settle`, in the caller's unit of work."""
        rows: list[Row] = []
        left, durable = outcomes, bool(outcomes)
        if n:
            reach("before_claim")
        if limited and n:
            if outcomes:
                rows, left = self._call(tx, outcomes, 0, solo), ()
            n = self._within_limit(tx, n)
        rows += self._call(tx, left, n, solo, durable=durable)
        claimed = sorted(
            (Task(*row[3:]) for row in rows if row[1]), key=lambda task: (-task.priority, task.run_at, task.task_id)
        )
        statuses = {row[3]: row[2] for row in rows if not row[1]}
        refused = tuple(outcome for outcome in outcomes if outcome.task.task_id not in statuses)
        if rows:
            xid, is_claim, _, task_id, attempt, *_ = rows[0]
            tx.xid, tx.proof = xid, (sql.PROOF, (task_id, attempt, self._name, is_claim))
        if outcomes:
            reach("before_settle_commit")
        return Turn(statuses, refused, tuple(claimed))

    def _within_limit(self, tx: Transaction, n: int) -> int:
        """How many of `n` tasks the assignee's limit leaves room for; the limit stays locked until the end of `tx`."""
        limit = tx.execute(sql.LOCK_LIMIT, (self.assignee,))
        running = tx.execute(sql.COUNT_RUNNING, (self.assignee,)) if limit else []
        return max(0, min(n, limit[0][0] - running[0][0])) if limit else n

    def _call(
        self, tx: Transaction, outcomes: Sequence[Outcome], n: int, solo: bool, *, durable: bool = True
    ) -> list[Row]:
        rules = self.policy
        claim = (self._name, self.assignee, n, rules.lease, solo, rules.suspect)
        if not durable:
            return tx.call(sql.CLAIM, *claim)
        rows = [(outcome.task.task_id, outcome.task.attempt, outcome.verdict, outcome.text()) for outcome in outcomes]
        columns = ([row[position] for row in rows] for position in range(4))
        return tx.call(sql.SETTLE_AND_CLAIM, *claim, *columns, rules.backoff, rules.backoff_cap)

    def rescue(self) -> tuple[tuple[int, str], ...]:
        """Take tasks from dead workers: back to `assigned`, or `dead` after `max_lost` deaths; see `rescue`."""
        return rescue(self.store, self.policy, actor=self.owner)


def rescue(
    store: Store,
    policy: Policy,
    *,
    actor: UUID | None = None,
    worker: UUID | None = None,
    older: float = 0.0,
    dry: bool = False,
) -> tuple[tuple[int, str], ...]:
    """Hand back what is provably stuck, of all assignees: an ended lease or a dead owner, never a living one's.

    `worker` and `older` (seconds since start) narrow it, `dry` only looks. Returns (task id, new status).
    """
    values: dict[str, object] = {
        "worker": worker and str(worker), "older": older, "max_lost": policy.max_lost, "actor": actor and str(actor),
    }  # fmt: skip
    if dry:
        with store.read() as tx:
            return tuple((row[0], "stuck") for row in tx.execute(sql.STUCK, values))
    rows = store.run(lambda tx: tx.execute(sql.RESCUE, values), repeatable=True)
    for row in rows:
        metrics.RESCUED.labels(row[1]).inc()
    return tuple((row[0], row[1]) for row in rows)


def move(store: Store, ids: Sequence[int], *, event: str) -> tuple[int, ...]:
    """Apply an operator's decision to named tasks and return the ids it applied to.

    `cancelled`: assigned tasks only. `redriven`: failed or dead ones start anew. `forced`: a running attempt is taken
    from its owner, whose finish will be refused.
    """
    sources, to = {
        "cancelled": (["assigned"], "cancelled"),
        "redriven": (["failed", "dead"], "assigned"),
        "forced": (["in_progress"], "assigned"),
    }[event]
    values: dict[str, object] = {"ids": list(ids), "event": event, "from": sources, "to": to}
    return tuple(row[0] for row in store.run(lambda tx: tx.execute(sql.MOVE, values)))


def set_limit(store: Store, assignee: str, max_running: int) -> None:
    """Limit how many tasks of an assignee run at once, over all workers."""
    store.run(lambda tx: tx.execute(sql.SET_LIMIT, (assignee, max_running)), repeatable=True)
