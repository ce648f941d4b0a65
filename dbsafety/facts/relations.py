"""Which tables a statement reads, and which it changes, told from its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dbsafety.facts.tokens import Kind, Token, Tokens


class Relations(NamedTuple):
    """Tables by name, in small letters with the schema where it is written, each once."""

    reads: tuple[str, ...]
    targets: tuple[str, ...]


_OF_ITS_OWN = frozenset({"EXTRACT", "TRIM", "SUBSTRING", "OVERLAY", "POSITION"})
"""Functions whose arguments are told apart by FROM."""
_NOT_UPDATING = frozenset({"FOR", "DO", "ON", "KEY", "OF", "AFTER", "BEFORE"})
_SKIPPED = frozenset({"ONLY", "LATERAL", "TABLE", "IF", "NOT", "EXISTS", "INTO"})
_END = Token(Kind.MARK, "")


def relations(tokens: Tokens) -> Relations:
    """The tables of one statement; the names that a WITH gives its parts are none, nor are functions that make rows."""
    own = _parts(tokens)
    reads: dict[str, None] = {}
    targets: dict[str, None] = {}
    callers: list[str] = []
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else _END
        if token.text == "(" and token.kind is Kind.MARK:
            callers.append(before.text if before.kind is Kind.WORD else "")
        elif token.text == ")" and token.kind is Kind.MARK and callers:
            callers.pop()
        elif token.kind is Kind.WORD:
            if _changes(token.text, before, tokens[0]):
                targets.update(dict.fromkeys(_named(tokens, at + 1)))
            elif _asks(token.text, before, tokens[0]) and not (callers and callers[-1] in _OF_ITS_OWN):
                reads.update((name, None) for name in _listed(tokens, at + 1) if name not in own)
    return Relations(tuple(reads), tuple(targets))


def _changes(word: str, before: Token, first: Token) -> bool:
    """Whether the name of a table that is changed follows the word."""
    match word:
        case "INTO":
            return before.text != "SELECT"
        case "FROM":
            return before.text == "DELETE"
        case "UPDATE":
            return before.text not in _NOT_UPDATING
        case "TABLE":
            return first.text in ("CREATE", "ALTER", "DROP", "TRUNCATE", "LOCK")
        case "TRUNCATE" | "COPY":
            return before is _END
    return False


def _asks(word: str, before: Token, first: Token) -> bool:
    """Whether names of tables that are read follow the word."""
    match word:
        case "FROM":
            return before.text not in ("DISTINCT", "DELETE")
        case "USING":
            return first.text in ("DELETE", "MERGE")
    return word == "JOIN"


def _named(tokens: Tokens, at: int) -> Iterator[str]:
    """The name at `at`, if it is known."""
    if at + 1 < len(tokens) and tokens[at].text == "OR" and tokens[at].kind is Kind.WORD:
        at += 2  # UPDATE OR IGNORE
    name, _ = _name(tokens, _behind(tokens, at))
    if name:
        yield name


def _listed(tokens: Tokens, at: int) -> Iterator[str]:
    """The names of the list that begins at `at`, those that are known and not called as functions."""
    depth = tokens[at].depth if at < len(tokens) else 0
    while at < len(tokens) and not _is_clause(tokens[at]):
        name, at = _name(tokens, _behind(tokens, at))
        if name and not (at < len(tokens) and tokens[at].text == "("):
            yield name
        at = _next_in_list(tokens, at, depth)


def _behind(tokens: Tokens, at: int) -> int:
    """Where the words are over that may stand before a name."""
    while at < len(tokens) and tokens[at].kind is Kind.WORD and tokens[at].text in _SKIPPED:
        at += 1
    return at


def _name(tokens: Tokens, at: int) -> tuple[str, int]:
    """The name that stands at `at`, "" if part of it is not known, and where it ends."""
    parts: list[str] = []
    known = True
    while at < len(tokens) and tokens[at].kind in (Kind.WORD, Kind.NAME, Kind.HOLE, Kind.TEXT):
        known = known and tokens[at].kind in (Kind.WORD, Kind.NAME) and "{" not in tokens[at].text
        parts.append(tokens[at].text.lower())
        at += 1
        if at >= len(tokens) or tokens[at].text != ".":
            break
        at += 1
    return (".".join(parts) if known else ""), at


def _next_in_list(tokens: Tokens, at: int, depth: int) -> int:
    """Where the next name of `FROM a AS x, b y` stands; the end when the list is over."""
    while at < len(tokens):
        token = tokens[at]
        if token.depth == depth and token.kind is Kind.MARK and token.text == ",":
            return at + 1
        if token.depth < depth or (token.depth == depth and token.kind is Kind.MARK and token.text not in "()"):
            break
        if token.depth == depth and _is_clause(token):
            break
        at += 1
    return len(tokens)


_CLAUSES = frozenset(
    {
        "FROM",
        "WHERE",
        "GROUP",
        "ORDER",
        "HAVING",
        "LIMIT",
        "OFFSET",
        "FETCH",
        "FOR",
        "UNION",
        "INTERSECT",
        "EXCEPT",
        "WINDOW",
    }
    | {"JOIN", "LEFT", "RIGHT", "FULL", "INNER", "CROSS", "NATURAL", "ON", "USING"}
    | {"RETURNING", "SET", "VALUES", "SELECT"}
)


def _is_clause(token: Token) -> bool:
    return token.kind is Kind.WORD and token.text in _CLAUSES


def _parts(tokens: Tokens) -> frozenset[str]:
    """The names that WITH gives: what stands before `AS (`, or before the columns in front of it."""
    if not any(token.text == "WITH" and token.kind is Kind.WORD for token in tokens[:2]):
        return frozenset()
    found: set[str] = set()
    for at, token in enumerate(tokens):
        if token.kind is not Kind.WORD or token.text != "AS" or at == 0:
            continue
        rest = [t.text for t in tokens[at + 1 : at + 4] if t.text not in ("NOT", "MATERIALIZED")]
        if rest[:1] != ["("]:
            continue
        name = at - 1
        if tokens[name].text == ")":
            while name > 0 and tokens[name].text != "(":
                name -= 1
            name -= 1
        if name >= 0 and tokens[name].kind in (Kind.WORD, Kind.NAME):
            found.add(tokens[name].text.lower())
    return frozenset(found)
