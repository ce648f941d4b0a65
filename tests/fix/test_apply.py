"""Writing a file: whole or not at all, and with everything kept that is not its content."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from dbsafety.fix import apply
from dbsafety.fix.apply import remove_leftovers, write_atomically
from dbsafety.model.faults import FixRefused

if TYPE_CHECKING:
    from _typeshed import TraceFunction

OLD, NEW = b"x = 1\r\n", b"x = 2\r\n"
POSIX = sys.platform != "win32"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.py"
    path.write_bytes(OLD)
    return path


def refusal(path: Path, old: bytes = OLD) -> str:
    with pytest.raises(FixRefused) as caught:
        write_atomically(path, old, NEW)
    return str(caught.value)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_content_is_replaced_and_nothing_is_left_behind(file: Path) -> None:
    write_atomically(file, OLD, NEW)
    assert file.read_bytes() == NEW
    assert names(file.parent) == ["m.py"]


def test_a_changed_file_is_left_alone(file: Path) -> None:
    file.write_bytes(b"y = 1\n")
    assert refusal(file) == f"{file}: the file changed while it was being fixed; run again"
    assert file.read_bytes() == b"y = 1\n"
    assert names(file.parent) == ["m.py"]


def test_a_file_that_changes_while_the_new_one_is_written_is_left_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def changed_meanwhile(descriptor: int) -> None:
        file.write_bytes(b"y = 1\n")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", changed_meanwhile)
    assert refusal(file) == f"{file}: the file changed while it was being fixed; run again"
    assert file.read_bytes() == b"y = 1\n"
    assert names(file.parent) == ["m.py"]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    assert refusal(path) == f"{path}: cannot write the file: No such file or directory"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: not a regular file"


def test_a_full_disk_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert refusal(file) == f"{file}: cannot write the file: No space left on device"
    assert file.read_bytes() == OLD
    assert names(file.parent) == ["m.py"]


if POSIX:
    import fcntl

    @pytest.mark.parametrize("mode", [0o644, 0o600, 0o755, 0o664])
    def test_mode_is_kept(file: Path, mode: int) -> None:
        file.chmod(mode)
        write_atomically(file, OLD, NEW)
        assert file.stat().st_mode & 0o7777 == mode

    def test_a_read_only_file_is_refused(file: Path) -> None:
        file.chmod(0o444)
        assert refusal(file) == f"{file}: the file is read-only"
        assert file.read_bytes() == OLD

    def test_a_link_stays_a_link_and_its_target_is_written(file: Path, tmp_path: Path) -> None:
        folder = tmp_path / "other"
        folder.mkdir()
        link = folder / "link.py"
        link.symlink_to(file)
        write_atomically(link, OLD, NEW)
        assert link.is_symlink()
        assert file.read_bytes() == NEW
        assert names(folder) == ["link.py"]

    def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
        (tmp_path / "a.py").symlink_to(tmp_path / "b.py")
        (tmp_path / "b.py").symlink_to(tmp_path / "a.py")
        assert refusal(tmp_path / "a.py").startswith(f"{tmp_path / 'a.py'}: cannot write the file: ")

    def test_one_of_several_hard_links_is_refused(file: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.py"
        os.link(file, other)
        assert refusal(file) == (
            f"{file}: the file has 2 hard links, of which a fix would part this one; copy it first"
        )
        assert (file.read_bytes(), other.read_bytes()) == (OLD, OLD)
        assert file.stat().st_ino == other.stat().st_ino

    def test_a_pipe_is_refused(tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "m.py")
        assert refusal(tmp_path / "m.py") == f"{tmp_path / 'm.py'}: not a regular file"

    def test_a_run_killed_at_any_line_leaves_a_whole_file_and_the_next_run_cleans_up(file: Path) -> None:
        seen = set()
        line = 0
        while killed_at(line := line + 1, file):
            seen.add(file.read_bytes())
            assert seen <= {OLD, NEW}
            remove_leftovers(file.parent)
            assert names(file.parent) == ["m.py"]
            file.write_bytes(OLD)
        assert seen == {OLD, NEW}
        assert line > 15
        assert file.read_bytes() == NEW

    def killed_at(line: int, file: Path) -> bool:
        """Write in a process that kills itself before the n-th line of the module it executes; False if it lives."""
        child = os.fork()
        if not child:
            try:
                die_at(line)
                write_atomically(file, OLD, NEW)
            finally:
                os._exit(0)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])

    def die_at(line: int) -> None:
        left = line

        def trace(frame: FrameType, event: str, _: object) -> TraceFunction | None:
            nonlocal left
            if frame.f_code.co_filename != apply.__file__:
                return None
            left -= event == "line"
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)

    def test_a_file_that_another_run_is_writing_is_left_alone(file: Path) -> None:
        with file.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert refusal(file) == f"{file}: another run is writing the file; run again"
        assert file.read_bytes() == OLD
        write_atomically(file, OLD, NEW)
        assert file.read_bytes() == NEW

    def test_without_locks_files_are_written_and_leftovers_stay(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", missing)
        left = file.with_name(".m.py.0a1b2c3d.dbsafety-tmp")
        left.write_bytes(b"")
        write_atomically(file, OLD, NEW)
        assert (file.read_bytes(), remove_leftovers(file.parent)) == (NEW, ())
        assert names(file.parent) == [left.name, "m.py"]

    def test_the_temporary_file_of_a_run_at_work_stays(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []

        def look(path: Path, target: Path, old: bytes) -> None:
            seen.append((len(names(file.parent)), remove_leftovers(file.parent)))

        monkeypatch.setattr(apply, "_require_unchanged", look)
        write_atomically(file, OLD, NEW)
        assert seen == [(1, ()), (2, ())]
        assert file.read_bytes() == NEW


def test_only_leftovers_are_removed(tmp_path: Path) -> None:
    left = tmp_path / ".m.py.0a1b2c3d.dbsafety-tmp"
    kept = [".gitignore", "m.dbsafety-tmp", "m.py"]
    for name in (left.name, *kept):
        (tmp_path / name).write_bytes(b"")
    assert remove_leftovers(tmp_path) == (left,)
    assert names(tmp_path) == sorted(kept)


def test_leftovers_of_a_folder_that_is_none() -> None:
    assert remove_leftovers(Path("no such folder")) == ()
