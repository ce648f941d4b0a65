"""Migrations: one schema from every start, by any number of processes, killed or not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from dbsafety_runtime.ops.faults import ACTIONS, PLAN
from dbsafety_runtime.storage import migrate
from dbsafety_runtime.storage.errors import Rejected, SchemaMismatch, StorageBug
from dbsafety_runtime.storage.migrate import Migration
from dbsafety_runtime.storage.pg import Target
from dbsafety_runtime.storage.uow import Store
from tests.runtime.pg.support import assert_invariants, make_queue, query

COLUMNS = """SELECT column_name, data_type, is_nullable, column_default, is_identity, identity_generation
FROM information_schema.columns WHERE table_name = 'jr_task_announcements' ORDER BY ordinal_position"""
CONSTRAINTS = """SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'jr_task_announcements'::regclass AND contype <> 'n' ORDER BY 1"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename = 'jr_task_announcements' ORDER BY 1"


def schema(dsn: str) -> list[object]:
    return [sorted(query(dsn, sql)) if sql is COLUMNS else query(dsn, sql) for sql in (COLUMNS, CONSTRAINTS, INDEXES)]


def run_in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process and return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


@pytest.mark.parametrize("task_id", ["serial PRIMARY KEY", "bigint", "int PRIMARY KEY", "text"])
def test_a_legacy_table_is_migrated_in_place(empty_dsn: str, dsn: str, task_id: str) -> None:
    query(
        empty_dsn,
        f"""CREATE TABLE jr_task_announcements
            (task_id {task_id}, status varchar(20), announced_at timestamp DEFAULT now())""",
    )
    query(
        empty_dsn,
        """INSERT INTO jr_task_announcements (task_id, status) VALUES
           (1, 'assigned'), (2, 'in_progress'), (3, 'completed'), (4, 'failed'), (7, NULL)""",
    )
    assert migrate.migrate(Store(Target(empty_dsn))) == 2
    assert schema(empty_dsn) == schema(dsn)
    assert query(empty_dsn, "SELECT task_id, status FROM jr_task_announcements ORDER BY 1") == [
        (1, "assigned"), (2, "in_progress"), (3, "completed"), (4, "failed"), (7, "assigned"),
    ]  # fmt: skip
    queue = make_queue(empty_dsn, "unassigned")
    assert queue.rescue() == ((2, "assigned"),)
    assert queue.enqueue("new") == (8, True)
    queue.store.close()
    assert_invariants(empty_dsn, tasks=6)


def test_a_legacy_table_with_unknown_status_values_is_refused_untouched(empty_dsn: str) -> None:
    query(empty_dsn, "CREATE TABLE jr_task_announcements (task_id int, status text, announced_at timestamptz)")
    query(empty_dsn, "INSERT INTO jr_task_announcements VALUES (1, 'paused', now())")
    with pytest.raises(Rejected, match=r"migration 0001_executor: .*unknown status values: paused; rename them first"):
        migrate.migrate(Store(Target(empty_dsn)))
    assert query(empty_dsn, "SELECT * FROM jr_task_announcements")[0][:2] == (1, "paused")
    assert query(empty_dsn, "SELECT count(*) FROM schema_migration") == [(0,)]


def test_migrating_twice_changes_nothing_and_check_agrees(dsn: str) -> None:
    store = Store(Target(dsn))
    before = query(dsn, "SELECT * FROM schema_migration")
    assert (migrate.migrate(store), migrate.check(store)) == (2, 2)
    assert query(dsn, "SELECT * FROM schema_migration") == before


def test_check_tells_which_side_to_upgrade(empty_dsn: str, dsn: str) -> None:
    with pytest.raises(SchemaMismatch, match="the database has schema 0, this program needs 2: run migrate"):
        migrate.check(Store(Target(empty_dsn)))
    query(dsn, "INSERT INTO schema_migration VALUES (3, 'later', 'x', 3)")
    for step in (migrate.check, migrate.migrate):
        with pytest.raises(SchemaMismatch, match="has schema 3, this program knows 2: upgrade the program"):
            step(Store(Target(dsn)))


def test_a_changed_file_is_noticed(dsn: str) -> None:
    query(dsn, "UPDATE schema_migration SET checksum = 'other' WHERE version = 1")
    with pytest.raises(SchemaMismatch, match="migration 0001 in the database differs from the shipped file"):
        migrate.check(Store(Target(dsn)))


def test_42_an_old_program_works_with_a_newer_schema_that_allows_it_and_refuses_another(dsn: str) -> None:
    ours = migrate.known()
    harmless = Migration(3, "harmless", "ALTER TABLE jr_task_announcements ADD COLUMN note text", 1)
    store = Store(Target(dsn))
    assert migrate.migrate(store, (*ours, harmless)) == 3
    assert migrate.check(store) == 3
    queue = make_queue(dsn)
    queue.enqueue("x")
    (task,) = queue.claim(1)
    queue.complete_task(task)
    queue.store.close()
    breaking = Migration(4, "breaking", "ALTER TABLE jr_task_announcements RENAME COLUMN kind TO sort", 4)
    assert migrate.migrate(store, (*ours, harmless, breaking)) == 4
    with pytest.raises(SchemaMismatch, match="upgrade the program"):
        migrate.check(store)
    assert_invariants(dsn, tasks=1)


def test_a_failing_file_leaves_nothing_and_is_named(dsn: str) -> None:
    bad = Migration(3, "bad", "CREATE TABLE half (n int); SELECT nonsense", 1)
    with pytest.raises(StorageBug, match="migration 0003_bad: column"):
        migrate.migrate(Store(Target(dsn)), (*migrate.known(), bad))
    assert query(dsn, "SELECT to_regclass('half')") == [(None,)]
    assert migrate.migrate(Store(Target(dsn)), (*migrate.known(), replace(bad, sql="SELECT 1"))) == 3


def test_41_four_processes_one_killed_give_one_schema(empty_dsn: str, dsn: str) -> None:
    def work() -> None:
        migrate.migrate(Store(Target(empty_dsn), tries=20))

    def killed() -> None:
        PLAN.add("before_migration_commit", ACTIONS["kill"])
        work()

    children = [run_in_child(job) for job in (killed, work, work, work)]
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children)
    assert codes[-3:] == [0, 0, 0]
    assert codes[0] in (0, -signal.SIGKILL)
    assert schema(empty_dsn) == schema(dsn)
    assert query(empty_dsn, "SELECT version FROM schema_migration ORDER BY 1") == [(1,), (2,)]


def test_41_a_killed_migration_is_resumed(empty_dsn: str, dsn: str) -> None:
    def killed() -> None:
        PLAN.add("before_migration_commit", ACTIONS["kill"], on_pass=2)
        migrate.migrate(Store(Target(empty_dsn)))

    assert os.waitstatus_to_exitcode(os.waitpid(run_in_child(killed), 0)[1]) == -signal.SIGKILL
    assert query(empty_dsn, "SELECT version FROM schema_migration") == [(1,)]
    assert migrate.migrate(Store(Target(empty_dsn))) == 2
    assert schema(empty_dsn) == schema(dsn)
