"""Unit files as systemd reads them: fragments and drop-ins merged, lists reset, specifiers expanded."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dbsafety_runtime.orchestrator.model import ServiceConfig, words

SECTION: Final = re.compile(r"\[([^\]]+)\]")
PREFIXES: Final = "@-:+!|"
LONGEST_FILE: Final = 1_048_576

Settings = dict[str, list[str]]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their last physical one: comments dropped, continued lines joined."""
    pending = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not pending):
            continue
        if line.endswith("\\"):
            pending += line[:-1] + " "
        else:
            yield number, pending + line
            pending = ""
    if pending.strip():
        yield text.count("\n") + 1, pending


def parse(text: str, file: str, into: Settings, problems: list[str]) -> None:
    """Add a file's [Service] settings to `into`: the last one counts, an empty one resets; what is odd is a problem."""
    section = ""
    for number, line in _lines(text):
        header = SECTION.fullmatch(line)
        name, equals, value = line.partition("=")
        if header:
            section = header[1]
        elif not equals or not section or not name.strip():
            problems.append(f"{file}:{number}: not a setting: {line[:80]}")
        elif section == "Service":
            into[name.strip()] = [*into.get(name.strip(), []), value.strip()] if value.strip() else []


def expand(text: str, unit: str) -> str:
    """Replace the specifiers a path may hold (%n %N %p %i %I %H %t %S %C %L %E %h %%), see systemd.unit(5)."""
    name = unit.rpartition(".")[0] or unit
    prefix, _, instance = name.partition("@")
    values = {
        "n": unit, "N": name, "p": prefix, "i": instance, "I": instance.replace("-", "/"), "H": socket.gethostname(),
        "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc", "h": "/root", "%": "%",
    }  # fmt: skip
    return re.sub(r"%(.)", lambda hit: values.get(hit[1], hit[0]), text)


def _read(file: Path, problems: list[str]) -> str:
    try:
        if not file.is_file():  # reading a pipe or a device might never end
            problems.append(f"{file}: {'no regular file' if file.exists() else 'does not exist'}")
            return ""
        with file.open("rb") as content:
            return content.read(LONGEST_FILE).decode("utf-8")
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        problems.append(f"{file}: not UTF-8")
    return ""


def load(unit: str, fragment: Path, drop_ins: tuple[Path, ...] = ()) -> ServiceConfig:
    """Return what a unit is configured to run; never raises, what cannot be understood is in `problems`."""
    problems: list[str] = []
    settings: Settings = {}
    for file in (fragment, *drop_ins):
        parse(_read(file, problems), str(file), settings, problems)
    last = {name: values[-1] for name, values in settings.items() if values}
    command = expand(last.get("ExecStart", ""), unit).lstrip(PREFIXES)
    if not command and last.get("Type") != "oneshot":
        problems.append(f"{fragment}: no ExecStart")
    directory = expand(last.get("WorkingDirectory", ""), unit)
    optional = directory.startswith("-")
    directory = "/root" if directory.lstrip("-") == "~" else directory.lstrip("-")
    if directory and not directory.startswith("/"):
        problems.append(f"{fragment}: WorkingDirectory={directory} is not absolute")
        directory = ""
    assigned = [word.split("=", 1) for text in settings.get("Environment", []) for word in words(text) if "=" in word]
    place, user = "" if optional else directory, last.get("User", "")
    return ServiceConfig(unit, str(fragment), command, place, user, dict(assigned), tuple(problems))
