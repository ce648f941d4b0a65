"""Treatment: one short step of one task at a time, from the gate over the four phases to verification or a human."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from dbsafety_runtime.orchestrator.escalate import HUMAN, hand_over, take_back
from dbsafety_runtime.orchestrator.knowledge.index import Knowledge
from dbsafety_runtime.orchestrator.learning import known_recipes
from dbsafety_runtime.orchestrator.managers.base import Manager, find
from dbsafety_runtime.orchestrator.model import Plan, Service, Task
from dbsafety_runtime.orchestrator.processes import descends_from, listeners
from dbsafety_runtime.orchestrator.progress import Applied, Progress
from dbsafety_runtime.orchestrator.store import IncidentStore

KNOWN, TOGETHER = 1, 3
MOST_ATTEMPTS: Final = 3
WANING: Final = 6
LOG: Final = get("worker")


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
    panel: Sequence[Agent] = PANEL

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
        others, storm = self.store.neighbours(task), self.store.storm(task, self.settings.storm)
        kind, why, parent = gate.judge(task, service, others, storm, now, self.settings)
        if kind == "wait" or (kind == "suppress" and task.status == "suppressed"):
            self.progress.release(task, gate.RECHECK_SECONDS if task.status == "suppressed" else 0.5)
        elif kind == "suppress":
            self._suppress(task, why, parent)
        elif kind == "recovered" or (task.parent and gate.is_healthy(service, now, self.settings.settle)):
            self.store.close_task(task.id, "resolved", "symptom" if task.parent else "recovered", "gate")
        elif task.status == "suppressed":
            self.store.move(task, "detected", "what it was a symptom of is over", actor="gate")
        else:
            self.store.move(task, "diagnosing", why, actor="gate", phase=KNOWN)

    def _suppress(self, task: Task, why: str, parent: int | None) -> None:
        self.store.move(task, "suppressed", why, actor="gate", wait=gate.RECHECK_SECONDS, parent=parent)

    def _diagnose(self, task: Task) -> None:
        if task.phase == HUMAN and task.plan is not None:
            self._fix(task, task.plan)
            return
        if task.attempt == 0 and (cause := gate.cause_of(task, self.store.neighbours(task))):
            self._suppress(task, f"a symptom of task {cause.id} ({cause.issue.type})", cause.id)
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
        attempt = Applied(number, plan, undo, {})
        try:
            seconds = actions.apply(self.manager, plan)
        except actions.ActionRefused as refused:
            self._undo(fixing, attempt, str(refused))
        else:
            self.progress.applied(fixing, number, seconds)

    def _undo(self, task: Task, attempt: Applied, why: str) -> None:
        left = actions.undo(self.manager, attempt.plan, attempt.undo)
        self.progress.undone(task, attempt, why, left)

    def _verify(self, task: Task) -> None:
        """Success is: it runs, has not been started again, listens where it should, and nobody saw it fail again."""
        attempt = self.progress.attempt_of(task.id)
        if attempt is None:
            self.store.move(task, "diagnosing", "there is no fix to verify", actor="gate")
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
        hand_over(self.store, task, why, plan)

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
        if self._is_over(task):
            take_back(self.store, task)
        else:
            self.progress.release(task, gate.RECHECK_SECONDS)
