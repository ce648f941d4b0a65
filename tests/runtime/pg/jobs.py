"""Handlers for worker processes under test."""

from __future__ import annotations

import os
import time

from dbsafety_runtime.executor.handlers import Context, handler


@handler("noop")
def noop(_context: Context) -> None:
    pass


@handler("sleep")
def sleep(context: Context) -> str:
    context.cancelled.wait(context.task.payload["seconds"])
    context.checkpoint()
    return "slept"


@handler("stubborn")
def stubborn(context: Context) -> None:
    time.sleep(context.task.payload["seconds"])


@handler("abort")
def abort(_context: Context) -> None:
    os.abort()


@handler("effect")
def effect(context: Context) -> str:
    """An effect in its own commit, then an ordinary return: once, even when the attempt is repeated."""
    with context.write() as tx:
        new = context.once(tx, "mark")
        if new:
            tx.execute("INSERT INTO thermal_memory (body) VALUES ('effect')")
    return "did it" if new else "was done already"


@handler("leave_open")
def leave_open(context: Context) -> None:
    manager = context.write()
    LEFT.append(manager)
    manager.__enter__().execute("SELECT 1")


LEFT: list[object] = []
