"""Adds imports at module level: after docstring and `__future__`, in the order and the section where they belong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst
from libcst.helpers import get_full_name_for_node

from dbsafety.fix.arguments import Space, bare, joined
from dbsafety.fix.locate import Statement
from dbsafety.fix.snippets import statements, with_leading_lines
from dbsafety.model.rewrite import EnsureImport

_BLANK_LINE = cst.EmptyLine(indent=False)


@dataclass(frozen=True, slots=True, order=True)
class _Key:
    """How imports are sorted: standard library first, then the others, then relative ones; `import` before `from`."""

    section: int
    is_from: bool
    module: str

    @classmethod
    def of(cls, module: str, *, is_from: bool) -> _Key:
        root = module.split(".", maxsplit=1)[0]
        if root == "__future__":
            return cls(0, is_from, module)
        section = 3 if not root else 1 if root in sys.stdlib_module_names else 2
        return cls(section, is_from, module.lower())


def add_imports(body: Sequence[Statement], imports: Sequence[EnsureImport]) -> list[Statement]:
    """The statements of a module with these imports, none of which it has."""
    result = list(body)
    for item in imports:
        if not _merged(result, item):
            _insert(result, item)
    return result


def _merged(body: list[Statement], item: EnsureImport) -> bool:
    """Add the name to a `from module import ...` in the first block of imports, if there is one."""
    if not item.name:
        return False
    start, end = _block(body)
    for at in range(start, end):
        if _key(body[at]) != _Key.of(item.module, is_from=True):
            continue
        match body[at]:
            case cst.SimpleStatementLine(body=[cst.ImportFrom(names=[*_]) as node]):
                body[at] = body[at].with_changes(body=[_with_name(node, item.name)])
                return True
    return False


def _with_name(node: cst.ImportFrom, name: str) -> cst.ImportFrom:
    """The import with one more name: before the first that sorts after it if they are in order, else at the end."""
    names = [] if isinstance(node.names, cst.ImportStar) else list(node.names)
    known = [get_full_name_for_node(alias.name) or "" for alias in names]
    place = next((at for at, other in enumerate(known) if other > name), len(known))
    if known != sorted(known) or place == len(known) or _has_comments(_space_before(node, names, place)):
        return _with_last_name(node, names, name)
    new = cst.ImportAlias(cst.Name(name), comma=cst.Comma(whitespace_after=bare(_between(node, names))))
    return node.with_changes(names=[*names[:place], new, *names[place:]])


def _with_last_name(node: cst.ImportFrom, names: Sequence[cst.ImportAlias], name: str) -> cst.ImportFrom:
    """The import with the name behind the others, in the layout of their parentheses if they have any."""
    *before, last = names
    new, right = cst.ImportAlias(cst.Name(name)), node.rpar
    if isinstance(last.comma, cst.Comma):
        closing = last.comma.whitespace_after
        new = new.with_changes(comma=last.comma.with_changes(whitespace_after=bare(closing)))
    else:
        closing = right.whitespace_before if right is not None else cst.SimpleWhitespace("")
        right = right.with_changes(whitespace_before=bare(closing)) if right is not None else None
    parted = cst.Comma(whitespace_after=joined(closing, _between(node, names)))
    return node.with_changes(names=[*before, last.with_changes(comma=parted), new], rpar=right)


def _space_before(node: cst.ImportFrom, names: Sequence[cst.ImportAlias], place: int) -> Space | None:
    if place == 0:
        return node.lpar.whitespace_after if node.lpar is not None else None
    comma = names[place - 1].comma
    return comma.whitespace_after if isinstance(comma, cst.Comma) else None


def _has_comments(space: Space | None) -> bool:
    """Whether there are comments on lines of their own, which belong to the name that follows."""
    lines = space.empty_lines if isinstance(space, cst.ParenthesizedWhitespace) else ()
    return any(line.comment is not None for line in lines)


def _between(node: cst.ImportFrom, names: Sequence[cst.ImportAlias]) -> Space:
    """The space between two names: that behind the first comma or, of a lone name on a line of its own, before it."""
    if len(names) > 1 and isinstance(names[0].comma, cst.Comma):
        return names[0].comma.whitespace_after
    opening = node.lpar.whitespace_after if node.lpar is not None else None
    return opening if isinstance(opening, cst.ParenthesizedWhitespace) else cst.SimpleWhitespace(" ")


def _insert(body: list[Statement], item: EnsureImport) -> None:
    code = f"from {item.module} import {item.name}" if item.name else f"import {item.module}"
    (new,) = statements(code, None)
    key = _Key.of(item.module, is_from=bool(item.name))
    start, end = _block(body)
    keys = [_key(statement) for statement in body[start:end]]
    same = [at for at, other in enumerate(keys, start) if other is not None and other.section == key.section]
    lower = [at for at, other in enumerate(keys, start) if other is not None and other <= key]
    if same and (not lower or lower[-1] < same[0]):
        _before(body, same[0], new, apart=False)
    elif lower:
        at = lower[-1]
        apart = at not in same
        body.insert(at + 1, with_leading_lines(new, [_BLANK_LINE] if apart else []))
    elif start < end:
        _before(body, start, new, apart=True)
    else:
        _alone(body, start, new)


def _before(body: list[Statement], at: int, new: Statement, *, apart: bool) -> None:
    """Put `new` in front of an import; blank lines above stay above, comments stay with the import they precede."""
    old = body[at]
    lines = list(old.leading_lines)
    first = next((n for n, line in enumerate(lines) if line.comment is not None), len(lines))
    body[at : at + 1] = [
        with_leading_lines(new, lines[:first]),
        with_leading_lines(old, [*([_BLANK_LINE] if apart else []), *lines[first:]]),
    ]


def _alone(body: list[Statement], at: int, new: Statement) -> None:
    """Put `new` where there are no imports yet, set off by blank lines."""
    body.insert(at, with_leading_lines(new, [_BLANK_LINE] if at else []))
    if at + 1 < len(body):
        follower = body[at + 1]
        if not follower.leading_lines or follower.leading_lines[0].comment is not None:
            body[at + 1] = with_leading_lines(follower, [_BLANK_LINE, *follower.leading_lines])


def _block(body: Sequence[Statement]) -> tuple[int, int]:
    """The first run of imports after docstring and `__future__`, as indexes."""
    start = 0
    match body:
        case [cst.SimpleStatementLine(body=[cst.Expr(value=cst.SimpleString() | cst.ConcatenatedString())]), *_]:
            start = 1
    while start < len(body) and (key := _key(body[start])) is not None and key.section == 0:
        start += 1
    end = start
    while end < len(body) and _key(body[end]) is not None:
        end += 1
    return start, end


def _key(statement: Statement) -> _Key | None:
    """The sort key of a line that is one import, else None."""
    match statement:
        case cst.SimpleStatementLine(body=[cst.Import(names=[first, *_])]):
            return _Key.of(get_full_name_for_node(first.name) or "", is_from=False)
        case cst.SimpleStatementLine(body=[cst.ImportFrom(module=module, relative=relative)]):
            name = get_full_name_for_node(module) if module is not None else ""
            return _Key.of("" if relative else name or "", is_from=True)
        case _:
            return None
