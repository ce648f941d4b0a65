"""Changes to the statements of a suite: insert, guard, drop, wrap. Statements that share a line are parted first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import libcst as cst

from dbsafety.fix.branches import with_else_joined
from dbsafety.fix.locate import AnyStatement, Statement
from dbsafety.fix.snippets import expression, pass_line, statements, with_block, with_leading_lines
from dbsafety.model.faults import FixRefused


@dataclass(frozen=True, slots=True)
class Wrap:
    """`first` becomes `with items:`, what follows it up to `last` its body.

    With `final` it stays, and what follows becomes the body of a `try` that has this code in `finally`.
    """

    first: AnyStatement
    last: AnyStatement
    items: str = ""
    final: str = ""


@dataclass(slots=True)
class SuiteChanges:
    """What is to be done to statements; the keys are nodes of the tree as it was parsed.

    `first` holds code for the beginning of a suite, with whether a docstring may stand there.
    """

    first: dict[cst.BaseSuite, tuple[str, bool]] = field(default_factory=dict)
    before: dict[AnyStatement, str] = field(default_factory=dict)
    guards: dict[AnyStatement, str] = field(default_factory=dict)
    drops: set[AnyStatement] = field(default_factory=set)
    wraps: list[Wrap] = field(default_factory=list)
    moves: dict[AnyStatement, list[Statement]] = field(default_factory=dict)
    """The statements that leave their suite with their comments, with what they are when the edits have met them."""
    joins: dict[AnyStatement, cst.Try] = field(default_factory=dict)
    """The statements that go into the `else` of the `try` they come behind."""
    done: set[cst.CSTNode] = field(default_factory=set)
    """The statements the edits have met."""

    def targets(self) -> frozenset[AnyStatement]:
        """Every statement that something is to be done to."""
        ends = {node for wrap in self.wraps for node in (wrap.first, wrap.last)}
        moved = self.moves.keys() | self.joins.keys()
        return frozenset(self.before.keys() | self.guards.keys() | self.drops | moved | ends)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A statement that stands alone: the node as parsed, and what has become of it."""

    node: AnyStatement | cst.SimpleStatementLine
    statement: Statement


def touched(suite: cst.BaseSuite | cst.Module, changes: SuiteChanges, targets: frozenset[AnyStatement]) -> bool:
    """Whether something is to be done to the suite itself or to a statement directly in it."""
    if isinstance(suite, cst.BaseSuite) and suite in changes.first:
        return True
    return any(
        node in targets or (isinstance(node, cst.SimpleStatementLine) and any(small in targets for small in node.body))
        for node in suite.body
    )


def edited(
    original: cst.IndentedBlock | cst.Module | cst.SimpleStatementSuite,
    updated: cst.IndentedBlock | cst.Module | cst.SimpleStatementSuite,
    changes: SuiteChanges,
    indent: str | None,
) -> tuple[list[Statement], list[cst.EmptyLine]]:
    """The statements of the changed suite, and the comments of dropped statements that nothing follows.

    `indent` is the indentation of new suites inside, None for the module's own.
    """
    slots = _slots(original, updated, changes.targets())
    groups = [_group(slot, changes, indent) for slot in slots]
    for at, slot in enumerate(slots):
        if not isinstance(slot.node, cst.SimpleStatementLine) and slot.node in changes.moves:
            changes.moves[slot.node], groups[at] = groups[at], []
    _join(slots, groups, changes)
    carried = _drop([slot.node in changes.drops for slot in slots], groups)
    for wrap in reversed(changes.wraps):
        if any(slot.node is wrap.first for slot in slots):
            _fold(wrap, slots, groups, indent)
    changes.done.update(slot.node for slot in slots)
    body = [statement for group in groups for statement in group]
    if isinstance(original, cst.BaseSuite) and original in changes.first:
        code, documented = changes.first[original]
        body = _first(statements(code, indent), body, documented=documented)
    return body, carried


def _slots(
    original: cst.IndentedBlock | cst.Module | cst.SimpleStatementSuite,
    updated: cst.IndentedBlock | cst.Module | cst.SimpleStatementSuite,
    targets: frozenset[AnyStatement],
) -> list[_Slot]:
    if isinstance(original, cst.SimpleStatementSuite) and isinstance(updated, cst.SimpleStatementSuite):
        return _parted(original.body, cst.SimpleStatementLine(updated.body))
    slots: list[_Slot] = []
    for old, new in zip(original.body, updated.body, strict=True):
        if isinstance(old, cst.SimpleStatementLine) and isinstance(new, cst.SimpleStatementLine):
            if len(old.body) == 1 or any(small in targets for small in old.body):
                slots.extend(_parted(old.body, new))
            else:
                slots.append(_Slot(old, new))
        elif isinstance(old, cst.BaseCompoundStatement) and isinstance(new, cst.BaseCompoundStatement):
            slots.append(_Slot(old, new))
    return slots


