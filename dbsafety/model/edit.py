"""A realised fix: byte ranges and the text that replaces them."""

from __future__ import annotations

from dataclasses import dataclass

from dbsafety.model.rewrite import Applicability


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replace the bytes `start` to `end` (offsets in the file as it is on disk) by `text`, encoded as the file is."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that belong together, in ascending order and without overlap."""

    edits: tuple[Edit, ...]
    applicability: Applicability
    title: str
