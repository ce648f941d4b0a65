"""The unit of work on a real server: what it commits, refuses, retries, resolves and discards."""

from __future__ import annotations

import threading

import psycopg2
import pytest

from dbsafety_runtime.ops.embedded import EmbeddedPostgres
from dbsafety_runtime.ops.faults import PLAN
from dbsafety_runtime.storage import pg, uow
from dbsafety_runtime.storage.errors import (
    CommitRefused,
    CommitUnknown,
    Disconnected,
    Rejected,
    ResourceExhausted,
    Retryable,
    StorageBug,
    StorageFault,
)
from dbsafety_runtime.storage.pg import Target
from dbsafety_runtime.storage.uow import Prepared, Store, Transaction, forbid_open_transaction
from tests.runtime.pg.support import Proxy, assert_invariants, query, wait_until


@pytest.fixture
def store(dsn: str) -> Store:
    query(dsn, "CREATE TABLE note (n int PRIMARY KEY)")
    return Store(Target(dsn, lock_ms=300, statement_ms=2000))


def notes(dsn: str) -> list[int]:
    return [row[0] for row in query(dsn, "SELECT n FROM note ORDER BY n")]


def test_the_block_commits_on_its_normal_end_and_rolls_back_on_any_exception(store: Store, dsn: str) -> None:
    with store.write() as tx:
        tx.execute("INSERT INTO note VALUES (1)")
    with pytest.raises(KeyboardInterrupt), store.write() as tx:
        tx.execute("INSERT INTO note VALUES (2)")
        raise KeyboardInterrupt
    assert notes(dsn) == [1]
    assert_invariants(dsn)


def test_19_a_swallowed_failure_is_never_committed(store: Store, dsn: str) -> None:
    with pytest.raises(CommitRefused, match="nothing was saved"), store.write() as tx:
        tx.execute("INSERT INTO note VALUES (1)")
        try:
            tx.execute("INSERT INTO no_such_table VALUES (1)")
        except StorageBug:
            pass
    assert notes(dsn) == []
    assert_invariants(dsn)


def test_a_savepoint_keeps_the_rest(store: Store, dsn: str) -> None:
    with store.write() as tx:
        tx.execute("INSERT INTO note VALUES (1)")
        with pytest.raises(Rejected), tx.savepoint():
            tx.execute("INSERT INTO note VALUES (1)")
        with tx.savepoint():
            tx.execute("INSERT INTO note VALUES (2)")
    assert notes(dsn) == [1, 2]


def test_a_savepoint_on_a_lost_session_raises_the_first_error(store: Store, dsn: str) -> None:
    with pytest.raises(Disconnected), store.write() as tx, tx.savepoint():
        query(dsn, "SELECT pg_terminate_backend(%s)", tx.backend)
        tx.execute("SELECT 1")
    assert_invariants(dsn)


def test_reads_leave_no_transaction_open_and_cannot_write(store: Store, dsn: str) -> None:
    with store.read() as tx:
        assert tx.execute("SELECT count(*) FROM note") == [(0,)]
        pid = tx.backend
    assert query(dsn, "SELECT state FROM pg_stat_activity WHERE pid = %s", pid) == [("idle",)]
    with pytest.raises(ResourceExhausted) as caught, store.read() as tx:
        tx.execute("INSERT INTO note VALUES (1)")
    assert caught.value.code == "25006"
    with pytest.raises(CommitRefused), store.read() as tx:
        try:
            tx.execute("SELECT 1/0")
        except Rejected:
            pass
    assert_invariants(dsn)


def test_nested_use_and_foreign_calls_inside_are_bugs(store: Store, dsn: str) -> None:
    with store.write():
        with pytest.raises(StorageBug, match="a second unit of work inside"), store.write():
            pass
        with pytest.raises(StorageBug, match="a network call inside"):
            forbid_open_transaction("a network call")
    forbid_open_transaction("a network call")
    with store.write() as tx:
        pass
    with pytest.raises(StorageBug, match="after its unit of work had ended"):
        tx.execute("SELECT 1")
    assert_invariants(dsn)


def test_a_nul_in_text_is_the_datas_fault(store: Store) -> None:
    with pytest.raises(Rejected, match="NUL"), store.write() as tx:
        tx.execute("SELECT %s", ("a\0b",))


