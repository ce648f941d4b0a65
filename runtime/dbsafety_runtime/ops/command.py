"""What the commands of both parts share: how they are told to stop, and how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import cast

import click

from dbsafety_runtime.ops import log


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Let SIGTERM and SIGINT call `stop`; the second one ends the process at once."""
    seen: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def run(
    commands: click.Group, arguments: Sequence[str], part: str, user_errors: tuple[type[Exception], ...],
    bugs: tuple[type[Exception], ...] = (),
) -> int:  # fmt: skip
    """Run a command of `part` and return its exit code.

    Errors a user can cause are one sentence without secrets and exit code 2; `bugs` are raised, also where they are
    among the others.
    """
    name = f"dbsafety_runtime {part}"
    try:
        return cast("int", commands.main(list(arguments), prog_name=f"python -m {name}", standalone_mode=False) or 0)
    except bugs:
        raise
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
    except user_errors as error:
        click.echo(f"{name}: {log.redact(str(error))}", err=True)
    return 2
