"""Treatment: one short step of one task at a time, from the gate over the four phases to verification or a human."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from dbsafety_runtime.ops.log import get
from dbsafety_runtime.orchestrator import actions, agents, gate
from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.detectors.paths import path_issues
from dbsafety_runtime.orchestrator.detectors.services import configured_port
from dbsafety_runtime.orchestrator.escalate import HUMAN, hand_over, take_back
from dbsafety_runtime.orchestrator.knowledge import Knowledge
from dbsafety_runtime.orchestrator.learning import known_recipes
from dbsafety_runtime.orchestrator.model import Manager, Plan, Service, Task, find
from dbsafety_runtime.orchestrator.processes import listeners, stranger_on
from dbsafety_runtime.orchestrator.progress import Applied, Progress
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.orchestrator.views import VIEWS, Case
from dbsafety_runtime.orchestrator.web import ApiError

KNOWN: Final = 1
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
    recipes: agents.Recipes
    settings: OrchestratorSettings
    single: agents.Agent = agents.SINGLE
    panel: Sequence[agents.Agent] = agents.PANEL

    def step(self, task: Task) -> None:
        """Move a claimed task on by one step; raises ManagerError or a StorageFault, then it stays as it was."""
        LOG.debug("step", task=task.id, target=task.issue.target, status=task.status)
        steps = {"diagnosing": self._diagnose, "verifying": self._verify, "escalated": self._recheck}
        with self.store.db.reading():
            steps.get(task.status, self._gate)(task)

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
            case, tried = Case.of(task.issue, self.manager, self.knowledge), self.progress.tried(task.id)
            recipes = {name: recipe for name, recipe in self.recipes.items() if name not in tried}
            for phase in range(task.phase, HUMAN):
                plan, why = (self._known, self._alone, self._together)[phase - KNOWN](case, recipes)
                best = best or plan
                objections = actions.problems(self.manager, plan) if plan else []
                if plan and not why and not objections and self.settings.auto_fix:
                    self._fix(replace(task, phase=phase), plan)
                    return
                notes.append(f"phase {phase}: {why or '; '.join(objections) or 'automatic fixes are switched off'}")
        self._escalate(task, "; ".join(notes) or "no attempt is left", best)

    def _known(self, case: Case, recipes: agents.Recipes) -> agents.Proposal:
        shipped = [recipe.id for recipe in recipes.values() if recipe.shipped]
        names = (*known_recipes(self.store.db, case.issue.signature), *shipped)
        candidates = {name: recipes[name] for name in names if name in recipes}
        for view in VIEWS.values() if candidates else ():
            for plan in agents.plans_of("known pattern", view(case), case, candidates):
                if not actions.problems(self.manager, plan):
                    return plan, ""
        return None, "no known pattern fits"

    def _alone(self, case: Case, recipes: agents.Recipes) -> agents.Proposal:
        try:
            plan = self.single.propose(case, recipes)
        except ApiError as rejected:
            return None, f"{self.single.name}: {rejected}"
        if plan is None:
            return None, f"{self.single.name} has no proposal"
        if plan.confidence < agents.GATE:
            return plan, f"{plan.by} proposes {plan.recipe} but is unsure ({plan.confidence:.2f})"
        return plan, "" if actions.reversible(plan) else f"{plan.recipe} cannot be undone"

    def _together(self, case: Case, recipes: agents.Recipes) -> agents.Proposal:
        return agents.consult(self.panel, case, recipes)

    def _fix(self, task: Task, plan: Plan) -> None:
        undo = actions.tokens(self.manager, plan)
        number, refusal = self.progress.begin(task, plan, undo, self.settings.fix_window)
        if number is None:
            if refusal:
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
        baseline, waited = attempt.baseline, self.settings.verify_limit
        margin = min(self.settings.settle / 2, 1.0 + self.settings.interval)  # a look may be stored after the fix
        if service is None or service.state in ("failed", "stopped", "unknown"):
            self._undo(task, attempt, f"the service is {service.state if service else 'gone'}")
        elif service.state != "running" or not self._listens(task, service):
            if gate.elapsed(task.changed_at, now, waited):
                self._undo(task, attempt, f"not up after {waited:g} s")
            else:
                self.progress.release(task)
        elif not baseline or now < baseline["since"]:
            self.progress.set_baseline(task.id, attempt.number, {"since": now, "started": service.started})
            self.progress.release(task)
        elif service.started != baseline["started"]:
            self._undo(task, attempt, "it was started again during verification")
        elif task.last_seen > baseline["since"] + margin and task.issue.type != "flapping":
            self._undo(task, attempt, "the issue was seen again")
        elif now - baseline["since"] >= self.settings.settle:
            self.progress.verified(task, attempt)
        else:
            self.progress.release(task)

    def _listens(self, task: Task, service: Service) -> bool:
        port = configured_port(self.manager.config(service.name)) if task.issue.type == "port_conflict" else None
        held = listeners() if port else {}
        return port is None or (port in held and not stranger_on(port, service, held))

    def _escalate(self, task: Task, why: str, plan: Plan | None) -> None:
        now = self.store.clock()
        if not gate.elapsed(task.first_seen, now, self.settings.patience):
            self.progress.release(task, task.first_seen + self.settings.patience - now)
            return
        if self._is_over(task):
            take_back(self.store, task)
            return
        service = find(self.manager, task.issue.target)  # runs it, only not for long enough to be sure?
        wanes = service and service.state == "running" and task.issue.type not in ("flapping", *gate.PROACTIVE)
        if wanes and not gate.elapsed(task.first_seen, now, WANING * self.settings.patience):
            self.progress.release(task, 1.0)
        else:
            hand_over(self.store, task, why, plan)

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
