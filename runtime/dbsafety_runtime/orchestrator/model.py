"""What the orchestrator talks about: issues, tasks, plans, services and what it needs from their manager."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast

from dbsafety_runtime.orchestrator.pages import wording

Clock = Callable[[], float]
Facts = Mapping[str, str]
Status = Literal["detected", "suppressed", "diagnosing", "fixing", "verifying", "resolved", "escalated", "closed"]

ENDED: Final = ("resolved", "closed")
LONGEST_TEXT: Final = 16_384
OVERRIDE_NAME: Final = "50-dbsafety"
SETTINGS: Final = ("command", "directory")
CUT: Final = " [cut]"
# More specific first: of two open issues of one target the later one is taken for a symptom of the earlier one.
SPECIFICITY: Final = ("path_invalid", "stale_process", "port_conflict", "spawn_failure", "flapping", "service_failure")

PATH: Final = re.compile(r"(?<![\w.])/(?:[\w.@+:-]+/)*[\w.@+:-]*")
VARIABLE: Final = wording("variable")


def normal(text: str) -> str:
    """Return `text` with numbers and identifiers masked and white space squeezed: one text for one kind of event."""
    return " ".join(VARIABLE.sub("#", text[:LONGEST_TEXT]).split())


def shorten(text: str, limit: int = LONGEST_TEXT) -> str:
    """Return at most `limit` characters of `text`, with a mark where it was cut."""
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT


def clean(text: str) -> str:
    """Return `text` fit for storage: valid Unicode without NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\\0")


def words(command: str) -> list[str]:
    """Split a command line as a shell would; on unbalanced quotes at blanks."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


@dataclass(frozen=True, slots=True)
class Issue:
    """Something a detector saw: its kind, who saw it, which service it is about, and what is known."""

    type: str
    source: str
    target: str
    message: str
    facts: Facts = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """What makes two events the same issue: kind, target and the masked message."""
        text = "\x1f".join((self.type, self.target, normal(self.message)))
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]

    @property
    def signature(self) -> str:
        """What makes two issues alike for learning: kind and message without target and paths."""
        named = self.message.replace(self.target, "<service>") if self.target else self.message
        return f"{self.type}: {shorten(normal(PATH.sub('<path>', named)), 200)}"


@dataclass(frozen=True, slots=True)
class Task:
    """A stored issue and how far its treatment has come; times are seconds since 1970."""

    id: int
    issue: Issue
    status: Status
    phase: int
    occurrences: int
    first_seen: float
    last_seen: float
    changed_at: float
    reopened_from: int | None
    parent: int | None
    attempt: int
    plan: Plan | None
    github_ref: str | None
    resolution: str | None
    signature: str
    version: int


def task_of(row: Sequence[Any]) -> Task:
    """Return the task of a row of the view `task_row`."""
    plan = None if row[15] is None else Plan.from_json(row[15])
    issue = Issue(row[1], row[2], row[3], row[4], json.loads(row[5]))
    values: list[Any] = [row[0], issue, *row[6:15], plan, *row[16:]]
    return Task(*values)


@dataclass(frozen=True, slots=True)
class Step:
    """One typed action with its arguments."""

    action: str
    args: Facts

    def text(self) -> str:
        """Return the step as one line for people."""
        return f"{self.action}({', '.join(f'{name}={value}' for name, value in self.args.items())})"


@dataclass(frozen=True, slots=True)
class Plan:
    """What somebody proposes to do: a recipe of the catalogue with its arguments filled, and why."""

    recipe: str
    steps: tuple[Step, ...]
    by: str
    confidence: float
    evidence: tuple[str, ...]
    reason: str = ""

    def to_json(self) -> str:
        """Return the plan as JSON text."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Plan:
        """Return the plan of a JSON text written by to_json."""
        data = cast("dict[str, Any]", json.loads(text))
        steps, evidence = tuple(Step(**step) for step in data["steps"]), tuple(data["evidence"])
        return Plan(**{**data, "steps": steps, "evidence": evidence})


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage that supports a diagnosis: where it stands (file, line, revision) and what it says."""

    id: str
    kind: str
    source: str
    line: int
    revision: str
    text: str

    def cite(self) -> str:
        """Return file, line and revision as one text."""
        return f"{self.source}:{self.line}" + (f"@{self.revision[:12]}" if self.revision else "")


ServiceState = Literal["running", "starting", "failed", "stopped", "exited", "unknown"]


@dataclass(frozen=True, slots=True)
class Service:
    """A service as its manager reports it; `started` in seconds since 1970, 0 when it never ran."""

    name: str
    state: ServiceState
    pid: int = 0
    started: float = 0.0
    exit_status: int = 0
    detail: str = ""
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """What a service is configured to run: the file that says so, command, working directory, user, environment."""

    name: str
    file: str
    command: str
    directory: str = ""
    user: str = ""
    environment: Facts = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class ManagerError(Exception):
    """The service manager refused or did not answer; the text is one sentence."""


class Manager(Protocol):
    """A service manager; every method may raise ManagerError and waits at most a few seconds."""

    name: str

    def services(self) -> tuple[Service, ...]:
        """Return all services and their states."""

    def config(self, service: str) -> ServiceConfig | None:
        """Return how a service is configured, None when the manager does not know it."""

    def log_tail(self, service: str) -> str:
        """Return the end of what the service wrote, about 16 KiB."""

    def start(self, service: str) -> None:
        """Start a service without waiting for it."""

    def stop(self, service: str) -> None:
        """Stop a service; no error when it does not run."""

    def reset(self, service: str) -> None:
        """Forget that the service failed, so that it may be started again."""

    def reload(self) -> None:
        """Read changed configuration; only services whose configuration changed are touched."""

    def override_file(self, service: str) -> Path:
        """Return the file that holds our changes to a service's configuration; vendor files are never edited."""

    def override_text(self, service: str, settings: Mapping[str, str]) -> str:
        """Return the text of that file for changed `command` or `directory`."""

    def owner(self, pid: int) -> str | None:
        """Return the service a process was started for, by marks it cannot lose, None when there are none."""


def find(manager: Manager, name: str) -> Service | None:
    """Return one service, None when the manager does not know it; raises ManagerError."""
    return next((service for service in manager.services() if service.name == name), None)
