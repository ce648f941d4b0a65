"""Standard output and standard error: encodings that never fail, colour where it is wanted, one line per trouble."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

from dbsafety.model.faults import UsageFault
from dbsafety.output.record import Trouble, one_line
from dbsafety.output.style import Style

PROGRAM = "dbsafety"


def make_tolerant() -> None:
    """Let the standard streams write what their encoding lacks as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def style_for(stream: TextIO, color: str, environment: Mapping[str, str] | None = None) -> Style:
    """Colour by the option, else NO_COLOR, else FORCE_COLOR, else whether `stream` is a terminal that can."""
    variables = os.environ if environment is None else environment
    if color != "auto":
        return Style(color == "always")
    if variables.get("NO_COLOR"):
        return Style(False)
    if variables.get("FORCE_COLOR"):
        return Style(True)
    return Style(stream.isatty() and variables.get("TERM") != "dumb")


def write(pieces: Iterable[str], file: Path | None) -> None:
    """Write to a file in UTF-8, or to standard output. Raises UsageFault when it cannot be written."""
    try:
        if file is None:
            for piece in pieces:
                sys.stdout.write(piece)
            sys.stdout.flush()
            return
        file.write_text("".join(pieces), encoding="utf-8", errors="backslashreplace", newline="\n")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageFault(f"cannot write the output: {error.strerror}", str(file or "")) from error


def say(line: str) -> None:
    """One line on standard error."""
    print(one_line(line), file=sys.stderr)


def complain(line: str) -> None:
    """One line on standard error for what makes the exit code 2."""
    say(f"{PROGRAM}: error: {line}")


def tell(trouble: Trouble) -> None:
    """A fault or a note, on one line of standard error."""
    where = trouble.path + (f":{trouble.line}" if trouble.line else "")
    text = f"{where}: {trouble.message}" if where else trouble.message
    if trouble.is_fault:
        complain(text)
    else:
        say(f"{PROGRAM}: note: {text}")
