"""What is data, not code: tables, and texts for people as templates."""

from __future__ import annotations

import json
import re
import sys
import time
from functools import cache
from importlib import resources
from typing import Any, Final

import jinja2

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("dbsafety_runtime.orchestrator", "pages"), undefined=jinja2.StrictUndefined,
    autoescape=jinja2.select_autoescape(["html"]), trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
PAGES.filters["fromjson"] = json.loads
PAGES.filters["when"] = lambda seconds: time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


@cache
def table(name: str) -> dict[str, Any]:
    """Return a TOML file of this package."""
    return tomllib.loads(resources.files(__package__ or "").joinpath(name).read_text(encoding="utf-8"))


def wording(name: str) -> re.Pattern[str]:
    """Return the pattern for everything that means `name`."""
    return re.compile("|".join(table("playbooks.toml")["wording"][name]), re.IGNORECASE)


def page(name: str, /, **values: object) -> str:
    """Return a template filled in; raises UndefinedError for a value it needs and was not given."""
    return PAGES.get_template(name).render(values)
