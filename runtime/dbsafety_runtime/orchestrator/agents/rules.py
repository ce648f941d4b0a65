"""The deterministic agents: recipes matched against the facts of one view or of all; the panel and its verifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from dbsafety_runtime.orchestrator.actions import problems
from dbsafety_runtime.orchestrator.agents.views import VIEWS, Case, Facts
from dbsafety_runtime.orchestrator.catalogue import Recipe, fill
from dbsafety_runtime.orchestrator.model import Plan

GATE: Final = 0.8
MAJORITY: Final = 2

Recipes = Mapping[str, Recipe]
Proposal = tuple[Plan | None, str]
"""A plan, and why it must not be carried out at once ('' when it may)."""


class Agent(Protocol):
    """Something that proposes a plan."""

    @property
    def name(self) -> str:
        """Who proposes, for the audit trail."""

    def propose(self, case: Case, recipes: Recipes) -> Plan | None:
        """Return a plan made from one of the recipes, None when nothing fits."""


@dataclass(frozen=True, slots=True)
class RuleAgent:
    """Takes the first recipe whose needs are among the facts of its views."""

    name: str
    views: tuple[str, ...]

    def propose(self, case: Case, recipes: Recipes) -> Plan | None:
        """Return the plan of the surest view."""
        plans = [plan for name in self.views for plan in plans_of(self.name, VIEWS[name](case), case, recipes)]
        return max(plans, key=lambda plan: plan.confidence, default=None)


def plans_of(by: str, facts: Facts, case: Case, recipes: Recipes) -> list[Plan]:
    """Return the plans that the facts of one view allow, in the recipes' order; without evidence there is none."""
    cited = [f"{item.id} {item.cite()}" for item in facts.evidence]
    values, sure = facts.values, facts.confidence
    filled = (fill(recipe, case.issue, values, by=by, confidence=sure, evidence=cited) for recipe in recipes.values())
    return [plan for plan in filled if plan is not None] if cited else []


def _what(plan: Plan) -> tuple[str, ...]:
    return (plan.recipe, *(step.text() for step in plan.steps))


SINGLE: Final = RuleAgent("generalist", ("config", "history", "runtime"))
PANEL: Final[tuple[Agent, ...]] = tuple(RuleAgent(f"{name} agent", (name,)) for name in VIEWS)


def consult(panel: Sequence[Agent], case: Case, recipes: Recipes) -> Proposal:
    """Ask every agent of the panel; return the plan of at least two that the verifier accepts, and how it went."""
    proposals = [plan for agent in panel if (plan := agent.propose(case, recipes)) is not None]
    votes = Counter(_what(plan) for plan in proposals)
    winner = max(proposals, key=lambda plan: (votes[_what(plan)], plan.confidence), default=None)
    if winner is None:
        return None, "no agent had a proposal"
    count = votes[_what(winner)]
    if count < MAJORITY:
        return None, f"the agents disagree: {', '.join(f'{plan.by}: {plan.recipe}' for plan in proposals)}"
    evidence = tuple(dict.fromkeys(item for plan in proposals if plan.steps == winner.steps for item in plan.evidence))
    objections = problems(case.manager, winner)
    if objections or len(evidence) < MAJORITY:
        return None, f"the verifier objects: {'; '.join(objections) or 'one piece of evidence is not enough'}"
    why = f"{count} of {len(panel)} agents agree"
    return replace(winner, by="panel", evidence=evidence, reason=why), ""
