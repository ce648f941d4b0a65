"""The pylint plugin: messages, options, confidences, and who applies which comments."""

from __future__ import annotations

from pathlib import Path

import pytest
from astroid.builder import parse
from pylint.interfaces import INFERENCE
from pylint.testutils import UnittestLinter

from dbsafety.adapters import pylint as adapter
from dbsafety.model.finding import Confidence, Severity
from dbsafety.rules import registry
from dbsafety.rules.registry import RuleModule
from dbsafety.rules.rule import Rule
from tests.adapters.hosts import PLUGIN, Row, codes, pylint, pylint_rows, python

NO_TIMEOUT = 'import sqlite3\n\nconn = sqlite3.connect("a.db")\n'
IN_A_METHOD = """\
import psycopg2


class Store:
    def __init__(self, dsn):
        self.conn = psycopg2.connect(dsn)

    def add(self):
        try:
            self.conn.cursor().execute("INSERT INTO t VALUES (1)")
        except psycopg2.Error:
            return None
"""
ONLY_OURS = ("--disable=all", "--enable=dbsafety")


def rows(folder: Path, source: str, *arguments: str) -> list[Row]:
    (folder / "m.py").write_text(source, encoding="utf-8")
    return pylint_rows(folder, *ONLY_OURS, *arguments, "m.py")


def test_a_message_has_symbol_place_object_and_confidence(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, IN_A_METHOD)
    assert (row.line, row.column, row.symbol) == (11, 8, "dbs-swallowed-error-no-rollback")
    assert row.obj == "Store.add"
    assert row.message.endswith("(DBS101)")
    assert row.confidence in ("HIGH", "INFERENCE")


