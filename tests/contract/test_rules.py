"""What every rule owes: a name that fits its file, six headings, examples that are true, fixtures for each driver."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from dbsafety.api import check_source
from dbsafety.config.settings import Settings
from dbsafety.model.finding import Confidence, Finding
from dbsafety.proofs.registry import all_proofs, owes_proof, proof_of
from dbsafety.proofs.variants import variants as variants_of_page
from dbsafety.rules.registry import RETIRED, RuleModule, all_rules
from tests.harness.faces import FIXTURES, variants
from tests.harness.modules import ROOT
from tests.harness.new_rule import ScaffoldError, free_pylint_id, scaffold

HEADINGS = ("What it finds", "Why it matters", "Example", "Use instead", "Fix", "Limits")
RULES = all_rules()
CHECKED = [module for module in RULES if module.check is not None]
EVERYTHING = Settings(select=("ALL",), min_confidence=Confidence.LOW)
SHOWN_BY_EXAMPLES = [module for module in RULES if module.rule.code != "DBS004"]
"""A spent budget and a crashed rule cannot be had from an example."""


def code_of(module: RuleModule) -> str:
    return module.rule.code


def block(module: RuleModule, heading: str) -> str:
    """The Python block under a heading of the rule's docstring."""
    section = re.split(r"^## ", module.doc, flags=re.MULTILINE)[1 + HEADINGS.index(heading)]
    (code,) = re.findall(r"^```python\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    return str(code)


def test_the_registry_is_sorted_and_codes_are_unique() -> None:
    codes = [module.rule.code for module in RULES]
    assert codes == sorted(set(codes))
    assert set(codes) & set(RETIRED) == set()


def test_pylint_ids_are_unique_and_in_our_block() -> None:
    numbers = Counter(module.rule.pylint_id[1:] for module in RULES)
    assert [number for number, count in numbers.items() if count > 1] == []
    assert [m.rule.pylint_id for m in RULES if not re.fullmatch(r"[EWRCI]57\d\d", m.rule.pylint_id)] == []


@pytest.mark.parametrize("module", RULES, ids=code_of)
class TestEveryRule:
    def test_its_file_is_named_after_it(self, module: RuleModule) -> None:
        stem = module.module.rpartition(".")[2]
        assert stem == f"{module.rule.code.lower()}_{module.rule.slug.replace('-', '_')}"

    def test_its_slug_is_words(self, module: RuleModule) -> None:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", module.rule.slug)

    def test_its_docstring_has_the_six_headings_in_order(self, module: RuleModule) -> None:
        assert tuple(re.findall(r"^## (.+)$", module.doc, flags=re.MULTILINE)) == HEADINGS

    def test_its_docstring_begins_with_a_sentence(self, module: RuleModule) -> None:
        summary = " ".join(module.doc.partition("\n\n")[0].split())
        assert summary[:1].isupper() or summary.startswith("`")
        assert summary.endswith(".")


@pytest.mark.parametrize("module", SHOWN_BY_EXAMPLES, ids=code_of)
class TestEveryExample:
    def test_it_is_flagged_by_its_rule_alone(self, module: RuleModule) -> None:
        assert codes(check(block(module, "Example"))) == {module.rule.code}

    def test_what_to_use_instead_is_clean(self, module: RuleModule) -> None:
        assert codes(check(block(module, "Use instead"))) == set()


@pytest.mark.parametrize("module", CHECKED, ids=code_of)
class TestEveryRuleWithACheck:
    def test_each_driver_has_a_flagged_and_a_clean_fixture(self, module: RuleModule) -> None:
        lacking = [
            f"{kind} {driver}"
            for driver in module.rule.drivers
            for kind in ("flagged", "clean")
            if not any(driver in variant_drivers(path) for path in fixtures(module, kind))
        ]
        assert lacking == []

    def test_the_fix_it_declares_is_the_fix_it_has(self, module: RuleModule) -> None:
        grades = {
            one.fix.applicability
            for path in fixtures(module, "")
            for variant in variants(path)
            if variant.fixture.runs_here
            for one in check_source(variant.source, path=variant.name, settings=variant.settings)
            if one.code == module.rule.code and one.fix is not None
        }
        assert grades == ({module.rule.fix} if module.rule.fix else set())


PROVEN = [module for module in RULES if owes_proof(module.rule)]
"""All but the tool's own codes, which speak about no database."""


def test_each_rule_has_one_file_one_page_one_folder_of_fixtures_and_one_proof() -> None:
    rules = {module.rule.code.lower(): module.rule for module in RULES}
    pages = {f"{code}-{rule.slug}" for code, rule in rules.items()}
    assert {path.stem for path in (ROOT / "docs" / "rules").glob("dbs*.md")} == pages
    folders = {path.name for path in FIXTURES.iterdir() if any(path.glob("*.py"))}
    assert folders == rules.keys() - {"dbs004"}
    assert set(all_proofs()) == {module.rule.code for module in PROVEN}


@pytest.mark.parametrize("module", PROVEN, ids=code_of)
def test_its_proof_is_one_of_the_databases_it_speaks_about(module: RuleModule) -> None:
    proof = proof_of(module.rule.code)
    assert proof is not None
    assert set(proof.drivers) & set(module.rule.drivers) or set(proof.needs) & set(module.rule.drivers)
    assert {name for name, text in variants_of_page(module).items() if not text.strip()} == set()
    assert re.fullmatch(r"[A-Z0-9a-z`].*\.", proof.story)
    assert all(re.fullmatch(r"[BC]\d+[a-f]?", fact) for fact in proof.facts)


def fixtures(module: RuleModule, kind: str) -> list[Path]:
    found = sorted((FIXTURES / module.rule.code.lower()).glob(f"{kind}*.py"))
    return [path for path in found if not path.name.endswith(".fixed.py")]


def variant_drivers(path: Path) -> tuple[str, ...]:
    return variants(path)[0].fixture.drivers


def check(source: str) -> list[Finding]:
    return check_source(source, path="example.py", settings=EVERYTHING)


def codes(findings: list[Finding]) -> set[str]:
    return {one.code for one in findings}


def test_a_rule_can_be_scaffolded(tmp_path: Path) -> None:
    made = [path.relative_to(tmp_path).as_posix() for path in scaffold("DBS399", "bad-pattern", tmp_path)]
    assert made == [
        "dbsafety/rules/dbs399_bad_pattern.py",
        "tests/fixtures/rules/dbs399/flagged_first.py",
        "tests/fixtures/rules/dbs399/clean_first.py",
        "docs/changes/+dbs399.rule.md",
    ]
    source = (tmp_path / made[0]).read_text(encoding="utf-8")
    assert 'code="DBS399"' in source
    assert f'pylint_id="{free_pylint_id(module.rule.pylint_id for module in RULES)}"' in source
    compile(source, made[0], "exec")
    assert tuple(re.findall(r"^## (.+)$", source, flags=re.MULTILINE)) == HEADINGS


@pytest.mark.parametrize(
    ("code", "slug", "message"),
    [
        ("DBS1", "bad-pattern", "DBS1: a code is DBS and three digits"),
        ("DBS399", "Bad", "Bad: a name is two or more words in lower case, joined by hyphens"),
        ("DBS001", "bad-pattern", "DBS001: in use, or retired; codes are never used twice"),
    ],
)
def test_a_rule_that_cannot_be_is_not_scaffolded(code: str, slug: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ScaffoldError, match=message):
        scaffold(code, slug, tmp_path)


def test_scaffolding_overwrites_nothing(tmp_path: Path) -> None:
    scaffold("DBS399", "bad-pattern", tmp_path)
    with pytest.raises(ScaffoldError, match="exists"):
        scaffold("DBS399", "bad-pattern", tmp_path)