def test_a_prepared_statement_is_planned_anew_after_a_while(
    store: Store, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One plan for many calls, but none that was made for an empty table stays."""
    monkeypatch.setattr(uow, "PLAN_SECONDS", 0.0)
    statement = Prepared("find", "int", "SELECT n FROM note WHERE n = $1")

    def plan(tx: Transaction) -> str:
        return "".join(str(row[0]) for row in tx.execute("EXPLAIN EXECUTE find (7)"))

    with store.write() as tx:
        query(dsn, "VACUUM note")
        assert tx.call(statement, 7) == []
        assert "Seq Scan" in plan(tx)
    query(dsn, "INSERT INTO note SELECT generate_series(1, 5000)")
    with store.read() as tx:
        assert "Seq Scan" in plan(tx)
        assert tx.call(statement, 7) == [(7,)]
        assert "Index Only Scan" in plan(tx)


def test_20_a_serialization_failure_runs_the_whole_unit_again(store: Store, dsn: str) -> None:
    runs: list[int] = []

    def work(tx: Transaction) -> None:
        runs.append(1)
        tx.execute("INSERT INTO note VALUES (%s)", (len(runs),))
        if len(runs) < 3:
            tx.execute("DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END $$")

    store.run(work)
    assert (len(runs), notes(dsn)) == (3, [3])
    always = Store(Target(dsn), tries=2)
    with pytest.raises(Retryable):
        always.run(lambda tx: tx.execute("DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END $$"))
    assert_invariants(dsn)


def test_20_a_real_deadlock_is_retried(dsn: str) -> None:
    query(dsn, "CREATE TABLE note (n int PRIMARY KEY, by text)")
    query(dsn, "INSERT INTO note VALUES (1), (2)")
    meet = threading.Barrier(2)
    tries: list[str] = []

    def both(name: str, first: int, second: int) -> None:
        def work(tx: Transaction) -> None:
            tries.append(name)
            tx.execute("UPDATE note SET by = %s WHERE n = %s", (name, first))
            if tries.count(name) == 1:
                meet.wait(10)
            tx.execute("UPDATE note SET by = %s WHERE n = %s", (name, second))

        Store(Target(dsn)).run(work)

    threads = [threading.Thread(target=both, args=args) for args in (("a", 1, 2), ("b", 2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(tries) == 3
    assert len(set(query(dsn, "SELECT by FROM note"))) == 1
    assert_invariants(dsn)


def test_21_a_lock_timeout_is_retryable(store: Store, dsn: str) -> None:
    once = Store(Target(dsn, lock_ms=100), tries=1)
    with store.write() as tx:
        tx.execute("LOCK TABLE note IN ACCESS EXCLUSIVE MODE")
        failed: list[StorageFault] = []

        def other() -> None:
            try:
                once.run(lambda tx: tx.execute("INSERT INTO note VALUES (1)"))
            except StorageFault as fault:
                failed.append(fault)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(10)
    assert [(type(fault), fault.code) for fault in failed] == [(Retryable, "55P03")]
    once.run(lambda tx: tx.execute("INSERT INTO note VALUES (1)"))
    assert_invariants(dsn)


def test_a_lost_session_before_the_commit_is_run_again(store: Store, dsn: str) -> None:
    PLAN.add("before_commit", lambda: query(dsn, "SELECT pg_terminate_backend(%s)", uow._active.tx.backend))
    store.run(lambda tx: tx.execute("INSERT INTO note VALUES (1)"))
    assert notes(dsn) == [1]
    assert_invariants(dsn)


def test_9_a_commit_whose_answer_is_lost_counts_once(proxy: Proxy, dsn: str) -> None:
    query(dsn, "CREATE TABLE note (n int)")
    proxy.modes["swallow"] = "pass"
    store = Store(Target(proxy.dsn).named("swallow"))
    proxy.modes.clear()
    store.run(lambda tx: tx.execute("SELECT 1"))
    proxy.modes["swallow"] = "swallow_commit"
    runs: list[int] = []

    def work(tx: Transaction) -> str:
        runs.append(1)
        tx.execute("INSERT INTO note VALUES (1)")
        return "kept"

    assert store.run(work) == "kept"
    assert (runs, notes(dsn)) == ([1], [1])
    assert_invariants(dsn)


def test_9_a_commit_that_never_arrived_is_run_again(proxy: Proxy, dsn: str) -> None:
    query(dsn, "CREATE TABLE note (n int)")
    store = Store(Target(proxy.dsn).named("lose"))
    store.run(lambda tx: tx.execute("SELECT 1"))
    proxy.modes["lose"] = "lose_commit"
    runs: list[int] = []

    def work(tx: Transaction) -> None:
        runs.append(1)
        tx.execute("INSERT INTO note VALUES (1)")

    store.run(work)
    assert (len(runs), notes(dsn)) == (2, [1])
    assert_invariants(dsn)


def test_9_an_outcome_nobody_can_tell_is_said_so(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query(dsn, "CREATE TABLE note (n int)")
    monkeypatch.setattr(uow, "RESOLVE_SECONDS", 0.3)
    store = Store(Target(dsn))
    store.run(lambda tx: tx.execute("SELECT 1"))

    def cut_and_hide() -> None:
        query(dsn, "SELECT pg_terminate_backend(%s)", uow._active.tx.backend)
        store.target = Target("host=127.0.0.1 port=1 user=postgres dbname=postgres")

    PLAN.add("before_commit", cut_and_hide)
    with pytest.raises(CommitUnknown, match="did not say within 0 s"):
        store.run(lambda tx: tx.execute("INSERT INTO note VALUES (1)"))
    assert_invariants(dsn)


def test_9_the_open_backend_of_a_lost_session_is_ended(dsn: str) -> None:
    query(dsn, "CREATE TABLE note (n int)")
    store = Store(Target(dsn))
    stray = pg.connect(Target(dsn))
    with stray.cursor() as cur:
        cur.execute("BEGIN; INSERT INTO note VALUES (1) RETURNING pg_current_xact_id()::text")
        xid = cur.fetchone()
    assert xid is not None
    assert store._resolve(xid[0], stray.info.backend_pid, None) is False
    with pytest.raises(psycopg2.Error), stray.cursor() as cur:
        cur.execute("COMMIT")
    stray.close()
    assert notes(dsn) == []
    assert_invariants(dsn)


def test_9_a_number_given_out_again_after_a_crash_proves_nothing(store: Store, dsn: str) -> None:
    """`committed` is the answer about whoever has the number now; the mark tells whether that was us."""
    with store.write() as tx:
        tx.execute("INSERT INTO note VALUES (1)")
        xid = tx.execute("SELECT pg_current_xact_id()::text")[0][0]
    ((token,),) = query(dsn, "SELECT token::text FROM commit_marker")
    assert store._resolve(xid, 1, (uow.MARKED, (token,))) is True
    assert store._resolve(xid, 1, (uow.MARKED, ("00000000-0000-0000-0000-000000000000",))) is False


def test_9_repeatable_work_asks_no_question(store: Store, dsn: str) -> None:
    PLAN.add("before_commit", lambda: query(dsn, "SELECT pg_terminate_backend(%s)", uow._active.tx.backend))
    sql = "INSERT INTO note VALUES (1) ON CONFLICT DO NOTHING"
    store.run(lambda tx: tx.execute(sql), repeatable=True)
    assert notes(dsn) == [1]
    assert query(dsn, "SELECT count(*) FROM commit_marker") == [(0,)]


def test_a_deferred_constraint_fails_in_the_commit(store: Store, dsn: str) -> None:
    query(dsn, "CREATE TABLE pair (n int REFERENCES note DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(Rejected) as caught, store.write() as tx:
        tx.execute("INSERT INTO pair VALUES (7)")
    assert caught.value.code == "23503"
    store.run(lambda tx: tx.execute("INSERT INTO note VALUES (1)"))
    assert_invariants(dsn)


def test_22_an_exhausted_pool_waits_a_bounded_time_and_says_so(dsn: str) -> None:
    small = Store(Target(dsn), size=1, wait=0.1)
    errors: list[StorageFault] = []

    def second() -> None:
        try:
            small.run(lambda tx: tx.execute("SELECT 1"))
        except StorageFault as fault:
            errors.append(fault)

    with small.write():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(10)
    assert [str(error)[:30] for error in errors] == ["no free connection within 0.1 "]
    assert isinstance(errors[0], ResourceExhausted)
    small.run(lambda tx: tx.execute("SELECT 1"))
    assert_invariants(dsn)


def test_a_pool_hands_out_no_dirty_session(dsn: str) -> None:
    pool = pg.Pool(Target(dsn), 2)
    first = pool.take()
    with first.cursor() as cur:
        cur.execute("BEGIN")
    pool.give(first)  # in a transaction: closed, not reused
    assert first.closed
    second = pool.take()
    pool.give(second)
    with second.cursor() as cur:
        cur.execute("BEGIN")  # used behind the pool's back
    third = pool.take()
    assert (third is second, bool(second.closed)) == (False, True)
    pool.give(third)
    pool.close()
    assert third.closed
    assert_invariants(dsn)


def test_a_pool_hands_out_no_session_that_the_server_has_ended(dsn: str) -> None:
    pool = pg.Pool(Target(dsn), 1)
    conn = pool.take()
    pool.give(conn)
    query(dsn, "SELECT pg_terminate_backend(%s, 5000)", conn.info.backend_pid)
    again = pool.take()
    assert (again is conn, bool(conn.closed)) == (False, True)
    assert again.rows("SELECT 1") == [(1,)]
    pool.give(again)
    pool.close()
    assert_invariants(dsn)


def test_a_scrubbed_session_forgets_what_foreign_code_left(dsn: str) -> None:
    pool = pg.Pool(Target(dsn), 1, scrub=True)
    conn = pool.take()
    with conn.cursor() as cur:
        cur.execute("SET search_path = nowhere")
        cur.execute("SELECT pg_advisory_lock(1)")
    pool.give(conn)
    again = pool.take()
    with again.cursor() as cur:
        cur.execute("SHOW search_path")
        assert cur.fetchone() == ('"$user", public',)
    assert query(dsn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
    query(dsn, "SELECT pg_terminate_backend(%s)", again.info.backend_pid)
    pool.give(again)  # cannot be scrubbed: discarded
    assert again.closed
    assert_invariants(dsn)


def test_a_pool_slot_is_not_lost_when_the_server_is_away() -> None:
    pool = pg.Pool(Target("host=127.0.0.1 port=1 user=postgres dbname=postgres"), 1)
    for _ in range(3):
        with pytest.raises(Disconnected):
            pool.take()


def test_11_a_silent_peer_is_cut(proxy: Proxy, dsn: str) -> None:
    store = Store(Target(proxy.dsn, statement_ms=200).named("half-open"), tries=1)
    store.run(lambda tx: tx.execute("SELECT 1"))
    conn = store._pool._free.queue[-1]
    conn.limit = 0.5
    proxy.modes["half-open"] = "hole"
    with pytest.raises(Disconnected):
        store.run(lambda tx: tx.execute("SELECT 1"))
    proxy.modes.clear()
    store.run(lambda tx: tx.execute("SELECT 1"))
    assert conn.closed
    assert_invariants(dsn)


def test_waiting_for_the_server_is_bounded_and_names_the_reason(dsn: str) -> None:
    pg.wait_for_server(Target(dsn), 5)
    with pytest.raises(Disconnected, match="Connection refused"):
        pg.wait_for_server(Target("host=127.0.0.1 port=1 user=postgres dbname=postgres"), 0.5, pause=0.1)


def test_limits_are_set_on_the_server_after_those_of_the_dsn(dsn: str) -> None:
    target = Target(dsn + " options='-c work_mem=5MB'", statement_ms=1234, lock_ms=567).named("limits")
    with Store(target).read() as tx:
        names = (
            "work_mem",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "application_name",
        )
        assert [tx.execute("SELECT current_setting(%s)", (name,))[0][0] for name in names] == [
            "5MB", "1234ms", "567ms", "15s", "dbsafety:limits",
        ]  # fmt: skip
    with pg.side_session(target) as conn:
        assert conn.info.dsn_parameters["tcp_user_timeout"] == "12000"


def test_side_sessions_classify_driver_errors(dsn: str) -> None:
    with pytest.raises(Rejected), pg.side_session(Target(dsn)) as conn, conn.cursor() as cur:
        cur.execute("SELECT 1/0")


def test_a_subscription_tells_once_and_notices_its_loss(dsn: str, server: EmbeddedPostgres) -> None:
    with pg.subscribe(Target(dsn).named("ear"), ("news",)) as subscription:
        query(dsn, "SELECT pg_notify('news', 'a'), pg_notify('news', 'b')")
        heard: list[tuple[str, str]] = []
        wait_until(lambda: heard.extend(subscription.collect()) or len(heard) == 2)
        assert heard == [("news", "a"), ("news", "b")]
        query(dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbsafety:ear'")
        with pytest.raises(Disconnected):
            wait_until(lambda: subscription.collect() == ("never",))
        assert subscription.fileno() is None
