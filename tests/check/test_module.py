"""One module through all stations, and everything a file may hold without ending the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbsafety.check.module import ModuleResult, check_module
from dbsafety.check.session import Session
from dbsafety.config.load import Configuration
from dbsafety.config.settings import Settings
from dbsafety.model.faults import ConfigFault
from dbsafety.model.finding import Confidence, Severity
from dbsafety.model.rewrite import Applicability
from tests.check import stub


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    stub.install(monkeypatch)


def checked(
    source: str | bytes, path: str = "app/f.py", settings: Settings | None = None, *, named: bool = False
) -> ModuleResult:
    data = source.encode() if isinstance(source, str) else source
    session = Session.of(Configuration(settings or Settings(), Path.cwd()), [path])
    return check_module(data, path, session, named=named)


def codes(result: ModuleResult) -> list[str]:
    return [f"{finding.span.line} {finding.code}" for finding in result.findings]


def test_findings_are_sorted_and_fingerprinted() -> None:
    result = checked('bug("DBS201")\nbug("DBS102"); bug("DBS101")\nbug("DBS101")\n')

    assert codes(result) == ["1 DBS201", "2 DBS102", "2 DBS101", "3 DBS101"]
    assert len({finding.fingerprint for finding in result.findings}) == 4


def test_a_fingerprint_survives_moved_and_reindented_lines() -> None:
    before = checked('def f():\n    bug("DBS101")\n    bug("DBS101")\n').findings
    after = checked('\n\nif x:\n    def f():\n        bug( "DBS101" )\n'.replace("( ", "(").replace(" )", ")")).findings

    assert after[0].fingerprint == before[0].fingerprint
    assert before[0].fingerprint != before[1].fingerprint


def test_a_fingerprint_knows_function_code_and_line() -> None:
    sources = ['def f(): bug("DBS101")', 'def g(): bug("DBS101")', 'def f(): bug("DBS102")', 'def f():  bug("DBS101")']

    prints = [checked(source).findings[0].fingerprint for source in sources]

    assert prints[0] == prints[3]
    assert len(set(prints)) == 3


def test_low_confidence_is_not_shown_by_default() -> None:
    source = 'bug("DBS101", "low")\nbug("DBS101", "medium")\nbug("DBS101", "high")\n'

    assert codes(checked(source)) == ["2 DBS101", "3 DBS101"]
    assert codes(checked(source, settings=Settings(min_confidence=Confidence.LOW))) == [
        "1 DBS101",
        "2 DBS101",
        "3 DBS101",
    ]
    assert codes(checked(source, settings=Settings(min_confidence=Confidence.HIGH))) == ["3 DBS101"]


def test_a_comment_on_a_finding_of_low_confidence_is_not_unused() -> None:
    assert codes(checked('bug("DBS101", "low")  # dbsafety: ignore[DBS101]\n')) == []


@pytest.mark.parametrize(
    "path",
    ["tests/f.py", "app/tests/x/f.py", "app/test_f.py", "app/f_test.py", "conftest.py", "app/tests.py", "test/a.py"],
)
def test_transactions_connections_and_other_writers_matter_less_in_tests(path: str) -> None:
    source = 'bug("DBS201")\nbug("DBS101")\nbug("DBS302")\nbug("DBS301")\n'

    assert codes(checked(source, path)) == ["4 DBS301"]
    everywhere = ["1 DBS201", "2 DBS101", "3 DBS302", "4 DBS301"]
    assert codes(checked(source, path, Settings(test_paths=()))) == everywhere


@pytest.mark.parametrize("path", ["app/testimony.py", "contest.py", "attests/f.py"])
def test_paths_that_are_no_tests(path: str) -> None:
    assert codes(checked('bug("DBS201")\n', path)) == ["1 DBS201"]


def test_severity_and_applicability_of_the_settings() -> None:
    settings = Settings(
        severity={"DBS1": Severity.INFO, "DBS102": Severity.WARNING},
        fix_applicability={"DBS101": Applicability.DISPLAY},
    )

    result = checked('bug("DBS101", fix="x")\nbug("DBS102")\n', settings=settings)

    assert [finding.severity for finding in result.findings] == [Severity.INFO, Severity.WARNING]
    assert result.findings[0].fix is not None
    assert result.findings[0].fix.applicability is Applicability.DISPLAY


def test_rules_that_were_not_chosen() -> None:
    settings = Settings(select=("DBS1",), ignore=("DBS102",))

    assert codes(checked('bug("DBS101"); bug("DBS102"); bug("DBS201")\n', settings=settings)) == ["1 DBS101"]


def test_rules_ignored_for_a_path() -> None:
    settings = Settings(per_file_ignores={"migrations/": ("DBS1",), "app/*.py": ("DBS201",)})
    source = 'bug("DBS101"); bug("DBS201")  # dbsafety: ignore[DBS102]\n'

    assert codes(checked(source, "app/f.py", settings)) == ["1 DBS101", "1 DBS002"]
    assert codes(checked(source, "app/migrations/f.py", settings)) == ["1 DBS201"]


def test_suppressed_findings_are_kept_apart() -> None:
    result = checked('bug("DBS101")  # noqa: DBS101\n')

    assert (result.findings, [finding.code for finding in result.suppressed]) == ((), ["DBS101"])
    assert result.suppressed[0].fingerprint


def test_a_crashed_rule_is_a_fault_and_the_others_go_on() -> None:
    result = checked('crash()\nbug("DBS101")\nx = 1  # dbsafety: ignore[DBS102]\n')

    assert [str(fault) for fault in result.faults] == ["app/f.py: DBS004 rule DBS101 failed"]
    assert codes(result) == ["2 DBS101"]


def test_a_crashed_engine_is_a_fault_with_the_place() -> None:
    result = checked("explode()\n# dbsafety: ignore[DBS101]\n")

    (fault,) = result.faults
    assert str(fault).startswith("app/f.py: DBS004 internal error in module.py:")
    assert str(fault).endswith(": ZeroDivisionError: the engine")
    assert result.findings == ()


def test_code_too_deep_for_the_engine_is_a_note() -> None:
    result = checked("deep()\nx = 1  # dbsafety: ignore[DBS101]\n")

    assert [(note.code, note.message) for note in result.notes] == [
        ("DBS004", "the code is nested too deeply to follow; nothing in this file was checked")
    ]
    assert (result.findings, result.faults) == ((), ())


def test_a_budget_is_a_note_that_can_be_ignored() -> None:
    assert [note.message for note in checked("budget()").notes] == ["a budget was used up"]
    assert checked("budget()", settings=Settings(ignore=("DBS004",))).notes == ()


def test_what_cannot_be_parsed() -> None:
    result = checked(b"x = 1\nbug('\xff')\n")

    assert codes(result) == ["2 DBS001"]
    assert result.findings[0].message == "byte 0xff is not valid utf-8; name the encoding in a cookie"
    assert result.findings[0].fingerprint
    assert codes(checked("bug(\n", settings=Settings(ignore=("DBS001",)))) == []


def test_files_that_speak_of_no_database_are_not_parsed_unless_named() -> None:
    assert codes(checked("x = [\n")) == []
    assert codes(checked("x = [\n", named=True)) == ["1 DBS001"]


def test_files_that_speak_to_dbsafety_are_parsed() -> None:
    assert codes(checked("x = 1  # dbsafety: ignore[DBS101]\n")) == ["1 DBS002"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(select=("DBS1O1",)), "select: no rule has the code 'DBS1O1'; did you mean 'DBS101'?"),
        (Settings(ignore=("X",)), "ignore: no rule has the code 'X'"),
        (Settings(per_file_ignores={"a": ("DBS7",)}), "per-file-ignores: no rule has the code 'DBS7'"),
        (Settings(severity={"E501": Severity.INFO}), "severity: no rule has the code 'E501'"),
        (Settings(source_roots=(".", "no/such")), f"source-roots: {Path.cwd().as_posix()}/no/such: no such folder"),
        (Settings(wrappers=({"factory": "a.b"},)), "wrappers: `driver` must be a text"),
        (Settings(wrappers=({"factry": "a.b"},)), "wrappers: unknown key 'factry'; did you mean 'factory'?"),
        (
            Settings(wrappers=({"factory": "a.b", "driver": "oracle"},)),
            "wrappers: wrapper `a.b`: no driver `oracle`; known are ",
        ),
        (
            Settings(wrappers=({"factory": "a.b", "driver": "psycopg2", "returns": "x"},)),
            "wrappers: `returns` must be one of connection, cursor, pool, transaction, factory, not 'x'",
        ),
        (
            Settings(wrappers=({"factory": "a.b", "driver": "psycopg2", "autocommit": 1},)),
            "wrappers: `autocommit` must be true or false",
        ),
    ],
)
def test_settings_that_name_what_does_not_exist(settings: Settings, message: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        checked("x = 1", settings=settings)

    assert str(caught.value).startswith(message)


def test_a_named_file_that_speaks_of_no_database_is_parsed_but_not_analysed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbsafety.check.module.relevant", lambda data: False)

    assert codes(checked('bug("DBS101")\n', named=True)) == []
