"""The closed list of actions: each with precondition, dry run, apply, undo and blast radius; nothing runs a shell."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.orchestrator.model import SETTINGS, Facts, Manager, ManagerError, Plan, Step, find
from dbsafety_runtime.orchestrator.pages import table
from dbsafety_runtime.orchestrator.processes import descends_from, describe, run

TERM_SECONDS: Final = 5.0
START_TOLERANCE: Final = 0.05
FORBIDDEN_ROOTS: Final = tuple(map(Path, ("/proc", "/sys", "/dev", "/boot", "/etc", "/usr", "/bin", "/sbin", "/lib")))


FAILURES: Final = (ManagerError, OSError, ValueError, psutil.Error)


class ActionRefused(Exception):
    """A precondition does not hold, or the step failed; the text is one sentence."""


Check = Callable[[Manager, Facts], "str | None"]
Apply = Callable[[Manager, Facts], None]
Undo = Callable[[Manager, Facts, str], None]


def _fine(_manager: Manager, _args: Facts) -> str | None:
    return None


def _known(manager: Manager, args: Facts) -> str | None:
    return None if find(manager, args["service"]) else f"there is no service {args['service']}"


class Code(NamedTuple):
    """How an action is done: `check` says why not, `token` what `undo` will need, and is asked before `apply`."""

    apply: Apply
    check: Check = _known
    token: Check = _fine
    undo: Undo | None = None


def _writable(file: Path) -> bool:
    folder = next(parent for parent in (file, *file.parents) if parent.exists())
    return os.access(folder, os.W_OK)


def _check_dropin(manager: Manager, args: Facts) -> str | None:
    if args["setting"] not in SETTINGS:
        return f"{args['setting']} is not a setting that may be changed"
    path = args["value"] if args["setting"] == "directory" else args["value"].split()[0]
    if not Path(path).exists():
        return f"{path} does not exist"
    file = manager.override_file(args["service"])
    return None if _writable(file) else f"writing {file} needs more rights than this process has"


def _previous(manager: Manager, args: Facts) -> str:
    file = manager.override_file(args["service"])
    return json.dumps(file.read_text(encoding="utf-8") if file.exists() else None)


def _replace_file(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def _write_dropin(manager: Manager, args: Facts) -> None:
    text = manager.override_text(args["service"], {args["setting"]: args["value"]})
    _replace_file(manager.override_file(args["service"]), text)


def _restore(manager: Manager, args: Facts, token: str) -> None:
    file, before = manager.override_file(args["service"]), json.loads(token)
    if before is None:
        file.unlink(missing_ok=True)
    else:
        _replace_file(file, before)
    manager.reload()


def _remove_dropin(manager: Manager, args: Facts) -> None:
    manager.override_file(args["service"]).unlink(missing_ok=True)


def _check_override(manager: Manager, args: Facts) -> str | None:
    file = manager.override_file(args["service"])
    if not file.exists():
        return f"there is no {file}"
    return None if _writable(file) else f"removing {file} needs more rights than this process has"


def _restart(manager: Manager, args: Facts) -> None:
    manager.stop(args["service"])
    manager.start(args["service"])


def _check_orphan(manager: Manager, args: Facts) -> str | None:
    """An orphan is proven by number, start time and owner, and by not belonging to any running service."""
    pid = int(args["pid"])
    process = describe(pid)
    if process is None or abs(process.started - float(args["started"])) > START_TOLERANCE:
        return f"process {pid} has ended"
    if manager.owner(pid) != args["service"]:
        return f"process {pid} was not started for {args['service']}"
    current = frozenset(service.pid for service in manager.services() if service.pid)
    if pid == os.getpid() or descends_from(pid, current):
        return f"process {pid} belongs to a running service"
    return None


def _stop_orphan(manager: Manager, args: Facts) -> None:
    pid = int(args["pid"])
    try:
        process = psutil.Process(pid)
        process.terminate()
        psutil.wait_procs([process], timeout=TERM_SECONDS)
        if _check_orphan(manager, args) is None:  # still the same process, and still nobody's
            process.kill()
            process.wait(TERM_SECONDS)
    except psutil.NoSuchProcess:
        return


def _check_directory(_manager: Manager, args: Facts) -> str | None:
    path = Path(args["path"])
    if not path.is_absolute() or ".." in path.parts or any(root in (path, *path.parents) for root in FORBIDDEN_ROOTS):
        return f"{path} is not a place where directories may be created"
    if path.exists():
        return f"{path} exists"
    return None if _writable(path) else f"creating {path} needs more rights than this process has"


def _create_directory(_manager: Manager, args: Facts) -> None:
    Path(args["path"]).mkdir(parents=True)


def _missing_parts(_manager: Manager, args: Facts) -> str:
    path = Path(args["path"])
    return json.dumps([str(part) for part in (path, *path.parents) if not part.exists()])


def _remove_parts(_manager: Manager, _args: Facts, token: str) -> None:
    for part in map(Path, json.loads(token)):
        if not part.is_dir() or any(part.iterdir()):
            return
        part.rmdir()


def _enqueue(_manager: Manager, args: Facts) -> None:
    """Report upward through the executor's command line; the two parts never import each other."""
    words = ("enqueue", args["kind"], "--payload", args["payload"], "--dedupe", args["key"])
    run([sys.executable, "-m", "dbsafety_runtime", "executor", *words])


