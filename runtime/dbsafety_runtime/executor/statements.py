"""The executor's SQL: every change of state is fenced by attempt and owner and writes its history with it."""

from __future__ import annotations

from typing import Final

from dbsafety_runtime.storage.uow import Prepared

TASK: Final = """task_id, attempt, kind, assignee, payload, priority, failures, max_attempts, lost_leases,
  date_part('epoch', deadline), group_key, run_at"""

# A task is ready when due; one of a group only when it is the group's oldest open task.
READY: Final = """status = 'assigned' AND run_at <= statement_timestamp() AND (group_key IS NULL OR NOT EXISTS (
    SELECT FROM jr_task_announcements g WHERE g.group_key = q.group_key AND g.task_id <> q.task_id
      AND (g.status = 'in_progress' OR g.status = 'assigned' AND g.task_id < q.task_id)))"""

AGAIN: Final = (
    """(o.verdict IN ('handback', 'interrupted') OR o.verdict = 'retry' AND t.failures + 1 < t.max_attempts)"""
)
JITTER: Final = "(0.5 + random() / 2)"

# $1 owner, $2 assignee, $3 how many, $4 lease, $5 solo, $6 lost leases that make a task a suspect: suspects run alone
# (solo), so that one that kills its worker takes no neighbours down. Rows are found by = ANY, never by a join the
# planner may turn into a scan of the table; an owner means in progress (constraint lease_while_running).
PICK: Final = """
picked AS (
  SELECT task_id FROM jr_task_announcements q WHERE assignee = $2 AND <ready>
    AND <which>
  ORDER BY priority DESC, run_at, task_id LIMIT $3 FOR UPDATE SKIP LOCKED
), claimed AS (
  UPDATE jr_task_announcements t SET status = 'in_progress', attempt = t.attempt + 1, lease_owner = $1,
    lease_until = clock_timestamp() + make_interval(secs => $4), started_at = clock_timestamp()
  WHERE t.task_id = ANY (ARRAY(SELECT task_id FROM picked)) RETURNING t.*
)""".replace("<ready>", READY)

FITTING: Final = "CASE WHEN $5 THEN lost_leases >= $6 ELSE lost_leases < $6 END"

# A transaction that only claims need not wait for the disk: a claim that a crash of the server undoes leaves the task
# ready, and nothing that was settled rests on it (a later flush takes the claim along).
CLAIM_ONLY: Final = """
WITH <pick>, history AS (
  INSERT INTO task_history (task_id, attempt, event, actor) SELECT task_id, attempt, 'claimed', $1 FROM claimed
)
SELECT pg_current_xact_id()::text, (SELECT set_config('synchronous_commit', 'off', true)) = 'off', status, <task>
FROM claimed
""".replace("<pick>", PICK).replace("<task>", TASK)
CLAIM: Final = Prepared("claim", "uuid, text, int, float8, bool, int", CLAIM_ONLY.replace("<which>", FITTING))
START: Final = Prepared("start", "uuid, text, int, float8, bigint", CLAIM_ONLY.replace("<which>", "task_id = $5"))

# $7-$10 outcomes, $11 backoff, $12 its cap.
SETTLE_AND_CLAIM: Final = Prepared(
    "settle_and_claim",
    f"{CLAIM.types}, bigint[], int[], text[], text[], float8, float8",
    """
WITH settled AS (
  UPDATE jr_task_announcements t SET
    status = CASE WHEN o.verdict = 'completed' THEN 'completed' WHEN <again> THEN 'assigned' ELSE 'failed' END,
    finished_at = CASE WHEN <again> THEN NULL ELSE clock_timestamp() END,
    failures = t.failures + (o.verdict IN ('retry', 'failed'))::int,
    run_at = CASE WHEN o.verdict IN ('retry', 'interrupted') THEN clock_timestamp() + make_interval(secs => <jitter>
      * least($12, CASE o.verdict WHEN 'retry' THEN $11 * 2 ^ least(t.failures, 30)
        ELSE 0.1 * 2 ^ least(t.attempt, 30) END)) ELSE t.run_at END,
    result = CASE WHEN o.verdict = 'completed' THEN o.detail::jsonb ELSE t.result END,
    last_error = CASE WHEN o.verdict IN ('retry', 'failed', 'interrupted') THEN o.detail::jsonb ELSE t.last_error END,
    lease_owner = NULL, lease_until = NULL
  FROM unnest($7, $8, $9, $10) AS o (task_id, attempt, verdict, detail)
  WHERE t.task_id = ANY ($7) AND t.task_id = o.task_id AND t.attempt = o.attempt AND t.lease_owner = $1
  RETURNING t.task_id, t.attempt, t.status, o.verdict, t.last_error
), <pick>, history AS (
  INSERT INTO task_history (task_id, attempt, event, actor, detail)
  SELECT task_id, attempt, CASE WHEN verdict IN ('handback', 'interrupted') THEN 'handed_back'
    WHEN status = 'assigned' THEN 'retried' ELSE status END, $1,
    CASE WHEN verdict IN ('retry', 'failed', 'interrupted') THEN last_error END FROM settled
  UNION ALL SELECT task_id, attempt, 'claimed', $1, NULL FROM claimed
)
SELECT pg_current_xact_id()::text, true, status, <task> FROM claimed
UNION ALL SELECT pg_current_xact_id()::text, false, status, task_id, attempt,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM settled
""".replace("<pick>", PICK.replace("<which>", FITTING))
    .replace("<task>", TASK)
    .replace("<again>", AGAIN)
    .replace("<jitter>", JITTER),
)

