"""asyncpg at work on a real server."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import asyncpg
import pytest

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.drivers.table import FULL_TABLE

ASYNCPG = FULL_TABLE.driver("asyncpg")
CONNECTION, TRANSACTION = (ASYNCPG.handles[kind] for kind in (HandleKind.CONNECTION, HandleKind.TRANSACTION))


@pytest.fixture
def url(dsn: str) -> str:
    words = dict(word.split("=", 1) for word in dsn.split())
    return f"postgresql://{words['user']}@{words['host']}:{words['port']}/{words['dbname']}"


async def stored(conn: asyncpg.Connection) -> list[int]:
    return [row["id"] for row in await conn.fetch("SELECT id FROM t ORDER BY id")]


def test_without_a_transaction_every_statement_commits(url: str) -> None:
    async def scenario() -> None:
        conn, other = await asyncpg.connect(url), await asyncpg.connect(url)
        await conn.execute("INSERT INTO t VALUES (1)")
        assert ASYNCPG.default_autocommit
        assert await stored(other) == [1]
        assert not hasattr(conn, "rollback")
        with pytest.raises(asyncpg.UniqueViolationError):
            await conn.execute("INSERT INTO t VALUES (1)")
        assert await conn.fetchval("SELECT 1") == 1
        await conn.close()
        assert conn.is_closed()
        await other.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [False, True])
def test_the_block_of_a_transaction(url: str, fails: bool) -> None:
    block = TRANSACTION.with_block
    assert block is not None

    async def scenario() -> list[int]:
        conn = await asyncpg.connect(url)
        with suppress(ZeroDivisionError):
            async with conn.transaction():
                assert conn.is_in_transaction() is block.begins
                await conn.execute("INSERT INTO t VALUES (1)")
                if fails:
                    raise ZeroDivisionError
        assert not conn.is_in_transaction()
        found = await stored(conn)
        await conn.close()
        return found

    found = asyncio.run(scenario())
    assert (block.error if fails else block.success) is (Effect.COMMIT if found else Effect.ROLLBACK)


@pytest.mark.parametrize("name", ["commit", "rollback", "reset", "terminate"])
def test_methods_that_end_a_transaction(url: str, name: str) -> None:
    effect = {**CONNECTION.methods, **TRANSACTION.methods}[name].effect

    async def scenario() -> Effect:
        conn, other = await asyncpg.connect(url), await asyncpg.connect(url)
        transaction = conn.transaction()
        await transaction.start()
        assert conn.is_in_transaction()
        await conn.execute("INSERT INTO t VALUES (1)")
        if name in TRANSACTION.methods:
            await getattr(transaction, name)()
        elif name == "reset":
            await conn.reset()
        else:
            conn.terminate()
        if conn.is_closed():
            seen = Effect.CLOSE
        else:
            assert not conn.is_in_transaction()
            seen = Effect.COMMIT if await stored(other) else Effect.ROLLBACK
            await conn.close()
        await other.close()
        return seen

    assert asyncio.run(scenario()) is effect


def test_an_aborted_transaction_fails_and_its_commit_stores_nothing(url: str) -> None:
    async def scenario() -> None:
        conn = await asyncpg.connect(url)
        async with conn.transaction():
            await conn.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(asyncpg.DivisionByZeroError):
                await conn.execute("SELECT 1/0")
            with pytest.raises(asyncpg.InFailedSQLTransactionError, match=ASYNCPG.aborted_error):
                await conn.execute("SELECT 1")
        assert await stored(conn) == []
        await conn.close()

    asyncio.run(scenario())


def test_what_a_pool_lends_is_released_by_the_block(url: str) -> None:
    block = CONNECTION.with_block
    assert block is not None
    assert (block.success, block.closes) == (Effect.RELEASE, True)

    async def scenario() -> None:
        async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
            async with pool.acquire() as conn:
                assert await conn.fetchval("SELECT 1") == 1
            with pytest.raises(asyncpg.InterfaceError, match="released back to the pool"):
                await conn.fetchval("SELECT 1")
            again = await pool.acquire()
            await pool.release(again)
        assert pool.is_closing()

    asyncio.run(scenario())
