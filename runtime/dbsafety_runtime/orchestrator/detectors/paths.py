"""Path validation: directories, programs and interpreters a service needs, checked before it is started."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from dbsafety_runtime.orchestrator.model import Issue, Manager, ServiceConfig, words

INTERPRETERS = ("python", "python3", "bash", "sh", "node", "perl", "ruby")
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def all_path_issues(manager: Manager) -> Iterator[Issue]:
    """Yield what would keep a service from starting, for each that should run, also while it runs or is stopped."""
    for service in manager.services():
        config = manager.config(service.name) if service.wanted else None
        if config is not None:
            yield from path_issues(config)


def path_issues(config: ServiceConfig) -> list[Issue]:
    """Return one issue for each thing wrong with a service's paths."""
    found = [("configuration", "", problem) for problem in config.problems]
    directory = Path(config.directory)
    if config.directory and (problem := directory_problem(directory) or denied(directory, config.user)):
        found.append(("directory", config.directory, problem))
    found += _command(config)
    if config.user and not config.user.isdecimal() and _account(config.user) is None:
        found.append(("user", config.user, f"user {config.user} does not exist"))
    return [
        Issue("path_invalid", "paths", config.name, problem, {"setting": setting, "path": path, "file": config.file})
        for setting, path, problem in found
    ]


def mode_of(path: Path) -> int | None:
    """Return kind and rights of what is at a path: 0 when there is nothing, None when this process may not look."""
    try:
        return path.stat().st_mode
    except ValueError:  # a name no file can have
        return 0
    except OSError as error:
        return 0 if error.errno in NOT_THERE else None


def directory_problem(path: Path) -> str | None:
    """Return what is wrong with a working directory, None when nothing is known to be."""
    mode = mode_of(path)
    if mode is None:
        return None
    if not stat.S_ISDIR(mode):
        return f"{path} is not a directory" if mode else f"directory {path} does not exist"
    mine = path.stat().st_uid == os.geteuid()  # a service that runs as somebody else is looked at by `denied`
    return f"directory {path} may not be entered" if mine and not os.access(path, os.X_OK) else None


def program_problem(path: Path) -> str | None:
    """Return what keeps a file from being run, None when nothing is known to."""
    mode = mode_of(path)
    if mode is None:
        return None
    if not stat.S_ISREG(mode):
        return f"program {path} is not a file" if mode else f"program {path} does not exist"
    if not mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH):
        return f"program {path} is not executable"
    try:
        with path.open("rb") as file:
            first = file.readline(256)
    except PermissionError:  # it may be run, but not read
        return None
    interpreter = first[2:].decode("utf-8", "replace").split()[:1] if first.startswith(b"#!") else []
    if interpreter and mode_of(Path(interpreter[0])) == 0:
        return f"program {path} needs {interpreter[0]}, which does not exist"
    return None


def _command(config: ServiceConfig) -> Iterator[tuple[str, str, str]]:
    first, *others = words(config.command) or [""]
    path = config.environment.get("PATH", os.environ.get("PATH", os.defpath))
    program = first if "/" in first else shutil.which(first, path=path)
    if first and program is None:
        yield "command", first, f"program {first} is not on the path"
    if not first or program is None:
        return
    place, script = Path(config.directory or "/") / program, others[0] if others else ""
    if problem := program_problem(place) or denied(place, config.user):
        yield "command", str(place), problem
    # An interpreter's first argument is what really runs: `python3 /opt/app/main.py`.
    elif place.name.rstrip("0123456789.") in INTERPRETERS and script.startswith("/") and mode_of(Path(script)) == 0:
        yield "command", script, f"script {script} does not exist"


def _account(user: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, ValueError):
        return None


def denied(path: Path, user: str) -> str | None:
    """Return what keeps the user of a service from entering a directory or running a program, None when nothing does.

    Decided by owner, groups and mode bits, for another user than this process's; access lists are not looked at.
    """
    account = _account(user) if user else None
    if account is None or account.pw_uid == 0:
        return None
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    for part in (*reversed(path.parents), path):
        try:
            state = part.stat()
        except OSError:  # this process may not look either
            return None
        others = stat.S_IXGRP if state.st_gid in groups else stat.S_IXOTH
        if not state.st_mode & (stat.S_IXUSR if state.st_uid == account.pw_uid else others):
            return f"user {user} may not {'enter' if part.is_dir() else 'run'} {part}"
    return None
