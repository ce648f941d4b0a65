"""Which files are looked at."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbsafety.config.load import Configuration
from dbsafety.config.settings import Settings
from dbsafety.project import discover as module
from dbsafety.project.discover import Discovery, discover
from dbsafety.project.git import ignored


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*paths: str, settings: Settings | None = None) -> Discovery:
    return discover(paths or (".",), Configuration(settings or Settings(), Path.cwd()))


def names(discovery: Discovery) -> list[str]:
    assert discovery.faults == ()
    return [name for name, _ in discovery.files]


def git(*words: str, at: str = ".") -> None:
    subprocess.run(["git", "-C", at, "-c", "user.name=a", "-c", "user.email=a@b.example", *words], check=True)


def test_python_files_sorted() -> None:
    make("b.py", "a/z.py", "a/b.pyi", "a/c.txt", "setup.cfg", "a.py.orig")

    assert names(found()) == ["a/b.pyi", "a/z.py", "b.py"]


def test_a_file_that_is_named_is_taken_whatever_its_name() -> None:
    make("script", "a.py")

    assert found("script", ".").files == (("a.py", False), ("script", True))


def test_a_file_found_twice_counts_as_named() -> None:
    make("d/a.py")

    assert found("d", "d/a.py", "./d/../d/a.py").files == (("d/a.py", True),)


def test_paths_outside_the_current_folder_are_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("here/a.py", "there/b.py")
    monkeypatch.chdir("here")

    assert names(found(".", "../there")) == [f"{folder.as_posix()}/there/b.py", "a.py"]


def test_tool_folders_and_exclusions() -> None:
    make("a.py", ".venv/x.py", "p/node_modules/x.py", "gen/x.py", "src/gen/y.py", "src/m_pb2.py", "tests/fixtures/x.py")
    settings = Settings(extend_exclude=("/gen", "*_pb2.py", "tests/fixtures"))

    assert names(found(settings=settings)) == ["a.py", "src/gen/y.py"]


def test_exclude_replaces_the_default() -> None:
    make("venv/a.py", "x/b.py")

    assert names(found(settings=Settings(exclude=("x",)))) == ["venv/a.py"]


def test_named_paths_are_taken_unless_exclusion_is_forced() -> None:
    make("venv/a.py", "gen/b.py")
    settings = Settings(extend_exclude=("gen/",))
    forced = Settings(extend_exclude=("gen/",), force_exclude=True)

    assert names(found("venv", "gen/b.py", settings=settings)) == ["gen/b.py", "venv/a.py"]
    assert names(found("venv", "gen/b.py", "venv/a.py", "gen", settings=forced)) == []


def test_what_git_ignores() -> None:
    git("init", "--quiet")
    make("a.py", "build/b.py", "build/deep/c.py", "kept.py", "src/local.py")
    Path(".gitignore").write_text("build/\nkept.py\nlocal.py\n", encoding="utf-8")
    git("add", "--force", "kept.py")

    assert names(found()) == ["a.py", "kept.py"]
    assert names(found("src")) == []
    assert names(found("src/local.py", "build")) == ["build/b.py", "build/deep/c.py", "src/local.py"]


def test_a_repository_inside_a_repository_has_its_own_rules() -> None:
    git("init", "--quiet")
    make("vendor/inner/a.py", "vendor/inner/skip.py", "skip.py")
    git("init", "--quiet", at="vendor/inner")
    Path("vendor/inner/.gitignore").write_text("skip.py\n", encoding="utf-8")

    assert names(found()) == ["skip.py", "vendor/inner/a.py"]


def test_the_variables_of_a_git_hook_do_not_mislead(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    git("init", "--quiet")
    make("a.py", "skip.py")
    Path(".gitignore").write_text("skip.py\n", encoding="utf-8")
    monkeypatch.setenv("GIT_DIR", str(folder / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(folder / "elsewhere" / "index"))

    assert names(found()) == ["a.py"]


def test_without_git_everything_is_looked_at_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    make("a.py", ".git/config")
    monkeypatch.setenv("PATH", "")

    discovery = found()

    assert names(discovery) == ["a.py"]
    assert discovery.notes == (".: cannot ask git what it ignores: No such file or directory",)


def test_a_broken_repository_is_said_once(folder: Path) -> None:
    make("a.py", "b/c.py", ".git/config")

    discovery = found("a.py", ".", "b")

    assert names(discovery) == ["a.py", "b/c.py"]
    (note,) = discovery.notes
    assert note.startswith(".: cannot ask git what it ignores: fatal: ")
    assert ignored(folder)[0] == frozenset()


def test_a_path_that_does_not_exist() -> None:
    assert [str(fault) for fault in found("no.py", "no/dir").faults] == [
        "no.py: no such file or folder",
        "no/dir: no such file or folder",
    ]


def test_links() -> None:
    make("real/a.py")
    Path("real/loop").symlink_to("..")
    Path("real/link.py").symlink_to("a.py")
    Path("real/.#lock.py").symlink_to("nobody@host:1")
    Path("dir").symlink_to("real")

    assert names(found()) == ["real/a.py", "real/link.py"]
    assert names(found("dir")) == ["dir/a.py", "dir/link.py"]


def test_a_file_that_links_to_itself() -> None:
    make("a.py")
    Path("b.py").symlink_to("b.py")

    for paths in ((".",), ("b.py", "a.py")):
        discovery = found(*paths)
        assert [name for name, _ in discovery.files] == ["a.py"]
        assert [str(fault) for fault in discovery.faults] == ["b.py: cannot read: Too many levels of symbolic links"]


def test_a_folder_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    make("a.py", "secret/b.py", "z/c.py")
    real = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(module.os, "scandir", scandir)

    discovery = found()

    assert [name for name, _ in discovery.files] == ["a.py", "z/c.py"]
    assert [str(fault) for fault in discovery.faults] == ["secret: cannot read the folder: Permission denied"]


def test_names_that_are_no_text() -> None:
    Path(os.fsdecode(b"caf\xe9.py")).touch()

    assert names(found()) == ["caf\udce9.py"]
