"""Finds the untouched stretches of a file in its changed text, where the stretches between them may have grown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dbsafety.model.faults import FixRefused

Lines = Sequence[str]


def aligned(kept: Sequence[Lines], gaps: Sequence[int], new: Lines) -> list[int]:
    """Where each of the `kept` stretches begins in `new`, which they begin and end.

    Between stretches `n` and `n + 1` there were `gaps[n]` lines; of several places the one is taken that leaves the
    gap most like it was. Raises FixRefused when there is no such arrangement, with the first line that is missing.
    """
    chosen: list[int] = []
    untried = [iter([0])]
    seen: set[tuple[int, int]] = set()
    furthest = 0
    while untried:
        number = len(chosen)
        at = next(untried[-1], None)
        if at is None:
            untried.pop()
            if chosen:
                chosen.pop()
        elif (number, at) not in seen:
            seen.add((number, at))
            if list(new[at : at + len(kept[number])]) == list(kept[number]):
                chosen.append(at)
                furthest = max(furthest, min(number + 1, len(gaps)))
                if number == len(gaps):
                    return chosen
                untried.append(_places(kept, gaps, number + 1, at + len(kept[number]), new))
    raise FixRefused(f"line {_missing(kept, gaps, furthest, new)} would change, which is not part of the fix")


def _places(kept: Sequence[Lines], gaps: Sequence[int], number: int, start: int, new: Lines) -> Iterator[int]:
    """Where a stretch may begin when the gap before it begins at `start`; the likeliest place first."""
    last = len(new) - len(kept[number])
    if number == len(gaps):
        if start <= last:
            yield last
        return
    usual = start + gaps[number - 1]
    for distance in range(len(new)):
        for at in dict.fromkeys((usual + distance, usual - distance)):
            if start <= at <= last and new[at] == kept[number][0]:
                yield at


def _missing(kept: Sequence[Lines], gaps: Sequence[int], number: int, new: Lines) -> int:
    """The 1-based number, in the old file, of the line that is not found."""
    before = sum(len(stretch) for stretch in kept[:number]) + sum(gaps[:number])
    stretch = list(kept[number])
    if number == 0:
        same = next(at for at in range(len(stretch), -1, -1) if list(new[:at]) == stretch[:at])
        return before + same + 1
    if number == len(gaps):
        same = next(at for at in range(len(stretch), -1, -1) if at == 0 or list(new[-at:]) == stretch[-at:])
        return before + len(stretch) - same
    return before + 1
