"""A suppression comment silences nothing.

## What it finds
A code in `# dbsafety: ignore[...]`, `# dbsafety: ignore-file[...]` or `# noqa: ...` whose rule ran and found
nothing there to silence; and an `ignore-file` below the tenth line, where it has no effect.

It is quiet about rules that did not run (not selected, or ignored for this path), about bare `# noqa`, about
beginnings of codes (`# noqa: DBS1`) and about other tools' codes.

## Why it matters
A stale suppression hides the next defect that appears on its line, and tells readers that there is something to be
careful about where there is nothing.

## Example
```python
import sqlite3

conn = sqlite3.connect("tasks.db", timeout=30.0)  # dbsafety: ignore[DBS201] the default is enough
```

## Use instead
```python
import sqlite3

conn = sqlite3.connect("tasks.db", timeout=30.0)
```

## Fix
Safe: removes the codes that silence nothing; a comment that names no other code goes as a whole, with its reason.
Other comments on the line stay.

## Limits
Under flake8 the host applies `# noqa`, under pylint the host applies `# pylint: disable`; there only dbsafety's own
form is judged. A finding that only another module makes visible may be absent when that module is not on the search
path.
"""

from __future__ import annotations

from dbsafety.model.finding import Severity
from dbsafety.model.rewrite import Applicability
from dbsafety.rules.rule import Rule

RULE = Rule(
    code="DBS002",
    slug="unused-suppression",
    summary="a suppression silences nothing",
    severity=Severity.WARNING,
    drivers=(),
    pylint_id="W5792",
    since="0.1",
    fix=Applicability.SAFE,
)
