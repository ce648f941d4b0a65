"""Which rules run: selectors such as `DBS101`, `DBS1` and `ALL` against the codes that exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches

from dbsafety.model.faults import ConfigFault

ALL = "ALL"


def choose(
    select: Sequence[str],
    extend_select: Sequence[str],
    ignore: Sequence[str],
    known: Mapping[str, bool],
) -> frozenset[str]:
    """The codes that run.

    `known` says of every code whether it is on by default. With `select` only what it names runs; without, the default
    set. Between selecting and ignoring the longer beginning wins, ignoring on a tie, as in flake8.
    """
    chosen = set()
    for code, default in known.items():
        wanted = _reach(code, (*select, *extend_select))
        if not select and default:
            wanted = max(wanted, 0)
        if wanted > _reach(code, ignore):
            chosen.add(code)
    return frozenset(chosen)


def matching(selectors: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    """The codes that any of the selectors names."""
    wanted = tuple(selectors)
    return frozenset(code for code in known if _reach(code, wanted) >= 0)


def require_known(selectors: Iterable[str], known: Iterable[str], retired: Mapping[str, str], where: str) -> None:
    """Raise ConfigFault for a selector that names no rule; `where` names the option or setting in the message."""
    codes = sorted(known)
    for selector in selectors:
        if selector in retired:
            raise ConfigFault(f"{where}: {selector} is retired: {retired[selector]}")
        if not matching((selector,), codes):
            raise ConfigFault(f"{where}: no rule has the code {selector!r}{did_you_mean(selector, codes)}")


_LOOK_ALIKES = str.maketrans("OIL", "011")
"""Letters taken for the digits of a code."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known word, "" when none is near."""
    words = sorted(known)
    meant = word.upper().translate(_LOOK_ALIKES)
    if meant in words:
        return f"; did you mean {meant!r}?"
    for spelling in (word, word.upper()):
        near = get_close_matches(spelling, words, n=len(words) or 1)
        if near:
            return f"; did you mean {max(near, key=lambda other: _likeness(spelling, other))!r}?"
    return ""


def _likeness(word: str, other: str) -> tuple[float, int]:
    """The measure of `get_close_matches`; of two words it finds equally near, the one with more letters in place."""
    return SequenceMatcher(None, other, word).ratio(), sum(map(str.__eq__, word, other))


def _reach(code: str, selectors: Iterable[str]) -> int:
    """Length of the longest selector that names the code, 0 for ALL, -1 for none."""
    return max(
        (
            0 if selector == ALL else len(selector)
            for selector in selectors
            if selector == ALL or _names(selector, code)
        ),
        default=-1,
    )


def _names(selector: str, code: str) -> bool:
    return bool(selector) and code.startswith(selector)
