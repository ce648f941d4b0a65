"""`dbsafety check`: what goes where, and the exit code."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from dbsafety.cli.main import main
from tests.check import stub

FOUND = "a.py:1:1: DBS101 it is wrong\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / ".git").mkdir()
    (tmp_path / "dbsafety.toml").write_text("", encoding="utf-8")
    stub.install(monkeypatch)
    monkeypatch.setattr("dbsafety.project.discover.ignored", lambda tree: (frozenset(), ""))
    return tmp_path


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_findings_are_1(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")
    Path("b.py").write_text('bug("DBS102", fix="pass")\n', encoding="utf-8")

    assert main(["check"]) == 1

    out, err = capsys.readouterr()
    assert out == (
        "a.py:1:1: DBS101 it is wrong\n"
        ' 1 | bug("DBS101")\n'
        "   | ^^^^^^^^^^^^^\n"
        "\n"
        "b.py:1:1: DBS102 it is wrong\n"
        ' 1 | bug("DBS102", fix="pass")\n'
        "   | ^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "  fix (safe): mend it\n"
    )
    assert err == "2 findings in 2 of 2 files; 1 fixable with `dbsafety fix`.\n"


def test_clean_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_text("x = f()\n", encoding="utf-8")

    assert main(["check", "a.py"]) == 0

    assert capsys.readouterr() == ("", "No findings in 1 file.\n")


@pytest.mark.parametrize("command", ["check", "fix"])
def test_a_run_without_files_says_so(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 0
    assert capsys.readouterr() == ("", "No Python files to check.\n")


@pytest.mark.parametrize("command", ["check", "fix"])
def test_a_path_that_does_not_exist_is_all_that_is_said(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "nope"]) == 2
    assert capsys.readouterr() == ("", "dbsafety: error: nope: no such file or folder\n")


def test_suppressed_is_clean() -> None:
    Path("a.py").write_text('bug("DBS101")  # noqa\n', encoding="utf-8")

    assert main(["check"]) == 0


def test_exit_zero() -> None:
    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")

    assert main(["check", "--exit-zero"]) == 0
    assert main(["check", "--exit-zero", "gone.py"]) == 2


def test_quiet_and_concise(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_text('bug("DBS101")\nbudget()\n', encoding="utf-8")

    assert main(["check", "--quiet"]) == 1
    assert capsys.readouterr().err == ""
    assert main(["check", "--output-format", "concise"]) == 1
    assert capsys.readouterr() == (FOUND, "dbsafety: note: a.py:1: DBS004 a budget was used up\n")


def test_what_cannot_be_read_is_2_and_the_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")

    assert main(["check", "--output-format", "concise", "gone.py", "a.py"]) == 2

    assert capsys.readouterr() == (FOUND, "dbsafety: error: gone.py: no such file or folder\n")


def test_a_crashed_rule_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_text('crash()\nbug("DBS101")\n', encoding="utf-8")

    assert main(["check", "--output-format", "concise"]) == 2

    assert capsys.readouterr() == (
        "a.py:2:1: DBS101 it is wrong\n",
        "dbsafety: error: a.py: DBS004 rule DBS101 failed\n",
    )


def test_notes_alone_are_0(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_text("budget()\n", encoding="utf-8")

    assert main(["check"]) == 0
    assert "DBS004 a budget was used up" in capsys.readouterr().err


def test_statistics_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_text('bug("DBS101"); bug("DBS102"); bug("DBS102")\n', encoding="utf-8")

    main(["check", "--statistics", "--output-format", "jsonl"])

    out, err = capsys.readouterr()
    assert [json.loads(line)["code"] for line in out.splitlines()] == ["DBS101", "DBS102", "DBS102"]
    assert err == "2 DBS102 statement-in-aborted-transaction\n1 DBS101 swallowed-error-no-rollback\n"


def test_output_to_a_file(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    Path("é.py").write_text('bug("DBS101")\n', encoding="utf-8")

    assert main(["check", "--output", "out.txt", "--output-format", "concise", "--color", "always"]) == 1

    assert capsys.readouterr() == ("", "")
    assert (folder / "out.txt").read_bytes() == "é.py:1:1: DBS101 it is wrong\n".encode()


def test_an_output_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--output", "no/such/file"]) == 2

    assert (
        capsys.readouterr().err == "dbsafety: error: no/such/file: cannot write the output: No such file or directory\n"
    )


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stdin(monkeypatch, b'\xef\xbb\xbf"\xc3\xa9"; bug("DBS101")\r\n')

    assert main(["check", "-", "--stdin-filename", "src/x.py", "--output-format", "jsonl"]) == 1

    finding = json.loads(capsys.readouterr().out)
    assert (finding["path"], finding["line"], finding["column"], finding["end_column"]) == ("src/x.py", 1, 6, 19)


def test_standard_input_has_a_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(monkeypatch, b"x = (\n")

    assert main(["check", "-", "--output-format", "concise"]) == 1
    assert capsys.readouterr().out.startswith("<stdin>:1:1: DBS001 '(' was never closed")


@pytest.mark.parametrize("command", ["check", "fix"])
@pytest.mark.parametrize("paths", [[], ["a.py"]])
def test_a_name_for_standard_input_that_is_not_read(
    command: str, paths: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")

    assert main([command, *paths, "--stdin-filename", "x.py"]) == 2
    assert capsys.readouterr() == (
        "",
        "dbsafety: error: --stdin-filename is for what comes from standard input: give - as the path\n",
    )


def test_a_source_root_that_is_not_there(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["check", "--source-roots", ".,lib"]) == 2
    assert capsys.readouterr() == ("", f"dbsafety: error: --source-roots: {folder / 'lib'}: no such folder\n")


def test_standard_input_under_an_excluded_name(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b'bug("DBS101")\n')

    words = ["check", "-", "--stdin-filename", "venv/x.py", "--force-exclude"]

    assert main(words) == 0


def test_settings_from_the_configuration_and_the_options_over_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.py").write_text('bug("DBS101"); bug("DBS102"); bug("DBS201")\n', encoding="utf-8")
    (folder / "dbsafety.toml").write_text('select = ["DBS1"]\noutput-format = "concise"\n', encoding="utf-8")

    def codes(*words: str) -> list[str]:
        main(["check", *words])
        return [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("a.py")]

    assert codes() == ["DBS101", "DBS102"]
    assert codes("--ignore", "DBS102") == ["DBS101"]
    assert codes("--select", "DBS2,DBS102") == ["DBS102", "DBS201"]
    assert codes("--extend-select", "DBS201", "--extend-select=DBS003") == ["DBS101", "DBS102", "DBS201"]
    assert codes("--isolated", "--ignore=DBS1") == ["DBS201"]
    assert codes("--exclude", "x,a.py") == []


def test_a_configuration_that_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_text('bug("DBS101", "low")\n', encoding="utf-8")
    (folder / "ci.toml").write_text('min-confidence = "low"\noutput-format = "concise"\n', encoding="utf-8")

    assert main(["check"]) == 0
    assert main(["check", "--config", "ci.toml"]) == 1
    assert main(["check", "--min-confidence=low"]) == 1


def test_the_configuration_of_the_folder_that_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = folder / "other"
    (project / "src").mkdir(parents=True)
    (project / "src" / "a.py").write_text('bug("DBS101")\n', encoding="utf-8")
    (project / "dbsafety.toml").write_text('ignore = ["DBS101"]\n', encoding="utf-8")

    assert main(["check", "other/src/a.py"]) == 0
    assert main(["check", "other/src/a.py", "other"]) == 0
    assert main(["check", "other", "."]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--select", "DBS1O1"], "--select: no rule has the code 'DBS1O1'; did you mean 'DBS101'?"),
        (["--ignore", "E501"], "--ignore: no rule has the code 'E501'"),
        (["--config", "no.toml"], "no.toml: no such configuration file"),
        (["-", "a.py"], "- (standard input) cannot be combined with other paths"),
        ([""], "a path is empty"),
    ],
)
def test_wrong_usage_is_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *words]) == 2

    assert capsys.readouterr() == ("", f"dbsafety: error: {said}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\nselect = ["DBS1O1"]\n', "2: select: no rule has the code 'DBS1O1'; did you mean 'DBS101'?"),
        ('ignore = [\n  "DBS101",\n  "E501",\n]\n', "3: ignore: no rule has the code 'E501'"),
        ('[severity]\nDBS101 = "info"\nE501 = "info"\n', "3: severity: no rule has the code 'E501'"),
        (
            '[per-file-ignores]\n"a.py" = ["DBS2"]\n"b.py" = ["E501"]\n',
            "3: per-file-ignores: no rule has the code 'E501'",
        ),
        (
            '[[wrappers]]\nfactory = "a.b"\ndriver = "sqlite3"\n[[wrappers]]\ndriver = "sqlite3"\n',
            "4: wrappers: `factory` must be a text",
        ),
        ('source-roots = [\n  ".",\n  "lib",\n]\n', "3: source-roots: {folder}/lib: no such folder"),
    ],
)
def test_a_wrong_configuration_is_2(text: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "dbsafety.toml").write_text(text, encoding="utf-8")

    assert main(["check"]) == 2
    assert capsys.readouterr() == (
        "",
        f"dbsafety: error: {folder}/dbsafety.toml:{said.format(folder=folder)}\n",
    )


@pytest.mark.parametrize(
    "words",
    [[], ["chek"], ["check", "--nope"], ["check", "-j0"], ["check", "--config=a", "--isolated"], ["check", "--sel=a"]],
)
def test_argparse_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)

    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


def test_color(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def colored(*words: str) -> bool:
        main(["check", *words])
        return "\x1b[" in capsys.readouterr().out

    assert not colored()
    assert colored("--color", "always")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert colored()
    assert not colored("--color=never")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colored()
    assert colored("--color=always")


def test_github_step_summary(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    (folder / "summary.md").write_text("before\n", encoding="utf-8")

    assert main(["check", "--output-format", "github"]) == 1

    assert (folder / "summary.md").read_text(encoding="utf-8") == (
        "before\n| code | rule | findings |\n|---|---|---|\n| DBS101 | swallowed-error-no-rollback | 1 |\n"
    )


def test_a_step_summary_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder))

    assert main(["check", "--output-format", "github"]) == 2
    assert capsys.readouterr().err == f"dbsafety: error: {folder}: cannot write the step summary: Is a directory\n"


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dbsafety.cli.check.run", interrupt)

    assert main(["check"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_defect_of_dbsafety_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("dbsafety.cli.check.run", fail)

    assert main(["check"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("dbsafety: error: internal error in check.py:")
    assert err.endswith(": ZeroDivisionError: oh\n")


def test_processes_are_chosen_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")

    assert main(["check", "--jobs", "1", "--output-format", "concise"]) == 1
    assert capsys.readouterr().out == FOUND


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
def test_a_number_of_processes_that_is_none(capsys: pytest.CaptureFixture[str], number: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["check", "--jobs", number])

    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"dbsafety check: error: argument --jobs/-j: must be a whole number above 0, not {number!r}"


def test_standard_output_that_takes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    Path("a.py").write_text('bug("DBS101")\n', encoding="utf-8")
    monkeypatch.setattr("sys.stdout", Full())

    assert main(["check"]) == 2
    assert capsys.readouterr().err == "dbsafety: error: cannot write the output: No space left on device\n"
