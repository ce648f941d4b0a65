"""The executor's commands."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
from rich.console import Console
from rich.live import Live

from dbsafety_runtime.executor import demo as demonstration
from dbsafety_runtime.executor import inspect, queue, views
from dbsafety_runtime.executor.config import LOG_FORMATS, LOG_LEVELS, Settings, database
from dbsafety_runtime.executor.handlers import load
from dbsafety_runtime.executor.pulse import EXIT_STALLED, WorkerIdInUse
from dbsafety_runtime.executor.shell import shell_handler
from dbsafety_runtime.executor.worker import Worker
from dbsafety_runtime.ops import command, log, metrics
from dbsafety_runtime.ops.embedded import EmbeddedError
from dbsafety_runtime.ops.settings import SettingsError, describe
from dbsafety_runtime.ops.settings import load as load_settings
from dbsafety_runtime.storage import migrate as migrations
from dbsafety_runtime.storage.errors import SchemaMismatch, StorageBug, StorageFault
from dbsafety_runtime.storage.pg import wait_for_server
from dbsafety_runtime.storage.uow import Store

USER_ERRORS: Final = (SettingsError, EmbeddedError, SchemaMismatch, WorkerIdInUse, StorageFault, ImportError, OSError)
UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
LOG = log.get("cli")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100})
@click.option("--config", type=click.Path(path_type=Path), envvar="DBSAFETY_CONFIG", help="TOML file with [executor].")
@click.option("--dsn", help="Connection string without a password (use a service file, PGPASSFILE or the environment).")
@click.option("--dsn-service", help="Name of a libpq service (pg_service.conf).")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Data folder of the private server.")
@click.option("--log-format", type=click.Choice(LOG_FORMATS))
@click.option("--log-level", type=click.Choice(LOG_LEVELS))
@click.pass_context
def cli(context: click.Context, /, config: Path | None, dsn: str | None, dsn_service: str | None, **given: Any) -> None:
    """The task executor on PostgreSQL."""
    if dsn and log.redact(dsn) != dsn:
        raise SettingsError("a password in the command line is visible to everyone: use the environment or PGPASSFILE")
    if dsn_service:
        dsn = dsn or ""  # a service on the command line beats a DSN in the environment
    context.obj = load_settings(Settings, "executor", config, dsn=dsn, service=dsn_service, **given)
    log.configure(context.obj.log_format, context.obj.log_level)


@contextmanager
def _store(settings: Settings, *, any_schema: bool = False) -> Iterator[Store]:
    with database(settings) as target:
        store = Store(target.named("cli"))
        try:
            if not any_schema:
                migrations.check(store)
            yield store
        finally:
            store.close()


@cli.command()
@click.option("--assignee", help="Whose tasks to run; without it the setting's.")
@click.option("--concurrency", type=click.IntRange(1, 500), help="Tasks at once.")
@click.option("--batch", type=click.IntRange(1, 1000), help="Tasks per slot settled with one commit.")
@click.option("--handlers", "modules", multiple=True, metavar="MODULE", help="Modules with @handler functions.")
@click.option("--once", is_flag=True, default=None, help="End when nothing is ready.", show_default=False)
@click.option("--worker-id", type=click.UUID, help="Default: a new one.")
@click.pass_obj
def run(settings: Settings, /, *, modules: tuple[str, ...], **given: Any) -> int:
    """Run tasks until SIGTERM."""
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    handlers = load((*settings.handlers, *modules))
    if settings.shell_allow:
        handlers["shell"] = shell_handler(settings.shell_allow)
    LOG.info("settings", **describe(settings))
    with database(settings, start=True) as target:
        wait_for_server(target, settings.start_wait)
        store = Store(target.named("migrate"))
        migrations.migrate(store)
        store.close()
        if settings.metrics_port:
            metrics.serve(settings.metrics_port)
        worker = Worker(target, settings, handlers)
        command.stop_on_signals(worker.stop)  # leases do the rest
        return worker.run()


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1.0)
    try:
        return float(number) * unit
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a duration such as 30s, 5m, 2h, 1d") from error


def _at(context: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        if value.startswith("+"):
            return datetime.now(timezone.utc) + timedelta(seconds=_seconds(context, option, value[1:]))
        return datetime.fromisoformat(value)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter("use ISO 8601 or +30s, +5m, +2h, +1d") from error


@cli.command()
@click.argument("kind")
@click.option("--assignee", help="Who is to run it; without it the setting's.")
@click.option("--payload", default="{}", help="JSON; - reads standard input.")
@click.option("--dedupe", help="An open task with this key is returned instead of a new one.")
@click.option("--group", help="Tasks of a group run one at a time, oldest first.")
@click.option("--at", callback=_at, help="Not before: ISO 8601, or +5m.")
@click.option("--priority", type=click.IntRange(-32768, 32767), default=0)
@click.option("--max-attempts", type=click.IntRange(1), default=5)
@click.option("--deadline", type=click.FloatRange(min=0, min_open=True), default=300.0, help="Seconds per attempt.")
@click.pass_obj
def enqueue(settings: Settings, /, kind: str, assignee: str | None, payload: str, **options: Any) -> int:
    """Add a task; print its id and whether it is new."""
    try:
        value = json.loads(sys.stdin.read() if payload == "-" else payload)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"the payload is not JSON: {error}") from error
    options |= {"assignee": assignee or settings.assignee, "max_payload": settings.max_payload}
    with _store(settings) as store:
        task_id, new = store.run(partial(queue.enqueue, kind=kind, payload=value, **options))
    click.echo(f"{task_id} {'new' if new else 'existing'}")
    return 0


@cli.command()
@click.option("--json", "as_json", is_flag=True)
@click.option("--watch", type=click.FloatRange(0.2), help="Refresh every so many seconds.")
@click.pass_obj
def status(settings: Settings, *, as_json: bool, watch: float | None) -> int:
    """Show ages, tasks by state, workers, last failures."""
    with _store(settings) as store:
        if as_json:
            click.echo(json.dumps(asdict(inspect.status(store)), default=str))
        elif watch is None:
            Console().print(views.status(inspect.status(store)))
        else:
            with Live(views.status(inspect.status(store))) as live:
                while True:
                    time.sleep(watch)
                    live.update(views.status(inspect.status(store)))
    return 0


@cli.command(name="reset-stuck")
@click.option("--worker", type=click.UUID, help="Only this worker's tasks.")
@click.option("--older-than", callback=_seconds, default="0s", help="Only tasks started so long ago, such as 10m.")
@click.option("--dry-run", is_flag=True)
@click.option("--force", multiple=True, type=int, metavar="ID", help="Take this running task from its owner.")
@click.pass_obj
def reset_stuck(
    settings: Settings, *, worker: UUID | None, older_than: float, dry_run: bool, force: tuple[int, ...]
) -> int:
    """Hand back tasks whose lease or worker is gone.

    Never a living worker's, unless forced.
    """
    if force and not dry_run:
        return _move(settings, force, "forced", "handed back", "is not running")
    with _store(settings) as store:
        found = queue.rescue(store, settings, worker=worker, older=older_than, dry=dry_run)
    for task_id, state in found:
        click.echo(f"{task_id} {state}")
    click.echo(f"{len(found)} stuck tasks {'found' if dry_run else 'reset'}", err=True)
    return 0


def _move(settings: Settings, ids: tuple[int, ...], event: str, yes: str, no: str) -> int:
    """Apply an operator's decision and say for each task what came of it; return 1 unless it applied to all."""
    with _store(settings) as store:
        moved = queue.move(store, ids, event=event)
    for task_id in ids:
        click.echo(f"{task_id} {yes if task_id in moved else no}")
    return 0 if set(ids) == set(moved) else 1


