"""The statements of an SQL text as tokens: text, comments and quoted names are told apart from keywords by sqlparse.

One grammar serves PostgreSQL and SQLite; docs/design/sql.md says why, and what sqlparse is told about them.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from sqlparse.lexer import Lexer

LIMIT = 50_000
"""Characters beyond which a text is not looked at."""


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    """A keyword or a plain name; `text` is in capitals."""
    NAME = "name"
    """A quoted name, without its quotes."""
    TEXT = "text"
    """A literal: text, number, or a parameter."""
    HOLE = "hole"
    """A part that is only known at run time, with the letters that touch it."""
    MARK = "mark"
    """Anything else; each bracket, comma and semicolon is one token."""


class Token(NamedTuple):
    """One token; `depth` counts the parentheses around it."""

    kind: Kind
    text: str
    depth: int = 0


Tokens: TypeAlias = tuple[Token, ...]

_QUOTES = {'"': '"', "`": "`", "[": "]"}


def split(text: str) -> tuple[Tokens, ...] | None:
    """The tokens of each statement, without the semicolons; a body between BEGIN and END stays whole.

    `{}` stands for an unknown part. What is not closed reaches to the end of the text. None for a text that is too
    long, and for one with a comment inside a comment, where PostgreSQL and SQLite do not agree.
    """
    if len(text) > LIMIT:
        return None
    from sqlparse.engine.statement_splitter import StatementSplitter  # takes longer to import than most files to check
    from sqlparse.tokens import Comment

    found: list[Tokens] = []
    for statement in StatementSplitter().process(_lexer().get_tokens(text)):
        pairs = [(token.ttype, token.value) for token in statement.flatten()]
        if any(kind in Comment.Multiline and "/*" in value[2:] for kind, value in pairs):
            return None
        tokens = tuple(_deepened(_read(kind, value) for kind, value in pairs))
        if tokens:
            found.append(tokens)
    return tuple(found)


@lru_cache(maxsize=1)
def _lexer() -> Lexer:
    """A lexer of our own: sqlparse's, told what PostgreSQL and SQLite read otherwise than MySQL, and what a hole is."""
    from sqlparse import keywords, tokens
    from sqlparse.lexer import Lexer

    lexer = Lexer()
    lexer.default_initialization()
    lexer.set_SQL_REGEX(
        [
            (r"--.*?(\r\n|\r|\n|$)", tokens.Comment.Single),
            (r"/\*[\s\S]*", tokens.Comment.Multiline),  # reached by those that nothing closes
            (r"#", tokens.Operator),
            (r"E'(''|\\[\s\S]|[^'\\])*('|$)", tokens.String.Single),
            (r"([NBX]|U&)?'(''|[^'])*('|$)", tokens.String.Single),
            (r'"(""|[^"])*("|$)', tokens.String.Symbol),
            (r"`(``|[^`])*(`|$)", tokens.Name),
            (r"%(\(\w*\))?s\b", tokens.Name.Placeholder),
            (r"%", tokens.Operator),
            (r"(?<![\w:])[:@$?]\w+", tokens.Name.Placeholder),
            (r"\w*(\{\w*\}\w*)+", tokens.Other),
            *keywords.SQL_REGEX,
        ]
    )
    return lexer


def _read(kind: object, value: str) -> Iterator[Token]:
    """The tokens that one of sqlparse's stands for, which may be several words (`IF NOT EXISTS`), or none."""
    from sqlparse import tokens

    if kind in tokens.Comment or kind in tokens.Whitespace:
        return
    if kind is tokens.Other:
        yield Token(Kind.HOLE, value)
    elif kind in (tokens.String.Single, tokens.Literal, tokens.Name.Placeholder) or kind in tokens.Number:
        yield Token(Kind.TEXT, value)
    elif value[0] in _QUOTES and len(value) > 1:
        closing = _QUOTES[value[0]]
        yield Token(Kind.NAME, value[1:].removesuffix(closing).replace(closing * 2, closing))
    else:
        for part in value.split():
            is_word = part[0].isalpha() or part[0] == "_"
            yield Token(Kind.WORD, part.upper()) if is_word else Token(Kind.MARK, part)


def spoken(tokens: Tokens) -> tuple[str, ...]:
    """Keywords and plain names in capitals, and marks; whatever else there is, quoted names among it, is ""."""
    return tuple(token.text if token.kind in (Kind.WORD, Kind.MARK) else "" for token in tokens)


def _deepened(groups: Iterator[Iterator[Token]]) -> Iterator[Token]:
    """The tokens with their depth; semicolons at the top, which end the statement, are left out."""
    depth = 0
    for token in (token for group in groups for token in group):
        if token == (Kind.MARK, ")", 0):
            depth = max(depth - 1, 0)
        if token != (Kind.MARK, ";", 0) or depth:
            yield token._replace(depth=depth)
        if token == (Kind.MARK, "(", 0):
            depth += 1
