"""The code that a proof runs, taken from the rule's page: nothing is written twice."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dbsafety.api import fix_source
from dbsafety.config.settings import Settings
from dbsafety.rules.registry import RuleModule

EXAMPLE, FIXED, INSTEAD = "example", "fixed", "instead"


def variants(module: RuleModule) -> Mapping[str, str]:
    """The Example of a rule, what `dbsafety fix` makes of it if the rule has a fix, and Use instead, as texts.

    The fixed text is the example's own where the fixer changes nothing. Raises ValueError when the page lacks one.
    """
    example = _block(module.doc, "Example")
    found = {EXAMPLE: example}
    if module.rule.fix is not None:
        settings = Settings(select=(module.rule.code,))
        found[FIXED] = fix_source(example, "example.py", settings, unsafe=True).new.decode()
    return {**found, INSTEAD: _block(module.doc, "Use instead")}


def _block(page: str, heading: str) -> str:
    match = re.search(rf"^## {heading}\n```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    if match is None:
        raise ValueError(f"no Python block under {heading!r}")
    return match[1]
