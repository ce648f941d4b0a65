"""`dbsafety explain` and `dbsafety rules`."""

from __future__ import annotations

import json

import pytest

import dbsafety
from dbsafety.cli.main import main
from dbsafety.rules.registry import RETIRED, all_rules


@pytest.mark.parametrize("word", ["DBS002", "dbs002", "unused-suppression", "Unused-Suppression"])
def test_explain(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", word]) == 0

    out, err = capsys.readouterr()
    assert out.startswith(
        "# DBS002 unused-suppression\n\nSeverity: warning. Drivers: -. Fix: safe. On by default: yes.\n\n"
        "A suppression comment silences nothing.\n\n## What it finds\n"
    )
    assert err == ""


def test_every_rule_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for module in all_rules():
        assert main(["explain", module.rule.code]) == 0
        assert module.doc in capsys.readouterr().out


def test_explain_what_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "DBS0022"]) == 2

    assert capsys.readouterr() == ("", "dbsafety: error: no rule is called 'DBS0022'; did you mean 'DBS002'?\n")


def test_explain_a_retired_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(RETIRED, "DBS199", "see DBS101")

    assert main(["explain", "dbs199"]) == 2
    assert capsys.readouterr().err == "dbsafety: error: DBS199 is retired: see DBS101\n"


def test_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line[:6] for line in lines] == [module.rule.code for module in all_rules()]
    assert lines[1].split()[:5] == ["DBS002", "unused-suppression", "warning", "fix:", "safe"]


def test_rules_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--output-format", "json"]) == 0

    rules = json.loads(capsys.readouterr().out)
    assert [rule["code"] for rule in rules] == [module.rule.code for module in all_rules()]
    assert set(rules[0]) == {
        "code", "slug", "summary", "severity", "drivers", "fix", "default", "implemented", "pylint_id", "since",
        "documentation",
    }  # fmt: skip


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"dbsafety {dbsafety.__version__}\n"
