"""The pages: fresh, without dead links, complete, and with the words people search for."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

import pytest

from dbsafety.config.settings import SETTINGS
from dbsafety.drivers.table import all_drivers
from dbsafety.rules.registry import all_codes, all_rules
from docs import generate
from tests.harness.installs import run
from tests.harness.modules import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / ".github").glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("runtime/*.md")]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
KINDS = {"rule", "feature", "false-alarm", "missed-alarm", "fix", "docs", "runtime"}

SEARCHED_FOR = {
    "DBS101": [
        "current transaction is aborted, commands ignored until end of transaction block",
        "InFailedSqlTransaction",
    ],
    "DBS102": [
        "current transaction is aborted, commands ignored until end of transaction block",
        "InFailedSqlTransaction",
    ],
    "DBS103": ["current transaction is aborted, commands ignored until end of transaction block"],
    "DBS106": ["UnboundLocalError", "cannot access local variable"],
    "DBS107": ["current transaction is aborted, commands ignored until end of transaction block"],
    "DBS108": ["database is locked"],
    "DBS201": ["database is locked"],
    "DBS204": ["database is locked"],
    "DBS301": ["lastrowid"],
}
"""Rule → what stands in the traceback or log of the person who needs its page."""


def test_generated_pages_are_fresh() -> None:
    stale = [path for path, text in generate.pages().items() if path.read_text(encoding="utf-8") != text]
    assert [str(path.relative_to(ROOT)) for path in stale] == [], "run `make docs`"


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    expected = {generate.page_name(module) for module in all_rules()} | {"index.md"}
    assert {path.name for path in (ROOT / "docs" / "rules").glob("*.md")} == expected


@pytest.mark.parametrize("code", SEARCHED_FOR)
def test_a_rule_page_carries_the_error_text_people_search_for(code: str) -> None:
    (page,) = (ROOT / "docs" / "rules").glob(f"{code.lower()}-*.md")
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert [wanted for wanted in SEARCHED_FOR[code] if wanted not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    dead = [
        target for target in LINK.findall(text) if not target.startswith(("http", "mailto:")) and dead_end(page, target)
    ]
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_codes_named_in_pages_exist(page: Path) -> None:
    named = set(re.findall(r"\bDBS\d{3}\b", page.read_text(encoding="utf-8")))
    not_yet = {"DBS110", "DBS203", "DBS901", "DBS210"}  # to come; the last one stands for a mistyped code
    assert named - all_codes() - not_yet == set()


def test_every_setting_and_driver_is_documented() -> None:
    configuration = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert [key for key in SETTINGS if f"| `{key}` |" not in configuration] == []
    drivers = (ROOT / "docs" / "drivers.md").read_text(encoding="utf-8")
    assert [spec.name for spec in all_drivers() if f"\n## {spec.name}\n" not in drivers] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_pages_exist_with_their_options(page: Path) -> None:
    unknown = [
        f"{command} {option}"
        for command, rest in re.findall(
            r"dbsafety (check|fix|explain|rules|debug)\b([^`\n|]*)", page.read_text(encoding="utf-8")
        )
        for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest.partition(" # ")[0])
        if option not in options_of(command)
    ]
    assert unknown == []


@cache
def options_of(command: str) -> frozenset[str]:
    """The options that `dbsafety COMMAND --help` names."""
    ran = run([sys.executable, "-m", "dbsafety", command, "--help"], ROOT)
    assert ran.code == 0
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", ran.out))


def test_change_fragments_have_a_kind_and_say_something() -> None:
    fragments = sorted((ROOT / "docs" / "changes").glob("*.md"))
    wrong = [path.name for path in fragments if path.name.split(".")[-2] not in KINDS or not path.read_text().strip()]
    assert wrong == []


def dead_end(page: Path, target: str) -> bool:
    """Whether a relative link names no file, or no heading of it."""
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists():
        return True
    if not anchor or path.suffix != ".md":
        return False
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return anchor not in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
