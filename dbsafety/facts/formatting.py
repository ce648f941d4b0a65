"""Texts put together with `%`, `str.format` and `join`, as far as the parts are known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

HOLE = "{}"
"""Stands for a part of a text that is only known at run time."""

Parts: TypeAlias = Sequence["str | None"]

_PERCENT = re.compile(r"%(?:\((?P<name>[^)]*)\))?[-#0 +]*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?P<kind>[diouxXeEfFgGcrsa%])")
_FIELD = re.compile(r"\{\{|\}\}|\{(?P<name>\w*)(?P<rest>[^{}]*)(?:\{[^{}]*\}[^{}]*)?\}")


def percent(text: str, parts: Parts, named: Mapping[str, str | None]) -> str:
    """`text % parts`, or `text % named`: what is not known, or is not plain `%s`, becomes a hole."""
    rest = list(parts)

    def fill(match: re.Match[str]) -> str:
        if match["kind"] == "%":
            return "%"
        value = named.get(match["name"]) if match["name"] is not None else rest.pop(0) if rest else None
        return value if value is not None and match["kind"] == "s" else HOLE

    return _PERCENT.sub(fill, text)


def braces(text: str, parts: Parts, named: Mapping[str, str | None]) -> str:
    """`text.format(*parts, **named)`: what is not known becomes a hole.

    A text that has more unnumbered fields than there are parts holds holes already, so nothing is known of its fields.
    """
    known = text.count(HOLE) <= len(parts)
    taken = 0

    def fill(match: re.Match[str]) -> str:
        nonlocal taken
        if match.group() in ("{{", "}}"):
            return match.group()[0]
        name, value = match["name"], None
        if not name:
            value = parts[taken] if taken < len(parts) else None
            taken += 1
        elif name.isdigit():
            value = parts[int(name)] if int(name) < len(parts) else None
        else:
            value = named.get(name)
        return value if value is not None and known and not match["rest"] else HOLE

    return _FIELD.sub(fill, text)


def joined(separator: str | None, parts: Parts) -> str:
    """`separator.join(parts)`, with holes."""
    glue = HOLE if separator is None else separator
    return glue.join(HOLE if part is None else part for part in parts)
