"""The orchestrator's commands."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, cast

import click

from dbsafety_runtime.ops import log, metrics
from dbsafety_runtime.ops.settings import SettingsError, load
from dbsafety_runtime.orchestrator import demo as demonstration
from dbsafety_runtime.orchestrator import ledger, operator, report
from dbsafety_runtime.orchestrator.assembly import detectors_of, manager_of, orchestrator_of
from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.detectors.base import Watch
from dbsafety_runtime.orchestrator.health import examine
from dbsafety_runtime.orchestrator.loop import AlreadyRunning, Orchestrator, state_lock
from dbsafety_runtime.orchestrator.managers.base import ManagerError
from dbsafety_runtime.orchestrator.model import Issue
from dbsafety_runtime.orchestrator.progress import Progress
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.errors import SchemaMismatch, StorageFault

USER_ERRORS: Final = (
    SettingsError, ManagerError, AlreadyRunning, SchemaMismatch, StorageFault, operator.Refused, OSError,
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), envvar="DBSAFETY_CONFIG", help="TOML file, [orchestrator].")
@click.option("--state", type=click.Path(path_type=Path), help="Folder of the database, mode 0700.")
@click.option("--log-format", type=click.Choice(["json", "logfmt", "console"]), default="json")
@click.pass_context
def cli(context: click.Context, config: Path | None, state: Path | None, log_format: log.Format) -> None:
    """Watches services, repairs what it may, verifies, and asks a human about the rest."""
    context.obj = load(OrchestratorSettings, "orchestrator", config, state=state)
    log.configure(log_format)


@contextmanager
def _store(settings: OrchestratorSettings) -> Iterator[IncidentStore]:
    if not settings.database.exists():
        raise SettingsError(f"{settings.database}: there is no such database; `run` creates it")
    store = IncidentStore.init_database(settings.database)
    try:
        yield store
    finally:
        store.close_store()


@cli.command()
@click.pass_obj
def run(settings: OrchestratorSettings) -> None:
    """Run until SIGTERM."""
    if settings.metrics_port:
        metrics.serve(settings.metrics_port)
    work = orchestrator_of(settings)
    _end_on_signals(work)
    work.run()


def _end_on_signals(work: Orchestrator) -> None:
    """The first SIGTERM or SIGINT ends the cycle cleanly, the second one the process at once."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if work.stop.is_set():
            os._exit(128 + number)
        work.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


@cli.command()
@click.option("--once", is_flag=True, required=True, help="Look once, print, store nothing.")
@click.pass_obj
def scan(settings: OrchestratorSettings, once: bool) -> int:
    """Let every detector look, and print what it sees; 1 when there is something, 2 when a detector failed."""
    del once
    manager = manager_of(settings)
    watch = Watch(detectors_of(settings, manager), settings.detector_limit)
    code = 0
    for look in watch.look(lambda _name: None):
        if look.scan is None:
            click.echo(f"{look.name}: {look.problem}")
            code = 2
            continue
        for issue in look.scan.issues:
            click.echo(f"{issue.target}: {issue.type}: {issue.message}")
            code = max(code, 1)
    return code


@cli.command()
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def status(settings: OrchestratorSettings, as_json: bool) -> int:
    """Print the open tasks and how many are in each state."""
    with _store(settings) as store:
        counts, tasks = dict(store.counts()), store.tasks()
        open_tasks = [task for task in tasks if task.status not in ("resolved", "closed")]
        if as_json:
            listed = [
                {"id": t.id, "target": t.issue.target, "type": t.issue.type, "status": t.status, "phase": t.phase}
                for t in open_tasks
            ]
            click.echo(json.dumps({"counts": counts, "paused": store.paused(), "open": listed}))
            return 0
        click.echo(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "no tasks")
        if store.paused():
            click.echo("paused: nothing is repaired")
        for task in open_tasks:
            wait = f"since {store.clock() - task.changed_at:.0f} s"
            click.echo(f"{task.id:5} {task.status:11} {wait:14} {task.issue.target}: {task.issue.message[:90]}")
    return 0


@cli.command()
@click.argument("task", type=int)
@click.pass_obj
def explain(settings: OrchestratorSettings, task: int) -> None:
    """Print everything that was seen and done about a task, and why."""
    with _store(settings) as store:
        for line in operator.explain(store, task):
            click.echo(line)


