"""Whatever a file holds: one clear line or DBS001, the run goes on, the exit code says it, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dbsafety.cli.main import main

GOOD = 'import sqlite3\n\nconn = sqlite3.connect("a.db")\n'
GOOD_FOUND = "good.py:3:8: DBS201"
HINT = "(run dbsafety with a Python at least as new as the code)"
PRINT = "Missing parentheses in call to 'print'. Did you mean print(...)?"
NOT_UTF8 = "is not valid utf-8; name the encoding in a cookie"
TOO_DEEP = "the code is nested too deeply for Python's parser"
GAVE_UP = "DBS004 the code is nested too deeply to follow; nothing in this file was checked"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dbsafety.toml").write_text("", encoding="utf-8")
    Path("good.py").write_text(GOOD, encoding="utf-8")
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str], list[str]]:
    """Exit code, findings up to the first blank of their message, lines of standard error."""
    code = main(["check", "--output-format", "concise", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, [" ".join(line.split(" ")[:2]) for line in out.splitlines()], err.splitlines()


def message(capsys: pytest.CaptureFixture[str], name: str) -> str:
    main(["check", "--output-format", "concise", name])
    return capsys.readouterr().out.rstrip("\n")


UNPARSED = {
    "python2.py": (b"import sqlite3\nprint 'a'\n", 2, PRINT),
    "syntax.py": (b"import sqlite3\nx = (\n", 2, f"'(' was never closed {HINT}"),
    "undecodable.py": (b"import sqlite3\n\nx = '\xe9'\n", 3, f"byte 0xe9 {NOT_UTF8}"),
    "cookie.py": (b"# coding: klingon\nimport sqlite3\n", 1, "unknown encoding: klingon"),
    "nul.py": (b"import sqlite3\nx = 1\0\n", 2, "the file contains a NUL byte"),
    "nesting.py": (b"import sqlite3\nx = " + b"(" * 1000 + b")" * 1000, 2, "too many nested parentheses"),
    "operators.py": (b"import sqlite3\nx = " + b"-" * 100_000 + b"1\n", 1, TOO_DEEP),
    "indentation.py": (
        b"import sqlite3\n" + b"".join(b" " * depth + b"if x:\n" for depth in range(1000)) + b" " * 1000 + b"y\n",
        102,
        "too many levels of indentation",
    ),
    "cr.py": (b"import sqlite3\r\rx = (\r", 3, f"'(' was never closed {HINT}"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNPARSED)
def test_what_cannot_be_parsed_is_a_finding_with_its_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, line, said = UNPARSED[name]
    Path(name).write_bytes(data)

    column = 101 if name == "indentation.py" else 1
    assert message(capsys, name) == f"{name}:{line}:{column}: DBS001 {said}"
    code, found, err = check(capsys)
    assert (code, found, err) == (1, sorted([f"{name}:{line}:{column}: DBS001", GOOD_FOUND]), [])


def test_utf_16_when_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("utf16.py").write_bytes("import sqlite3\n".encode("utf-16"))

    assert message(capsys, "utf16.py") == f"utf16.py:1:1: DBS001 byte 0xff {NOT_UTF8}"
    assert check(capsys)[1] == [GOOD_FOUND]


@pytest.mark.parametrize("name", UNPARSED)
def test_fix_leaves_what_cannot_be_parsed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, _, _ = UNPARSED[name]
    Path(name).write_bytes(data)

    assert main(["fix", "--unsafe-fixes"]) == 1

    assert Path(name).read_bytes() == data
    assert "timeout=30.0" in Path("good.py").read_text(encoding="utf-8")


LAYOUTS = {
    "bom.py": (b"\xef\xbb\xbfimport sqlite3\nconn = sqlite3.connect('a.db')\n", 2, 8),
    "crlf.py": (b"import sqlite3\r\n\r\nconn = sqlite3.connect('a.db')\r\n", 3, 8),
    "cr.py": (b"import sqlite3\r\rconn = sqlite3.connect('a.db')\r", 3, 8),
    "mixed.py": (b"import sqlite3\r\n\n\rconn = sqlite3.connect('a.db')\r\n# end", 4, 8),
    "latin.py": (b"# coding: latin-1\nimport sqlite3\nx = '\xe9'; conn = sqlite3.connect('a.db')\n", 3, 17),
    "utf8.py": ('import sqlite3\nx = "é😀"; conn = sqlite3.connect("a.db")\n'.encode(), 2, 18),
    "tabs.py": (b"import sqlite3\nif x:\n\tconn = sqlite3.connect('a.db')\n", 3, 9),
    "no_end.py": (b"import sqlite3\nconn = sqlite3.connect('a.db')", 2, 8),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_positions_in_every_layout(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, line, column = LAYOUTS[name]
    Path(name).write_bytes(data)

    assert check(capsys, name)[:2] == (1, [f"{name}:{line}:{column}: DBS201"])


@pytest.mark.parametrize("name", sorted(LAYOUTS.keys() - {"cr.py"}))
def test_fix_changes_no_byte_outside_its_edit(name: str) -> None:
    data, _, _ = LAYOUTS[name]
    path = Path(name)
    path.write_bytes(data)
    path.chmod(0o751)

    assert main(["fix", name]) == 0

    assert path.read_bytes() == data.replace(b".db')", b".db', timeout=30.0)").replace(b'.db")', b'.db", timeout=30.0)')
    assert path.stat().st_mode & 0o777 == 0o751
    assert main(["check", name]) == 0


def test_fix_says_why_it_leaves_a_file_whose_line_ends_would_be_lost(capsys: pytest.CaptureFixture[str]) -> None:
    data, _, _ = LAYOUTS["cr.py"]
    Path("cr.py").write_bytes(data)

    assert main(["fix", "cr.py"]) == 1

    assert Path("cr.py").read_bytes() == data
    assert (
        "dbsafety: note: cr.py:3: DBS201 not fixed: the file has whitespace that would be lost "
        "(a CR or blanks at its end)\n" in capsys.readouterr().err
    )


def test_a_form_feed(capsys: pytest.CaptureFixture[str]) -> None:
    data = b"import sqlite3\n\x0c\nconn = sqlite3.connect('a.db')\n"
    path = Path("feed.py")
    path.write_bytes(data)

    assert check(capsys, "feed.py")[:2] == (1, ["feed.py:3:8: DBS201"])
    main(["fix", "feed.py"])
    assert path.read_bytes() in (data, data.replace(b".db'", b".db', timeout=30.0"))


def test_a_sum_of_5000_terms(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sum.py").write_text("import sqlite3\n\ndef f(conn):\n    conn.execute(" + " + ".join(["a"] * 5000) + ")\n")

    code, found, err = check(capsys)

    if (3, 11) <= sys.version_info < (3, 13):
        assert (code, found, err) == (1, [GOOD_FOUND, "sum.py:1:1: DBS001"], [])
    else:
        assert (code, found) == (1, [GOOD_FOUND])
        assert err in ([], [f"dbsafety: note: sum.py:1: {GAVE_UP}"])


def test_a_generated_file_of_5_megabytes(capsys: pytest.CaptureFixture[str]) -> None:
    lines = "".join(f"X{number} = '{'x' * 120}'\n" for number in range(38_000))
    assert len(lines) > 5_000_000
    Path("generated.py").write_text(f"{GOOD}{lines}conn.execute(X1)\n", encoding="utf-8")

    code, found, err = check(capsys)

    assert (code, found, err) == (1, ["generated.py:3:8: DBS201", GOOD_FOUND], [])


def test_a_single_line_of_5_megabytes(capsys: pytest.CaptureFixture[str]) -> None:
    Path("line.py").write_text(f'{GOOD[:-1]}; x = "{"é" * 5_000_000}"; c = sqlite3.connect("b.db")\n', encoding="utf-8")

    main(["check", "line.py"])

    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) < 500
    assert f"line.py:3:{len(GOOD.splitlines()[2]) + 5_000_000 + 15}: DBS201" in out


def test_empty_and_blank_files(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.py").touch()
    Path("blank.py").write_bytes(b"\r\n\x0c\n  ")

    assert check(capsys, "empty.py", "blank.py") == (0, [], [])


def test_files_that_cannot_be_read_are_2_and_the_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    Path("loop.py").symlink_to("loop.py")
    Path("folder").mkdir()
    Path("folder/up").symlink_to("..")
    Path("dangling.py").symlink_to("nowhere.py")

    assert check(capsys) == (
        2,
        [GOOD_FOUND],
        ["dbsafety: error: loop.py: cannot read: Too many levels of symbolic links"],
    )
    assert check(capsys, "good.py", "dangling.py", "no/where.py") == (
        2,
        [GOOD_FOUND],
        [
            "dbsafety: error: dangling.py: cannot read: No such file or directory",
            "dbsafety: error: no/where.py: no such file or folder",
        ],
    )


def test_a_folder_without_permission(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # Permissions do not bind a test that runs as root: the refusal is the kernel's words, put in by hand.
    from dbsafety.project import discover

    Path("secret").mkdir()
    Path("secret/a.py").write_text(GOOD, encoding="utf-8")
    real = discover.os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(discover.os, "scandir", scandir)

    assert check(capsys) == (2, [GOOD_FOUND], ["dbsafety: error: secret: cannot read the folder: Permission denied"])
    assert main(["fix"]) == 2
    assert "timeout=30.0" in Path("good.py").read_text(encoding="utf-8")


def test_a_device_in_the_place_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(capsys, "/dev/null", "good.py") == (1, [GOOD_FOUND], [])


def test_a_pipe_in_the_place_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe.py")

    assert check(capsys) == (1, [GOOD_FOUND], [])
    assert check(capsys, "pipe.py", "good.py") == (
        2,
        [GOOD_FOUND],
        ["dbsafety: error: pipe.py: a pipe cannot be read twice; - reads standard input"],
    )


def test_all_of_it_from_outside(folder: Path) -> None:
    """The same in a process of its own: the exit code and standard error of the program itself."""
    for name, (data, _, _) in UNPARSED.items():
        (folder / name).write_bytes(data)
    (folder / "loop.py").symlink_to("loop.py")

    command = [sys.executable, "-m", "dbsafety", "check", "--output-format", "concise", "--jobs", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr == "dbsafety: error: loop.py: cannot read: Too many levels of symbolic links\n"
    assert [line.split(" ")[1] for line in done.stdout.splitlines()].count("DBS001") == len(UNPARSED)
    assert GOOD_FOUND in done.stdout


def test_a_reader_that_goes_away(folder: Path) -> None:
    """`dbsafety check | head -1` ends quietly."""
    source = GOOD + "conn = sqlite3.connect('b.db')\n" * 400
    (folder / "many.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "dbsafety", "check", "--quiet"]

    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_standard_output_that_cannot_show_the_text(folder: Path) -> None:
    (folder / "é.py").write_text(GOOD, encoding="utf-8")
    command = [sys.executable, "-m", "dbsafety", "check", "--output-format=concise", "é.py"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}

    done = subprocess.run(command, cwd=folder, capture_output=True, env=environment, check=False)

    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.startswith(b"\\xe9.py:3:8: DBS201 ")