def test_messages_are_on_by_default(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(NO_TIMEOUT, encoding="utf-8")
    assert "dbs-sqlite-connect-no-timeout" in [row.symbol for row in pylint_rows(tmp_path, "m.py")]


def test_pylint_applies_disable_and_we_apply_our_own_comments(tmp_path: Path) -> None:
    source = (
        "import sqlite3\n\n"
        'a = sqlite3.connect("a.db")  # pylint: disable=dbs-sqlite-connect-no-timeout\n'
        'b = sqlite3.connect("a.db")  # dbsafety: ignore[DBS201] known\n'
        "c = sqlite3.connect(\n"
        '    "a.db",  # dbsafety: ignore[DBS201] any line of the header\n'
        ")\n"
        "d = 1  # dbsafety: ignore[DBS201] nothing here\n"
        'e = sqlite3.connect("a.db")  # noqa: DBS201\n'
    )
    (tmp_path / "m.py").write_text(source, encoding="utf-8")
    assert codes(pylint(tmp_path, "m.py")) == [(8, "DBS002"), (9, "DBS201")]


def test_a_message_can_be_disabled_by_symbol_and_id(tmp_path: Path) -> None:
    assert rows(tmp_path, NO_TIMEOUT, "--disable=dbs-sqlite-connect-no-timeout") == []
    assert rows(tmp_path, NO_TIMEOUT, "--disable=W5721") == []


def test_a_syntax_error_is_reported_by_pylint_alone(tmp_path: Path) -> None:
    found = rows(tmp_path, "import sqlite3\n\nconn = sqlite3.connect(\n", "--enable=syntax-error")
    assert [row.symbol for row in found] == ["syntax-error"]


def test_an_empty_file_is_clean(tmp_path: Path) -> None:
    assert rows(tmp_path, "") == []


def test_the_least_confidence_is_an_option(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_m.py").write_text(NO_TIMEOUT, encoding="utf-8")
    name = "tests/test_m.py"
    assert pylint_rows(tmp_path, *ONLY_OURS, name) == []
    (row,) = pylint_rows(tmp_path, *ONLY_OURS, "--dbsafety-min-confidence=low", name)
    assert row.confidence == "INFERENCE_FAILURE"
    assert pylint_rows(tmp_path, *ONLY_OURS, "--dbsafety-min-confidence=low", "--confidence=HIGH", name) == []


def test_the_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('ignore = ["DBS201"]\n', encoding="utf-8")
    assert len(rows(tmp_path, NO_TIMEOUT)) == 1
    assert rows(tmp_path, NO_TIMEOUT, "--dbsafety-config=other.toml") == []
    (tmp_path / "pyproject.toml").write_text('[tool.dbsafety]\nignore = ["DBS201"]\n', encoding="utf-8")
    assert rows(tmp_path, NO_TIMEOUT) == []


def test_a_wrong_configuration_is_one_fatal_line_however_many_files_there_are(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.dbsafety]\nselct = []\n", encoding="utf-8")
    for name in ("m.py", "n.py"):
        (tmp_path / name).write_text(NO_TIMEOUT, encoding="utf-8")
    ran = python(tmp_path, "pylint", *PLUGIN, *ONLY_OURS, "m.py", "n.py")
    assert ran.code & MSG_CODE["F"]
    assert ran.out.count("pyproject.toml:2: unknown setting 'selct'") == 1
    assert "Traceback" not in ran.out + ran.err


MSG_CODE = {letter: 1 << number for number, letter in enumerate("FEWRC")}


def test_a_module_in_memory_is_read() -> None:
    linter = UnittestLinter()
    checker_for(linter).visit_module(parse(NO_TIMEOUT, path="no/such/m.py"))
    (message,) = linter.release_messages()
    assert (message.msg_id, message.line, message.col_offset) == ("W5721", 3, 7)


def checker_for(linter: UnittestLinter) -> adapter.DatabaseChecker:
    checker = adapter.DatabaseChecker(linter)
    for name, default in OPTIONS.items():
        setattr(linter.config, name, default)
    checker.open()
    return checker


OPTIONS = {"dbsafety_config": "", "dbsafety_source_roots": (), "dbsafety_min_confidence": "", "dbsafety_brain": False}


def test_a_finding_in_a_comment_stands_at_the_comment(tmp_path: Path) -> None:
    (row,) = rows(
        tmp_path, "import os\n\n\ndef f():\n    é = 1  # dbsafety: ignore[DBS101] nothing here\n    return é\n"
    )
    assert (row.line, row.column, row.symbol) == (5, 11, "dbs-unused-suppression")


def test_several_processes_show_the_same(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"m{number}.py").write_text(NO_TIMEOUT, encoding="utf-8")
    names = [f"m{number}.py" for number in range(4)]
    found = pylint_rows(tmp_path, *ONLY_OURS, "-j2", *names)
    assert sorted(row.path for row in found) == names


def optional_rule() -> RuleModule:
    rule = Rule("DBS901", "opinion", "an opinion", Severity.INFO, (), "R5790", "0.1", default=False)
    return RuleModule(rule, "", "", "ModuleView", None)


def test_message_definitions_come_from_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "all_rules", lambda: (*registry.all_rules(), optional_rule()))
    defined = adapter.messages()
    assert defined["E5701"][:2] == ("%s (DBS101)", "dbs-swallowed-error-no-rollback")
    assert defined["E5701"][3:] == ({"default_enabled": True},)
    assert defined["R5790"] == ("%s (DBS901)", "dbs-opinion", "an opinion (DBS901)", {"default_enabled": False})
    assert not any("DBS001" in definition[0] for definition in defined.values())


def test_ids_share_the_two_digits_that_pylint_asks_of_one_checker() -> None:
    assert {message[1:3] for message in adapter.messages()} == {"57"}


def test_every_confidence_has_its_counterpart() -> None:
    assert set(adapter._CONFIDENCE) == set(Confidence)
    assert adapter._CONFIDENCE[Confidence.MEDIUM] is INFERENCE


def test_a_crashed_rule_is_a_fatal_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> object:
        raise ValueError("oops")

    monkeypatch.setattr("dbsafety.check.module.run_rules", crash)
    linter = UnittestLinter()
    checker_for(linter).visit_module(parse(NO_TIMEOUT, path="m.py"))
    (message,) = linter.release_messages()
    assert message.msg_id == "astroid-error"
    assert "internal error in" in str(message.args)
