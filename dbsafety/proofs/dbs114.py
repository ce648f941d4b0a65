"""The proof of DBS114: a cancelled task goes on and commits what it had written so far."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage, raised

PROOF = Proof(
    facts=("B9b", "B9c"),
    drivers=("sqlite3",),
    needs=("aiosqlite",),
    setup=("CREATE TABLE orders (id INTEGER PRIMARY KEY)",),
    story="The task is cancelled while it waits between its write and its commit.",
    bad={"the cancelled task": "ended normally", "orders": "[1]"},
    good={"the cancelled task": "CancelledError", "orders": "[]"},
)


def failing(stage: Stage) -> None:
    """Cancelled in the middle."""
    stage.see("the cancelled task", asyncio.run(_cancelled(stage)))
    stage.see("orders", stage.values("SELECT id FROM orders"))


def happy(stage: Stage) -> None:
    """Left alone."""
    stage.see("returned", asyncio.run(_left_alone(stage)))
    stage.see("orders", stage.values("SELECT id FROM orders"))


@contextlib.asynccontextmanager
async def _orders(stage: Stage, wait: Callable[[], Awaitable[object]]) -> AsyncIterator[Any]:
    async with importlib.import_module("aiosqlite").connect(stage.address) as conn:
        yield stage.example.Orders(conn, SimpleNamespace(wait=wait))


async def _cancelled(stage: Stage) -> str:
    reached, never = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await never.wait()

    async with _orders(stage, wait) as orders:
        task = asyncio.create_task(orders.add(1))
        await reached.wait()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return raised(error)
        return "ended normally"


async def _left_alone(stage: Stage) -> object:
    paid = asyncio.Event()
    paid.set()
    async with _orders(stage, paid.wait) as orders:
        found: object = await orders.add(1)
        return found
