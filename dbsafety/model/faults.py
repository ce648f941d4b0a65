"""What can go wrong with the tool or its input; the docstring of each class is its default message."""

from __future__ import annotations


class DbsafetyError(Exception):
    """dbsafety could not do what was asked."""

    def __init__(self, message: str = "", path: str = "", line: int = 0) -> None:
        """`path` and `line` (1-based, 0 for none) say where the cause stands."""
        self.message = message or (type(self).__doc__ or "").strip()
        self.path = path
        self.line = line
        super().__init__(self.message)

    def __str__(self) -> str:
        """One line: `path:line: message`."""
        where = self.path + (f":{self.line}" if self.line else "")
        return f"{where}: {self.message}" if where else self.message


class ConfigFault(DbsafetyError):
    """The configuration is not valid."""


class UsageFault(DbsafetyError):
    """The command line is not valid."""


class UnreadableFault(DbsafetyError):
    """The file cannot be read."""


class SourceFault(DbsafetyError):
    """The file is not Python that this interpreter can parse."""


class RuleCrash(DbsafetyError):
    """A rule failed on this file."""


class FixRefused(DbsafetyError):
    """The fix was not made."""