@cli.command()
@click.argument("service")
@click.argument("message")
@click.option("--type", "kind", default="service_failure", show_default=True, help="Kind of issue.")
@click.pass_obj
def enqueue(settings: OrchestratorSettings, service: str, message: str, kind: str) -> None:
    """Hand in an issue that somebody else has seen; prints its task, and whether that was open already."""
    issue = Issue(kind, "operator", service, message)
    with _store(settings) as store:
        known = store.task_exists(issue.hash)
        click.echo(f"{store.create_task(issue)} {'existing' if known else 'new'}")


@cli.command(name="reset-stuck")
@click.option("--dry-run", is_flag=True, help="Only print them.")
@click.pass_obj
def reset_stuck(settings: OrchestratorSettings, dry_run: bool) -> None:
    """Free the tasks a dead orchestrator has held; refused while one runs, which frees its own at its start."""
    with _store(settings) as store, state_lock(settings.state):
        for number in Progress(store, "operator").recover(dry_run=dry_run):
            click.echo(f"task {number} {'is stuck' if dry_run else 'freed'}")


@cli.command()
@click.argument("task", type=int)
@click.pass_obj
def approve(settings: OrchestratorSettings, task: int) -> None:
    """Let the proposed plan of an escalated task be carried out."""
    with _store(settings) as store:
        operator.approve(store, task)
    click.echo(f"task {task} approved")


@cli.command()
@click.argument("task", type=int)
@click.option("--reason", default="no action needed", show_default=True)
@click.pass_obj
def reject(settings: OrchestratorSettings, task: int, reason: str) -> None:
    """Close a task without doing anything."""
    with _store(settings) as store:
        operator.reject(store, task, reason)
    click.echo(f"task {task} closed")


@cli.command()
@click.argument("target", required=False)
@click.pass_obj
def pause(settings: OrchestratorSettings, target: str | None) -> None:
    """Repair nothing, or nothing of one service, until `resume`; detection goes on."""
    with _store(settings) as store:
        operator.pause(store, target, on=True)
    click.echo(f"paused: {target or 'everything'}")


@cli.command()
@click.argument("target", required=False)
@click.pass_obj
def resume(settings: OrchestratorSettings, target: str | None) -> None:
    """Repair again."""
    with _store(settings) as store:
        operator.pause(store, target, on=False)
    click.echo(f"resumed: {target or 'everything'}")


@cli.command()
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def health(settings: OrchestratorSettings, as_json: bool) -> int:
    """Exit with 0 when healthy, 1 when degraded, 2 when down."""
    with _store(settings) as store:
        found = examine(store, settings)
    click.echo(json.dumps({"code": found.code, "reasons": found.reasons}) if as_json else found.line())
    return found.code


@cli.command(name="report")
@click.option("--out", type=click.Path(path_type=Path), default=Path("orchestrator-report.html"), show_default=True)
@click.pass_obj
def report_command(settings: OrchestratorSettings, out: Path) -> None:
    """Write the figures as one HTML page that opens without a network."""
    with _store(settings) as store:
        out.write_text(report.build(store), encoding="utf-8")
    click.echo(str(out))


@cli.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.pass_obj
def backup(settings: OrchestratorSettings, target: Path) -> None:
    """Copy the database while it is in use."""
    with _store(settings) as store:
        store.db.backup(target)
    click.echo(str(target))


@cli.command(name="verify-audit")
@click.pass_obj
def verify_audit(settings: OrchestratorSettings) -> int:
    """Check the hash chain of the history; 1 and the rows when one was removed or edited."""
    with _store(settings) as store:
        count, problems = ledger.verify(store.db)
    for problem in problems:
        click.echo(problem)
    click.echo(f"{count} rows, {'complete' if not problems else f'{len(problems)} problems'}")
    return 1 if problems else 0


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("orchestrator-report.html"), show_default=True)
def demo(out: Path) -> int:
    """Start a private supervisord with broken programs, repair them, escalate the rest, show the audit trail."""
    log.configure("json", "error")
    return demonstration.run(out, click.echo)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors a user can cause are one sentence and exit code 2."""
    try:
        entry = cast("Callable[..., object]", cli.main)
        code = entry(args=None if argv is None else list(argv), prog_name="orchestrator", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130
    except USER_ERRORS as error:
        sys.stderr.write(f"orchestrator: {error}\n")
        return 2
    return code if isinstance(code, int) else 0
