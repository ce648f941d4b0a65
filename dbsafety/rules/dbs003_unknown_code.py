"""A suppression comment names no rule.

## What it finds
A word in `# dbsafety: ignore[...]` or `ignore-file[...]` that is no rule's code, and a code in `# noqa: ...` that
begins with `DBS` and belongs to no rule; it proposes the nearest code. Also a comment that is meant as a suppression
and is not written as one: without codes or brackets (`ignore DBS101`), with another word (`disable[DBS101]`), or
without the colon; it shows the form that works.

It is quiet about other tools' codes in `# noqa`, and about prose that mentions dbsafety.

## Why it matters
A mistyped code silences nothing, and a comment that says otherwise misleads. A bare `ignore` would silence what
nobody has looked at yet, so it has no effect either.

## Example
```python
import sqlite3

conn = sqlite3.connect("tasks.db", timeout=30.0)  # dbsafety: ignore[DBS210] the default is enough
```

## Use instead
```python
import sqlite3

conn = sqlite3.connect("tasks.db", timeout=30.0)
```

## Fix
None: only the author knows which rule was meant.

## Limits
Unknown codes on the command line and in the configuration are errors at once, with exit code 2.
"""

from __future__ import annotations

from dbsafety.model.finding import Severity
from dbsafety.rules.rule import Rule

RULE = Rule(
    code="DBS003",
    slug="unknown-code",
    summary="a suppression names no rule",
    severity=Severity.WARNING,
    drivers=(),
    pylint_id="W5793",
    since="0.1",
)
