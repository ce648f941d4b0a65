"""What the rules are told of the settings."""

from __future__ import annotations

from dbsafety.config.settings import Settings
from dbsafety.views.view import Options


def rule_options(settings: Settings) -> Options:
    """The settings that rules use."""
    return Options(settings.sqlite_timeout, settings.target_python, settings.slow_calls)
