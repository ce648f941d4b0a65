"""The recipes, read from data: which issue, what must be known, which typed steps."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from dbsafety_runtime.orchestrator.actions import known
from dbsafety_runtime.orchestrator.model import Issue, Plan, Step
from dbsafety_runtime.orchestrator.pages import table

FORBIDDEN: Final = ("\n", "\r", "\0")


class RecipeError(ValueError):
    """A recipe is malformed; the text names it."""


class Recipe(NamedTuple):
    """One way to treat a kind of issue."""

    id: str
    title: str
    types: Sequence[str]
    needs: Sequence[str]
    shipped: bool
    steps: Sequence[Mapping[str, str]]


def load(entries: Sequence[Mapping[str, Any]]) -> dict[str, Recipe]:
    """Return recipes by id; raises RecipeError."""
    recipes = {entry["id"]: Recipe(**entry) for entry in entries}
    for recipe in recipes.values():
        for step in recipe.steps:
            if not known(step["action"], set(step) - {"action"}):
                raise RecipeError(f"recipe {recipe.id}: {step['action']} is no action with these arguments")
            names = {name for value in step.values() for _, name, _, _ in string.Formatter().parse(value) if name}
            if unknown := names - {*recipe.needs, "target"}:
                raise RecipeError(f"recipe {recipe.id} does not say that it needs {', '.join(sorted(unknown))}")
    return recipes


def shipped() -> dict[str, Recipe]:
    """Return the recipes of this package."""
    return load(table("playbooks.toml")["recipe"])


def fill(
    recipe: Recipe, issue: Issue, facts: Mapping[str, str], *, by: str, confidence: float,
    evidence: Collection[str], reason: str = "",
) -> Plan | None:  # fmt: skip
    """Return the recipe with its steps filled, None when it does not apply or something it needs is not known."""
    values = {**{name: facts.get(name, "") for name in recipe.needs}, "target": issue.target}
    if issue.type not in recipe.types or not all(values.values()):
        return None
    if any(mark in value for value in values.values() for mark in FORBIDDEN):
        return None
    steps = tuple(
        Step(step["action"], {name: text.format_map(values) for name, text in step.items() if name != "action"})
        for step in recipe.steps
    )
    return Plan(recipe.id, steps, by, confidence, tuple(evidence), reason or recipe.title)
