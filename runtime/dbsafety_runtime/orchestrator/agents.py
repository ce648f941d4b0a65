"""Who proposes plans: deterministic agents that match recipes with facts, their panel, and an optional endpoint.

The endpoint is OpenAI-compatible and may choose a recipe and point to facts, nothing else. Everything it is sent as
material is data; its answer is checked against the catalogue and the evidence it was given, so one that invents an
action, a value or a source is rejected.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from dbsafety_runtime.orchestrator.actions import problems
from dbsafety_runtime.orchestrator.catalogue import Recipe, fill
from dbsafety_runtime.orchestrator.model import Evidence, Plan, shorten
from dbsafety_runtime.orchestrator.pages import page
from dbsafety_runtime.orchestrator.views import VIEWS, Case, Facts
from dbsafety_runtime.orchestrator.web import Api, ApiError

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


COMMANDS: Final = ("new_value", "port_command")  # what will be run comes from our own views, word for word
LONGEST_ANSWER: Final = 65_536


@dataclass(frozen=True, slots=True)
class EndpointAgent:
    """Asks `model` at `base_url`; `seconds` bounds the whole call."""

    base_url: str
    model: str
    key: str = ""
    seconds: float = 30.0
    name: str = "endpoint"

    def propose(self, case: Case, recipes: Mapping[str, Recipe]) -> Plan | None:
        """Return the endpoint's plan, None when it chooses none; raises ApiError."""
        known: dict[str, str] = {}
        evidence = {item.id: item for item in case.passages}
        for view in VIEWS.values():
            facts = view(case)
            known = {**facts.values, **known}
            evidence |= {item.id: item for item in facts.evidence}
        choices = {name: recipe for name, recipe in recipes.items() if case.issue.type in recipe.types}
        return self._checked(self._ask(question(case, choices, known, evidence)), case, choices, known, evidence)

    def _ask(self, content: str) -> Mapping[str, Any]:
        messages = [{"role": "system", "content": page("endpoint.txt")}, {"role": "user", "content": content}]
        body = {"model": self.model, "messages": messages, "temperature": 0, "response_format": {"type": "json_object"}}
        reply = Api(self.base_url, self.key, self.seconds).call("POST", "/chat/completions", body)
        try:
            choice = reply["choices"][0]
            answer, finish = json.loads(choice["message"]["content"][:LONGEST_ANSWER]), choice.get("finish_reason")
        except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ApiError(f"the answer is not of the agreed form: {error!r}") from error
        if finish not in (None, "stop"):
            raise ApiError(f"the answer was cut off ({finish})")
        if not isinstance(answer, dict):
            raise ApiError("the answer is no JSON object")
        return answer

    def _checked(
        self, answer: Mapping[str, Any], case: Case, recipes: Mapping[str, Recipe], known: Mapping[str, str],
        evidence: Mapping[str, Evidence],
    ) -> Plan | None:  # fmt: skip
        chosen, values, cited, confidence = (answer.get(key) for key in ("recipe", "facts", "evidence", "confidence"))
        if chosen is None:
            return None
        recipe = recipes.get(chosen) if isinstance(chosen, str) else None
        if recipe is None:
            raise ApiError(f"there is no recipe {str(chosen)[:80]!r} for this issue")
        cited = cited if isinstance(cited, list) else []
        if not cited or not all(type(item) is str and item in evidence for item in cited):
            raise ApiError("the answer cites no evidence, or some it was not given")
        if not isinstance(values, dict) or set(values) != set(recipe.needs):
            raise ApiError(f"recipe {recipe.id} needs exactly {', '.join(sorted(recipe.needs))}")
        texts = [evidence[item].text for item in cited]
        for name, value in values.items():
            quoted = isinstance(value, str) and name not in COMMANDS and any(value in text for text in texts)
            if value != known.get(name) and not quoted:
                raise ApiError(f"{name} stands in no evidence")
        if not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
            raise ApiError("the confidence is no number between 0 and 1")
        sources = [f"{item} {evidence[item].cite()}" for item in cited]
        return fill(recipe, case.issue, values, by=self.name, confidence=float(confidence), evidence=sources)


def question(
    case: Case, recipes: Mapping[str, Recipe], known: Mapping[str, str], evidence: Mapping[str, Evidence]
) -> str:
    """Return the one JSON object the endpoint gets."""
    issue = {"type": case.issue.type, "target": case.issue.target, "message": shorten(case.issue.message, 2000)}
    passages = [{"id": item.id, "source": item.cite(), "text": shorten(item.text, 1500)} for item in evidence.values()]
    offered = [{"id": item.id, "title": item.title, "needs": sorted(item.needs)} for item in recipes.values()]
    return json.dumps({"issue": issue, "known": dict(known), "evidence": passages, "recipes": offered})
