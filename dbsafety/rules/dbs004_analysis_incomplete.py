"""Part of a file was not analysed: a budget was used up, or a rule crashed.

## What it finds
A function whose paths outgrew the budget of the engine, code nested too deeply to follow, or a rule that failed
with an internal error (the note names rule, file and place).

## Why it matters
No finding then does not mean no defect. The rest of the run goes on: other rules, functions and files are checked
as ever.

## Example
A generated function with some thousand branches: `note: DBS004 load: too many paths, gave up after 20,000 steps`.
The note is written to standard error and does not change the exit code. A crashed rule is a defect of dbsafety, not
of your code: it makes the exit code 2; please report it with the note.

## Use instead
Exclude generated code, or split the function.

## Fix
None.

## Limits
It is a note, not a finding: it is not part of the findings' output and cannot be suppressed in the code, only by
`ignore`.
"""

from __future__ import annotations

from dbsafety.model.finding import Severity
from dbsafety.rules.rule import Rule

RULE = Rule(
    code="DBS004",
    slug="analysis-incomplete",
    summary="part of a file was not analysed",
    severity=Severity.INFO,
    drivers=(),
    pylint_id="I5794",
    since="0.1",
)