CODE: Final[Mapping[str, Code]] = {
    "write_dropin": Code(_write_dropin, _check_dropin, _previous, _restore),
    "remove_dropin": Code(_remove_dropin, _check_override, _previous, _restore),
    "daemon_reload": Code(lambda manager, _args: manager.reload(), _fine),
    "start": Code(lambda manager, args: manager.start(args["service"])),
    "restart": Code(_restart),
    "reset_failed": Code(lambda manager, args: manager.reset(args["service"])),
    "stop_orphan": Code(_stop_orphan, _check_orphan),
    "create_directory": Code(_create_directory, _check_directory, _missing_parts, _remove_parts),
    "enqueue_task": Code(_enqueue, _fine),
}


ACTIONS: Final[Mapping[str, Mapping[str, Any]]] = table("playbooks.toml")["action"]
"""What each of them has to be told (`params`), what it touches (`radius`), and whether it is `reversible`."""


def known(action: str, args: Collection[str]) -> bool:
    """Say whether there is such an action that takes just these arguments."""
    return action in CODE and set(args) == set(ACTIONS[action]["params"])


def problems(manager: Manager, plan: Plan) -> list[str]:
    """Dry run: return why the plan cannot be carried out, step by step; nothing is changed."""
    found = []
    for step in plan.steps:
        if not known(step.action, step.args):
            found.append(f"{step.action} is no action with these arguments")
        elif reason := _checked(manager, step):
            found.append(f"{step.text()}: {reason}")
    return found


def _checked(manager: Manager, step: Step) -> str | None:
    try:
        return CODE[step.action].check(manager, step.args)
    except FAILURES as error:
        return str(error)


def reversible(plan: Plan) -> bool:
    """Say whether every step can be undone or leaves nothing behind."""
    return all(ACTIONS[step.action]["reversible"] for step in plan.steps)


def tokens(manager: Manager, plan: Plan) -> list[str | None]:
    """Return what undoing each step will need; taken and stored before anything is changed. Raises OSError."""
    return [CODE[step.action].token(manager, step.args) for step in plan.steps]


def apply(manager: Manager, plan: Plan) -> float:
    """Carry out all steps and return the seconds it took; raises ActionRefused at the first that fails."""
    started = time.monotonic()
    for step in plan.steps:
        if reason := _checked(manager, step):
            raise ActionRefused(f"{step.text()}: {reason}")
        reach(f"before_{step.action}")
        try:
            CODE[step.action].apply(manager, step.args)
        except FAILURES as error:
            raise ActionRefused(f"{step.text()}: {error}") from error
        reach(f"after_{step.action}")
    return time.monotonic() - started


def undo(manager: Manager, plan: Plan, kept: list[str | None]) -> list[str]:
    """Undo the steps in reverse order, also those that were never applied; return what could not be undone."""
    failed = []
    for step, token in reversed(list(zip(plan.steps, kept, strict=False))):
        back = CODE[step.action].undo
        if back is not None and token is not None:
            try:
                back(manager, step.args, token)
            except FAILURES as error:
                failed.append(f"{step.text()}: {error}")
    return failed