PEEK: Final = """
SELECT <task> FROM jr_task_announcements q WHERE assignee = %s AND <ready>
ORDER BY priority DESC, run_at, task_id LIMIT %s
""".replace("<ready>", READY).replace("<task>", TASK)

LOCK_LIMIT: Final = "SELECT max_running FROM assignee_limit WHERE assignee = %s FOR UPDATE"
COUNT_RUNNING: Final = "SELECT count(*) FROM jr_task_announcements WHERE assignee = %s AND status = 'in_progress'"
SET_LIMIT: Final = """
INSERT INTO assignee_limit VALUES (%s, %s) ON CONFLICT (assignee) DO UPDATE SET max_running = excluded.max_running
"""

ENQUEUE: Final = """
INSERT INTO jr_task_announcements AS t
  (kind, assignee, payload, priority, run_at, max_attempts, deadline, dedupe_key, group_key)
VALUES (%(kind)s, %(assignee)s, %(payload)s::jsonb, %(priority)s, coalesce(%(at)s, clock_timestamp()), %(max_attempts)s,
  make_interval(secs => %(deadline)s), %(dedupe)s, %(group)s)
ON CONFLICT (dedupe_key) WHERE dedupe_key IS NOT NULL AND status IN ('assigned', 'in_progress')
DO UPDATE SET run_at = least(t.run_at, excluded.run_at)
RETURNING task_id, xmax = 0
"""

REGISTER: Final = """
INSERT INTO worker (worker_id, assignee, host, pid, heartbeat, session_lock)
VALUES (%(owner)s, %(assignee)s, %(host)s, %(pid)s, make_interval(secs => %(heartbeat)s), %(lock)s)
ON CONFLICT (worker_id) DO UPDATE SET seen_at = clock_timestamp(), state = 'running', pid = excluded.pid
"""
TAKE_LOCK: Final = "SELECT pg_try_advisory_lock(7237, hashtext(%(owner)s::text))"
# The lock of a session that only its client has lost: the server keeps the session until its own limits end it.
END_LOST: Final = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE pid = %(lost)s AND locktype = 'advisory' AND objsubid = 2
  AND classid = 7237 AND objid::bigint = hashtext(%(owner)s::text)::bigint & 4294967295
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
LEAVE: Final = "DELETE FROM worker WHERE worker_id = %(owner)s::uuid"

# Rows that another statement has locked are skipped, not waited for; `lost` reads what is committed. Tasks claimed two
# heartbeats ago of which the worker knows nothing (the claim's answer was lost) are left to the next rescue.
HEARTBEAT: Final = """
WITH held AS (
  SELECT * FROM unnest(%(ids)s::bigint[], %(attempts)s::int[]) AS o (task_id, attempt)
), mine AS (
  SELECT t.task_id FROM jr_task_announcements t JOIN held USING (task_id, attempt)
  WHERE t.lease_owner = %(owner)s::uuid AND t.status = 'in_progress' FOR UPDATE OF t SKIP LOCKED
), renewed AS (
  UPDATE jr_task_announcements t SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
  FROM mine WHERE t.task_id = mine.task_id
), stray AS (
  UPDATE jr_task_announcements SET lease_until = clock_timestamp() WHERE assignee = %(assignee)s
    AND status = 'in_progress' AND lease_owner = %(owner)s::uuid AND task_id <> ALL (%(ids)s::bigint[])
    AND started_at < clock_timestamp() - 2 * make_interval(secs => %(heartbeat)s)
), seen AS (
  UPDATE worker SET seen_at = clock_timestamp() WHERE worker_id = %(owner)s::uuid RETURNING worker_id
)
SELECT ARRAY(SELECT task_id FROM held h WHERE NOT EXISTS (SELECT FROM jr_task_announcements t
    WHERE t.task_id = h.task_id AND t.attempt = h.attempt
      AND t.lease_owner = %(owner)s::uuid AND t.status = 'in_progress')),
  EXISTS (SELECT FROM seen),
  (SELECT max_running FROM assignee_limit WHERE assignee = %(assignee)s),
  EXISTS (SELECT FROM jr_task_announcements WHERE assignee = %(assignee)s AND status = 'assigned'
    AND run_at <= clock_timestamp() AND lost_leases >= %(suspect)s),
  pg_notify(%(channel)s, '')
"""

