"""Three ways to look at an issue: what is written, what was changed, what runs; each gives facts with evidence."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dbsafety_runtime.orchestrator.detectors.paths import directory_problem, mode_of, path_issues, program_problem
from dbsafety_runtime.orchestrator.detectors.services import configured_port, last_line
from dbsafety_runtime.orchestrator.knowledge import Knowledge
from dbsafety_runtime.orchestrator.model import PATH, Evidence, Issue, Manager, Service, ServiceConfig, find, words
from dbsafety_runtime.orchestrator.pages import wording
from dbsafety_runtime.orchestrator.processes import listeners, orphans, stranger_on

MISSING: Final = wording("missing")
PORT_DOCUMENTED: Final = wording("port_documented")
SPEAKING: Final = ("service_failure", "spawn_failure", "flapping")
MOST_NEIGHBOURS: Final = 2_000
SURE, LIKELY, POSSIBLE = 0.9, 0.85, 0.6


@dataclass(slots=True)
class Case:
    """An issue under diagnosis, with what is looked up once for all views."""

    issue: Issue
    manager: Manager
    knowledge: Knowledge
    config: ServiceConfig | None = None
    passages: tuple[Evidence, ...] = ()
    said: str = ""
    missing: str = ""

    @staticmethod
    def of(issue: Issue, manager: Manager, knowledge: Knowledge) -> Case:
        """Look up configuration, passages and the last words of a service; raises ManagerError.

        When the issue was first seen the service may not have said yet what it misses.
        """
        said = last_line(manager.log_tail(issue.target)) if issue.type in SPEAKING else ""
        text = f"{issue.target} {issue.message} {said} {issue.facts.get('path', '')} {issue.facts.get('port', '')}"
        passages, config = knowledge.search(text, 8), manager.config(issue.target)
        return Case(issue, manager, knowledge, config, passages, said, missing_path(issue, said))


@dataclass(slots=True)
class Facts:
    """What a view found: values by name, the evidence for them, and how sure it is."""

    values: dict[str, str] = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)
    confidence: float = 0.0

    def add(self, values: Mapping[str, str], evidence: Evidence, confidence: float) -> None:
        """Add values unless they are known already."""
        new = {name: value for name, value in values.items() if name not in self.values}
        if new:
            self.values |= new
            self.evidence.append(evidence)
            self.confidence = max(self.confidence, confidence)


View = Callable[[Case], Facts]


def runtime_evidence(kind: str, source: str, text: str) -> Evidence:
    """Return evidence that was observed now and stands in no file."""
    return Evidence(f"r:{kind}:{source}", "runtime", source, 0, "", text)


def missing_path(issue: Issue, said: str) -> str:
    """Return the path whose absence an issue is about, '' when it is about something else."""
    texts = [text for text in (issue.message, said) if MISSING.search(text)]
    named = [hit.rstrip(".:'\"") for text in texts for hit in PATH.findall(text)]
    hits = (issue.facts.get("path", ""), *named)
    return next((hit for hit in hits if len(hit) > 1 and mode_of(Path(hit)) == 0), "")


def replacement(case: Case, new: str) -> dict[str, str]:
    """Return the setting that names what is missing, with `new` in its place; {} when none does or it does not fit."""
    config, old = case.config, case.missing
    if config is None or not old or not mode_of(Path(new)) or old == new:
        return {}
    if config.directory and (config.directory == old or config.directory.startswith(f"{old}/")):
        directory = new + config.directory[len(old) :]
        return {} if directory_problem(Path(directory)) else {"setting": "directory", "new_value": directory}
    command = shlex.join(new if part == old else part for part in words(config.command))
    program = words(command)[0] if command else ""
    if old not in words(config.command) or (program == new and program_problem(Path(new))):
        return {}
    return {"setting": "command", "new_value": command}


def config_view(case: Case) -> Facts:
    """What documents and configurations say: documented paths, ports and directories, and our own overrides."""
    facts, old, needed = Facts(), case.missing, needed_directory(case)
    override = case.manager.override_file(case.issue.target)
    if override.exists() and old and old in override.read_text(encoding="utf-8", errors="replace"):
        facts.add({"broken_override": str(override)}, runtime_evidence("file", str(override), f"names {old}"), SURE)
    for passage in case.passages:
        if passage.kind == "history":
            continue
        for path in PATH.findall(passage.text):
            candidate = path.rstrip(".:,;'\"")
            if Path(candidate).name == Path(old).name and (values := replacement(case, candidate)):
                facts.add(values, passage, LIKELY)
        facts_of_port(case, passage, facts)
        if needed and needed in passage.text and passage.kind == "document":
            facts.add({"needed_directory": needed}, passage, LIKELY)
    return facts


def needed_directory(case: Case) -> str | None:
    """Return the directory whose absence the service complains about; None for its program or working directory."""
    config, path = case.config, case.missing
    if not path or (config is not None and (path == config.directory or path in words(config.command)[:1])):
        return None
    return str(Path(path).parent) if Path(path).suffix else path


def facts_of_port(case: Case, passage: Evidence, facts: Facts) -> None:
    """Add the command line with the documented port, when the passage names service and port and the port is free."""
    taken = case.issue.facts.get("port", "")
    if case.issue.type != "port_conflict" or case.config is None or str(configured_port(case.config)) != taken:
        return
    for line in passage.text.splitlines():
        hit = PORT_DOCUMENTED.search(line) if case.issue.target in line else None
        port = (hit[1] or hit[2]) if hit else taken
        if port != taken and int(port) not in listeners():
            command = re.sub(rf"(?<!\d){taken}(?!\d)", port, case.config.command)
            facts.add({"port_command": command}, passage, LIKELY)


def history_view(case: Case) -> Facts:
    """What was changed: where commits moved the missing path."""
    facts, old = Facts(), case.missing
    moved = case.knowledge.moved(old) if old else None
    if moved and (values := replacement(case, moved[0])):
        passage = Evidence(f"g:{moved[1][:12]}", "history", old, 0, moved[1], f"{old} was moved to {moved[0]}")
        facts.add(values, passage, SURE)
    return facts


def runtime_view(case: Case) -> Facts:
    """What runs and what lies around: orphans, a like-named neighbour of the missing path, or nothing wrong at all."""
    facts, issue, needed = Facts(), case.issue, needed_directory(case)
    for process in orphans(case.manager).get(issue.target, [])[:1]:
        values = {"orphan_pid": str(process.pid), "orphan_started": repr(process.started)}
        facts.add(values, runtime_evidence("process", str(process.pid), process.command), SURE)
    for candidate in neighbours(case.missing):
        evidence = runtime_evidence("file", candidate, "lies near the missing path")
        facts.add(replacement(case, candidate), evidence, POSSIBLE)
    if needed and case.config and case.config.directory and Path(needed).is_relative_to(case.config.directory):
        evidence = runtime_evidence("file", needed, "inside the service's own directory")
        facts.add({"needed_directory": needed}, evidence, SURE)
    service, settled = find(case.manager, issue.target), facts.values or case.missing
    if service and case.config and not (settled or path_issues(case.config) or _port_is_held(case, service)):
        facts.add({"sound": "yes"}, runtime_evidence("state", issue.target, "paths and ports are in order"), POSSIBLE)
    return facts


def _port_is_held(case: Case, service: Service) -> bool:
    """Starting a service whose port somebody else holds would only fail again."""
    named = case.issue.facts.get("port", "")
    port = int(named) if named.isdigit() else configured_port(case.config)
    return port is not None and stranger_on(port, service, listeners()) is not None


def neighbours(path: str) -> list[str]:
    """Return paths of the same name in folders near a missing one, only when there is exactly one."""
    wanted = Path(path)
    base = next((parent for parent in wanted.parents if mode_of(parent)), wanted)
    if len(base.parts) < 2 or not os.access(base, os.R_OK):
        return []
    tail = wanted.relative_to(base).parts[1:]
    entries = itertools.islice(base.iterdir(), MOST_NEIGHBOURS) if tail else ()
    found = [str(place) for entry in entries if mode_of(place := entry.joinpath(*tail))]
    return found if len(found) == 1 else []


VIEWS: Final[Mapping[str, View]] = {"config": config_view, "history": history_view, "runtime": runtime_view}
