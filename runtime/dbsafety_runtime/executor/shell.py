"""The shell handler: runs programs from an allow-list, without a shell, within the task's deadline."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from dbsafety_runtime.executor.handlers import Cancelled, Context, GiveUp, Handler

OUTPUT_LIMIT: Final = 64_000
TERM_SECONDS: Final = 1.0


def shell_handler(allowed: tuple[str, ...]) -> Handler:
    """Return a handler for payloads `{"argv": [program, ...], "stdin": text}`.

    The program must be one of `allowed` (absolute paths, compared as they are). Its result is exit code and output, cut
    at 64,000 characters with a mark; a code other than 0 fails the attempt. On cancel its process group gets SIGTERM,
    then SIGKILL.
    """

    def run(context: Context) -> Mapping[str, object]:
        argv, stdin = _checked(context.task.payload, allowed)
        env = {"PATH": os.defpath, "TASK_ID": str(context.task.task_id), "TASK_KEY": context.task.key}
        with subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            start_new_session=True,
        ) as process:
            output = _communicate(process, stdin, context)
        if len(output) > OUTPUT_LIMIT:
            output = output[:OUTPUT_LIMIT] + f"\n[{len(output) - OUTPUT_LIMIT} characters cut]"
        output = output.replace("\0", "\\0")
        if process.returncode != 0:
            raise RuntimeError(f"{argv[0]} ended with code {process.returncode}: {output[-2000:]}")
        return {"code": process.returncode, "output": output}

    return run


def _checked(payload: object, allowed: tuple[str, ...]) -> tuple[list[str], str]:
    argv = payload.get("argv") if isinstance(payload, dict) else None
    stdin = payload.get("stdin", "") if isinstance(payload, dict) else ""
    if not isinstance(argv, list) or not argv or not all(isinstance(part, str) for part in argv):
        raise GiveUp('the payload must be {"argv": ["/path/of/program", ...], "stdin": "..."}')
    if not isinstance(stdin, str):
        raise GiveUp("stdin must be a text")
    if argv[0] not in allowed:
        raise GiveUp(f"{argv[0]} is not on the allow-list of the shell handler")
    if not Path(argv[0]).is_file():
        raise GiveUp(f"{argv[0]} does not exist")
    return argv, stdin


def _communicate(process: subprocess.Popen[str], stdin: str, context: Context) -> str:
    given: str | None = stdin
    while True:
        try:
            return process.communicate(given, timeout=0.2)[0]
        except subprocess.TimeoutExpired:
            given = None
        if context.cancelled.is_set():
            _end(process)
            raise Cancelled(context.reason)


def _end(process: subprocess.Popen[str]) -> None:
    """End the whole process group, gently first."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(TERM_SECONDS)
