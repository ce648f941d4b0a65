"""The file cannot be decoded or parsed, so nothing in it was checked.

## What it finds
A file that Python's own parser refuses: a syntax error, Python 2, bytes that do not decode under the file's coding
cookie (UTF-8 without one), a NUL byte, nesting beyond the parser's limits. The message is the parser's and the line
is the one it names.

Files that speak of no database are not parsed and therefore not reported, unless they are named on the command
line.

## Why it matters
An unparsed file is an unchecked file. dbsafety reads code with the parser of the interpreter it runs under, so
syntax that is newer than that interpreter is an error here, too: `invalid syntax`, `Missing parentheses in call to
'print'`, `unterminated string literal`. Run dbsafety with a Python at least as new as the code.

## Example
```python
import sqlite3

conn = sqlite3.connect("tasks.db", timeout=30.0
```

## Use instead
```python
import sqlite3

conn = sqlite3.connect("tasks.db", timeout=30.0)
```

## Fix
None.

## Limits
Only the first error of a file is shown, as the parser stops there. flake8 (E999) and pylint (E0001) report syntax
errors themselves, so this code does not appear there.
"""

from __future__ import annotations

from dbsafety.model.finding import Severity
from dbsafety.rules.rule import Rule

RULE = Rule(
    code="DBS001",
    slug="syntax-error",
    summary="the file cannot be decoded or parsed",
    severity=Severity.WARNING,
    drivers=(),
    pylint_id="W5791",
    since="0.1",
)