@cli.command()
@click.argument("ids", nargs=-1, required=True, type=int)
@click.pass_obj
def redrive(settings: Settings, ids: tuple[int, ...]) -> int:
    """Give failed or dead tasks a new start."""
    unchanged = "unchanged: neither failed nor dead, or an open task has its dedupe key"
    return _move(settings, ids, "redriven", "assigned", unchanged)


@cli.command()
@click.argument("ids", nargs=-1, required=True, type=int)
@click.pass_obj
def cancel(settings: Settings, ids: tuple[int, ...]) -> int:
    """Cancel tasks that have not started."""
    return _move(settings, ids, "cancelled", "cancelled", "unchanged: not waiting")


@cli.command()
@click.argument("assignee")
@click.argument("max_running", type=click.IntRange(0))
@click.pass_obj
def limit(settings: Settings, assignee: str, max_running: int) -> int:
    """Limit how many tasks of ASSIGNEE run at once.

    The limit holds over all workers and hosts.
    """
    with _store(settings) as store:
        queue.set_limit(store, assignee, max_running)
    return 0


@cli.command()
@click.argument("task_id", type=int)
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def history(settings: Settings, task_id: int, *, as_json: bool) -> int:
    """Show every change of state of a task."""
    with _store(settings) as store:
        events = inspect.history(store, task_id)
    if as_json:
        click.echo(json.dumps(events, default=str))
    elif events:
        Console().print(views.history(events))
    else:
        click.echo(f"task {task_id} has no history", err=True)
    return 0 if events else 1


@cli.command()
@click.option("--assignee")
@click.option("--max-due", callback=_seconds, default="60s", help="How long a task may be due.")
@click.pass_obj
def health(settings: Settings, *, assignee: str | None, max_due: float) -> int:
    """Judge the executor: one line, then JSON.

    Exit code 0 healthy, 1 degraded, 2 down.
    """
    try:
        with _store(settings, any_schema=True) as store:
            found = inspect.health(store, assignee=assignee, max_due=max_due)
    except EmbeddedError as error:
        found = inspect.Health(2, (str(error),))
    click.echo(f"{found.word}: {'; '.join(found.reasons) or 'all good'}")
    click.echo(json.dumps({"code": found.code, "schema": found.schema, "reasons": found.reasons}))
    return found.code


@cli.command()
@click.option("--check", is_flag=True, help="Only compare; exit code 1 when something is to be done.")
@click.pass_obj
def migrate(settings: Settings, *, check: bool) -> int:
    """Bring the schema up to date."""
    with _store(settings, any_schema=True) as store:
        try:
            version = migrations.check(store) if check else migrations.migrate(store)
        except SchemaMismatch as error:
            click.echo(str(error), err=True)
            return 1
    click.echo(f"schema {version}")
    return 0


@cli.command()
@click.option("--faults", is_flag=True, help="Kill workers, end sessions and restart the server meanwhile.")
@click.option("--tasks", type=click.IntRange(1), default=1000)
@click.option("--seed", type=int, default=0)
def demo(*, faults: bool, tasks: int, seed: int) -> int:
    """Prove the invariants on a private, throw-away server."""
    return demonstration.run(tasks=tasks, faults=faults, seed=seed, say=click.echo)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; a user's error is one line and exit code 2, our bug exit code 70."""
    try:
        return command.run(cli, arguments, "executor", USER_ERRORS, bugs=(StorageBug,))
    except StorageBug:
        LOG.critical("bug: ending the process, leases hand its tasks on", exc_info=True)
        return EXIT_STALLED