# Stuck: the lease has ended by the database's clock, or the owner's session lock is free and it missed two heartbeats.
STUCK: Final = """
SELECT task_id, lease_owner FROM jr_task_announcements WHERE status = 'in_progress'
  AND (lease_until < clock_timestamp() OR lease_owner IN (
    SELECT worker_id FROM worker w WHERE w.session_lock AND w.seen_at < clock_timestamp() - 2 * w.heartbeat
      AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 7237 AND l.objsubid = 2
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND l.objid::bigint = hashtext(w.worker_id::text)::bigint & 4294967295)))
  AND (%(worker)s::uuid IS NULL OR lease_owner = %(worker)s::uuid)
  AND started_at <= clock_timestamp() - make_interval(secs => %(older)s) IS NOT FALSE
ORDER BY lease_until LIMIT 100
"""
RESCUE: Final = """
WITH stuck AS (<stuck> FOR UPDATE SKIP LOCKED), rescued AS (
  UPDATE jr_task_announcements t SET lost_leases = t.lost_leases + 1, lease_owner = NULL, lease_until = NULL,
    status = CASE WHEN t.lost_leases + 1 >= %(max_lost)s THEN 'dead' ELSE 'assigned' END,
    finished_at = CASE WHEN t.lost_leases + 1 >= %(max_lost)s THEN clock_timestamp() END,
    last_error = CASE WHEN t.lost_leases + 1 >= %(max_lost)s THEN jsonb_build_object('class', 'WorkerDied',
      'message', 'its worker died under it too often') ELSE t.last_error END
  FROM stuck WHERE t.task_id = stuck.task_id
  RETURNING t.task_id, t.attempt, t.status, t.assignee, stuck.lease_owner
), history AS (
  INSERT INTO task_history (task_id, attempt, event, actor, detail)
  SELECT task_id, attempt, CASE status WHEN 'dead' THEN 'dead' ELSE 'rescued' END, %(actor)s::uuid,
    jsonb_build_object('from', lease_owner) FROM rescued
), hint AS (
  SELECT pg_notify('jr_task_announcements', assignee) FROM rescued GROUP BY assignee
)
SELECT task_id, status, (SELECT count(*) FROM hint) FROM rescued
""".replace("<stuck>", STUCK)
PROOF: Final = """
SELECT EXISTS (SELECT FROM task_history WHERE task_id = %s AND attempt = %s AND actor = %s::uuid
  AND (event = 'claimed') = %s)
"""
PRUNE_MARKERS: Final = "DELETE FROM commit_marker WHERE at < clock_timestamp() - interval '1 day'"
PRUNE: Final = """
DELETE FROM worker w WHERE seen_at < clock_timestamp() - interval '1 day'
  AND NOT EXISTS (SELECT FROM jr_task_announcements WHERE lease_owner = w.worker_id AND status = 'in_progress')
"""

MOVE: Final = """
WITH moved AS (
  UPDATE jr_task_announcements t SET status = %(to)s, lease_owner = NULL, lease_until = NULL,
    finished_at = CASE WHEN %(to)s = 'assigned' THEN NULL ELSE clock_timestamp() END,
    run_at = CASE WHEN %(to)s = 'assigned' THEN clock_timestamp() ELSE run_at END,
    failures = CASE WHEN %(event)s = 'redriven' THEN 0 ELSE failures END,
    lost_leases = CASE WHEN %(event)s = 'redriven' THEN 0 ELSE lost_leases END
  WHERE task_id = ANY (%(ids)s::bigint[]) AND status = ANY (%(from)s::text[])
    AND (%(event)s <> 'redriven' OR dedupe_key IS NULL OR NOT EXISTS (SELECT FROM jr_task_announcements o
      WHERE o.dedupe_key = t.dedupe_key AND o.status IN ('assigned', 'in_progress')))
  RETURNING task_id, attempt, assignee
), history AS (
  INSERT INTO task_history (task_id, attempt, event, actor) SELECT task_id, attempt, %(event)s, NULL FROM moved
), hint AS (
  SELECT pg_notify('jr_task_announcements', assignee) FROM moved GROUP BY assignee
)
SELECT task_id, (SELECT count(*) FROM hint) FROM moved
"""
EFFECT: Final = """
INSERT INTO task_effect (task_id, effect_key, result) VALUES (%s, %s, %s::jsonb)
ON CONFLICT (task_id, effect_key) DO NOTHING RETURNING task_id
"""
