"""The orchestrator's commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from dbsafety_runtime.ops import command, log, metrics
from dbsafety_runtime.ops.settings import SettingsError, load
from dbsafety_runtime.orchestrator import demo as demonstration
from dbsafety_runtime.orchestrator import ledger, operator, report
from dbsafety_runtime.orchestrator.assembly import detectors_of, manager_of, orchestrator_of
from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.detectors.base import Watch
from dbsafety_runtime.orchestrator.health import examine
from dbsafety_runtime.orchestrator.loop import AlreadyRunning, state_lock
from dbsafety_runtime.orchestrator.model import ENDED, Issue, ManagerError
from dbsafety_runtime.orchestrator.pages import page
from dbsafety_runtime.orchestrator.progress import Progress
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.errors import SchemaMismatch, StorageFault

USER_ERRORS: Final = (
    SettingsError, ManagerError, AlreadyRunning, SchemaMismatch, StorageFault, operator.Refused, OSError,
)  # fmt: skip
TASK: Final = click.argument("task", type=int)
SERVICE: Final = click.argument("target", required=False)
JSON: Final = click.option("--json", "as_json", is_flag=True)
REPORT: Final = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("orchestrator-report.html"), show_default=True
)

Function = Callable[..., "int | None"]
Decorator = Callable[..., Any]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", type=click.Path(path_type=Path), envvar="DBSAFETY_CONFIG", help="TOML file, [orchestrator].")
@click.option("--state", type=click.Path(path_type=Path), help="Folder of the database, mode 0700.")
@click.option("--log-format", type=click.Choice(["json", "logfmt", "console"]), default="json")
@click.pass_context
def cli(context: click.Context, config: Path | None, state: Path | None, log_format: log.Format) -> None:
    """Watches services, repairs what it may, verifies, and asks a human about the rest."""
    context.obj = load(OrchestratorSettings, "orchestrator", config, state=state)
    log.configure(log_format)


def on_store(*parameters: Decorator, name: str | None = None) -> Decorator:
    """Make a function a command with these parameters, which works on the store of the state directory."""

    def decorate(function: Function) -> Function:
        @click.pass_obj
        @wraps(function)
        def work(settings: OrchestratorSettings, /, **values: object) -> int | None:
            if not settings.database.exists():
                raise SettingsError(f"{settings.database}: there is no such database; `run` creates it")
            store = IncidentStore.init_database(settings.database)
            try:
                return function(store, **values)
            finally:
                store.close_store()

        for parameter in reversed(parameters):
            work = parameter(work)
        return cli.command(name)(work)

    return decorate


@cli.command()
@click.pass_obj
def run(settings: OrchestratorSettings) -> None:
    """Run until SIGTERM; a second one ends the process at once."""
    if settings.metrics_port:
        metrics.serve(settings.metrics_port)
    work = orchestrator_of(settings)
    command.stop_on_signals(work.stop.set)
    work.run()


@cli.command()
@click.option("--once", is_flag=True, required=True, expose_value=False, help="Look once, print, store nothing.")
@click.pass_obj
def scan(settings: OrchestratorSettings) -> int:
    """Let every detector look once, and print what it sees.

    Exit code 0 when nothing is wrong, 1 when something is, 2 when a detector failed.
    """
    looks = Watch(detectors_of(settings, manager_of(settings)), settings.detector_limit).look(lambda _name: None)
    issues = [issue for look in looks if look.scan for issue in look.scan.issues]
    failed: dict[str, list[str]] = {}
    for look in looks:
        if look.problem:
            failed.setdefault(look.problem, []).append(look.name)
    lines = [f"{issue.target}: {issue.type}: {issue.message}" for issue in issues]
    lines += [f"{problem} ({', '.join(names)})" for problem, names in failed.items()]
    click.echo("\n".join(lines or ["nothing is wrong"]))
    return 2 if failed else int(bool(issues))


@on_store(JSON)
def status(store: IncidentStore, as_json: bool) -> None:
    """Print the open tasks and how many are in each state."""
    counts, paused = store.counts(), store.paused()
    tasks = [task for task in store.tasks() if task.status not in ENDED]
    if as_json:
        listed = [
            {"id": t.id, "target": t.issue.target, "type": t.issue.type, "status": t.status, "phase": t.phase}
            for t in tasks
        ]
        click.echo(json.dumps({"counts": counts, "paused": paused, "open": listed}))
    else:
        click.echo(page("status.txt", counts=counts, paused=paused, tasks=tasks, now=store.clock()), nl=False)


@on_store(TASK)
def explain(store: IncidentStore, task: int) -> None:
    """Print what was seen and done about a task, and why."""
    click.echo("\n".join(operator.explain(store, task)))


@on_store(
    click.argument("service"), click.argument("message"),
    click.option("--type", "kind", default="service_failure", show_default=True, help="Kind of issue."),
)  # fmt: skip
def enqueue(store: IncidentStore, service: str, message: str, kind: str) -> None:
    """Hand in an issue that somebody else has seen.

    Prints its task, and whether that was open already.
    """
    issue = Issue(kind, "operator", service, message)
    known = store.task_exists(issue.hash)
    click.echo(f"{store.create_task(issue)} {'existing' if known else 'new'}")


@on_store(click.option("--dry-run", is_flag=True, help="Only print them."))
def reset_stuck(store: IncidentStore, dry_run: bool) -> None:
    """Free the tasks a dead orchestrator has held.

    Refused while one runs, which frees its own at its start.
    """
    with state_lock(store.db.path.parent):
        for number in Progress(store, "operator").recover(dry_run=dry_run):
            click.echo(f"task {number} {'is stuck' if dry_run else 'freed'}")


@on_store(TASK)
def approve(store: IncidentStore, task: int) -> None:
    """Let the proposed plan of an escalated task be carried out."""
    operator.approve(store, task)
    click.echo(f"task {task} approved")


@on_store(TASK, click.option("--reason", default="no action needed", show_default=True))
def reject(store: IncidentStore, task: int, reason: str) -> None:
    """Close a task without doing anything."""
    operator.reject(store, task, reason)
    click.echo(f"task {task} closed")


@on_store(SERVICE)
def pause(store: IncidentStore, target: str | None) -> None:
    """Repair nothing, or nothing of one service, until `resume`.

    Detection goes on.
    """
    operator.pause(store, target, on=True)
    click.echo(f"paused: {target or 'everything'}")


@on_store(SERVICE)
def resume(store: IncidentStore, target: str | None) -> None:
    """Repair again."""
    operator.pause(store, target, on=False)
    click.echo(f"resumed: {target or 'everything'}")


@on_store(JSON)
def health(store: IncidentStore, as_json: bool) -> int:
    """Exit with 0 when healthy, 1 when degraded, 2 when down."""
    found = examine(store, click.get_current_context().obj)
    click.echo(json.dumps({"code": found.code, "reasons": found.reasons}) if as_json else found.line())
    return found.code


@on_store(REPORT, name="report")
def report_command(store: IncidentStore, out: Path) -> None:
    """Write the figures as one HTML page, which needs no network."""
    out.write_text(report.build(store), encoding="utf-8")
    click.echo(str(out))


@on_store(click.argument("target", type=click.Path(path_type=Path)))
def backup(store: IncidentStore, target: Path) -> None:
    """Copy the database while it is in use."""
    store.db.backup(target)
    click.echo(str(target))


@on_store()
def verify_audit(store: IncidentStore) -> int:
    """Check the hash chain of the history.

    Exit code 1, and which rows, when one was removed or edited.
    """
    count, problems = ledger.verify(store.db)
    click.echo("\n".join([*problems, f"{count} rows, {f'{len(problems)} problems' if problems else 'complete'}"]))
    return 1 if problems else 0


@cli.command()
@REPORT
def demo(out: Path) -> int:
    """Break, repair and escalate programs of a private supervisord.

    Shows the audit trail and writes the report.
    """
    log.configure("json", "error")
    return demonstration.run(out, click.echo)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; a user's error is one sentence and exit code 2."""
    return command.run(cli, arguments, "orchestrator", USER_ERRORS)
