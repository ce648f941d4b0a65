"""Treatment: one short step of one task at a time, from the gate over the four phases to verification or a human."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dbsafety_runtime.ops.log import get
from dbsafety_runtime.orchestrator import actions, gate
from dbsafety_runtime.orchestrator.agents.endpoint import AnswerRejected
from dbsafety_runtime.orchestrator.agents.rules import GATE, PANEL, SINGLE, Agent, consult, plans_of
from dbsafety_runtime.orchestrator.agents.views import VIEWS, Case
from dbsafety_runtime.orchestrator.catalogue import Recipe
from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.detectors.paths import path_issues
from dbsafety_runtime.orchestrator.detectors.services import configured_port
from dbsafety_runtime.orchestrator.escalate import announce, withdraw
from dbsafety_runtime.orchestrator.knowledge.index import Knowledge
from dbsafety_runtime.orchestrator.learning import known_recipes
from dbsafety_runtime.orchestrator.managers.base import Manager, find
from dbsafety_runtime.orchestrator.model import Plan, Service, Status, Task
from dbsafety_runtime.orchestrator.processes import descends_from, listeners
from dbsafety_runtime.orchestrator.progress import Applied, Progress
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.litetx import LiteTx

KNOWN, ALONE, TOGETHER, HUMAN = 1, 2, 3, 4
MOST_ATTEMPTS: Final = 3
FALSE_ALARM_SECONDS: Final = 900.0
WANING: Final = 6
LOG: Final = get("worker")
FALSE_ALARM: Final = "UPDATE tasks SET false_alarm = 1 WHERE id = ?"


@dataclass(slots=True)
class Treatment:
    """What the four workers do with a task; safe to use from all of them."""

    store: IncidentStore
    progress: Progress
    manager: Manager
    knowledge: Knowledge
    recipes: dict[str, Recipe]
    settings: OrchestratorSettings
    single: Agent = SINGLE
    panel: Sequence[Agent] = field(default=PANEL)

    def step(self, task: Task) -> None:
        """Move a claimed task on by one step; raises ManagerError or a StorageFault, then it stays as it was."""
        LOG.debug("step", task=task.id, target=task.issue.target, status=task.status)
        with self.store.db.reading():
            if task.status in ("detected", "suppressed"):
                self._gate(task)
            elif task.status == "diagnosing":
                self._diagnose(task)
            elif task.status == "verifying":
                self._verify(task)
            else:
                self._recheck(task)

    def _gate(self, task: Task) -> None:
        service, now = find(self.manager, task.issue.target), self.store.clock()
        verdict = gate.judge(task, service, self.store.around(task), now, self.settings)
        if verdict.kind == "wait" or (verdict.kind == "suppress" and task.status == "suppressed"):
            self.progress.release(task, gate.RECHECK_SECONDS if task.status == "suppressed" else 0.5)
        elif verdict.kind == "suppress":
            self._move(task, "suppressed", verdict.why, wait=gate.RECHECK_SECONDS, parent=verdict.parent)
        elif verdict.kind == "recovered" or (task.parent and gate.is_healthy(service, now, self.settings.settle)):
            self.store.close_task(task.id, "resolved", "symptom" if task.parent else "recovered", "gate")
        elif task.status == "suppressed":
            self._move(task, "detected", "what it was a symptom of is over")
        else:
            self._move(task, "diagnosing", verdict.why, phase=KNOWN)

    def _move(
        self,
        task: Task,
        status: Status,
        why: str,
        *,
        phase: int | None = None,
        wait: float = 0.0,
        parent: int | None = None,
    ) -> None:
        def work(tx: LiteTx) -> bool:
            return self.store.move(tx, task, status, why, actor="gate", phase=phase, wait=wait, parent=parent)

        self.store.db.write(work)

    def _diagnose(self, task: Task) -> None:
        if task.phase == HUMAN and task.plan is not None:
            self._fix(task, task.plan)
            return
        cause = gate.cause_of(task, self.store.around(task).same_target) if task.attempt == 0 else None
        if cause is not None:
            why = f"a symptom of task {cause.id} ({cause.issue.type})"
            self._move(task, "suppressed", why, wait=gate.RECHECK_SECONDS, parent=cause.id)
            return
        best, notes = None, list[str]()
        if task.phase < HUMAN and task.attempt < MOST_ATTEMPTS:
            case = Case.of(task.issue, self.manager, self.knowledge)
            tried = self.progress.tried(task.id)
            for phase in range(task.phase, HUMAN):
                plan, why = self._propose(phase, case, tried)
                best = best or plan
                objections = actions.problems(self.manager, plan) if plan else []
                if plan and not why and not objections and self.settings.auto_fix:
                    self._fix(replace(task, phase=phase), plan)
                    return
                notes.append(f"phase {phase}: {why or '; '.join(objections) or 'automatic fixes are switched off'}")
        self._escalate(task, "; ".join(notes) or "no attempt is left", best)

    def _propose(self, phase: int, case: Case, tried: frozenset[str]) -> tuple[Plan | None, str]:
        """Return a plan, and why it must not be carried out at once ('' when it may)."""
        if phase == KNOWN:
            return self._known(case, tried)
        if phase == TOGETHER:
            agreed, why = consult(self.panel, case, self.recipes, tried)
            return agreed, "" if agreed else why
        try:
            plan = self.single.propose(case, self.recipes, tried)
        except AnswerRejected as rejected:
            return None, f"{self.single.name}: {rejected}"
        if plan is None:
            return None, f"{self.single.name} has no proposal"
        if plan.confidence < GATE:
            return plan, f"{plan.by} proposes {plan.recipe} but is unsure ({plan.confidence:.2f})"
        return plan, "" if actions.reversible(plan) else f"{plan.recipe} cannot be undone"

    def _known(self, case: Case, tried: frozenset[str]) -> tuple[Plan | None, str]:
        trusted = known_recipes(self.store.db, case.issue.signature)
        shipped = [recipe.id for recipe in self.recipes.values() if recipe.shipped]
        names = [name for name in dict.fromkeys((*trusted, *shipped)) if name in self.recipes]
        candidates = {name: self.recipes[name] for name in names}
        for view in VIEWS.values() if candidates else ():
            for plan in plans_of("known pattern", view(case), case, candidates, tried):
                if not actions.problems(self.manager, plan):
                    return plan, ""
        return None, "no known pattern fits"

    def _fix(self, task: Task, plan: Plan) -> None:
        undo = actions.tokens(self.manager, plan)
        number, refusal = self.progress.begin(task, plan, undo, self.settings.fix_window)
        if number is None:
            if "within" in refusal:
                self._escalate(task, refusal, plan)
            else:
                self.progress.release(task, 1.0)
            return
        fixing = replace(task, status="fixing", plan=plan, attempt=number)
        attempt = Applied(number, plan, "applying", undo, {}, self.store.clock())
        try:
            seconds = actions.apply(self.manager, plan)
        except actions.ActionRefused as refused:
            self._undo(fixing, attempt, str(refused))
        else:
            self.progress.applied(fixing, number, seconds)

    def _undo(self, task: Task, attempt: Applied, why: str) -> None:
        left = actions.undo(self.manager, attempt.plan, attempt.undo)
        self.progress.undone(task, attempt, why, next_phase=task.phase + 1, left=left)

    def _verify(self, task: Task) -> None:
        """Success is: it runs, has not been started again, listens where it should, and nobody saw it fail again."""
        attempt = self.progress.attempt_of(task.id)
        if attempt is None:
            self._move(task, "diagnosing", "there is no fix to verify")
            return
        now, service = self.store.clock(), find(self.manager, task.issue.target)
        baseline = attempt.baseline
        if service is None or service.state in ("failed", "stopped", "unknown"):
            self._undo(task, attempt, f"the service is {service.state if service else 'gone'}")
        elif service.state != "running" or not self._listens(task, service):
            if gate.elapsed(task.changed_at, now, self.settings.verify_limit):
                self._undo(task, attempt, f"not up after {self.settings.verify_limit:g} s")
            else:
                self.progress.release(task, 0.5)
        elif not baseline or now < baseline["since"]:
            self.progress.set_baseline(task.id, attempt.number, {"since": now, "started": service.started})
            self.progress.release(task, 0.5)
        elif service.started != baseline["started"]:
            self._undo(task, attempt, "it was started again during verification")
        elif task.last_seen > baseline["since"] + self._margin() and task.issue.type != "flapping":
            self._undo(task, attempt, "the issue was seen again")
        elif now - baseline["since"] >= self.settings.settle:
            self.progress.verified(task, attempt)
        else:
            self.progress.release(task, 0.5)

    def _margin(self) -> float:
        """A look that began before the fix may be stored after it."""
        return min(self.settings.settle / 2, 1.0 + self.settings.interval)

    def _listens(self, task: Task, service: Service) -> bool:
        port = configured_port(self.manager.config(service.name)) if task.issue.type == "port_conflict" else None
        holder = listeners().get(port, -1) if port else 0
        return holder == 0 or descends_from(holder, frozenset({service.pid}))

    def _escalate(self, task: Task, why: str, plan: Plan | None) -> None:
        now = self.store.clock()
        if not gate.elapsed(task.first_seen, now, self.settings.patience):
            self.progress.release(task, task.first_seen + self.settings.patience - now)
            return
        if self._is_over(task):
            self.store.close_task(task.id, "resolved", "recovered", "gate")
            return
        if self._wanes(task) and not gate.elapsed(task.first_seen, now, WANING * self.settings.patience):
            self.progress.release(task, 1.0)
            return
        text = plan.to_json() if plan else None

        def work(tx: LiteTx) -> None:
            if self.store.move(tx, task, "escalated", why, actor="orchestrator", phase=HUMAN, wait=2.0, plan=text):
                announce(tx, task, why, plan)

        self.store.db.write(work)

    def _wanes(self, task: Task) -> bool:
        """The service runs, only not for long enough to be sure."""
        service = find(self.manager, task.issue.target)
        steady = ("flapping", *gate.PROACTIVE)
        return service is not None and service.state == "running" and task.issue.type not in steady

    def _is_over(self, task: Task) -> bool:
        if task.issue.type in gate.PROACTIVE:
            config = self.manager.config(task.issue.target)
            return config is None or not path_issues(config)
        now, service = self.store.clock(), find(self.manager, task.issue.target)
        unseen = gate.elapsed(task.last_seen, now, self.settings.grace)
        return unseen and gate.is_healthy(service, now, self.settings.settle)

    def _recheck(self, task: Task) -> None:
        """An escalated issue may end by itself or by somebody's hand."""
        if not self._is_over(task):
            self.progress.release(task, gate.RECHECK_SECONDS)
            return

        def work(tx: LiteTx) -> None:
            if self.store.close(tx, task.id, "resolved", "recovered", "gate"):
                withdraw(tx, task, "It is over: the service runs again.")
                if not gate.elapsed(task.changed_at, self.store.clock(), FALSE_ALARM_SECONDS):
                    tx.execute(FALSE_ALARM, (task.id,))

        self.store.db.write(work)
