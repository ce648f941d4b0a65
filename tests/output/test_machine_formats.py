"""What programs read: exact keys, escapes, and documents that are valid when there is nothing to say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dbsafety.config.settings import OUTPUT_FORMATS
from dbsafety.model.finding import Severity
from dbsafety.output.diff import diff
from dbsafety.output.formats import FOR_PEOPLE, FOR_PROGRAMS, written
from dbsafety.output.github import step_summary
from dbsafety.output.record import Place, Report
from dbsafety.output.style import Style
from dbsafety.rules.registry import all_rules
from tests.output.sample import EMPTY, HIDDEN, PLAIN, REPORT, WIDE


def text(name: str, report: Report) -> str:
    return "".join(written(report, name, Style()))


def loaded(name: str, report: Report) -> Any:
    return json.loads(text(name, report))


def test_the_formats_are_those_of_the_settings() -> None:
    assert {*FOR_PEOPLE, *FOR_PROGRAMS} == set(OUTPUT_FORMATS)


def test_jsonl_has_exactly_these_keys() -> None:
    lines = text("jsonl", REPORT).splitlines()

    assert len(lines) == 2
    assert json.loads(lines[1]) == {
        "path": "app/tasks.py",
        "line": 7,
        "column": 9,
        "end_line": 8,
        "end_column": 21,
        "code": "DBS101",
        "slug": "swallowed-error-no-rollback",
        "severity": "error",
        "confidence": "high",
        "message": "the error ends here,\nand `conn` stays aborted: later statements fail with 'no'; roll back first",
        "headline": "the error ends here, and `conn` stays aborted",
        "consequence": "later statements fail with 'no'",
        "remedy": "roll back first",
        "trace": [
            {"path": "app/tasks.py", "line": 5, "column": 13, "note": "`cur.execute(...)` fails"},
            {"path": "app/db, x.py", "line": 2, "column": 1, "note": "100% of it"},
        ],
        "related": [{"path": "app/tasks.py", "line": 9, "column": 5, "note": "DBS103: `conn.commit()` stores nothing"}],
        "fix": {"applicability": "unsafe", "title": "roll back first"},
        "fix_refusal": None,
        "fingerprint": "0123456789abcdef0123456789abcdef",
    }
    assert json.loads(lines[0])["fix"] is None
    assert text("jsonl", EMPTY) == ""


def test_json() -> None:
    document = loaded("json", REPORT)

    assert (document["schema_version"], document["version"], document["files"]) == (1, "0.1.0", 12)
    assert document["findings"] == [json.loads(line) for line in text("jsonl", REPORT).splitlines()]
    assert document["errors"] == [{"path": "gone.py", "line": 0, "message": "cannot read: No such file or directory"}]
    assert loaded("json", EMPTY)["findings"] == []


def test_json_is_ascii_whatever_the_paths_are() -> None:
    record = replace(WIDE, place=Place("b\udcff\u65e5.py", 1, 1, 1, 2))

    assert all(text(name, Report((record,))).isascii() for name in ("json", "jsonl", "sarif", "gitlab"))


def test_github_commands_are_escaped_and_the_worst_comes_first() -> None:
    assert text("github", REPORT) == (
        "::error file=app/tasks.py,line=7,endLine=8,col=9,endColumn=21,title=DBS101 swallowed-error-no-rollback::"
        "the error ends here, and `conn` stays aborted"
        "%0A1. app/tasks.py:5: `cur.execute(...)` fails%0A2. app/db, x.py:2: 100%25 of it"
        "%0Aalso app/tasks.py:9: DBS103: `conn.commit()` stores nothing"
        "%0Awhy: later statements fail with 'no'%0Ahelp: roll back first\n"
        "::warning file=app/wide.py,line=1,endLine=1,col=6,endColumn=9,title=DBS201 sqlite-connect-no-timeout::"
        "no timeout\n"
    )
    odd = replace(HIDDEN, place=Place("a,b:c%.py", 1, 1, 1, 2))
    assert text("github", Report((odd,))).startswith("::notice file=a%2Cb%3Ac%25.py,line=1,")


def test_github_step_summary() -> None:
    assert step_summary(Report((WIDE, PLAIN, HIDDEN))) == (
        "| code | rule | findings |\n|---|---|---|\n"
        "| DBS201 | sqlite-connect-no-timeout | 2 |\n| DBS101 | swallowed-error-no-rollback | 1 |\n"
    )


def test_gitlab() -> None:
    first, second = loaded("gitlab", REPORT)

    assert first == {
        "description": "DBS201 no timeout",
        "check_name": "DBS201",
        "fingerprint": first["fingerprint"],
        "severity": "minor",
        "location": {"path": "app/wide.py", "lines": {"begin": 1, "end": 1}},
    }
    assert second["severity"] == "major"
    assert second["description"] == "DBS101 the error ends here, and `conn` stays aborted; roll back first"
    assert text("gitlab", EMPTY) == "[]\n"


def test_gitlab_fingerprints_are_unique_in_the_report() -> None:
    twin = replace(WIDE, place=replace(WIDE.place, path="app/twin.py"))

    assert len({issue["fingerprint"] for issue in loaded("gitlab", Report((WIDE, twin)))}) == 2


def test_sarif_names_every_rule() -> None:
    driver = loaded("sarif", REPORT)["runs"][0]["tool"]["driver"]

    assert [rule["id"] for rule in driver["rules"]] == [module.rule.code for module in all_rules()]
    assert all(rule["shortDescription"]["text"] and rule["help"]["markdown"] for rule in driver["rules"])
    assert (driver["name"], driver["semanticVersion"]) == ("dbsafety", "0.1.0")


def test_sarif_result() -> None:
    run = loaded("sarif", REPORT)["runs"][0]
    result = run["results"][1]
    region = {"startLine": 7, "startColumn": 9, "endLine": 8, "endColumn": 21}

    assert run["columnKind"] == "unicodeCodePoints"
    assert run["automationDetails"]["id"].endswith("/")
    assert (result["ruleId"], result["level"]) == ("DBS101", "error")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "DBS101"
    assert result["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "app/tasks.py", "uriBaseId": "%SRCROOT%"},
                "region": region,
            }
        }
    ]
    assert result["partialFingerprints"] == {
        "primaryLocationLineHash": "0123456789abcdef:1",
        "dbsafety/v1": "0123456789abcdef0123456789abcdef",
    }


def test_sarif_trace_is_a_code_flow() -> None:
    result = loaded("sarif", REPORT)["runs"][0]["results"][1]
    stops = [stop["location"] for stop in result["codeFlows"][0]["threadFlows"][0]["locations"]]

    assert [stop["message"]["text"] for stop in stops] == ["`cur.execute(...)` fails", "100% of it"]
    assert stops[1]["physicalLocation"]["artifactLocation"]["uri"] == "app/db%2C%20x.py"
    assert [related["id"] for related in result["relatedLocations"]] == [1, 2, 3]
    assert result["relatedLocations"][2]["message"]["text"] == "DBS103: `conn.commit()` stores nothing"


def test_sarif_fix() -> None:
    first, second, *_ = loaded("sarif", REPORT)["runs"][0]["results"]

    assert "fixes" not in first
    assert second["fixes"] == [
        {
            "description": {"text": "roll back first (unsafe)"},
            "artifactChanges": [
                {
                    "artifactLocation": {"uri": "app/tasks.py", "uriBaseId": "%SRCROOT%"},
                    "replacements": [
                        {
                            "deletedRegion": {"startLine": 8, "startColumn": 1, "endLine": 8, "endColumn": 1},
                            "insertedContent": {"text": "    conn.rollback()\n"},
                        }
                    ],
                }
            ],
        }
    ]


def test_sarif_suppressed_results_say_so() -> None:
    results = loaded("sarif", REPORT)["runs"][0]["results"]

    assert [result.get("suppressions") for result in results] == [None, None, [{"kind": "inSource"}]]
    assert [result["level"] for result in results] == ["warning", "error", "note"]


def test_sarif_notifications() -> None:
    (invocation,) = loaded("sarif", REPORT)["runs"][0]["invocations"]

    assert invocation["executionSuccessful"] is False
    assert [one["level"] for one in invocation["toolExecutionNotifications"]] == ["error", "note"]
    assert loaded("sarif", EMPTY)["runs"][0]["invocations"][0]["executionSuccessful"] is True
    assert loaded("sarif", EMPTY)["runs"][0]["results"] == []


def test_sarif_names_what_lies_beyond_the_limit() -> None:
    run = loaded("sarif", Report((HIDDEN,) * 25_001))["runs"][0]

    assert len(run["results"]) == 25_000
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["message"]["text"] == "25001 results, of which the first 25000 are listed"


def test_sarif_uri_of_an_absolute_path() -> None:
    record = replace(WIDE, place=Place("/a b/c.py", 1, 1, 1, 2))
    location = loaded("sarif", Report((record,)))["runs"][0]["results"][0]["locations"][0]

    assert location["physicalLocation"]["artifactLocation"] == {"uri": "file:///a%20b/c.py"}


@pytest.mark.parametrize("severity", list(Severity))
@pytest.mark.parametrize("name", OUTPUT_FORMATS)
def test_every_format_knows_every_severity(name: str, severity: Severity) -> None:
    assert "DBS101" in text(name, Report((replace(PLAIN, severity=severity),)))


def test_an_unknown_format() -> None:
    with pytest.raises(KeyError):
        written(EMPTY, "xml", Style())


def test_diff_keeps_line_ends() -> None:
    assert list(diff("/a/b.py", "a\r\nb\r\n", "a\r\nc\r\n", Style())) == [
        "--- a/a/b.py\n",
        "+++ b/a/b.py\n",
        "@@ -1,2 +1,2 @@\n",
        " a\r\n",
        "-b\r\n",
        "+c\r\n",
    ]


def test_diff_of_a_file_without_a_last_line_end() -> None:
    assert list(diff("b.py", "a", "b", Style()))[3:] == [
        "-a\n\\ No newline at end of file\n",
        "+b\n\\ No newline at end of file\n",
    ]
