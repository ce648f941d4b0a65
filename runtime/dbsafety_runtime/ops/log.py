"""Structured logs on standard error: JSON for the journal, logfmt or console for people; secrets are cut out."""

from __future__ import annotations

import logging
import re
import sys
from typing import Final, Literal

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

SECRETS: Final = re.compile(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)|(://[^:/@\s]*:)[^@\s]+(@)", re.IGNORECASE)

Format = Literal["json", "logfmt", "console"]


def redact(text: str) -> str:
    """Return `text` with the passwords of connection strings replaced."""
    return SECRETS.sub(lambda hit: f"{hit[1]}***" if hit[1] else f"{hit[3]}***{hit[4]}", text)


def _redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}


def configure(form: Format = "json", level: str = "info", **bound: object) -> None:
    """Set up logging for the process; `bound` pairs appear in every line. Call once, from a command."""
    renderer: dict[Format, Processor] = {
        "json": structlog.processors.JSONRenderer(default=str),
        "logfmt": structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event"), bool_as_flag=False),
        "console": structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    }
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.CallsiteParameterAdder({structlog.processors.CallsiteParameter.THREAD_NAME}),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redacted,
            renderer[form],
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    if bound:
        structlog.configure(processors=[_binder(bound), *structlog.get_config()["processors"]])


def _binder(bound: dict[str, object]) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**bound, **event}

    return add


def get(name: str) -> FilteringBoundLogger:
    """Return the logger of a component; its lines carry `component`."""
    logger: FilteringBoundLogger = structlog.get_logger(component=name)
    return logger
