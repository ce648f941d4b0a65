"""Where several rules fit, one speaks: docs/design/overlaps.md line by line, with every rule switched on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dbsafety.api import check_source
from dbsafety.config.settings import Settings
from dbsafety.model.finding import Confidence
from dbsafety.rules.registry import all_codes
from tests.harness.modules import ROOT

FILES = sorted((ROOT / "tests" / "fixtures" / "overlaps").glob("*.py"))
EVERYTHING = Settings(select=("ALL",), min_confidence=Confidence.LOW)
ALSO = {
    "101_103_sometimes": ["DBS103: `self.conn.commit()` ends the aborted transaction, and stores nothing"],
    "102_101_handler": ["DBS101: the function may also end with the transaction aborted"],
    "102_103_retry": ["DBS103: `self.conn.commit()` ends the aborted transaction, and stores nothing"],
    "107_101_103_rows": ["DBS103: `self.conn.commit()` ends the aborted transaction, and stores nothing"],
    "108_103_sometimes": ["DBS103: `self.conn.commit()` stores the half that came before the error"],
}
"""What the findings name besides; the others name nothing."""


def codes_of(path: Path) -> list[str]:
    """The rule that speaks, then those that keep quiet: the numbers that a file's name begins with."""
    return [f"DBS{number}" for number in re.findall(r"\d{3}", path.stem)]


def table() -> dict[str, list[str]]:
    """Speaking and quiet rules of each line of the page, as one text, and the lines that say so."""
    page = (ROOT / "docs" / "design" / "overlaps.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!what|---)(.+?) \| (DBS\d{3}) \| (.+?) \| .+ \|$", page, flags=re.MULTILINE)
    found: dict[str, list[str]] = {}
    for what, speaks, quiet in rows:
        found.setdefault(f"{speaks} {quiet.replace(',', '')}", []).append(what)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_one_rule_speaks(path: Path) -> None:
    (found,) = check_source(path.read_text(encoding="utf-8"), path="app.py", settings=EVERYTHING)
    assert found.code == codes_of(path)[0]
    assert [step.note for step in found.related] == ALSO.get(path.stem, [])


def test_the_page_and_the_files_say_the_same() -> None:
    pairs = {(codes[0], quiet) for codes in map(codes_of, FILES) for quiet in codes[1:]}
    told = {(row.split()[0], quiet) for row in table() for quiet in row.split()[1:]}
    assert pairs == told
    assert sum(map(len, table().values())) == 17
    assert {code for pair in told for code in pair} <= all_codes()


def test_one_transaction_under_slow_calls_is_one_finding() -> None:
    source = (ROOT / "tests" / "fixtures" / "rules" / "dbs208" / "flagged_aiosqlite.py").read_text(encoding="utf-8")
    (found,) = check_source(source, path="app.py", settings=Settings(select=("DBS208",)))
    assert [step.note for step in found.related] == ["DBS208: `asyncio.sleep(…)` waits in it, too"]
