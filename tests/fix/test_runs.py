"""Whole runs of `dbsafety fix`: several at once on one tree, files that may not be written, files of every layout."""

from __future__ import annotations

import codecs
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dbsafety.cli.main import main
from dbsafety.fix.apply import write_atomically
from tests.harness.installs import Ran, run

OLD = 'import sqlite3\n\nconn = sqlite3.connect("a.db")\n'
NEW = OLD.replace('"a.db"', '"a.db", timeout=30.0')
FIX = [sys.executable, "-m", "dbsafety", "fix", "--isolated"]
TAKES_TURNS = (
    "the file changed while it was being fixed; run again",
    "another run is writing the file; run again",
)


def fix(folder: Path, *arguments: str) -> Ran:
    return run([*FIX, *arguments], folder)


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_two_runs_at_once_fix_every_file(tmp_path: Path) -> None:
    names = [f"m{number}.py" for number in range(12)]
    for name in names:
        (tmp_path / name).write_text(OLD, encoding="utf-8")
    running = [subprocess.Popen([*FIX, "."], cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(process.communicate()[1], process.returncode) for process in running]
    assert texts(tmp_path) == dict.fromkeys(names, NEW)
    for said, code in ended:
        errors = [line for line in said.splitlines() if ": error: " in line]
        assert "Traceback" not in said
        assert all(line.endswith(TAKES_TURNS) for line in errors)
        assert code == (2 if errors else 0)


def test_a_file_that_changes_under_the_run_is_left_as_it_became(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interfere(path: Path, old: bytes, new: bytes) -> None:
        if path.name == "b.py":
            path.write_bytes(b"# mine\n")
        write_atomically(path, old, new)

    monkeypatch.setattr("dbsafety.project.fixes.write_atomically", interfere)
    monkeypatch.chdir(tmp_path)
    for name in ("a.py", "b.py", "c.py"):
        (tmp_path / name).write_text(OLD, encoding="utf-8")
    assert main(["fix", "--isolated"]) == 2
    assert texts(tmp_path) == {"a.py": NEW, "b.py": "# mine\n", "c.py": NEW}
    error = "dbsafety: error: b.py: the file changed while it was being fixed; run again\n"
    assert error in capsys.readouterr().err


if sys.platform != "win32":

    @pytest.fixture
    def open_folder() -> Iterator[Path]:
        """A folder whose whole path every user may walk, which that of `tmp_path` is not."""
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            yield Path(name)

    def test_what_cannot_be_written_is_said_and_the_rest_is_fixed(tmp_path: Path) -> None:
        for name in ("a.py", "locked.py", "one.py"):
            (tmp_path / name).write_text(OLD, encoding="utf-8")
        (tmp_path / "locked.py").chmod(0o444)
        os.link(tmp_path / "one.py", tmp_path / "other.py")
        ran = fix(tmp_path, ".")
        assert ran.code == 2
        assert [line for line in ran.err.splitlines() if ": error: " in line] == [
            "dbsafety: error: locked.py: the file is read-only",
            "dbsafety: error: one.py: the file has 2 hard links, of which a fix would part this one; copy it first",
            "dbsafety: error: other.py: the file has 2 hard links, of which a fix would part this one; copy it first",
        ]
        assert texts(tmp_path) == {"a.py": NEW, "locked.py": OLD, "one.py": OLD, "other.py": OLD}
        assert (tmp_path / "one.py").stat().st_nlink == 2

    def test_a_symbolic_link_stays_and_its_target_is_fixed(tmp_path: Path) -> None:
        tree, target = tmp_path / "tree", tmp_path / "target.py"
        tree.mkdir()
        target.write_text(OLD, encoding="utf-8")
        (tree / "link.py").symlink_to(target)
        ran = fix(tree, ".")
        assert (ran.code, target.read_text(encoding="utf-8")) == (0, NEW)
        assert (tree / "link.py").readlink() == target
        assert [path.name for path in tree.iterdir()] == ["link.py"]

    @pytest.mark.parametrize(
        ("what", "mode", "reason"),
        [
            ("folder", 0o555, "cannot write the file: Permission denied"),
            ("file", 0o464, "cannot write the file: Permission denied"),
        ],
    )
    def test_without_the_right_to_write_nothing_is_changed(
        open_folder: Path, what: str, mode: int, reason: str
    ) -> None:
        file = open_folder / "a.py"
        file.write_text(OLD, encoding="utf-8")
        (open_folder if what == "folder" else file).chmod(mode)
        code, said = as_user(lambda: main(["fix", "--isolated", str(file)]), owner=open_folder)
        assert f"a.py: {reason}\n" in said
        assert code == 2
        assert texts(open_folder) == {"a.py": OLD}

    def as_user(action: Callable[[], int], owner: Path) -> tuple[int, str]:
        """Run in a process without the rights of a superuser, who then owns the folder; its result and its errors."""
        if os.geteuid() == 0:
            for path in (owner, *owner.iterdir()):
                os.chown(path, 65534, 65534)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            code = 99
            try:
                os.dup2(writer, 2)
                sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                code = action()
                sys.stderr.flush()
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as stream:
            said = stream.read()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said

    def test_extended_attributes_are_kept(tmp_path: Path) -> None:
        file = tmp_path / "a.py"
        file.write_text(OLD, encoding="utf-8")
        names = kept_attributes(file)
        assert fix(tmp_path, "a.py").code == 0
        assert kept_attributes(file, write=False) == names
        assert texts(tmp_path) == {"a.py": NEW}

    def kept_attributes(file: Path, *, write: bool = True) -> list[str]:
        """The extended attributes of the file, after one is set where the file system has any."""
        if sys.platform != "linux":
            return []
        try:
            if write:
                os.setxattr(file, "user.dbsafety", b"1")
            return os.listxattr(file)
        except OSError:
            return []


BEFORE = """\
# head
import sqlite3
import sys

PLACE = "a.db"  # \u00e9


def read(key):
    # why
    with sqlite3.connect(PLACE, timeout=5.0) as conn:  # opened
        rows = conn.execute("SELECT \u00fc FROM t WHERE k = ?", (key,))

        return rows.fetchall()  # done


MODE = sys.argv[1:]
"""
WITH, WITH_CLOSING = "with sqlite3.connect(PLACE, timeout=5.0)", "with closing(sqlite3.connect(PLACE, timeout=5.0))"
AFTER = (
    BEFORE.replace("import sys\n", "import sys\nfrom contextlib import closing\n")
    .replace(WITH, WITH_CLOSING)
    .replace("as conn:", "as conn, conn:")
)
LAYOUTS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.rstrip("\n").replace("\n", "\r").encode(),
    "mixed newlines": lambda text: re.sub(r"(def|rows|MODE)(.*)\n", r"\1\2\r\n", text).encode(),
    "tabs": lambda text: text.replace("    ", "\t").encode(),
    "three blanks": lambda text: text.replace("    ", "   ").encode(),
    "byte order mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "no final newline": lambda text: text.rstrip("\n").encode(),
    "latin-1": lambda text: text.replace("# head", "# coding: latin-1").encode("latin-1"),
    "form feed on its line": lambda text: text.replace("\n\ndef", "\n\x0c\ndef").encode(),
    "form feed before code": lambda text: text.replace("def read", "\x0cdef read").encode(),
    "blanks at the ends of lines": lambda text: text.replace("\n\n", "\n  \n").encode(),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_is_kept(
    layout: Callable[[str], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a.py"
    file.write_bytes(layout(BEFORE))
    assert main(["fix", "--isolated", "--unsafe-fixes", "a.py"]) == 0
    assert file.read_bytes() == layout(AFTER)
    said = capsys.readouterr().err
    assert said.endswith("Fixed 1 finding in 1 file; none left.\n")
    assert main(["fix", "--isolated", "--unsafe-fixes", "a.py"]) == 0
    assert file.read_bytes() == layout(AFTER)
