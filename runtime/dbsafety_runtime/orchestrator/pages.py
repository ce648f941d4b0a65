"""Texts for people, as templates: the report, an escalation, the story of a task."""

from __future__ import annotations

import json
from typing import Final

import jinja2

PAGES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("dbsafety_runtime.orchestrator", "pages"), undefined=jinja2.StrictUndefined,
    autoescape=jinja2.select_autoescape(["html"]), trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
PAGES.filters["fromjson"] = json.loads


def page(name: str, **values: object) -> str:
    """Return a template filled in; raises UndefinedError for a value it needs and was not given."""
    return PAGES.get_template(name).render(values)
