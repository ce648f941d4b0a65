"""Forward-only migrations: plain SQL files, one transaction each, checksummed, serialised by an advisory lock."""

from __future__ import annotations

from functools import partial
from typing import Final

from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.storage.errors import SchemaMismatch, StorageFault
from dbsafety_runtime.storage.scripts import Migration, known
from dbsafety_runtime.storage.uow import Store, Transaction

LOCK: Final = "SELECT pg_advisory_xact_lock(7236, 1)"
TABLE_EXISTS: Final = "SELECT to_regclass('schema_migration') IS NOT NULL"
CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migration (
  version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, oldest_reader int NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp())
"""
APPLIED: Final = "SELECT version, checksum, oldest_reader FROM schema_migration ORDER BY version"
RECORD: Final = "INSERT INTO schema_migration (version, name, checksum, oldest_reader) VALUES (%s, %s, %s, %s)"


def _compare(tx: Transaction, migrations: tuple[Migration, ...]) -> int:
    """Return the database's version; raises SchemaMismatch when its history is not ours."""
    if not tx.execute(TABLE_EXISTS)[0][0]:
        return 0
    ours = {migration.version: migration for migration in migrations}
    newest = max(ours, default=0)
    version = 0
    for version, checksum, oldest_reader in tx.execute(APPLIED):
        if version in ours and ours[version].checksum != checksum:
            raise SchemaMismatch(f"migration {version:04d} in the database differs from the shipped file")
        if version not in ours and oldest_reader > newest:
            raise SchemaMismatch(f"the database has schema {version}, this program knows {newest}: upgrade the program")
    return int(version)


def check(store: Store, migrations: tuple[Migration, ...] | None = None) -> int:
    """Return the database's schema version; raises SchemaMismatch unless this program can work with it."""
    ours = known() if migrations is None else migrations
    with store.read() as tx:
        version = _compare(tx, ours)
    if version < ours[-1].version:
        raise SchemaMismatch(f"the database has schema {version}, this program needs {ours[-1].version}: run migrate")
    return version


def migrate(store: Store, migrations: tuple[Migration, ...] | None = None) -> int:
    """Apply what is missing and return the version; safe to run by many processes at once, resumable after a kill.

    Raises SchemaMismatch, or a StorageFault naming the file that failed (nothing of that file is kept).
    """
    ours = known() if migrations is None else migrations

    def prepare(tx: Transaction) -> int:
        tx.execute(LOCK)
        version = _compare(tx, ours)
        tx.execute(CREATE_TABLE)
        return version

    version = store.run(prepare, repeatable=True)
    for migration in ours:
        version = max(version, _apply_one(store, migration, ours))
    return version


def _apply_one(store: Store, migration: Migration, ours: tuple[Migration, ...]) -> int:
    try:
        return store.run(partial(_apply, migration, ours), repeatable=True)
    except StorageFault as fault:
        raise type(fault)(f"migration {migration.version:04d}_{migration.name}: {fault}", fault.code) from fault


def _apply(migration: Migration, ours: tuple[Migration, ...], tx: Transaction) -> int:
    tx.execute(LOCK)
    version = _compare(tx, ours)
    if version >= migration.version:
        return version
    tx.execute("SET LOCAL statement_timeout = 0")
    tx.execute(migration.sql)
    tx.execute(RECORD, (migration.version, migration.name, migration.checksum, migration.oldest_reader))
    reach("before_migration_commit")
    return migration.version
