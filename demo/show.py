"""How the demo speaks: headings, commands with their output, diffs, tables; plain text when not on a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

_WIDTH = min(120, shutil.get_terminal_size((120, 24)).columns)
_CONSOLE = Console(width=_WIDTH, highlight=False, markup=False, emoji=False, legacy_windows=False)


class Unexpected(Exception):
    """Something did not come out as the demo claims; the text is one sentence for the reader."""


def on_terminal() -> bool:
    """Whether a person is watching, in colour."""
    return _CONSOLE.is_terminal and not _CONSOLE.no_color


def heading(text: str) -> None:
    """A new part of the demo."""
    _CONSOLE.print()
    _CONSOLE.rule(Text(text, "bold"), align="left", characters="=")


def say(text: str) -> None:
    """A paragraph, wrapped to the width of the terminal."""
    _CONSOLE.print()
    _CONSOLE.print(" ".join(text.split()), soft_wrap=False)


def command(words: Sequence[str]) -> None:
    """The command whose output follows."""
    _CONSOLE.print()
    _CONSOLE.print(f"$ {' '.join(words)}", style="bold")


def output(text: str) -> None:
    """What a command printed, untouched (it may hold colours)."""
    _CONSOLE.file.flush()
    sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
    sys.stdout.flush()


def diff(text: str) -> None:
    """A unified diff."""
    if on_terminal():
        _CONSOLE.print(Syntax(text, "diff", theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        output(text)


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; cells that begin with `!` are shown as trouble, with `+` as success (the sign is dropped)."""
    made = Table(*titles, box=box.SIMPLE_HEAVY if on_terminal() else box.ASCII2, show_header=any(titles))
    for row in rows:
        made.add_row(*map(_cell, row))
    _CONSOLE.print()
    _CONSOLE.print(made)


def _cell(value: object) -> Text:
    text = str(value)
    if text[:1] in ("!", "+"):
        return Text(text[1:], "red" if text[0] == "!" else "green")
    return Text(text)