def _parted(originals: Sequence[cst.BaseSmallStatement], line: cst.SimpleStatementLine) -> list[_Slot]:
    """`a; b  # c` as two lines, with the comment on the last."""
    if len(originals) == 1:
        return [_Slot(originals[0], line)]
    last = len(originals) - 1
    slots = []
    for at, (old, new) in enumerate(zip(originals, line.body, strict=True)):
        alone = new if at == last else new.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        leading = line.leading_lines if at == 0 else ()
        trailing = line.trailing_whitespace if at == last else cst.TrailingWhitespace()
        slots.append(_Slot(old, cst.SimpleStatementLine([alone], leading, trailing)))
    return slots


def _group(slot: _Slot, changes: SuiteChanges, indent: str | None) -> list[Statement]:
    """What stands in the place of the statement."""
    statement, node = slot.statement, slot.node
    if isinstance(node, cst.SimpleStatementLine):
        return [statement]
    if node in changes.guards:
        body = cst.IndentedBlock([with_leading_lines(statement, ())], indent=indent)
        statement = cst.If(expression(changes.guards[node]), body, leading_lines=statement.leading_lines)
    if node not in changes.before:
        return [statement]
    # Comments directly above a statement belong to it, the blank lines above them to the place.
    lines = statement.leading_lines
    blanks = [at for at, line in enumerate(lines) if line.comment is None]
    start = blanks[-1] + 1 if blanks else 0
    new = statements(changes.before[node], indent)
    new[0] = with_leading_lines(new[0], (*lines[:start], *new[0].leading_lines))
    return [*new, with_leading_lines(statement, lines[start:])]


def _fold(wrap: Wrap, slots: Sequence[_Slot], groups: list[list[Statement]], indent: str | None) -> None:
    """Move the groups of a wrap into one `with` statement; their slots are empty afterwards."""
    start = next(at for at, slot in enumerate(slots) if slot.node is wrap.first)
    end = next((at for at, slot in enumerate(slots) if slot.node is wrap.last), -1)
    first = groups[start][-1]
    if end < start or not isinstance(first, cst.SimpleStatementLine):
        raise FixRefused("the statements to wrap do not follow each other in one block")
    body = [statement for group in groups[start + 1 : end + 1] for statement in group]
    groups[start + 1 : end + 1] = [[] for _ in range(start, end)]
    if body:
        body[0] = with_leading_lines(body[0], _from_first_comment(body[0].leading_lines))
    if wrap.final:
        final = cst.Finally(cst.IndentedBlock(statements(wrap.final, indent), indent=indent))
        block = cst.IndentedBlock(body or [pass_line()], indent=indent)
        groups[start].append(cst.Try(block, finalbody=final))
        return
    block = cst.IndentedBlock(body or [pass_line()], header=first.trailing_whitespace, indent=indent)
    groups[start][-1:] = [with_block(wrap.items, block, first)]


def _join(slots: Sequence[_Slot], groups: list[list[Statement]], changes: SuiteChanges) -> None:
    """Move the statements of `joins` into the `else` of the `try` before them; their slots are empty afterwards."""
    for at, slot in enumerate(slots):
        if isinstance(slot.node, cst.SimpleStatementLine) or slot.node not in changes.joins:
            continue
        before = groups[at - 1][-1] if at and slots[at - 1].node is changes.joins[slot.node] else None
        if not isinstance(before, cst.Try):
            raise FixRefused("the statement to move does not come right behind its `try`")
        groups[at - 1][-1] = with_else_joined(before, groups[at])
        groups[at] = []


def _drop(dropped: Sequence[bool], groups: list[list[Statement]]) -> list[cst.EmptyLine]:
    """Empty the groups of dropped statements; their comments go to the next statement, or are returned."""
    carried: list[cst.EmptyLine] = []
    for at, (drop, group) in enumerate(zip(dropped, groups, strict=True)):
        if drop:
            carried.extend(line for statement in group for line in _comments(statement))
            groups[at] = []
        elif carried:
            group[0] = with_leading_lines(group[0], (*carried, *group[0].leading_lines))
            carried = []
    return carried


def _comments(statement: Statement) -> Iterable[cst.EmptyLine]:
    """The comments above a statement and behind it, each on a line of its own."""
    yield from (line for line in statement.leading_lines if line.comment is not None)
    if isinstance(statement, cst.SimpleStatementLine) and statement.trailing_whitespace.comment is not None:
        yield cst.EmptyLine(comment=statement.trailing_whitespace.comment)


def _from_first_comment(lines: Sequence[cst.EmptyLine]) -> Sequence[cst.EmptyLine]:
    first = next((at for at, line in enumerate(lines) if line.comment is not None), len(lines))
    return lines[first:]


def _first(new: list[Statement], body: list[Statement], *, documented: bool) -> list[Statement]:
    """`new` before `body`, but after a docstring; a lone `pass` without a comment makes room."""
    if documented and _is_docstring(body[0]):
        return [body[0], *new, *body[1:]]
    return [*new, *([] if len(body) == 1 and _is_bare_pass(body[0]) else body)]


def _is_docstring(statement: Statement) -> bool:
    match statement:
        case cst.SimpleStatementLine(body=[cst.Expr(value=cst.SimpleString() | cst.ConcatenatedString())]):
            return True
        case _:
            return False


def _is_bare_pass(statement: Statement) -> bool:
    match statement:
        case cst.SimpleStatementLine(body=[cst.Pass()]):
            return not list(_comments(statement))
        case _:
            return False
