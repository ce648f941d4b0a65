"""`dbsafety fix`: what is written, what is shown, and the exit code."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from dbsafety.cli.main import main
from dbsafety.model.faults import FixRefused
from tests.check import stub

BAD = b'x = 1\r\n\xe9 = bug("DBS101", fix="mend()")  # why\r\n'
HEADER = b"# coding: latin-1\r\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dbsafety.toml").write_text("", encoding="utf-8")
    stub.install(monkeypatch)
    return tmp_path


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def test_fixes_are_written_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("a.py")
    path.write_bytes(HEADER + BAD)
    path.chmod(0o640)

    assert main(["fix"]) == 0

    assert path.read_bytes() == HEADER + BAD.replace(b'bug("DBS101", fix="mend()")', b"mend()")
    assert path.stat().st_mode & 0o777 == 0o640
    assert capsys.readouterr() == (
        "",
        "dbsafety: note: a.py:3: fixed DBS101: mend it\nFixed 1 finding in 1 file; none left.\n",
    )


def test_a_second_run_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    path = write("a.py", 'bug("DBS101", fix="mend()")\n')
    main(["fix"])
    before = path.read_bytes()
    capsys.readouterr()

    assert main(["fix", "--exit-non-zero-on-fix"]) == 0

    assert path.read_bytes() == before
    assert capsys.readouterr().err == "No findings in 1 file.\n"


def test_what_waits_for_consent_is_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("a.py", 'bug("DBS101", fix="mend()")\nbug("DBS102")\nbug("DBS201", fix="mend()")\n')
    (folder / "dbsafety.toml").write_text('fix-applicability = {DBS1 = "unsafe"}\n', encoding="utf-8")

    assert main(["fix"]) == 1

    assert capsys.readouterr().err.splitlines()[-1] == (
        "Fixed 1 finding in 1 file; 2 left, 1 of them fixable with `--unsafe-fixes`."
    )


def test_what_is_left_is_printed_and_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.py", 'bug("DBS101", fix="mend()")\nbug("DBS102")\n')
    write("b.py", 'bug("DBS101")\n')

    assert main(["fix", "--output-format", "concise", "--quiet"]) == 1

    assert capsys.readouterr() == ("a.py:2:1: DBS102 it is wrong\nb.py:1:1: DBS101 it is wrong\n", "")


def test_exit_non_zero_on_fix() -> None:
    write("a.py", 'bug("DBS101", fix="mend()")\n')

    assert main(["fix", "--exit-non-zero-on-fix"]) == 1


def test_unsafe_fixes_only_on_request(folder: Path) -> None:
    path = write("a.py", 'bug("DBS101", fix="mend()")\n')
    (folder / "dbsafety.toml").write_text('fix-applicability = {DBS1 = "unsafe"}\n', encoding="utf-8")

    assert main(["fix"]) == 1
    assert path.read_text(encoding="utf-8") == 'bug("DBS101", fix="mend()")\n'
    assert main(["fix", "--unsafe-fixes"]) == 0
    assert path.read_text(encoding="utf-8") == "mend()\n"


def test_diff_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    path = write("a.py", 'é = bug("DBS101", fix="mend()")\n')
    before = path.read_bytes()

    assert main(["fix", "--diff"]) == 1

    assert path.read_bytes() == before
    assert capsys.readouterr() == (
        '--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-é = bug("DBS101", fix="mend()")\n+é = mend()\n',
        "dbsafety: note: a.py:1: would fix DBS101: mend it\nWould fix 1 finding in 1 file; none left.\n",
    )


@pytest.mark.parametrize(("code", "left"), [(0, ""), (1, 'bug("DBS101")\n'), (1, 'bug("DBS101", fix="mend()")\n')])
def test_diff_is_1_while_there_are_findings_with_a_fix_or_without(code: int, left: str) -> None:
    write("a.py", f"x = 1\n{left}")

    assert main(["fix", "--diff"]) == code
    assert main(["fix", "--diff", "--exit-zero"]) == 0


def test_diff_in_colour(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_bytes(b'--x\r\nbug("DBS101", fix="mend()")')

    main(["fix", "--diff", "--quiet", "--color", "always"])

    assert capsys.readouterr().out == (
        "\x1b[1m--- a/a.py\x1b[0m\n\x1b[1m+++ b/a.py\x1b[0m\n\x1b[36m@@ -1,2 +1,2 @@\x1b[0m\n"
        ' --x\r\n\x1b[31m-bug("DBS101", fix="mend()")\x1b[0m\n\\ No newline at end of file\n'
        "\x1b[32m+mend()\x1b[0m\n\\ No newline at end of file\n"
    )


def test_output_statistics_and_exit_zero_as_in_check(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.py", 'bug("DBS101", fix="mend()")\nbug("DBS102")\n')
    words = ["--output", "out.txt", "--output-format", "concise", "--statistics", "--exit-zero", "--quiet"]

    assert main(["fix", *words]) == 0

    assert Path("out.txt").read_text(encoding="utf-8") == "a.py:2:1: DBS102 it is wrong\n"
    assert capsys.readouterr() == ("", "1 DBS102 statement-in-aborted-transaction\n")


def test_a_diff_goes_to_the_output_file_without_colour() -> None:
    write("a.py", 'bug("DBS101", fix="mend()")\n')

    assert main(["fix", "--diff", "--output", "out.diff", "--color", "always"]) == 1
    assert Path("out.diff").read_text(encoding="utf-8") == (
        '--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-bug("DBS101", fix="mend()")\n+mend()\n'
    )


def test_programs_are_told_why_a_fix_was_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.py", 'bug("DBS101", fix="bug(\\"DBS102\\")")\nbug("DBS102", refusal="a loop")\n')
    path = write("b.py", 'bug("DBS101", fix="mend()")\n')
    path.chmod(0o444)

    assert main(["fix", "--output-format", "json"]) == 2

    found = json.loads(capsys.readouterr().out)
    assert [(one["path"], one["line"], one["fix_refusal"]) for one in found["findings"]] == [
        ("a.py", 1, "DBS102 would be found at line 1: it is wrong"),
        ("a.py", 2, "a loop"),
        ("b.py", 1, "the file is read-only"),
    ]
    assert [one["message"] for one in found["errors"]] == ["the file is read-only"]


def test_sarif_has_the_text_of_the_fixes_left_and_the_reasons_of_those_refused(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "dbsafety.toml").write_text('fix-applicability = {DBS101 = "unsafe"}\n', encoding="utf-8")
    write("a.py", 'bug("DBS101", fix="mend()")\nbug("DBS102", fix="bug(\\"DBS102\\")")\n')

    assert main(["fix", "--output-format", "sarif"]) == 1

    unsafe, refused = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert unsafe["fixes"][0]["artifactChanges"][0]["replacements"] == [
        {
            "deletedRegion": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 27},
            "insertedContent": {"text": "mend("},
        }
    ]
    assert "fixRefusal" not in unsafe["properties"]
    assert "fixes" not in refused
    assert refused["properties"]["fixRefusal"] == "DBS102 would still be found at line 2"


def test_sarif_of_a_check_offers_no_fix_that_would_not_pass(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.py", 'bug("DBS101", fix="bug(\\"DBS102\\")")\nbug("DBS101", fix="mend()"); bug("DBS101", fix="end()")\n')

    assert main(["check", "--output-format", "sarif"]) == 1

    made = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert ["fixes" in one for one in made] == [False, True, True]
    assert made[0]["properties"]["fixRefusal"] == "DBS102 would be found at line 1: it is wrong"


def test_sarif_of_standard_input_offers_no_fix_that_would_not_pass(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'bug("DBS101", fix="bug(\'DBS102\')")\n')))

    assert main(["check", "--output-format", "sarif", "--stdin-filename", "a.py", "-"]) == 1

    (made,) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert "fixes" not in made
    assert made["properties"]["fixRefusal"] == "DBS102 would be found at line 1: it is wrong"


def test_a_refused_fix_is_shown_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.py", 'bug("DBS101", fix="bug(\\"DBS102\\")")\n')

    assert main(["fix", "--quiet"]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "  fix (safe): mend it",
        "  not applied: DBS102 would be found at line 1: it is wrong",
    ]


def test_files_in_two_processes(capsys: pytest.CaptureFixture[str]) -> None:
    path = write("a.py", 'bug("DBS101", fix="mend()")\n')

    assert main(["fix", "--jobs", "1", "--quiet"]) == 0
    assert path.read_text(encoding="utf-8") == "mend()\n"
    with pytest.raises(SystemExit):
        main(["fix", "--jobs", "0"])
    assert capsys.readouterr().err.endswith("must be a whole number above 0, not '0'\n")


def test_what_a_killed_run_left_is_removed_though_nothing_is_to_be_fixed_there(folder: Path) -> None:
    far = folder.parent / f"{folder.name}-far"
    for place in (folder / "pkg", far):
        place.mkdir()
        (place / ".a.py.0a1b2c3d.dbsafety-tmp").write_bytes(b"x = ")
    (far / "b.py").write_bytes(b"")
    (folder / "pkg" / "link.py").symlink_to(far / "b.py")

    main(["check"])
    main(["fix", "--diff"])
    assert [len(list(place.glob(".*-tmp"))) for place in (folder / "pkg", far)] == [1, 1]
    assert main(["fix"]) == 0
    assert [len(list(place.glob(".*-tmp"))) for place in (folder / "pkg", far)] == [0, 0]


def test_a_refused_fix_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.py", 'bug("DBS101", fix="bug(\\"DBS102\\")")\nbug("DBS102", refusal="a loop")\n')

    assert main(["fix", "--output-format", "concise"]) == 1

    _, err = capsys.readouterr()
    assert "dbsafety: note: a.py:2: DBS102 not fixed: a loop\n" in err
    assert "dbsafety: note: a.py:1: DBS101 not fixed: " in err
    assert Path("a.py").read_text(encoding="utf-8").startswith('bug("DBS101", fix=')


def test_a_file_that_cannot_be_written_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path, old: bytes, new: bytes) -> None:
        raise FixRefused("the file is read-only", str(path))

    monkeypatch.setattr("dbsafety.project.fixes.write_atomically", refuse)
    write("a.py", 'bug("DBS101", fix="mend()")\n')
    write("b.py", 'bug("DBS102")\n')

    assert main(["fix", "--output-format", "concise"]) == 2

    out, err = capsys.readouterr()
    assert out == "a.py:1:1: DBS101 it is wrong\nb.py:1:1: DBS102 it is wrong\n"
    assert err == "dbsafety: error: a.py: the file is read-only\nFixed 0 findings in 0 files; 2 left.\n"


def test_a_crashed_rule_leaves_the_file_alone(capsys: pytest.CaptureFixture[str]) -> None:
    path = write("a.py", 'crash()\nbug("DBS101", fix="mend()")\n')
    before = path.read_bytes()

    assert main(["fix"]) == 2

    assert path.read_bytes() == before
    assert "dbsafety: error: a.py: DBS004 rule DBS101 failed\n" in capsys.readouterr().err


def test_unused_suppressions_are_removed() -> None:
    path = write("a.py", "x = f()  # dbsafety: ignore[DBS101] stale\ny = f()  # noqa: E501, DBS101  # kept\n")

    assert main(["fix"]) == 0
    assert path.read_text(encoding="utf-8") == "x = f()\ny = f()  # noqa: E501  # kept\n"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(HEADER + BAD)))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))

    assert main(["fix", "-", "--stdin-filename", "a.py", "--quiet"]) == 0
    assert out.getvalue() == HEADER + BAD.replace(b'bug("DBS101", fix="mend()")', b"mend()")


def test_standard_input_that_cannot_be_parsed_comes_out_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x = (\xff\n")))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))

    assert main(["fix", "-", "--quiet"]) == 1
    assert out.getvalue() == b"x = (\xff\n"


def test_standard_input_under_an_excluded_name(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BAD)))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))

    assert main(["fix", "-", "--stdin-filename", "venv/a.py", "--force-exclude", "--quiet"]) == 0
    assert out.getvalue() == BAD


def test_what_is_left_of_standard_input_goes_to_the_output_file(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    source = b'bug("DBS101", fix="mend()")\nbug("DBS102")\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source)))

    assert main(["fix", "-", "--quiet", "--output", "out.txt", "--output-format", "concise"]) == 1
    assert capsysbinary.readouterr().out == b'mend()\nbug("DBS102")\n'
    assert Path("out.txt").read_text(encoding="utf-8") == "<stdin>:2:1: DBS102 it is wrong\n"


def test_diff_of_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'bug("DBS101", fix="mend()")\n')))

    assert main(["fix", "-", "--diff", "--quiet"]) == 1
    assert capsys.readouterr().out.splitlines()[:2] == ["--- a/<stdin>", "+++ b/<stdin>"]


def test_files_are_found_and_excluded_as_in_check(folder: Path) -> None:
    (folder / "gen").mkdir()
    path = write("gen/a.py", 'bug("DBS101", fix="mend()")\n')
    (folder / "dbsafety.toml").write_text('extend-exclude = ["gen"]\n', encoding="utf-8")

    assert main(["fix"]) == 0
    assert main(["fix", "--force-exclude", "gen/a.py"]) == 0
    assert "bug" in path.read_text(encoding="utf-8")
    assert main(["fix", "gen/a.py"]) == 0
    assert path.read_text(encoding="utf-8") == "mend()\n"
    assert main(["fix", "gone.py"]) == 2
