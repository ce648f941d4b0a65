"""From a span to exactly one node of the concrete syntax tree, by byte offset, byte length and class of node."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper

from dbsafety.model.faults import FixRefused
from dbsafety.model.span import Span
from dbsafety.source.text import SourceText

Statement: TypeAlias = cst.SimpleStatementLine | cst.BaseCompoundStatement
AnyStatement: TypeAlias = cst.BaseSmallStatement | cst.BaseCompoundStatement
Handler: TypeAlias = cst.ExceptHandler | cst.ExceptStarHandler
Node = TypeVar("Node", bound=cst.CSTNode)

_SEMICOLON = re.compile(r"[ \t]*;\Z")
_KINDS = (
    cst.BaseExpression,
    cst.BaseSmallStatement,
    cst.BaseCompoundStatement,
    cst.ExceptHandler,
    cst.ExceptStarHandler,
    cst.Comment,
)


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file's concrete syntax tree, with its nodes by place: start and length in UTF-8 bytes of the plain text.

    `plain` is the text without the whitespace that libcst does not keep (1.9: a form feed at the start of a line of
    code, some blanks at the end of the file). Its lines are those of `text`; edits are made in `text`.
    """

    text: SourceText
    plain: SourceText
    module: cst.Module
    places: Mapping[tuple[int, int], tuple[cst.CSTNode, ...]]

    @classmethod
    def parse(cls, text: SourceText) -> ParsedFile:
        """Parse decoded text.

        Raises FixRefused when the tree does not give the plain text again, or when encoding the text does not give the
        file.
        """
        if not text.round_trips:
            raise FixRefused(f"the file's bytes are not what its encoding ({text.encoding}) makes of its text")
        try:
            module = cst.parse_module(text.text)
            plain = text if module.code == text.text else _plain(text, SourceText.of(module.code))
            if plain is not text:
                module = cst.parse_module(plain.text)
            if module.code != plain.text:
                raise FixRefused("the file has whitespace that would be lost (a CR at its end)")
            # The tree is new and nobody else has it: a copy would double the time (measured).
            positions = MetadataWrapper(module, unsafe_skip_copy=True).resolve(ByteSpanPositionProvider)
        except cst.ParserSyntaxError as error:
            raise FixRefused(f"libcst cannot parse the file: {error.message}") from error
        except RecursionError as error:
            raise FixRefused("the code is nested too deeply to be rewritten") from error
        places: dict[tuple[int, int], tuple[cst.CSTNode, ...]] = {}
        for node, place in positions.items():
            if isinstance(node, _KINDS):
                key = (place.start, place.length)
                places[key] = (*places.get(key, ()), node)
        return cls(text, plain, module, places)

    def is_plain(self, line: int) -> bool:
        """Whether the line is the same in both texts."""
        return self.plain is self.text or self.plain.line(line) == self.text.line(line)

    def find(self, span: Span, kinds: type[Node] | tuple[type[Node], ...], what: str) -> Node:
        """The one node of these classes at exactly this span. Raises FixRefused when it is not exactly one."""
        start, length = self._place(span)
        found = [node for node in self.places.get((start, length), ()) if isinstance(node, kinds)]
        if not found:
            # For ast a block ends behind the semicolon of its last line, for libcst before it.
            length -= self._semicolon(span)
            found = [node for node in self.places.get((start, length), ()) if isinstance(node, kinds)]
        if len(found) != 1:
            raise FixRefused(f"{what} at line {span.line} is not found exactly once")
        return found[0]

    def comment(self, span: Span) -> tuple[cst.Comment, int, int]:
        """The comment that `span` is part of, with start and end of that part in characters of the comment.

        Raises FixRefused when there is none.
        """
        start, length = self._place(span)
        for (at, size), comment in self._comments():
            if at <= start and start + length <= at + size:
                before = comment.value.encode()[: start - at].decode()
                return comment, len(before), len(before) + len(self.text.slice(span))
        raise FixRefused(f"there is no comment at line {span.line}")

    def _comments(self) -> Iterator[tuple[tuple[int, int], cst.Comment]]:
        for place, nodes in self.places.items():
            for node in nodes:
                if isinstance(node, cst.Comment):
                    yield place, node

    def _semicolon(self, span: Span) -> int:
        """How many bytes a semicolon at the end of the span takes, with the blanks before it."""
        match = _SEMICOLON.search(self.text.slice(span))
        return len(match.group()) if match else 0

    def _place(self, span: Span) -> tuple[int, int]:
        start = self._offset(span.line, span.col)
        return start, self._offset(span.end_line, span.end_col) - start

    def _offset(self, line: int, col: int) -> int:
        dropped = 0 if self.is_plain(line) else len(self.text.line(line)) - len(self.plain.line(line))
        return self.plain.utf8_offset(line, max(0, col - dropped))


def _plain(text: SourceText, kept: SourceText) -> SourceText:
    """What libcst kept of a text, `kept`, if the rest is nothing but form feeds before code and blanks at the end."""
    old, new = text.lines(), kept.lines()
    same = len(old) == len(new) and all(
        one == other or one.lstrip("\f") == other for one, other in zip(old[:-1], new[:-1], strict=True)
    )
    if not same or (old[-1].strip() and old[-1].lstrip("\f") != new[-1]) or new[-1].isspace():
        raise FixRefused("the file has whitespace that would be lost (a CR or blanks at its end)")
    return kept
