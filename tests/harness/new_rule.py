"""Scaffolds a rule: the rule file, its first fixtures and a changelog fragment.

python -m tests.harness.new_rule DBS110 rollback-other-connection
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from functools import reduce
from pathlib import Path

from dbsafety import __version__
from dbsafety.rules.registry import RETIRED, all_rules
from tests.harness.modules import ROOT

RULE = '''\
"""One sentence that says what goes wrong.

## What it finds
The pattern, and when the rule stays quiet.

## Why it matters
What was observed on the driver, with the text of the error that people search for.

## Example
```python
```

## Use instead
```python
```

## Fix
None.

## Limits
What the rule cannot see.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Finding, Severity
from dbsafety.rules.rule import Rule
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="{code}",
    slug="{slug}",
    summary="what goes wrong, in a few words",
    severity=Severity.WARNING,
    drivers=("psycopg2", "sqlite3"),
    pylint_id="{pylint_id}",
    since="{version}",
)


def check(view: FunctionView) -> Iterator[Finding]:
    """Yield a finding for each place of `view` where the pattern is."""
    yield from ()
'''
FLAGGED = """\
# driver: psycopg2
import psycopg2

dsn = "dbname=app"
conn = psycopg2.connect(dsn)  # error: [{code}]
"""
CLEAN = """\
# driver: psycopg2
import psycopg2

dsn = "dbname=app"
conn = psycopg2.connect(dsn)
"""


class ScaffoldError(Exception):
    """The rule cannot be scaffolded; the message says why."""


def free_pylint_id(taken: Iterable[str]) -> str:
    """The lowest unused id of the block 57, as a warning."""
    used = {identity[1:] for identity in taken}
    return next(f"W{number}" for number in range(5701, 5800) if str(number) not in used)


def scaffold(code: str, slug: str, root: Path) -> list[Path]:
    """Write the files of a new rule below `root` and return them. Raises ScaffoldError rather than overwrite any."""
    if not re.fullmatch(r"DBS\d{3}", code):
        raise ScaffoldError(f"{code}: a code is DBS and three digits")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", slug):
        raise ScaffoldError(f"{slug}: a name is two or more words in lower case, joined by hyphens")
    rules = [module.rule for module in all_rules()]
    if code in RETIRED or code in {rule.code for rule in rules}:
        raise ScaffoldError(f"{code}: in use, or retired; codes are never used twice")
    lower = code.lower()
    identity = free_pylint_id(rule.pylint_id for rule in rules)
    fixtures = root / "tests" / "fixtures" / "rules" / lower
    words = {"{code}": code, "{slug}": slug, "{pylint_id}": identity, "{version}": __version__}
    files = {
        root / "dbsafety" / "rules" / f"{lower}_{slug.replace('-', '_')}.py": RULE,
        fixtures / "flagged_first.py": FLAGGED,
        fixtures / "clean_first.py": CLEAN,
        root / "docs" / "changes" / f"+{lower}.rule.md": "{code} ({slug}) finds one sentence for users.\n",
    }
    if existing := [path for path in files if path.exists()]:
        raise ScaffoldError(f"{existing[0]}: exists")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = reduce(lambda so_far, word: so_far.replace(word, words[word]), words, text)
        path.write_text(made, encoding="utf-8", newline="\n")
    return list(files)


def main() -> None:
    """Read code and name from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", help="DBS and three digits")
    parser.add_argument("slug", help="the bad pattern, such as rollback-other-connection")
    options = parser.parse_args()
    try:
        for path in scaffold(options.code, options.slug, ROOT):
            print(path.relative_to(ROOT))
    except ScaffoldError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
