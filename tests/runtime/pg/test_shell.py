"""The shell handler: allow-list, no shell, deadline, output."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.executor.shell import OUTPUT_LIMIT, shell_handler
from tests.runtime.pg.support import WorkerThread, all_done, assert_invariants, events, query, wait_until


def script(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def outcome(
    dsn: str, queue: TaskQueue, allowed: tuple[str, ...], payload: object, **options: object
) -> tuple[str, object]:
    queue.enqueue("shell", payload, max_attempts=1, **options)
    with WorkerThread(dsn, {"shell": shell_handler(allowed)}):
        wait_until(lambda: all_done(dsn))
    assert_invariants(dsn, tasks=1)
    status, result, error = query(dsn, "SELECT status, result, last_error->>'message' FROM jr_task_announcements")[0]
    return status, result if error is None else error


def test_a_program_runs_without_a_shell(dsn: str, queue: TaskQueue, tmp_path: Path) -> None:
    program = script(tmp_path, 'read line; echo "$1|$line|$TASK_ID|$TASK_KEY|$HOME"; echo more >&2')
    payload = {"argv": [program, "a; rm -rf $HOME"], "stdin": "given\n"}
    assert outcome(dsn, queue, (program,), payload) == (
        "completed", {"code": 0, "output": "a; rm -rf $HOME|given|1|jr-1|\nmore\n"},
    )  # fmt: skip


def test_long_output_is_cut_with_a_mark_and_nul_made_visible(dsn: str, queue: TaskQueue, tmp_path: Path) -> None:
    program = script(tmp_path, "printf 'a\\0b'; head -c 70000 /dev/zero | tr '\\0' x")
    status, result = outcome(dsn, queue, (program,), {"argv": [program]})
    assert status == "completed"
    assert isinstance(result, dict)
    assert result["output"].startswith("a\\0bxxx")
    assert result["output"].endswith(f"\n[{70003 - OUTPUT_LIMIT} characters cut]")


def test_another_code_than_0_fails_with_the_output(dsn: str, queue: TaskQueue, tmp_path: Path) -> None:
    program = script(tmp_path, "echo why; exit 3")
    assert outcome(dsn, queue, (program,), {"argv": [program]}) == ("failed", f"{program} ended with code 3: why\n")


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"argv": ["/bin/sh", "-c", "echo"]}, "/bin/sh is not on the allow-list of the shell handler"),
        ({"argv": ["/no/such/program"]}, "/no/such/program does not exist"),
        ({"argv": []}, 'the payload must be {"argv": ["/path/of/program", ...], "stdin": "..."}'),
        ({"argv": "ls"}, 'the payload must be {"argv": ["/path/of/program", ...], "stdin": "..."}'),
        ([1], 'the payload must be {"argv": ["/path/of/program", ...], "stdin": "..."}'),
        ({"argv": ["/no/such/program"], "stdin": 3}, "stdin must be a text"),
    ],
)
def test_what_is_not_allowed_fails_for_good(dsn: str, queue: TaskQueue, payload: object, message: str) -> None:
    assert outcome(dsn, queue, ("/no/such/program",), payload) == ("failed", message)


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
def test_the_deadline_ends_the_whole_process_group(dsn: str, queue: TaskQueue, tmp_path: Path, stubborn: str) -> None:
    pid_file = tmp_path / "pid"
    program = script(tmp_path, f"{stubborn}echo $$ > {pid_file}; while :; do sleep 0.2; done")
    assert outcome(dsn, queue, (program,), {"argv": [program]}, deadline=0.5) == ("failed", "deadline")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    assert events(dsn, 1) == ["claimed", "failed"]
