"""The recipes, read from data: which issue, what must be known, which typed steps."""

from __future__ import annotations

import string
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from dbsafety_runtime.orchestrator.actions import ACTIONS
from dbsafety_runtime.orchestrator.model import Issue, Plan, Step

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FORBIDDEN: Final = ("\n", "\r", "\0")


class RecipeError(ValueError):
    """A recipe is malformed; the text names it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to treat a kind of issue."""

    id: str
    title: str
    types: frozenset[str]
    needs: frozenset[str]
    shipped: bool
    steps: tuple[Mapping[str, str], ...]


def load(text: str) -> dict[str, Recipe]:
    """Return the recipes of a TOML text by id; raises RecipeError."""
    recipes = {}
    for entry in tomllib.loads(text)["recipe"]:
        recipe = _recipe(entry)
        recipes[recipe.id] = recipe
    return recipes


def _recipe(entry: Mapping[str, Any]) -> Recipe:
    recipe = Recipe(
        entry["id"], entry["title"], frozenset(entry["types"]), frozenset(entry["needs"]), entry["shipped"],
        tuple(entry["steps"]),
    )  # fmt: skip
    for step in recipe.steps:
        action = ACTIONS.get(step["action"])
        if action is None or set(step) - {"action"} != action.params:
            raise RecipeError(f"recipe {recipe.id}: {step['action']} is no action with these arguments")
        names = {name for value in step.values() for _, name, _, _ in string.Formatter().parse(value) if name}
        if names - recipe.needs - {"target"}:
            raise RecipeError(f"recipe {recipe.id} does not say that it needs {', '.join(sorted(names))}")
    return recipe


def shipped() -> dict[str, Recipe]:
    """Return the recipes of this package."""
    return load(resources.files(__package__ or "").joinpath("playbooks.toml").read_text(encoding="utf-8"))


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
