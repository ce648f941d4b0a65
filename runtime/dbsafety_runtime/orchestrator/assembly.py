"""Puts an orchestrator together from its settings: manager, detectors, agents."""

from __future__ import annotations

import time
from functools import partial

from dbsafety_runtime.orchestrator.agents import SINGLE, Agent, EndpointAgent
from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.detectors.base import Check, Detector
from dbsafety_runtime.orchestrator.detectors.journal import JournalDetector
from dbsafety_runtime.orchestrator.detectors.paths import all_path_issues
from dbsafety_runtime.orchestrator.detectors.services import ServiceDetector, port_conflicts, stale_processes
from dbsafety_runtime.orchestrator.loop import Orchestrator
from dbsafety_runtime.orchestrator.managers.supervisor import SupervisorManager
from dbsafety_runtime.orchestrator.managers.systemd import SystemdManager
from dbsafety_runtime.orchestrator.model import Clock, Manager, ManagerError


def manager_of(settings: OrchestratorSettings) -> Manager:
    """Return the adapter the settings name; raises ManagerError for an unknown one."""
    if settings.manager == "supervisord":
        return SupervisorManager(settings.socket.absolute(), settings.programs.absolute())
    if settings.manager == "systemd":
        return SystemdManager()
    raise ManagerError(f"there is no service manager {settings.manager!r}: supervisord or systemd")


def detectors_of(settings: OrchestratorSettings, manager: Manager, clock: Clock = time.time) -> list[Detector]:
    """Return all detectors that make sense with a manager."""
    common: list[Detector] = [
        ServiceDetector(manager, clock, settings.settle), Check("ports", partial(port_conflicts, manager)),
        Check("paths", partial(all_path_issues, manager)), Check("stale", partial(stale_processes, manager)),
    ]  # fmt: skip
    return [*common, JournalDetector(manager)] if manager.name == "systemd" else common


def agent_of(settings: OrchestratorSettings) -> Agent:
    """Return the single agent of phase 2: the endpoint when one is set, else the deterministic one."""
    if settings.endpoint_url:
        return EndpointAgent(settings.endpoint_url, settings.endpoint_model, settings.endpoint_key)
    return SINGLE


def orchestrator_of(settings: OrchestratorSettings, manager: Manager | None = None) -> Orchestrator:
    """Return an orchestrator ready to run; raises ManagerError, AlreadyRunning, a StorageFault or SchemaMismatch."""
    manager = manager_of(settings) if manager is None else manager
    return Orchestrator(settings, manager, detectors_of(settings, manager), single=agent_of(settings))
