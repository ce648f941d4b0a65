"""Writes a fixed file: whole or not at all, and only over the content that was fixed."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dbsafety.model.faults import FixRefused

_SUFFIX = ".dbsafety-tmp"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_CHANGED = "the file changed while it was being fixed; run again"


def write_atomically(path: Path, old: bytes, new: bytes) -> None:
    """Replace the content `old` of a file by `new`; a reader, or a crash, sees one or the other.

    A symbolic link stays and its target is written; mode, extended attributes and, where permitted, owner are kept.
    Raises FixRefused, and changes nothing, when the content is no longer `old`, when the file is not a regular one, is
    read-only, has several hard links or is just being written by another run, or when the system refuses.
    """
    try:
        target = path.resolve(strict=True)
        _require_regular(path, target.stat())  # before it is opened, which waits if it is a pipe
        with _held(path, target) as status:
            _replace(path, target, status, old, new)
    except OSError as error:
        raise FixRefused(f"cannot write the file: {error.strerror or error}", str(path)) from error
    except RuntimeError as error:  # how `resolve` reports a loop of links before Python 3.13
        raise FixRefused("cannot write the file: a loop of symbolic links", str(path)) from error


def remove_leftovers(folder: Path) -> tuple[Path, ...]:
    """Remove the temporary files that a killed run left in a folder; those of a run at work stay. Returns them."""
    try:
        found = sorted(Path(entry.path) for entry in os.scandir(folder) if _is_temporary(entry))
    except OSError:  # an unreadable folder is reported by the discovery of files
        return ()
    return tuple(name for name in found if _removed(name))


def is_leftover(name: str) -> bool:
    """Whether a file of this name may be what a killed run left."""
    return name.startswith(".") and name.endswith(_SUFFIX)


def _require_regular(path: Path, status: os.stat_result) -> None:
    """Raises FixRefused for what may not be replaced.

    A file without any write bit is refused to the superuser, too: whoever took the bits away meant it. One of several
    hard links cannot be replaced without parting them, and written in place it would change under its other names,
    which may lie outside the folder that is fixed; a crash would leave a mixture in all of them.
    """
    if not stat.S_ISREG(status.st_mode):
        raise FixRefused("not a regular file", str(path))
    if not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise FixRefused("the file is read-only", str(path))
    if status.st_nlink > 1:
        reason = f"the file has {status.st_nlink} hard links, of which a fix would part this one; copy it first"
        raise FixRefused(reason, str(path))


@contextmanager
def _held(path: Path, target: Path) -> Iterator[os.stat_result]:
    """Hold the lock of the file, so that of several runs one at a time compares and replaces it; gives its status.

    Raises FixRefused when another run holds it, and OSError when the file may not be opened for writing, which is asked
    though it is never written through: replacing a file needs the rights to its folder only.
    """
    if sys.platform == "win32":  # where an open file cannot be replaced
        yield target.stat()
        return
    descriptor = os.open(target, os.O_RDWR)
    try:
        if _locked(descriptor) is False:
            raise FixRefused("another run is writing the file; run again", str(path))
        if not _is_same(descriptor, target):
            raise FixRefused(_CHANGED, str(path))
        yield os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, target: Path, status: os.stat_result, old: bytes, new: bytes) -> None:
    _require_unchanged(path, target, old)
    temporary, descriptor = _open_temporary(target)
    try:
        with os.fdopen(descriptor, "wb", closefd=sys.platform == "win32") as file:
            _keep_owner_and_mode(descriptor, status)
            _keep_attributes(descriptor, target)
            file.write(new)
            file.flush()
            os.fsync(descriptor)
        _require_unchanged(path, target, old)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
        # Held open until here, since its lock tells other runs that it is in use.
        if sys.platform != "win32":
            os.close(descriptor)
    _sync_folder(target.parent)


def _require_unchanged(path: Path, target: Path, old: bytes) -> None:
    if target.read_bytes() != old:
        raise FixRefused(_CHANGED, str(path))


def _open_temporary(target: Path) -> tuple[Path, int]:
    """A new, locked file next to the target."""
    while True:
        name = target.with_name(f".{target.name[:100]}.{os.urandom(4).hex()}{_SUFFIX}")
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        if _locked(descriptor) is not False and _is_same(descriptor, name):
            return name, descriptor
        os.close(descriptor)  # another run took it for a leftover in the moment before the lock


def _is_temporary(entry: os.DirEntry[str]) -> bool:
    return is_leftover(entry.name) and entry.is_file(follow_symlinks=False)


def _removed(name: Path) -> bool:
    """Remove a leftover, unless a run at work holds it."""
    try:
        if sys.platform == "win32":
            name.unlink()  # fails while another process has it open
            return True
        descriptor = os.open(name, os.O_RDONLY)
        try:
            if not _locked(descriptor) or not _is_same(descriptor, name):
                return False
            name.unlink()
            return True
        finally:
            os.close(descriptor)
    except OSError:  # gone in the meantime, in use, or not ours to remove
        return False


def _locked(descriptor: int) -> bool | None:
    """Take the lock of an open file, which the system gives back when the process ends, however it ends.

    False when somebody else holds it. None where there are no locks: on some file systems, and on Windows, where a file
    that is open cannot be removed.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _is_same(descriptor: int, name: Path) -> bool:
    """Whether the name still belongs to the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), name.stat())
    except FileNotFoundError:
        return False


def _keep_owner_and_mode(descriptor: int, status: os.stat_result) -> None:
    if sys.platform == "win32":
        return
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
        # Only the superuser may give files away; the content matters more than the owner.
        with suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _keep_attributes(descriptor: int, target: Path) -> None:
    """Copy the extended attributes, such as access control lists, as far as the system allows it."""
    if sys.platform != "linux":
        return
    with suppress(OSError):  # a file system without such attributes has none to lose
        for name in os.listxattr(target):
            with suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(target, name))


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power failure, where folders can be synced."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
