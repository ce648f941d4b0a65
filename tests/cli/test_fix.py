"""`dbsafety fix`: what is written, what is shown, and the exit code."""

from __future__ import annotations

import io
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
    assert capsys.readouterr().err == "Fixed 0 findings in 0 files; none left.\n"


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


def test_an_empty_diff_is_0_whatever_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.py", 'bug("DBS101")\n')

    assert main(["fix", "--diff"]) == 0
    assert capsys.readouterr().out == ""


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
